--- sender: a publisher's way to the broker: its channel, and its line.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.base.ffi").C
local awaited = require "moonrabbit.topology.awaited"
local each = require "moonrabbit.base.each"
local loop = require "moonrabbit.loop.loop"
local publish = require "moonrabbit.channel.publish"
local suspicion = require "moonrabbit.channel.suspicion"
local task = require "moonrabbit.loop.task"
local ticket = require "moonrabbit.channel.confirm"

local sender = {}

local PAUSE_FIRST, PAUSE_MAX = 0.1, 5 -- seconds between tries to open the channel
local LOOK = 30                       -- seconds at most between two looks at the line

-- ---- the channel ----

local function open(self)
   local conn = self.connection
   local ch, err = conn:channel()
   if not ch then return nil, err end
   local ok = true
   if self.confirms then
      ok, err = ch:confirm_select()
      if ok then ch.book.keeps = nil end -- what is lost is taken back by us, not by `republish`
   end
   if ok and self.options.topology then
      ok, err = self.options.topology:apply(conn)
      awaited.done(self)
   end
   if not ok then
      ch:close()
      return nil, err
   end
   ch:on_return(function(msg, why) -- in confirm mode the ticket tells
      if not self.confirms and self.options.on_failed then self.options.on_failed(why, msg) end
   end)
   return ch
end

-- ---- the line ----

local function expired(self, t)
   local why = self.obstacle
   local is_blocked = why and why.kind == "blocked_timeout"
   ticket.finish(t, "timeout", why and ("not sent in time: %s"):format(why.text) or "not sent in time",
      is_blocked and "blocked_timeout" or nil)
end

-- Into the line, until its deadline.
local function line_up(self, t)
   local job = t.job
   job.place = "line"
   self.in_line = self.in_line + 1
   if job.deadline then
      job.timer = loop.after(math.max(job.deadline - C.mr_now(), 0), function() expired(self, t) end)
   end
end

-- Ends all that waits for a way.
local function give_up(self, why, kind)
   local t = self.box:head()
   while t do
      ticket.finish(t, "lost", why, kind)
      t = self.box:head()
   end
end

-- The broker's time for its word ends with the publish's own.
local function limit(self, job)
   local patience = self.usual.timeout
   local left = job.deadline and job.deadline - C.mr_now() or math.huge
   local wanted = math.max(patience > 0 and math.min(patience, left) or left, 0.001)
   if wanted == math.huge then wanted = 2 ^ 31 / 1000 end
   if job.props.timeout == wanted then return end
   if job.props == self.usual then
      job.props = {}
      for name, v in each(self.usual) do job.props[name] = v end
   end
   job.props.timeout = wanted
end

-- Sends a ticket, if there is a way: true, or nil, the error and how to wait for the way (nil: there is none).
local function post(self, ch, t)
   local job = t.job
   limit(self, job)
   local ok, err, wait = publish.post(ch, t, job.exchange, job.routing_key, job.body, job.props, job.encoded)
   if not ok then return nil, err, wait end
   if t.suspect then suspicion.sent(self.connection, t) end
   job.attempt = job.attempt + 1
   if job.place then self.in_line = self.in_line - 1 end
   if job.timer then loop.cancel(job.timer) end
   job.place, job.timer = "flight", nil
   self.in_flight = self.in_flight + 1
   if not self.confirms then ticket.finish(t, "sent") end
   return true
end

local function patience_of(t)
   return math.max(math.min((t.job.deadline or math.huge) - C.mr_now(), LOOK), 0.001)
end

-- Opens the channel, or waits for the next try; false: there will be none.
local function open_or_pause(self, t)
   local ch, err = open(self)
   if ch then
      self.channel, self.obstacle, self.pause = ch, nil, nil
      return true
   end
   if err.kind == "closed" and err.scope == "connection" then
      give_up(self, err.text)
      return false
   end
   if err.scope ~= "connection" and not err.recoverable then -- what is declared is refused, and will be
      give_up(self, err.text, err.kind)
      return false
   end
   self.obstacle = err
   self.pause = math.min((self.pause or PAUSE_FIRST / 2) * 2, PAUSE_MAX)
   loop.sleep(math.min(self.pause, patience_of(t)))
   return true
end

-- One step of the sender with the head of the line; false: it has nothing more to do.
local function step(self, t)
   local ch = self.channel
   if not ch then return open_or_pause(self, t) end
   if not ch.handle then
      self.channel = nil
      if ch.err and ch.err.kind == "closed" then give_up(self, ch.err.text) end -- by the program: so be it
      return true
   end
   local conn = self.connection
   if conn.suspects and not suspicion.may_go(conn, t) then -- one behind it may have to go first
      if not self.box:bring(function(other) return suspicion.may_go(conn, other) end) then conn:_wait_for_way(patience_of(t)) end
      return true
   end
   local ok, err, wait = post(self, ch, t)
   if ok then
      self.box:pop()
      self.obstacle = nil
   elseif wait then
      self.obstacle = err
      wait(patience_of(t))
   elseif ch.handle then
      ticket.finish(t, "lost", err.text) -- too large, say: it is passed over from now on
   end
   return true
end

local function run(self)
   local t = self.box:head()
   while t and step(self, t) do t = self.box:head() end
   self.is_running = false
   if self.box:head() then sender.start(self) end -- came while it ended
end

--- Has the line worked off.
function sender.start(self)
   if self.is_running then return end
   self.is_running = true
   task.later(run, self)
end

--- A new publish: sent at once when nothing stands in its way, else it lines up.
-- @treturn[1] true
-- @treturn[2] nil, error it never can be sent
function sender.begin(self, t)
   local ch = self.channel
   if self.in_line > 0 or self.connection.suspects then ch = nil -- it is not its turn
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
   return true
end

--- A publish that was aside lines up again.
function sender.put_back(self, t)
   if t.state ~= "waiting" then return end
   self.aside, self.thinking[t] = self.aside - 1, nil
   self.counts.retried = self.counts.retried + 1
   t.message, t.reason = nil, nil
   suspicion.rise(t)
   line_up(self, t)
   self.box:put_back(t)
   sender.start(self)
   if self.connection.suspects then self.connection:_wake_waiters() end -- the sender may wait behind another one
end

-- ---- the end ----

--- What has not been sent is lost.
function sender.abandon(self, why)
   self.has_stopped = true
   give_up(self, why)
   for t in each(self.thinking) do ticket.finish(t, "lost", why) end
end

--- The end: what has not ended is lost.
function sender.stop(self)
   sender.abandon(self, "the publisher was closed")
   if self.channel then self.channel:close() end
   self.connection:_wake_waiters() -- the sender has nothing left to wait for
end

return sender
