--- sender: the connection on which retries and dead letters are published.
-- SPDX-License-Identifier: MIT
-- It is separate from the consumer's connection, because a broker that blocks publishers must not block acks.
local C = require("moonrabbit.base.ffi").C
local cascade = require "moonrabbit.delay.cascade"
local companion = require "moonrabbit.channel.companion"
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"
local log = require "moonrabbit.loop.log"
local once = require "moonrabbit.loop.once"
local publishing = require "moonrabbit.channel.publish"
local queue_type = require "moonrabbit.channel.queue_type"
local settings = require "moonrabbit.connection.settings"
local suspicion = require "moonrabbit.channel.suspicion"
local task = require "moonrabbit.loop.task"
local ticket = require "moonrabbit.channel.confirm"
local way = require "moonrabbit.channel.way"

local side = {}

local PATIENCE = 10               -- seconds for the broker to take a copy
local ANY_SIZE = 0                -- no limit for frames: every message that the broker allows must fit
local FRESH = 30                  -- seconds for which a declared queue is assumed to exist
local RENEWED = 1                 -- seconds for which a channel is not replaced, whatever the broker nacks on it

--- The sender of a connection: a connection for copies, its channel, its declares.
-- @tparam connection conn
-- @treturn table
function side.of(conn)
   local self = conn.side
   if self and self.is_home and conn.epoch ~= self.made_at then self = nil end -- it may have one of its own again
   if self and not self.connection.released then return self end
   local name = (conn.options.name or settings.name()) .. " copies"
   local own = conn:clone { on_event = function() end, name = name, frame_max = ANY_SIZE }
   self = { connection = own, own = own, channel = false,
      declaring = {}, declared = {}, taken = {}, delays = {}, epoch = 0 }
   conn.side = self
   return self
end

-- No further connection is allowed (a limit of the broker, the virtual host, the user): copies go by the consumer's own one, until
-- that is made anew. An alarm at the broker then holds up its acks, too. Nil: they do already.
local function fall_back(conn, err)
   local self = conn.side
   if self.is_home then return nil end
   local own = self.own
   conn.side = { connection = conn, own = false, is_home = true, made_at = conn.epoch, channel = false, declaring = {},
      declared = {}, taken = {}, delays = self.delays, epoch = 0 }
   log.warn("copies go by the consumer's own connection: no further one is allowed", { connection = conn.host, kind = err.kind,
      error = err.text, hint = err.hint })
   task.background(function() own:release() end)
   return true
end

local function open(self)
   local ch, err = self.connection:channel()
   if not ch then return nil, err end
   local ok
   ok, err = ch:confirm_select()
   if not ok then return nil, err end
   self.channel, self.opened_at = ch, C.mr_now()
   return ch
end

-- A channel that was opened before a quorum queue elected its new leader may get every publish nacked for as long as it is
-- open. So a nack makes the next copies take a new channel; that of a full queue nacks again, a second later at the earliest.
local function renew(self, ch)
   if self.channel ~= ch or not ch.handle or C.mr_now() - self.opened_at < RENEWED then return end
   self.channel = false
   log.info("copies take a new channel", { connection = self.connection.host, text = "the broker nacks what comes on this one" })
   task.background(function()
      while ch.handle and ch.book.outstanding > 0 do ch:wait_for_confirms(PATIENCE) end
      ch:close()
   end)
end

-- The channel for copies.
local function channel(self)
   local ch, err = self.channel, nil
   if not (ch and ch.handle) then ch, err = once(self, "opening", open, self) end
   return ch, err
end

-- Queues that were declared before the connection was lost may have been deleted.
local function heed_epoch(self)
   if self.connection.epoch ~= self.epoch then
      self.declared, self.epoch = {}, self.connection.epoch
   end
end

local function is_fresh(at) return at and C.mr_now() - at < FRESH end

local function remember(self, queue)
   heed_epoch(self)
   for name, at in each(self.declared) do
      if not is_fresh(at) then self.declared[name] = nil end
   end
   self.declared[queue] = C.mr_now()
end

local function declare_now(self, queue, arguments)
   local ok, err = companion.ask(self.connection, { durable = true, arguments = arguments, unrecorded = true }, queue)
   if ok then remember(self, queue) end
   return ok, err
end

local function declare_exit(self, exit)
   local ok, err = companion.declare(self.connection, exit.exit, exit.options)
   if ok then remember(self, exit.exit) end
   return ok, err
end

-- The exit must exist before the end of the delay: a message that is dead-lettered to a missing queue is lost.
local function see_to_exit(self, exit)
   heed_epoch(self)
   if not exit or exit.has_ended and exit.options.auto_delete or is_fresh(self.declared[exit.exit]) then return true end
   local ok, err = once(self.declaring, exit.exit, declare_exit, self, exit)
   return ok, err
end

-- Declares a queue on this connection, unless that was done recently.
local function declare(self, queue, arguments)
   heed_epoch(self)
   if is_fresh(self.declared[queue]) then return true end
   local ok, err = once(self.declaring, queue, declare_now, self, queue, arguments)
   return ok, err
end

-- A queue with other arguments has the name, for example from an older version: uses the second name.
local function take_other(self, queue, err)
   if self.taken[queue.queue] == nil then
      log.warn("a queue of another shape has the name of a delay queue; another name is taken", { queue = queue.queue,
         name = queue.other, error = err.text })
   end
   self.taken[queue.queue] = C.mr_now()
