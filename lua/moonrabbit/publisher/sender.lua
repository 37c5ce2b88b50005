--- sender: sends a publisher's publishes: its channel and its line.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.base.ffi").C
local awaited = require "moonrabbit.topology.awaited"
local backlog = require "moonrabbit.publisher.backlog"
local cascade = require "moonrabbit.delay.cascade"
local each = require "moonrabbit.base.each"
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"
local merged = require "moonrabbit.base.merged"
local publish = require "moonrabbit.channel.publish"
local suspicion = require "moonrabbit.channel.suspicion"
local task = require "moonrabbit.loop.task"
local ticket = require "moonrabbit.channel.confirm"
local way = require "moonrabbit.channel.way"

local sender = {}

local PAUSE_FIRST, PAUSE_MAX = 0.1, 5 -- seconds between tries to open the channel
local LOOK = 30                       -- the maximum seconds of one wait

-- ---- the channel ----

local function open(self)
   local conn = self.connection
   if self.options.topology then -- before its own channel: it takes another one
      local ok, why = self.options.topology:apply(conn)
      if ok or why.kind ~= "channel_limit_reached" then awaited.done(self) end
      if not ok then return nil, why end
   end
   local ch, err = conn:channel()
   if not ch then return nil, err end
   if self.confirms then
      local ok, why = ch:confirm_select()
      if not ok then
         ch:close()
         return nil, why
      end
      ch.book.keeps = nil -- this file sends lost publishes again, not `republish`
   end
   ch:on_return(function(msg, why) -- in confirm mode the ticket reports it
      if not self.confirms and self.options.on_failed then self.options.on_failed(why, msg) end
   end)
   return ch
end

-- ---- the line ----

local NOT_SENT = "nothing was sent: publish it again when the broker is there, or give it a longer timeout"

local KINDS = { blocked_timeout = true, channel_limit_reached = true } -- what is told of instead of the timeout

local function expired(self, t)
   local why = self.obstacle
   local kind = why and KINDS[why.kind] and why.kind or nil
   if kind == "channel_limit_reached" then t.hint = why.hint
   elseif not kind then t.hint = NOT_SENT end
   t.kind = kind
   ticket.finish(t, "timeout", why and ("not sent in time: %s"):format(why.text) or "not sent in time", kind)
end

-- Queues a ticket until its deadline.
local function line_up(self, t)
   local job = t.job
   job.place = "line"
   backlog.add(self, "in_line", 1)
   if job.deadline then
      job.timer = loop.after(math.max(job.deadline - C.mr_now(), 0), function() expired(self, t) end)
   end
end

-- Ends all waiting publishes.
local function give_up(self, why, kind)
   local t = self.box:head()
   while t do
      ticket.finish(t, "lost", why, kind)
      t = self.box:head()
   end
end

-- The time for the confirm ends at the publish's deadline.
local function limit(self, job)
   local patience = self.usual.timeout
   local left = job.deadline and job.deadline - C.mr_now() or math.huge
   local wanted = math.max(patience > 0 and math.min(patience, left) or left, 0.001)
   if wanted == math.huge then wanted = 2 ^ 31 / 1000 end
   if job.props.timeout == wanted then return end
   if job.props == self.usual then job.props = merged(self.usual) end
   job.props.timeout = wanted
end

-- Sends a ticket if possible: true, or nil, the error and a function that waits until it may be possible (nil: never).
local function post(self, ch, t)
   local job = t.job
   limit(self, job)
   local ok, err, wait = publish.post(ch, t, job.exchange, job.routing_key, job.body, job.props, job.encoded)
   if not ok then return nil, err, wait end
   if t.suspect then suspicion.sent(self.connection, t) end
   job.attempt, job.channel = job.attempt + 1, ch
   if job.place then backlog.add(self, "in_line", -1) end
   if job.timer then loop.cancel(job.timer) end
   job.place, job.timer = "flight", nil
   backlog.add(self, "in_flight", 1)
   if not self.confirms then ticket.finish(t, "sent") end
   return true
end

--- publish.is_acked_next for a publish that was sent, and may wait for nothing else.
function sender.is_acked_next(self, t)
   local one = t.job
   return self.confirms and one.place == "flight" and t.state == "waiting" and publish.is_acked_next(one.channel, t)
end

local function patience_of(t)
   return math.max(math.min((t.job.deadline or math.huge) - C.mr_now(), LOOK), 0.001)
end

--- The pause before the next try, given the one before it (nil: there was none): doubled, 0.1 to 5 s.
function sender.longer(pause) return math.min(math.max((pause or 0) * 2, PAUSE_FIRST), PAUSE_MAX) end

-- The connection cannot be opened: the publishers on it share one schedule of tries.
local schedules = setmetatable({}, { __mode = "k" }) -- connection -> pause (seconds), at (the next try)

local function postpone(conn)
   local plan = schedules[conn] or {}
   schedules[conn] = plan
   plan.pause = sender.longer(plan.pause)
   plan.at = C.mr_now() + plan.pause
end

-- Waits for the next try, or until the connection has changed; false: it is due.
local function waits_for_try(conn)
   local plan = schedules[conn]
   local left = plan and not conn.is_open and plan.at - C.mr_now() or 0
   if left <= 0 then return false end
   way.wait(conn, left)
   return true
end

