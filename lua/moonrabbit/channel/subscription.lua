--- subscription: consumers: finds the consumer of a delivery, and limits concurrent handlers.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.base.ffi").C
local asking = require "moonrabbit.channel.request"
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"
local handling = require "moonrabbit.channel.delivery"
local loop = require "moonrabbit.loop.loop"
local marks = require "moonrabbit.loop.mark"
local observer = require "moonrabbit.channel.observer"
local recorder = require "moonrabbit.loop.recorder"
local task = require "moonrabbit.loop.task"

local subscription = {}

local OWN, LARGE = C.MR_CONSUMER_OWN, C.MR_CONSUMER_LARGE
local STREAM, TOO_LARGE = C.MR_DELIVERY_STREAM, C.MR_DELIVERY_TOO_LARGE
local NACK, BACK = C.MR_NACK, C.MR_SETTLE_REQUEUE + C.MR_SETTLE_RELEASE
local handle = handling.handle
local trace = errors.trace

local usual_limit = false      -- the time limit of consumers that are given none
local consumers = {}           -- by number
local ended = setmetatable({}, { __mode = "v" }) -- by number: consumers whose handlers may still run
local next_number = 0

--- A consumer. Fields: `tag`, `queue`, `state` ("starting", "consuming", "recovering", "cancelling",
-- "cancelled", "failed"), `err` (why it ended, nil if the program cancelled it), `channel`.
local Consumer = { __name = "moonrabbit.consumer" }
Consumer.__index = Consumer
function Consumer.__tostring(c) return ("consumer %s of %q (%s)"):format(c.tag, c.queue, c.state) end

-- Deliveries beyond the concurrency limit wait here, oldest first.
local function hold(consumer, d)
   consumer.held_last = consumer.held_last + 1
   consumer.held[consumer.held_last] = d
end

local function take_held(consumer)
   local first = consumer.held_first
   local d = consumer.held[first]
   if not d then return nil end
   consumer.held[first] = nil
   consumer.held_first = first + 1
   return d
end

subscription.take_held = take_held

local function give_back(d)
   if observer.unseen then observer.unseen(d) end
   C.mr_delivery_settle(loop.current(), d, NACK, BACK)
end

local function wake_reader(consumer)
   local readers = consumer.readers
   while readers[1] do
      if task.wake(table.remove(readers, 1), true) then return end
   end
end

local function is_full(consumer) return consumer.concurrency and consumer.running >= consumer.concurrency end

-- A place is free: waiting deliveries come before new ones, also if they must wait for the next turn: the place is kept. With
-- a lower limit than before, there may be none.
local function handle_held(consumer)
   while consumer.held[consumer.held_first] do
      if not loop.has_time() then
         consumer.running = consumer.running + 1
         loop.give_way()
         consumer.running = consumer.running - 1
      end
      if is_full(consumer) then return end
      local d = take_held(consumer)
      if d then handle(consumer, d) end
   end
end

local function handle_and_held(consumer, d)
   handle(consumer, d)
   handle_held(consumer)
end

-- It has no body: it stays unsettled at the broker, and nothing of it is kept here.
local function on_large(consumer, d)
   C.mr_delivery_release(loop.current(), d)
   consumer.on_large()
end

-- Of a stream, or too large. True: that was all.
local function on_special(consumer, d)
   if d.flags >= TOO_LARGE then
      on_large(consumer, d)
      return true
   end
   consumer.next_offset = tonumber(d.offset) + 1
   return false
end

local function on_delivery(d)
   local consumer = consumers[d.consumer]
   if not consumer or consumer.is_ending then
      give_back(d)
   elseif d.flags >= STREAM and on_special(consumer, d) then
      return
   elseif consumer.is_iterating then
      hold(consumer, d)
      wake_reader(consumer)
   elseif not consumer.is_told then
      hold(consumer, d)
   elseif not consumer.concurrency then
      handle(consumer, d)
      if consumer.concurrency then handle_held(consumer) end -- it has got a limit meanwhile
   elseif consumer.running < consumer.concurrency then
      handle_and_held(consumer, d)
   else
      hold(consumer, d)
   end
end
loop.set_delivery(on_delivery)

-- ---- consumers ----

