--- delivery: calls the handler of a delivery, counts it, and settles the message by the result.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.base.ffi").C
local errors = require "moonrabbit.base.errors"
local host = require "moonrabbit.loop.host"
local late = require "moonrabbit.channel.late"
local ledger = require "moonrabbit.channel.ledger"
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"
local marks = require "moonrabbit.loop.mark"
local message = require "moonrabbit.channel.message"
local observer = require "moonrabbit.channel.observer"
local patience = require "moonrabbit.channel.patience"
local task = require "moonrabbit.loop.task"
local time_limit = require "moonrabbit.loop.time_limit"
local timing = require "moonrabbit.channel.timing"

local handling = {}

local ACK, NACK, REJECT = C.MR_ACK, C.MR_NACK, C.MR_REJECT
local REDELIVERED, band = C.MR_DELIVERY_REDELIVERED, bit.band
local RELEASE, REQUEUE = C.MR_SETTLE_RELEASE, C.MR_SETTLE_REQUEUE
local SLOW = 0.5 -- seconds: a longer handler may have been too slow for its broker
local new_message, FAILED, HELD = message.new, message.FAILED, message.HELD

--- Instead of flags: the message is not to be settled, the program does that, though its handler had failed before.
handling.LEFT = "left"
local LEFT = handling.LEFT

--- The number of running handlers of all consumers.
handling.running = 0
-- Handlers that were running when the generation last changed; see handling.watch.
local generation, of_old = 0, 0

local function log_failure(consumer, msg, why, began)
   local message_id, correlation_id = message.ids(msg)
   log.error("handler failed", { message_id = message_id, correlation_id = correlation_id,
      queue = consumer.queue, exchange = msg.exchange, routing_key = msg.routing_key, tag = msg.delivery_tag,
      redelivered = msg.redelivered, seconds = math.floor((C.mr_now() - began) * 1000) / 1000, error = errors.words(why),
   })
end

local function log_processing(consumer, msg)
   log.debug("processing", { queue = consumer.queue, tag = msg.delivery_tag, exchange = msg.exchange,
      routing_key = msg.routing_key, redelivered = msg.redelivered })
end

-- msg:retry or msg:dead_letter failed, and the handler ignored it: the copy is tried again, while the message is held. It is
-- not requeued, because each round would count against it.
local function insist(consumer, msg, err)
   local function tell(why, pause)
      log.error("a message cannot be copied yet; it is held, and its copy is tried again", { queue = consumer.queue,
         tag = msg.delivery_tag, kind = why.kind, reason = why.text, delay = pause })
   end
   local ok, why = patience.until_done(msg, err.again, tell)
   if ok then return ACK, 0 end
   if not why then return nil end
   log.error("a message can never be copied; it is rejected", { queue = consumer.queue, tag = msg.delivery_tag,
      kind = why.kind, reason = why.text })
   return REJECT, 0
end

-- A message of a stream cannot go back: it is held, and its handler is called again.
local function again(consumer, msg)
   local ok = patience.until_done(msg, function()
      local done, a, b = handling.call_again(consumer, msg)
      if done and not (b ~= nil and b == rawget(msg, FAILED)) then return true end
      return nil, errors.new("handler_failed", "message", errors.words(done and b or a))
   end, function(err, pause)
      log.error("handler failed; the message of a stream is held, and handled again", { queue = consumer.queue,
         offset = msg.offset, error = err.text, delay = pause })
   end)
   if ok then return ACK, 0 end
   return nil
end

-- Decides how to settle the message after its handler: how, and the flags. The judge of a consumer (mr.consumer) decides
-- about everything except plain success.
local function outcome(consumer, msg, ok, a, b, began)
   if rawget(msg, FAILED) == HELD then
      if not ok then log_failure(consumer, msg, a, began) end
      return nil
   end
   if consumer.judge then return consumer.judge(consumer, msg, ok, a, b) end
   if ok and b ~= nil and b == rawget(msg, FAILED) then
      if b.is_of_stream then return again(consumer, msg) end
      return insist(consumer, msg, b)
   end
   if ok then return ACK, 0 end
   log_failure(consumer, msg, a, began)
   if msg.offset then return again(consumer, msg) end
   return NACK, REQUEUE
