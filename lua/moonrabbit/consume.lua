--- consume: deliveries to handlers: the dispatcher's inner part, and consumers.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.ffi").C
local log = require "moonrabbit.log"
local loop = require "moonrabbit.loop"
local message = require "moonrabbit.message"
local task = require "moonrabbit.task"

local consume = {}

local ACK, NACK = C.MR_ACK, C.MR_NACK
local RELEASE, REQUEUE = C.MR_SETTLE_RELEASE, C.MR_SETTLE_REQUEUE
local new_message = message.new
local traceback = debug.traceback

local consumers = {}           -- by number
local next_number = 0

local Consumer = { __name = "moonrabbit.consumer" }
Consumer.__index = Consumer
function Consumer.__tostring(c) return ("consumer %s of %q (%s)"):format(c.tag, c.queue, c.state) end

--- Handlers at work, over all consumers.
consume.running = 0

local function on_error(why)
   if type(why) == "table" then why = tostring(why) end
   return traceback(why, 2)
end

local function log_failure(consumer, msg, why)
   log.error("handler failed", {
      queue = consumer.queue, exchange = msg.exchange, routing_key = msg.routing_key, tag = msg.delivery_tag,
      redelivered = msg.redelivered, error = why,
   })
end

-- One message through its handler. It is acked when the handler returns and nacked when it fails,
-- unless the handler settled it; either gives the memory back.
local function handle(consumer, d)
   local rt = loop.runtime()
   local msg = new_message(d, consumer.channel)
   consumer.running = consumer.running + 1
   consume.running = consume.running + 1
   local ok, why = xpcall(consumer.handler, on_error, msg)
   consumer.running = consumer.running - 1
   consume.running = consume.running - 1
   if ok then
      C.mr_delivery_settle(rt, d, ACK, RELEASE)
      return
   end
   log_failure(consumer, msg, why)
   C.mr_delivery_settle(rt, d, NACK, REQUEUE + RELEASE)
end

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

local function give_back(d)
   C.mr_delivery_settle(loop.runtime(), d, NACK, REQUEUE + RELEASE)
end

local function run(consumer, d)
   handle(consumer, d)
   if not consumer.concurrency then return end
   -- A place is free: what waits goes before what comes.
   d = take_held(consumer)
   while d do
      handle(consumer, d)
      d = take_held(consumer)
   end
end

local function on_delivery(d)
   local consumer = consumers[d.consumer]
   if not consumer or consumer.returning then return give_back(d) end
   if consumer.iterating then
      hold(consumer, d)
      if consumer.reader then task.wake(consumer.reader, true) end
   elseif consumer.concurrency and consumer.running >= consumer.concurrency then
      hold(consumer, d)
   else
      run(consumer, d)
   end
end
loop.set_delivery(on_delivery)

-- ---- consumers ----

--- A consumer that is not at the broker yet. `handler` nil: it is read by an iterator.
function consume.new(channel, queue, handler, opts)
   next_number = next_number + 1
   local consumer = setmetatable({
      number = next_number, channel = channel, queue = queue, handler = handler, iterating = handler == nil,
      concurrency = opts.concurrency or false, no_ack = opts.no_ack or false, running = 0, held = {},
      held_first = 1, held_last = 0, state = "starting", tag = "", reader = false, returning = false,
   }, Consumer)
   consumers[consumer.number] = consumer
   return consumer
end

--- It is at the broker under this tag.
function consume.started(consumer, tag)
   consumer.tag, consumer.state = tag, "consuming"
   loop.holds = loop.holds + 1
   consumer.holding = true
end

--- It has ended: state "cancelled" (by us or the broker) or "failed" (its channel went, `err`).
function consume.ended(consumer, state, err)
   if consumer.holding then loop.holds = loop.holds - 1 end
   consumer.holding = false
   consumer.state, consumer.err = state, err
   -- An iterator still reads what it holds while the channel can settle it; handlers' holdings go back.
   if not consumer.iterating or state == "failed" then consume.return_held(consumer) end
   consumers[consumer.number] = nil
   if consumer.reader then task.wake(consumer.reader, true) end
end

--- Gives back the deliveries that no handler has seen.
function consume.return_held(consumer)
   local d = take_held(consumer)
   while d do
      give_back(d)
      d = take_held(consumer)
   end
end

--- All consumers, in no order.
function consume.each(fn)
   local list = {}
   for _, consumer in pairs(consumers) do list[#list + 1] = consumer end
   for _, consumer in ipairs(list) do fn(consumer) end
end

function consume.by_number(number) return consumers[number] end

--- Ends the consumer at the broker. What no handler has seen yet goes back to the queue; running
-- handlers finish.
-- @treturn[1] true also when it had ended before
-- @treturn[2] nil, error
function Consumer:cancel()
   if self.state ~= "consuming" then return true end
   self.state = "cancelling"
   self.returning = not self.iterating
   local result, err = self.channel:_cancel(self.tag)
   if self.state == "cancelling" then consume.ended(self, "cancelled", err) end
   if result then return true end
   return nil, err
end

-- ---- iterators ----

local function next_message(consumer)
   while true do
      local d = take_held(consumer)
      if d then
         local msg = new_message(d, consumer.channel, true)
         if consumer.no_ack then message.detach(msg) end
         return msg
      end
      if consumer.state ~= "consuming" and consumer.state ~= "starting" then return nil end
      consumer.reader = task.token()
      task.wait(consumer.reader)
      consumer.reader = false
   end
end

--- The function that a `for` calls: a message, or nil when the consumer has ended (`consumer.err`
-- says why, nil when it was cancelled).
function consume.iterator(consumer)
   return function() return next_message(consumer) end
end

return consume