--- Makes a consumer that is not started at the broker yet.
-- @tparam channel channel
-- @tparam string queue
-- @tparam ?function handler nil: an iterator reads it
-- @tparam table opts concurrency, no_ack
-- @tparam[opt] table inner for mr.consumer: owner, judge(consumer, msg, ok, ...), trace, is_manual (the message
-- outlives its handler), listener(what, err), origin (where its handler is defined), enter(consumer, msg) (before the handler of a
-- message that was delivered before: an error that it failed with, and what leave gets), leave, is_exit (a consumer of the library, see
-- returns), on_large() (called for each message over max_message_size; such messages are kept)
function subscription.new(channel, queue, handler, opts, inner)
   inner = inner or {}
   next_number = next_number % (LARGE - 1) + 1
   local consumer = setmetatable({
      number = next_number + (inner.is_exit and OWN or 0) + (inner.on_large and LARGE or 0), channel = channel,
      queue = queue, handler = handler,
      is_iterating = handler == nil,
      concurrency = opts.concurrency or false, no_ack = opts.no_ack or false, running = 0, held = {},
      held_first = 1, held_last = 0, state = "starting", tag = opts.consumer_tag or "", readers = {},
      is_ending = false, is_holding = false, is_told = false, judge = inner.judge or false, trace = inner.trace or trace,
      is_manual = inner.is_manual or false, listener = inner.listener or false, owner = inner.owner or false,
   }, Consumer)
   consumer.stall, consumer.time_limit = opts.stall or false, opts.time_limit or usual_limit
   consumer.origin = inner.origin or handler and marks.origin(handler) or ""
   consumer.has_own_tag = consumer.tag ~= ""
   consumer.enter, consumer.leave = inner.enter or false, inner.leave or false
   consumer.is_exit, consumer.quick, consumer.on_large = inner.is_exit or false, 0, inner.on_large
   if not inner.is_exit then
      marks.describe(consumer)
      consumer.meter = C.mr_meter_of(loop.runtime(), queue, #queue)
   end
   consumers[consumer.number] = consumer
   channel.consumers[consumer.number] = consumer
   return consumer
end

-- Handles deliveries that arrived before the program knew its consumer: a task for each, up to the concurrency.
local function begin(consumer)
   while not is_full(consumer) do
      local d = take_held(consumer)
      if not d then break end
      task.start(handle_and_held, consumer, d)
      loop.give_way() -- new deliveries wait behind these
   end
   consumer.is_told = true
end

--- Sets how many handlers it may run at the same time; those that run go on.
-- @tparam consumer consumer
-- @tparam number|boolean n false: no limit
function subscription.limit(consumer, n)
   consumer.concurrency = n
   if not consumer.is_told or not consumer.held[consumer.held_first] then return end
   consumer.is_told = false -- new deliveries wait behind those that are held
   task.later(begin, consumer)
end

--- Gives the consumers that will be made without a time limit this one.
-- @tparam number seconds
function subscription.set_time_limit(seconds) usual_limit = seconds end

local hear_started = function() end

--- Sets fn(consumer), which is called whenever one has begun to consume; it must not wait.
function subscription.on_started(fn) hear_started = fn end

--- The broker has started it with this tag. Its handler is first called after the caller of consume has resumed.
function subscription.started(consumer, tag)
   consumer.tag, consumer.state = tag, "consuming"
   if not consumer.is_exit then loop.holds = loop.holds + 1 end
   consumer.is_holding = true
   hear_started(consumer)
   if not consumer.is_iterating then task.later(begin, consumer) end
end

-- Requeues the deliveries that no handler has seen.
local function return_held(consumer)
   local d = take_held(consumer)
   while d do
      give_back(d)
      d = take_held(consumer)
   end
end

-- True in a forked child, if it is the parent's.
local function is_of_parent(consumer) return consumer.err ~= nil and consumer.err.kind == "forked" end

--- Ends the consumer.
-- @tparam consumer consumer
-- @tparam string state "cancelled" (by the program or the broker) or "failed" (its channel ended)
-- @tparam ?table err the reason, if it was not the program
function subscription.ended(consumer, state, err)
   if consumer.is_holding and not consumer.is_exit then loop.holds = loop.holds - 1 end
   if consumer.state == "resting" then C.mr_meter_paused(consumer.meter, false) end
   consumer.is_holding, consumer.is_ending = false, true
   consumer.state, consumer.err = state, err
   return_held(consumer)
   consumers[consumer.number], ended[consumer.number] = nil, consumer
   marks.undescribe(consumer)
   consumer.channel.consumers[consumer.number] = nil
   for _, token in ipairs(consumer.readers) do task.wake(token, true) end
   local listener = consumer.listener
   consumer.listener = false -- it ends only once
   if listener and not is_of_parent(consumer) then listener("ended", err) end
end

--- It was lost with its channel, or the broker cancelled it, and it will be recovered. Deliveries that no handler has seen
-- are dropped: the broker delivers them again.
function subscription.suspended(consumer, err)
   if consumer.state ~= "consuming" then return end
   consumer.state, consumer.err = "recovering", err
   return_held(consumer)
   if consumer.listener then consumer.listener("suspended", err) end
end

--- It consumes again.
function subscription.resumed(consumer)
   if consumer.state ~= "recovering" then return end
   consumer.state, consumer.err = "consuming", nil
   if consumer.listener then consumer.listener("resumed") end
   hear_started(consumer)
end

--- True if a delivery of the connection waits for its handler.
function subscription.is_holding(number)
   for _, consumer in each(consumers) do
      for _, d in each(consumer.held) do
         if d.connection == number then return true end
      end
   end
   return false
end

--- Calls fn for each consumer that has not ended.
function subscription.each(fn)
   local list = {}
   for _, consumer in each(consumers) do list[#list + 1] = consumer end
   table.sort(list, function(a, b) return a.number < b.number end)
   for _, consumer in ipairs(list) do fn(consumer) end
end

--- The consumer with this number, nil if it has ended.
function subscription.by_number(number) return consumers[number] end

--- The same, but also an ended consumer whose messages are still being handled.
function subscription.known(number) return consumers[number] or ended[number] end

recorder.find_queues(function(number)
   local consumer = subscription.known(number)
   return consumer and consumer.queue
end)

local no_options = {}

-- Cancels it at the broker.
local function cancel(self)
   return asking.done(asking.ask(self.channel, C.MR_BASIC_CANCEL, no_options, nil, self.tag))
end

--- Cancels the consumer. Messages that no handler has seen go back to the queue; running handlers finish; a `messages()`
-- loop ends.
-- @treturn[1] true also if it had ended before
-- @treturn[2] nil, error
function Consumer:cancel()
   loop.begin()
   if is_of_parent(self) then return nil, self.err end
   if self.state == "resting" then
      subscription.ended(self, "cancelled")
      return true
   end
   if self.state == "recovering" then
      C.mr_channel_forget_consumer(self.channel.handle, self.number)
      subscription.ended(self, "cancelled")
      return true
   end
   if self.state ~= "consuming" then return true end
   task.check()
   self.state, self.is_ending = "cancelling", true
   return_held(self)
   local ok, err = cancel(self)
   if self.state ~= "cancelling" then return true end -- it has ended meanwhile for another reason
   local of_channel = self.channel.handle
   if not ok and of_channel then C.mr_channel_forget_consumer(of_channel, self.number) end -- it must stay ended
   subscription.ended(self, ok and "cancelled" or "failed", err)
   return ok, err
end

--- Cancels it at the broker, and nothing else: it can consume again. Messages that no handler has seen go back.
function subscription.rest(self)
   local was = self.state
   self.state, self.is_ending, self.is_missing = "resting", true, false
   C.mr_meter_paused(self.meter, true)
   if was == "recovering" then return C.mr_channel_forget_consumer(self.channel.handle, self.number) end
   return_held(self)
   cancel(self) -- where it fails, the channel ends, and it with the channel
end

--- One that rests is about to consume again.
function subscription.wake(self)
   C.mr_meter_paused(self.meter, false)
   self.state, self.is_ending = "starting", false
end

--- It consumes again.
function subscription.woken(self, tag)
   if self.state ~= "starting" then return end
   self.tag, self.state = tag, "consuming"
   hear_started(self)
end

--- The same as cancel, but received messages are handled. First step: cancel it at the broker.
function subscription.leave(self)
   if self.state ~= "consuming" then return self:cancel() end
   self.state = "leaving"
   return cancel(self)
end

--- Second step: wait until all received messages are handled.
function subscription.linger(self)
   while self.state == "leaving" and (self.running > 0 or self.held[self.held_first]) do loop.sleep(0.005) end
   if self.state == "leaving" then subscription.ended(self, "cancelled") end
end

--- Closes a consumer's channel when no handler needs it for settling, at the latest at `deadline`, by mr.now().
-- @tparam ?consumer self nil: there is none
function subscription.close_behind(self, ch, deadline)
   deadline = deadline or math.huge
   while self and self.running > 0 and ch.handle and C.mr_now() < deadline do loop.sleep(0.05) end
   ch:close()
end

loop.on_close(function()
   for _, consumer in each(consumers) do consumer.meter = nil end -- it ends with the runtime
   consumers = {}
end)

return subscription
