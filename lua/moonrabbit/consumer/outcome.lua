--- outcome: decides the outcome of a message by the result or error of its handler of mr.consumer.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.base.ffi").C
local copies = require "moonrabbit.redelivery.copy"
local errors = require "moonrabbit.base.errors"
local handling = require "moonrabbit.channel.delivery"
local log = require "moonrabbit.loop.log"
local message = require "moonrabbit.channel.message"
local options = require "moonrabbit.base.options"
local patience = require "moonrabbit.channel.patience"
local put_off = require "moonrabbit.redelivery.put_off"
local retry = require "moonrabbit.loop.retry"
local returns = require "moonrabbit.redelivery.returns"

local outcome = {}

local ACK, NACK, REJECT, REQUEUE = C.MR_ACK, C.MR_NACK, C.MR_REJECT, C.MR_SETTLE_REQUEUE
local WORDS = { "requeue", "reject", "dead_letter" }

--- What the handler of a stream's message gives for success, so that its judge sees it.
outcome.DONE = {}
--- Slots of a message of a stream: its handler is called again; its copy is in the dead letters.
outcome.AGAIN, outcome.BURIED = "_again", "_buried"
local SINCE = "_since" -- when it first failed, in ms since 1970: of a message that is held

--- The default retry policy of messages.
outcome.policy = retry.exponential { first = 0.5, max = 60, attempts = 8 }

--- For xpcall: the raised value and its traceback.
function outcome.trace(why)
   return { raised = why, trace = errors.trace(why, 2) }
end

-- Converts a failure to an error object: raised or returned, a string or a table.
local function error_of(why)
   if errors.is(why) then return why end
   local err = errors.new("handler_failed", "message", errors.words(why))
   err.value = why
   return err
end

local function fields_of(consumer, msg, err)
   local message_id, correlation_id = message.ids(msg)
   return { queue = consumer.queue, routing_key = msg.routing_key, tag = msg.delivery_tag, attempt = msg.attempt,
      message_id = message_id, correlation_id = correlation_id, redelivered = msg.redelivered, kind = err and err.kind,
      error = err and err.text }
end

local function info_of(consumer, msg, err)
   return { queue = consumer.queue, attempt = msg.attempt, error = err and ("%s: %s"):format(err.kind, err.text) }
end

-- Makes a copy of a message, with retries: the message is held in that time, and its handler is not called again.
-- True; or nil, and an error if it can never be copied.
local function insist(consumer, msg, err, copy)
   local ok, why = patience.until_done(msg, copy, function(failure, pause)
      local fields = fields_of(consumer, msg, err)
      fields.delay, fields.kind, fields.reason = pause, failure.kind, failure.text
      log.error("a failed message cannot be copied yet; it is held, and its copy is tried again", fields)
   end)
   return ok, why
end

local judge

-- Does a program that acks by itself mean to?
local function is_left(consumer, ok, a, b)
   return consumer.is_manual and ok and (a == nil or a == true or a == outcome.DONE) and b == nil
end

-- It stays here, and is tried again after its pause, unacked.
local function again_here(consumer, msg, seconds, err)
   if not rawget(msg, SINCE) then rawset(msg, SINCE, copies.now()) end
   copies.count_retry(msg, info_of(consumer, msg, err))
   put_off.note(consumer.queue, seconds, C.mr_now())
   patience.nap(msg, seconds)
   if not msg.is_live or patience.is_over() then return nil end
   rawset(msg, "attempt", msg.attempt + 1)
   rawset(msg, outcome.AGAIN, true)
   local ok, a, b, is_taken = handling.call_again(consumer, msg)
   if is_taken then return nil end
   if is_left(consumer, ok, a, b) then return nil, handling.LEFT end
   return judge(consumer, msg, ok, a, b)
end

local function tell_held(consumer, msg, seconds, err, why)
   local fields = fields_of(consumer, msg, err)
   fields.delay, fields.kind, fields.reason = seconds, why.kind, why.text
   log.error("a failed message can never be copied; it is held, and tried again here", fields)
end

-- A message of a stream is never copied for another try: the copy would be one for all readers.
local function later(consumer, msg, seconds, err)
   if msg.offset then return again_here(consumer, msg, seconds, err) end
   local exit, refused = returns.of(consumer.owner)
   if not exit then
      tell_held(consumer, msg, seconds, err, refused)
      return again_here(consumer, msg, seconds, err)
   end
   local info = info_of(consumer, msg, err)
   info.exit = exit
   local ok, why = insist(consumer, msg, err, function()
      local done, failure = copies.delay(msg, seconds, info)
      if not done and failure.kind == "access_refused" then failure.is_final = true end -- no permission to declare them
      return done, failure
   end)
   if ok then return ACK, 0 end
   if not why then return nil end
   tell_held(consumer, msg, seconds, err, why)
   return again_here(consumer, msg, seconds, err)
end

-- Its queue's own dead letter exchange has it, if any; a stream keeps it.
local function drop(msg)
   if msg.offset then return ACK, 0 end
   return REJECT, 0
end