end

-- The name of the queue for a copy, after it was declared. A user who may not declare it may be allowed to publish to an
-- existing one: then the refusal is returned, too.
local find
function find(self, queue)
   if queue.older and self.is_older then queue.arguments = queue.older end
   if not is_fresh(self.taken[queue.queue]) then
      local ok, err = declare(self, queue.queue, queue.arguments)
      if ok then return queue.queue end
      if queue.older and not self.is_older and queue_type.is_too_old(err) then
         self.is_older = true
         return find(self, queue)
      end
      if err.kind == "access_refused" then return queue.queue, err end
      if err.kind ~= "precondition_failed" or not queue.other then return nil, err end
      take_other(self, queue, err)
   end
   local ok, err = declare(self, queue.other, queue.arguments)
   return ok and queue.other, err
end

local HOW = { mandatory = true, timeout = PATIENCE }

-- Waits until it can be sent, but only while the message is live: a lost message is delivered again. True: it was sent.
local function post(self, t, exchange, queue, msg, body, props)
   local conn, deadline = self.connection, C.mr_now() + PATIENCE
   local ch, err = channel(self)
   while ch do
      if not msg.is_live then return nil, errors.new("stale", "message") end
      local ok, wait
      if suspicion.may_go(conn, t) then
         ok, err, wait = publishing.post(ch, t, exchange, queue, body, HOW, props)
      else
         wait = function(seconds) return way.wait(conn, seconds) end
         err = errors.new("timeout", "publish", "copies that may have ended the connection are tried one at a time")
      end
      if ok then
         suspicion.sent(conn, t)
         t.sent_on = ch
         return true
      end
      if not wait or not wait(deadline - C.mr_now()) then break end
   end
   return nil, err
end

-- A copy that may have ended the connection is sent again, alone; if it ends the connection again, it is never copied.
local function publish(self, exchange, queue, msg, body, props)
   local t = ticket.new(0)
   t.is_copy = true -- its original will be delivered again
   local function again()
      local ok, err = post(self, t, exchange, queue, msg, body, props)
      if not ok and t.state == "waiting" then ticket.finish(t, "lost", tostring(err.text), err.kind) end
   end
   local refused
   function t.on_end(_, state, _, cause)
      refused = cause and cause.kind == "access_refused" and cause -- about the exchange of all copies
      if state == "nacked" then renew(self, t.sent_on) end
      if state ~= "lost" or not cause or cause.scope ~= "connection" then return false end
      t.is_final = suspicion.falls_on(self.connection, t, cause)
      if t.is_final or not t.suspect then return false end
      task.later(again)
      return true
   end
   local ok, err = post(self, t, exchange, queue, msg, body, props)
   if ok then ok, err = t:wait() end
   if not ok and t.suspect then suspicion.over(t) end
   if ok then return true end
   if t.is_final then err.is_final = true end
   return nil, refused or err
end

-- Publishes to a queue that is declared first.
local function publish_declared(self, queue, msg, body, props)
   local name, refused = see_to_exit(self, queue.exit)
   if name then name, refused = find(self, queue) end
   if not name then return nil, refused end
   local ok, err = publish(self, "", name, msg, body, props)
   if ok or err.kind ~= "returned" then return ok, err end
   self.declared[name] = nil -- it has been deleted since its declare
   return nil, refused or err
end

-- Publishes to the first level of a delay.
local function publish_by_plan(self, queue, msg, body, props)
   local ok, err = see_to_exit(self, queue.exit)
   if ok and not cascade.is_ready(self.connection, queue.plan) then ok, err = cascade.prepare(self.connection, queue.plan) end
   if ok then ok, err = publish(self, cascade.ENTRY, queue.queue, msg, body, props) end
   if not ok and err.kind == "returned" then cascade.forget(self.connection) end
   return ok, err
end

local function put(self, msg, queue, props, is_there)
   local body = msg.body
   local ok, err
   if is_there then ok, err = publish(self, "", queue.queue, msg, body, props)
   elseif queue.plan then ok, err = publish_by_plan(self, queue, msg, body, props)
   else ok, err = publish_declared(self, queue, msg, body, props) end
   if ok or err.kind ~= "returned" or is_there == "known" then return ok, err end
   ok, err = (queue.plan and publish_by_plan or publish_declared)(self, queue, msg, body, props)
   return ok, err
end

--- Publishes a copy to a queue, which is declared if it does not exist.
-- @tparam message msg
-- @tparam table queue its name, its arguments, `other` (the second name, if a queue with other arguments has the first one),
-- `exit` (the watch of the exit), and `plan` (of a delay that has no queue of its own; then the queue is the exit)
-- @tparam string props encoded
-- @tparam ?boolean|string is_there true: declare it only if the publish shows that it is missing; "known": never declare it
-- @treturn[1] true the broker has it
-- @treturn[2] nil, error
function side.put(msg, queue, props, is_there)
   local conn = msg.channel.connection
   local ok, err = put(side.of(conn), msg, queue, props, is_there)
   if ok or err.kind ~= "connection_limit_reached" then return ok, err end
   if fall_back(conn, err) or conn.side.is_home then ok, err = put(side.of(conn), msg, queue, props, is_there) end
   return ok, err
end

return side