end

-- A message was handled: checks whether that was in time. The count of a message that is delivered again is kept.
local function mind_time(consumer, d, msg, began, now)
   local epoch = consumer.channel.epoch
   if epoch and d.epoch ~= epoch then
      if late.look(consumer, d, msg, began) then return end
   elseif now and now - began > SLOW then
      late.note(consumer, d, msg, now - began)
   end
   if ledger.count > 0 and consumer.judge then ledger.forget(ledger.key(msg, consumer.queue)) end
end

-- What a handler says of a message, within its time limit. When it says nothing: HELD, or the error of what it did not heed.
local function call(consumer, msg)
   local ok, a, b
   if consumer.time_limit then
      ok, a, b = xpcall(time_limit.run, consumer.trace, consumer, msg)
      marks.mark.deadline = 0
   else
      ok, a, b = xpcall(consumer.handler, consumer.trace, msg)
   end
   if ok and a == nil and b == nil then b = rawget(msg, FAILED) end
   return ok, a, b
end

--- Calls a handler once more with a message that it failed with. What it gives, and whether the message was taken over.
function handling.call_again(consumer, msg)
   rawset(msg, FAILED, nil)
   local ok, a, b = call(consumer, msg)
   return ok, a, b, rawget(msg, FAILED) == HELD
end

-- One message through its handler. It is acked when the handler returns and nacked when it fails,
-- unless the handler settled it; either gives the memory back.
function handling.handle(consumer, d)
   local rt = loop.current()
   local msg = new_message(d, consumer.channel, consumer.is_manual)
   local turn = timing.is_quick and loop.turns
   local born, began = generation, turn and loop.now or C.mr_now() -- and `consumer`, `msg`: see inflight
   local era = host.apart and task.era
   consumer.running = consumer.running + 1
   handling.running = handling.running + 1
   local mark = marks.mark
   mark.consumer, mark.turn = consumer.number, mark.turn + 1
   if log.is_debug then log_processing(consumer, msg) end
   local ok, a, b
   local failure, entry, visit
   if ledger.count > 0 then failure, entry = late.verdict(consumer, msg) end
   if consumer.enter and not failure and band(d.flags, REDELIVERED) ~= 0 then failure, visit = consumer.enter(consumer, msg) end
   if failure then ok, a, b = true, nil, failure else ok, a, b = call(consumer, msg) end
   local how, flags = ACK, 0
   if era then task.end_if_gone(era) end
   if not ok or a ~= nil or b ~= nil or consumer.is_manual then how, flags = outcome(consumer, msg, ok, a, b, began) end
   if era then task.end_if_gone(era) end
   if entry then late.judged(d, entry, how) end
   if visit then consumer.leave(visit) end
   mark.consumer, mark.turn = 0, mark.turn + 1
   consumer.running = consumer.running - 1
   handling.running = handling.running - 1
   if born ~= generation then of_old = of_old - 1 end
   local failed = not ok or b ~= nil and b ~= HELD and consumer.judge and not a
   local now
   if turn == loop.turns and not failed then timing.count(consumer)
   else now = C.mr_meter_handled(consumer.meter, began, failed and true or false) end
   if observer.handled then observer.handled(consumer, d, msg, how, flags, began, ok, a, b) end
   if how then
      if how == ACK and not failed and not consumer.is_manual then mind_time(consumer, d, msg, began, now) end
      if not consumer.is_manual or message.is_held(msg) then C.mr_delivery_settle(rt, d, how, flags + RELEASE) end
   elseif not consumer.is_manual or failed and flags ~= LEFT then
      message.detach(msg) -- it is not settled: it comes again by itself
   end
end

--- Returns a function that is true when every handler that runs now has ended.
function handling.watch()
   generation, of_old = generation + 1, handling.running
   return function() return of_old <= 0 end
end

loop.on_close(function() handling.running = 0 end)

return handling