-- No attempts are left: the message goes to the dead letters, or is rejected.
local function bury(consumer, msg, reason, err, trace)
   local dead = consumer.owner.dead_letter
   if not dead then return drop(msg) end
   local info = info_of(consumer, msg, err)
   info.first_failure = rawget(msg, SINCE)
   info.reason, info.trace, info.arguments = reason, trace, consumer.owner.companions
   local ok, why = insist(consumer, msg, err, function() return copies.bury(msg, dead, info) end)
   if ok then
      if msg.offset then rawset(msg, outcome.BURIED, true) end
      return ACK, 0
   end
   if not why then return nil end
   local fields = fields_of(consumer, msg, err)
   fields.kind, fields.reason = why.kind, why.text
   log.error("a dead letter can never be copied; it is rejected, and its queue's own dead letter exchange has it, if any",
      fields)
   return drop(msg)
end

local function elapsed(msg)
   local since = rawget(msg, SINCE)
   if since then return math.max(copies.now() - since, 0) / 1000 end
   local first = msg.attempt > 1 and tonumber(msg.headers["x-mr-first-failure"])
   return first and math.max(copies.now() - first, 0) / 1000 or 0
end

-- The policy's verdict on a failure.
local function judge_failure(consumer, msg, err, trace)
   if not msg.is_live then -- lost with its connection, or settled by the handler: nothing is left to decide
      log.warn("handler failed", fields_of(consumer, msg, err))
      return ACK, 0
   end
   local attempt, word = msg.attempt, "stop"
   if consumer.owner.retry then
      word = retry.decide(consumer.owner.retry, { scope = "message", attempt = attempt, err = err, elapsed = elapsed(msg),
         message = msg }, outcome.policy)
      if not msg.is_live then return ACK, 0 end -- settled or lost while the policy ran
   end
   local fields = fields_of(consumer, msg, err)
   if type(word) == "number" then
      fields.delay = word
      log.warn("handler failed; the message comes again", fields)
      return later(consumer, msg, word, err)
   end
   fields.error = trace or fields.error
   fields.dead_letter = (word == "stop" or word == "dead_letter") and consumer.owner.dead_letter or nil
   if msg.offset then fields.offset = msg.offset end
   local goes_back, is_dropped = word == "requeue" and not msg.offset, word == "drop"
   log.error(goes_back and "handler failed; the message goes back" or is_dropped and "handler failed; the message is dropped"
      or "handler failed for the last time", fields)
   if goes_back then return NACK, REQUEUE end
   if is_dropped then return ACK, 0 end
   local reason = word == "stop" and ("the retry policy stopped after %d attempt%s"):format(attempt, attempt == 1 and "" or "s")
      or "the retry policy said " .. word
   return bury(consumer, msg, reason, err, trace)
end

-- A handler that returns an invalid value has failed, and another attempt does not help.
local function nonsense(consumer, msg, a)
   local nearest = type(a) == "string" and options.nearest(a, { unpack(WORDS) })
   local err = errors.new("handler_failed", "message", ("the handler returned %s, which means nothing%s"):format(
      type(a) == "string" and ("%q"):format(a) or errors.words(a), nearest and (': did you mean "%s"?'):format(nearest)
      or '; nothing or true acks, nil and an error retries, and the words are "requeue", "reject" and "dead_letter"'))
   return judge_failure(consumer, msg, err)
end

local words = {
   requeue = function(consumer, msg)
      if msg.offset then return judge_failure(consumer, msg, message.not_of_streams "put back into it") end
      return NACK, REQUEUE
   end,
   reject = function(consumer, msg)
      if msg.offset then return judge_failure(consumer, msg, message.not_of_streams "rejected") end
      return REJECT, 0
   end,
   dead_letter = function(consumer, msg, reason)
      local fields = fields_of(consumer, msg)
      fields.reason, fields.dead_letter = reason and errors.words(reason), consumer.owner.dead_letter or nil
      log.warn("a message goes to the dead letters", fields)
      return bury(consumer, msg, reason and errors.words(reason) or "the handler said dead_letter")
   end,
}

function judge(consumer, msg, ok, a, b)
   if not ok then
      if type(a) ~= "table" then a = { raised = a } end -- without a traceback, because the stack had overflowed
      return judge_failure(consumer, msg, error_of(a.raised), a.trace)
   end
   if a == true or a == outcome.DONE or a == nil and b == nil then return ACK, 0 end
   if (a == nil or a == false) and b ~= nil then return judge_failure(consumer, msg, error_of(b)) end
   if not msg.is_live then return ACK, 0 end
   if words[a] then return words[a](consumer, msg, b) end
   if type(a) == "table" and type(a.retry) == "number" and a.retry >= 0 and a.retry < math.huge then
      return later(consumer, msg, a.retry)
   end
   return nonsense(consumer, msg, a)
end

--- The judge of a consumer: decides how to settle its message. It may wait; if it fails, the message is held.
-- @treturn[1] number how, number flags
-- @treturn[2] nil do not settle it: the program does that, or the broker delivers it again
function outcome.judge(consumer, msg, ok, a, b)
   if is_left(consumer, ok, a, b) then return nil end
   local how, flags
   local is_judged = patience.until_done(msg, function()
      local done
      done, how, flags = xpcall(judge, errors.trace, consumer, msg, ok, a, b)
      if done then return true end
      return nil, errors.new("handler_failed", "message", how)
   end, function(err, pause)
      log.error("a message could not be judged; it is held, and judged again", { queue = consumer.queue, error = err.text,
         delay = pause })
   end)
   if is_judged then return how, flags end
   return nil
end

return outcome
