--- retry: policies: when to try again.
-- SPDX-License-Identifier: MIT
-- A policy is a function: policy(ctx) -> seconds, or "stop", or "next_host" (at once). `ctx` has scope
-- ("connect"), attempt (1 for the first retry), err and elapsed (seconds since the first failure).
local options = require "moonrabbit.options"

local retry = {}

local STOP = "stop"
local random = math.random

--- Sets the source of chance, a function like math.random without arguments; nil: math.random again.
function retry.set_random(fn) random = fn or math.random end

local function numbers(opts, spec, level)
   local types = {}
   for name in pairs(spec) do types[name] = "number" end
   types.jitter = spec.jitter ~= nil and "boolean" or nil
   opts = options.check(opts, types, nil, level + 1)
   local all = {}
   for name, usual in pairs(spec) do
      local v = opts[name]
      if v == nil then v = usual end
      if type(v) == "number" and name ~= "factor" and v < 0 then
         error(('option "%s" must not be negative'):format(name), level + 1)
      end
      all[name] = v
   end
   all.attempts = opts.attempts
   return all
end

local function is_spent(o, ctx) return o.attempts and ctx.attempt > o.attempts end

--- The same pause each time.
-- @tparam[opt] table opts delay=5 (seconds), attempts (nil: for ever)
-- @treturn function policy
function retry.fixed(opts)
   local o = numbers(opts, { delay = 5, attempts = 0 }, 2)
   return function(ctx) return is_spent(o, ctx) and STOP or o.delay end
end

--- min(start + n * step, max), n from 0.
-- @tparam[opt] table opts start=0, step=2, max=30 (seconds), attempts
-- @treturn function policy
function retry.linear(opts)
   local o = numbers(opts, { start = 0, step = 2, max = 30, attempts = 0 }, 2)
   return function(ctx)
      return is_spent(o, ctx) and STOP or math.min(o.start + (ctx.attempt - 1) * o.step, o.max)
   end
end

--- Pauses that grow by a factor; with jitter anywhere up to that.
-- @tparam[opt] table opts first=0.5, factor=2, max=30 (seconds), attempts, jitter=true
-- @treturn function policy
function retry.exponential(opts)
   local o = numbers(opts, { first = 0.5, factor = 2, max = 30, attempts = 0, jitter = true }, 2)
   if o.factor < 1 then error('option "factor" must be 1 or more', 2) end
   return function(ctx)
      if is_spent(o, ctx) then return STOP end
      local bound = math.min(o.first * o.factor ^ (ctx.attempt - 1), o.max)
      return o.jitter and bound * random() or bound
   end
end

--- Never again.
function retry.never() return STOP end

--- A policy for each kind of error.
-- @tparam table policies { kind = policy, default = policy }
-- @treturn function policy
function retry.by_kind(policies)
   options.argument(1, "policies", policies, "table")
   for kind, policy in pairs(policies) do
      if type(policy) ~= "function" then error(('the policy of "%s" must be a function'):format(tostring(kind)), 2) end
   end
   local default = policies.default or retry.exponential()
   return function(ctx)
      local policy = ctx.err and policies[ctx.err.kind] or default
      return policy(ctx)
   end
end

--- Asks a policy; what is no answer is none.
-- @treturn[1] number seconds, or the word it gave
-- @treturn[2] nil, string what was wrong
function retry.ask(policy, ctx)
   local ok, verdict = pcall(policy, ctx)
   if not ok then return nil, "it raised an error: " .. tostring(verdict) end
   if verdict == STOP or verdict == "next_host" then return verdict end
   if type(verdict) == "number" and verdict >= 0 and verdict < math.huge then return verdict end
   return nil, ("it gave %s"):format(tostring(verdict))
end

return retry
