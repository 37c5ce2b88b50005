--- verdict: what becomes of a message, by what its handler of mr.consumer returned or raised.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.ffi").C
local copies = require "moonrabbit.copies"
local drain = require "moonrabbit.drain"
local errors = require "moonrabbit.errors"
local log = require "moonrabbit.log"
local loop = require "moonrabbit.loop"
local options = require "moonrabbit.options"
local retry = require "moonrabbit.retry"

local verdict = {}

local ACK, NACK, REJECT, REQUEUE = C.MR_ACK, C.MR_NACK, C.MR_REJECT, C.MR_SETTLE_REQUEUE
local HOLD = 5             -- seconds a message is kept back that could not be copied, before it is given back
local WORDS = { "requeue", "reject", "dead_letter" }

--- What a failed message is retried by when the program does not say.
verdict.policy = retry.exponential { first = 0.5, max = 60, attempts = 8 }

-- Anything as a text; a table may refuse.
local function show(v)
   local ok, text = pcall(tostring, v)
   return ok and type(text) == "string" and text or ("a %s that cannot be shown"):format(type(v))
end

--- For xpcall: what was raised, and from where.
function verdict.trace(why)
   return { raised = why, trace = errors.trace(show(why), 2) }
end

-- Any failure as an error of ours: raised or returned, a string or a table.
local function error_of(why)
   if errors.is(why) then return why end
   local err = errors.new("handler_failed", "message", show(why))
   err.value = why
   return err
end

local function fields_of(consumer, msg, err)
   return { queue = consumer.queue, routing_key = msg.routing_key, tag = msg.delivery_tag, attempt = msg.attempt,
      redelivered = msg.redelivered, kind = err and err.kind, error = err and err.text }
end

local function info_of(consumer, msg, err)
   return { queue = consumer.queue, attempt = msg.attempt, error = err and ("%s: %s"):format(err.kind, err.text) }
end

-- It goes back to its queue, but not at once: nothing may go round in circles.
local function keep_back(msg, seconds)
   local deadline = C.mr_now() + seconds
   while C.mr_now() < deadline and msg.is_live and not drain.is_asked() do
      loop.sleep(math.min(deadline - C.mr_now(), 0.5))
   end
   return NACK, REQUEUE
end

-- It could not be copied.
local function hold(consumer, msg, seconds, err)
   local fields = fields_of(consumer, msg, err)
   fields.delay = seconds
   log.error("a failed message could not be copied; it is kept back, then given back", fields)
   return keep_back(msg, seconds)
end

local function later(consumer, msg, seconds, err)
   local ok, why = copies.delay(msg, seconds, info_of(consumer, msg, err))
   if ok or not msg.is_live then return ACK, 0 end
   return hold(consumer, msg, math.min(math.max(seconds, 1), HOLD), why)
end

-- The end of its tries: among the dead letters, or dropped by its queue.
local function bury(consumer, msg, reason, err, trace)
   local dead = consumer.owner.dead_letter
   if not dead then return REJECT, 0 end
   local info = info_of(consumer, msg, err)
   info.reason, info.trace = reason, trace
   local ok, why = copies.bury(msg, dead, info)
   if ok or not msg.is_live then return ACK, 0 end
   return hold(consumer, msg, HOLD, why)
end

local function elapsed(msg)
   local first = msg.attempt > 1 and tonumber(msg.headers["x-mr-first-failure"])
   return first and math.max(copies.now() - first, 0) / 1000 or 0
end

-- What the policy says of a failure.
local function judge_failure(consumer, msg, err, trace)
   if not msg.is_live then -- lost with its connection, or settled by the handler: nothing is left to decide
      log.warn("handler failed", fields_of(consumer, msg, err))
      return ACK, 0
   end
   local attempt, word = msg.attempt, "stop"
   if consumer.owner.retry then
      word = retry.decide(consumer.owner.retry, { scope = "message", attempt = attempt, err = err, elapsed = elapsed(msg),
         message = msg }, verdict.policy)
      if not msg.is_live then return ACK, 0 end -- settled or lost while the policy thought
   end
   local fields = fields_of(consumer, msg, err)
   if type(word) == "number" then
      fields.delay = word
      log.warn("handler failed; the message comes again", fields)
      return later(consumer, msg, word, err)
   end
   fields.error = trace or fields.error
   fields.dead_letter = (word == "stop" or word == "dead_letter") and consumer.owner.dead_letter or nil
   log.error(({ requeue = "handler failed; the message goes back", drop = "handler failed; the message is dropped" })[word]
      or "handler failed for the last time", fields)
   if word == "requeue" then return NACK, REQUEUE end
   if word == "drop" then return ACK, 0 end
   local reason = word == "stop" and ("the retry policy stopped after %d attempt%s"):format(attempt, attempt == 1 and "" or "s")
      or "the retry policy said dead_letter"
   return bury(consumer, msg, reason, err, trace)
end

-- A handler that returns what means nothing has failed, in a way that trying again does not mend.
local function nonsense(consumer, msg, a)
   local nearest = type(a) == "string" and options.nearest(a, { unpack(WORDS) })
   local err = errors.new("handler_failed", "message", ("the handler returned %s, which means nothing%s"):format(
      type(a) == "string" and ("%q"):format(a) or show(a), nearest and (': did you mean "%s"?'):format(nearest)
      or "; nothing or true acks, nil and an error retries, a word says what"))
   return judge_failure(consumer, msg, err)
end

local words = {
   requeue = function() return NACK, REQUEUE end,
   reject = function() return REJECT, 0 end,
   dead_letter = function(consumer, msg, reason)
      local fields = fields_of(consumer, msg)
      fields.reason, fields.dead_letter = reason and show(reason), consumer.owner.dead_letter or nil
      log.warn("a message goes to the dead letters", fields)
      return bury(consumer, msg, reason and show(reason) or "the handler said dead_letter")
   end,
}

local function judge(consumer, msg, ok, a, b)
   if not ok then
      if type(a) ~= "table" then a = { raised = a } end -- it could not even be traced: the stack was at its end
      return judge_failure(consumer, msg, error_of(a.raised), a.trace)
   end
   if a == true or a == nil and b == nil then return ACK, 0 end
   if (a == nil or a == false) and b ~= nil then return judge_failure(consumer, msg, error_of(b)) end
   if not msg.is_live then return ACK, 0 end
   if words[a] then return words[a](consumer, msg, b) end
   if type(a) == "table" and type(a.retry) == "number" and a.retry >= 0 and a.retry < math.huge then
      return later(consumer, msg, a.retry)
   end
   return nonsense(consumer, msg, a)
end

--- The judge of a consumer: how to settle its message. It may wait; whatever goes wrong in it, the message goes
-- back.
-- @treturn[1] number how, number flags
-- @treturn[2] nil the program settles it
function verdict.judge(consumer, msg, ok, a, b)
   if consumer.is_manual and ok and (a == nil or a == true) and b == nil then return nil end
   local done, how, flags = xpcall(judge, errors.trace, consumer, msg, ok, a, b)
   if done then return how, flags end
   log.error("a message could not be judged; it is kept back, then given back", { queue = consumer.queue, error = how })
   return keep_back(msg, HOLD)
end

return verdict
