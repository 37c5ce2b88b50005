--- returns: consumes the exit of delay queues and publishes the messages to their queue.
-- SPDX-License-Identifier: MIT
-- If the broker dead-lettered directly into the queue, it would silently drop messages that a full queue refuses. Here each
-- message is published with a confirm, and acked at the exit only when the queue has it.
local C = require("moonrabbit.base.ffi").C
local apart = require "moonrabbit.connection.apart"
local channel = require "moonrabbit.channel.channel"
local companion = require "moonrabbit.channel.companion"
local copies = require "moonrabbit.redelivery.copy"
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"
local once = require "moonrabbit.loop.once"
local patience = require "moonrabbit.channel.patience"
local stop = require "moonrabbit.loop.stop"
local subscription = require "moonrabbit.channel.subscription"
local task = require "moonrabbit.loop.task"

local returns = {}

local AT_ONCE = 50        -- messages in transit at the same time, per queue
local IN_TRANSIT = 5      -- seconds for what was published to be confirmed
local REMEMBERED = 1000   -- the number of returned messages remembered
local ACK = C.MR_ACK
local FIRST, MOST = 0.5, 15 -- seconds until the next try to watch the exit

local Watch = { __name = "moonrabbit.returns" }
Watch.__index = Watch

-- The consumer of an exit belongs to the library: it is not measured, and its judge acks.
local function inner_of(self)
   return { judge = function(_, msg) return self:judge(msg) end, is_exit = true, origin = "moonrabbit (retries)",
      listener = function(what) if what == "ended" then self:lost() end end }
end

-- A message that was published already, and is delivered again because its ack was lost, is not published again.
local function note(self, id)
   if not id then return end
   local at = self.last % REMEMBERED + 1
   if self.ids[at] then self.given[self.ids[at]] = nil end
   self.ids[at], self.given[id], self.last = id, true, at
end

--- Publishes one message to its queue, with retries; then it is acked.
function Watch:judge(msg)
   local id = msg.headers[copies.ID]
   if id and self.given[id] then return ACK, 0 end
   local ok, err = patience.until_done(msg, function() return copies.give_back(msg, self.queue) end, function(why, pause)
      log.warn("a message that is to be tried again finds no room; it is kept, and offered again", { queue = self.queue,
         kind = why.kind, error = why.text, delay = pause })
   end)
   if ok then
      note(self, id)
      return ACK, 0
   end
   if err and err.is_final then
      log.error("a message that is to be tried again cannot be put back into its queue", { queue = self.queue,
         exit = self.exit, kind = err.kind, error = err.text })
   end
   return nil
end

-- Declares the exit (or uses it unchanged) and consumes it, on its own channel.
local function open(self)
   self.connection = self.apart.connection
   local there, is_ours = companion.declare(self.connection, self.exit, self.options)
   if not there then return nil, is_ours end
   local ch, err = self.connection:channel()
   if not ch then return nil, err end
   local ok
   ok, err = ch:qos { prefetch_count = AT_ONCE }
   if ok and is_ours then
      ok, err = ch:queue_declare { queue = self.exit, durable = self.options.durable, auto_delete = self.options.auto_delete,
         arguments = self.options.arguments }
   end
   if ok then ok, err = channel.consume(ch, self.exit, function() return nil, self end, {}, inner_of(self)) end
   if not ok then
      ch:close()
      return nil, err
   end
   if self.has_ended then return ch:close() end
   self.channel, self.consumer = ch, ok
   return true
end

-- Its channel ended for good: starts again, unless it was stopped.
function Watch:lost()
   self.consumer = nil
   if self.has_ended or stop.is_asked() then return end
   task.background(function()
      local pause = FIRST
      while not (self.has_ended or stop.is_asked() or self.apart.home.released) do
         loop.sleep(pause)
         if self.has_ended or stop.is_asked() or self.apart.home.released then return end
         local ok, err = open(self)
         if ok then return self.apart:worked() end
         if err then self.apart:note(err) end
         pause = self.apart:pause(math.min(pause * 2, MOST))
      end
   end)
end

-- What was published is acked when its confirm comes, or it would come again.
local function leave(ch, consumer)
   if consumer then consumer:cancel() end
   subscription.close_behind(consumer, ch, C.mr_now() + IN_TRANSIT)
end

--- Stops it. Messages that it still holds after some seconds go back to the exit.
function Watch:stop()
   if self.has_ended then return end
   self.has_ended = true
   local ch, consumer = self.channel, self.consumer
   if ch then task.background(function() leave(ch, consumer) end) end
   self.apart:finish()
end

-- Watches the exit of a worker's queue; nil and an error: this user may not declare it.
local function watch(worker)
   local is_passing = worker.is_passing -- it ends with its consumers or its connection, and so does the exit
   local exit = copies.exit_queue(worker.queue)
   local self = setmetatable({ apart = apart.new(worker.apart.home, exit), queue = worker.queue, exit = exit,
      options = { durable = not is_passing, auto_delete = is_passing or nil, arguments = worker.companions },
      has_ended = false, given = {}, ids = {}, last = 0 }, Watch)
   local ok, err = open(self)
   if ok then return self end
   if err.kind == "access_refused" then return nil, err end
   self:lost() -- waiting messages are returned when the exit can be watched
   return self
end

--- True if a worker has ended.
function returns.has_ended(worker) return worker.state == "cancelled" or worker.state == "failed" end

local function begin(worker)
   local exit, err = watch(worker)
   worker.exit, worker.no_exit = exit or false, err
   if exit and returns.has_ended(worker) then exit:stop() end
   if err then
      log.warn("there can be no queue for what is to be tried again: it is held in this process meanwhile",
         { queue = worker.queue, kind = err.kind, error = err.text,
            hint = ("let this user configure %s.retry*, or declare %s for it"):format(worker.queue, copies.exit_queue(worker.queue)) })
   end
   return true
end

--- The exit of a worker, watched from the first call on.
-- @tparam worker worker its field `exit` is set to the watch, or false
-- @treturn[1] watch fields exit (the name of that queue), queue; method stop
-- @treturn[2] nil, error: this user may not declare it
function returns.of(worker)
   if worker.exit == nil then once(worker, "exit_asked", begin, worker) end
   return worker.exit or nil, worker.no_exit
end

--- True if there is an exit from an earlier run, perhaps with messages.
function returns.is_left(worker) return companion.is_there(worker.connection, copies.exit_queue(worker.queue)) end

return returns
