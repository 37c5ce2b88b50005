--- retry: policies: functions that decide when to try again.
-- SPDX-License-Identifier: MIT
-- A policy is a function: policy(ctx) -> verdict. `ctx` has scope ("connect", "channel", "topology",
-- "publish", "message"), attempt (the number of failed attempts: 1 after the first), err, elapsed (seconds since
-- the first failure) and, in the scopes publish and message, the message.
-- A verdict is a number of seconds, or "stop"; in the scope connect also "next_host" (at once), in the scope
-- message also "requeue", "dead_letter" and "drop".
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"
local merged = require "moonrabbit.base.merged"
local options = require "moonrabbit.base.options"
local task = require "moonrabbit.loop.task"

local retry = {}

local STOP = "stop"
local PATIENCE = 1 -- seconds for the answer of a policy; the engine waits as long
local random = math.random

local WORDS = {
   connect = { stop = true, next_host = true },
   channel = { stop = true }, topology = { stop = true }, publish = { stop = true },
   message = { stop = true, requeue = true, dead_letter = true, drop = true },
}

--- Sets the random function, like math.random without arguments; nil: math.random again.
function retry.set_random(fn) random = fn or math.random end

-- Checks options that are non-negative numbers, with their defaults; also attempts, total and the options in `more`.
local function settings(opts, usual, more)
   local spec = merged({ attempts = "number", total = "number" }, more)
   for name in each(usual) do spec[name] = "number" end
   opts = options.check(opts, spec)
   options.whole("attempts", opts.attempts, 1, 2 ^ 53)
   for name, v in each(opts) do
      if type(v) == "number" and (v < 0 or v ~= v) then
         options.blame(('option "%s" must not be negative'):format(name))
      end
      if v == math.huge and name ~= "max" and name ~= "total" then
         options.blame(('option "%s" must be finite'):format(name))
      end
   end
   return merged(usual, opts)
end

local function is_spent(o, ctx)
   return o.attempts and ctx.attempt >= o.attempts or o.total and (ctx.elapsed or 0) >= o.total
end

--- The same pause each time.
-- @tparam[opt] table opts delay=5 (seconds), attempts (total number of attempts; default: no limit), total (seconds since the
-- first failure after which it stops; default: no limit)
-- @treturn function policy
function retry.fixed(opts)
   local o = settings(opts, { delay = 5 })
   return function(ctx) return is_spent(o, ctx) and STOP or o.delay end
end

--- min(start + n * step, max), n from 0.
-- @tparam[opt] table opts start=0 (seconds), step=2 (seconds), max=30 (seconds), attempts (total number of attempts; default:
-- no limit), total (seconds since the first failure after which it stops; default: no limit)
-- @treturn function policy
function retry.linear(opts)
   local o = settings(opts, { start = 0, step = 2, max = 30 })
   return function(ctx)
      return is_spent(o, ctx) and STOP or math.min(o.start + (ctx.attempt - 1) * o.step, o.max)
   end
end

--- Pauses that grow by a factor; with jitter a random time up to that.
-- @tparam[opt] table opts first=0.5 (seconds of the first pause), factor=2 (1 or more: multiplies each
-- pause), max=30 (seconds), attempts (total number of attempts; default: no limit), total (seconds since the first failure
-- after which it stops; default: no limit), jitter (false: exact pauses; default: true, but not for messages, because each
-- delay needs a queue), random (a function like math.random, for the jitter; default: that of set_random)
-- @treturn function policy
function retry.exponential(opts)
   local o = settings(opts, { first = 0.5, factor = 2, max = 30 }, { jitter = "boolean", random = "function" })
   if o.factor < 1 then options.blame('option "factor" must be 1 or more') end
   return function(ctx)
      if is_spent(o, ctx) then return STOP end
      local bound = math.min(o.first * o.factor ^ (ctx.attempt - 1), o.max)
      local spreads = o.jitter
      if spreads == nil then spreads = ctx.scope ~= "message" end
      return spreads and bound * (o.random or random)() or bound
   end
end

--- A policy (not a constructor) that never retries.
-- @treturn string "stop"
function retry.never() return STOP end

--- A policy for each kind of error.
-- @tparam table policies { kind = policy, default = policy }
-- @treturn function policy
function retry.by_kind(policies)
   options.argument(1, "policies", policies, "table")
   for kind, policy in each(policies) do
      if type(policy) ~= "function" then options.blame(('the policy of "%s" must be a function'):format(tostring(kind))) end
   end
   local default = policies.default or retry.exponential()
   return function(ctx)
      local policy = ctx.err and policies[ctx.err.kind] or default
      return policy(ctx)
   end
end

local function is_verdict(verdict, scope)
   if type(verdict) == "number" then return verdict >= 0 and verdict < math.huge end
   return type(verdict) == "string" and (WORDS[scope or "connect"] or WORDS.channel)[verdict] or false
end

--- Calls a policy and checks that its verdict is valid in the scope. If the policy waits, the caller waits.
-- @treturn[1] number seconds, or a word
-- @treturn[2] nil, string what was wrong
function retry.ask(policy, ctx)
   local ok, verdict = pcall(policy, ctx)
   if not ok then return nil, "it raised an error: " .. errors.words(verdict) end
   if is_verdict(verdict, ctx.scope) then return verdict end
   return nil, ("it gave %s"):format(type(verdict) == "string" and ("%q"):format(verdict) or errors.words(verdict))
end

-- The verdict of a policy within its time limit; a policy that never returns is abandoned.
local function ask_in_time(policy, ctx)
   local token = task.token()
   local answer
   task.background(function()
      local verdict, why = retry.ask(policy, ctx)
      answer = { verdict, why }
      task.wake(token, true)
   end)
   if not answer and not loop.wait(token, PATIENCE) then return nil, ("it gave no answer within %d s"):format(PATIENCE) end
   return answer[1], answer[2]
end

--- Calls the program's policy. If it raises an error, returns an invalid verdict or hangs, that is logged, and the built-in
-- policy decides.
-- @tparam ?function policy nil: only the built-in one
-- @tparam table ctx the policy's argument: scope, attempt, err, elapsed, message
-- @tparam function builtin the policy that decides instead
-- @treturn number|string verdict
function retry.decide(policy, ctx, builtin)
   local why
   if policy then
      local verdict
      verdict, why = ask_in_time(policy, ctx)
      if verdict then return verdict end
      log.error("the retry policy gave no answer; the built-in one decides", { scope = ctx.scope, attempt = ctx.attempt,
         error = why })
   end
   return builtin(ctx)
end

return retry