-- Opens the channel, or waits for the next try; false: it will not be opened.
local function open_or_pause(self)
   if waits_for_try(self.connection) then return true end
   local ch, err = open(self)
   if ch then
      self.channel, self.obstacle, self.pause = ch, nil, nil
      schedules[self.connection] = nil
      return true
   end
   if err.kind == "closed" and err.scope == "connection" then
      give_up(self, err.text)
      return false
   end
   if err.scope ~= "connection" and not err.recoverable then -- the broker refuses the topology, also next time
      give_up(self, err.text, err.kind)
      return false
   end
   self.obstacle = err
   if err.scope == "connection" then
      postpone(self.connection)
   else
      self.pause = sender.longer(self.pause)
      loop.sleep(self.pause)
   end
   return true
end

--- New publishes take a new channel. This one is closed as soon as its own publishes have ended.
function sender.renew(self, ch)
   if self.channel ~= ch or not ch.handle then return end
   self.channel = nil
   log.info("publisher takes a new channel", { connection = self.connection.host, exchange = self.exchange,
      text = "the broker nacks what comes on this one" })
   task.later(function()
      while ch.handle and ch.book.outstanding > 0 do ch:wait_for_confirms(LOOK) end
      ch:close()
   end)
end

-- True if nothing must be done before it can be sent.
local function may_send(self, t)
   local conn, plan = self.connection, t.job.plan
   return (not plan or cascade.is_ready(conn, plan)) and (not conn.suspects or suspicion.may_go(conn, t))
end

-- Wakes the sender, which may wait for its next try to declare what a delay needs.
local function stir(self)
   local list = self.resting
   if not list or not list[1] then return end
   self.resting = {}
   for _, token in ipairs(list) do task.wake(token, true) end
end

-- Declares what a delay needs; publishes that need nothing go before. A refusal ends the publish; after a loss it is tried
-- again.
local function prepare_delay(self, t)
   if self.box:bring(function(other) return may_send(self, other) end) then return true end
   local left = (self.prepare_at or 0) - C.mr_now()
   if left > 0 then
      self.resting = self.resting or {}
      loop.wait_in(self.resting, math.min(left, patience_of(t)))
      return true
   end
   local ok, err = cascade.prepare(self.connection, t.job.plan)
   if ok then
      self.prepare_at, self.prepare_pause = nil, nil
      return true
   end
   if err.scope ~= "connection" and not err.recoverable and err.kind ~= "timeout" then
      if t.state == "waiting" then ticket.finish(t, "lost", err.text, err.kind) end
      return true
   end
   self.obstacle, self.prepare_pause = err, sender.longer(self.prepare_pause)
   self.prepare_at = C.mr_now() + self.prepare_pause
   return true
end

-- Handles the head of the line; false: there is nothing more to do.
local function step(self, t)
   local ch = self.channel
   if not ch then return open_or_pause(self) end
   if not ch.handle then
      self.channel = nil
      if ch.err and ch.err.kind == "closed" then give_up(self, ch.err.text) end -- the program has closed it
      return true
   end
   local conn = self.connection
   if conn.suspects and not suspicion.may_go(conn, t) then -- one behind it may have to go first
      if not self.box:bring(function(other) return suspicion.may_go(conn, other) end) then way.wait(conn, patience_of(t)) end
      return true
   end
   if t.job.plan and not cascade.is_ready(conn, t.job.plan) then return prepare_delay(self, t) end
   local ok, err, wait = post(self, ch, t)
   if ok then
      self.box:pop()
      self.obstacle = nil
   elseif wait then
      self.obstacle = err
      wait(patience_of(t))
   elseif ch.handle then
      ticket.finish(t, "lost", err.text) -- for example too large: it is skipped from now on
   end
   return true
end

local function run(self)
   local t = self.box:head()
   while t and step(self, t) do t = self.box:head() end
   self.is_running = false
   if self.box:head() then sender.start(self) end -- it came while the sender ended
end

--- Starts the task that sends the line, if it does not run.
function sender.start(self)
   if self.is_running then return end
   self.is_running = true
   task.later(run, self)
end

--- A new publish: sends it at once if possible, else queues it.
-- @treturn[1] true
-- @treturn[2] nil, error it can never be sent
function sender.begin(self, t)
   local ch = self.channel
   local plan = t.job.plan
   if self.in_line > 0 or self.connection.suspects then ch = nil -- it is not the turn of this publish
   elseif plan and not cascade.is_ready(self.connection, plan) then ch = nil
   elseif ch and not ch.handle then self.channel, ch = nil, nil end -- a new publish, a new channel
   if ch then
      local ok, err, wait = post(self, ch, t)
      if ok then return true end
      if not wait and ch.handle then return nil, err end
      self.obstacle = err
   end
   line_up(self, t)
   self.box:push(t)
   sender.start(self)
   stir(self)
   return true
end

--- Queues a publish again that was aside.
function sender.put_back(self, t)
   if t.state ~= "waiting" then return end
   self.thinking[t] = nil
   backlog.add(self, "aside", -1)
   self.counts.retried = self.counts.retried + 1
   t.message, t.reason = nil, nil
   suspicion.rise(t)
   line_up(self, t)
   self.box:put_back(t)
   sender.start(self)
   if self.connection.suspects then way.wake(self.connection) end -- the sender may wait behind another one
end

-- ---- the end ----

--- Ends publishes that were not sent as lost.
function sender.abandon(self, why)
   self.has_stopped = true
   give_up(self, why)
   for t in each(self.thinking) do ticket.finish(t, "lost", why) end
end

--- Ends the sender: all open publishes are lost.
function sender.stop(self)
   sender.abandon(self, "the publisher was closed")
   if self.channel then self.channel:close() end
   stir(self)
   way.wake(self.connection) -- the sender has nothing left to wait for
end

return sender
