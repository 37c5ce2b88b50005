-- retry_policy: a program's own rules: what to try again, when, and how often.
-- Run it with: moonrabbit run examples/retry_policy.lua
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local QUEUE = "example.payments"

local left = 4                                   -- payments; only so that the example ends
local function over(word)
   left = left - 1
   if left == 0 then mr.stop() end               -- running handlers finish first
   return word
end

-- A policy gets the failure (scope, attempt, err, elapsed, message) and returns seconds, or a word.
local function policy(ctx)
   if ctx.err.text:find "card refused" then return over "dead_letter" end -- another try would change nothing
   if ctx.err.text:find "bank is busy" then return 0.2 * ctx.attempt end  -- 0.2 s, 0.4 s, 0.6 s...
   if ctx.attempt == 1 then return 0.1 end       -- unknown errors: once more
   return over "drop"
end

local function pay(msg)
   if msg.body == "with a stolen card" then return nil, "card refused" end
   if msg.body == "in the rush hour" and msg.attempt < 3 then return nil, "bank is busy" end
   if msg.body == "of -1" then return nil, "what?" end
   return over(true)
end

mr.consumer {
   queue = QUEUE,
   retry = policy,
   handler = function(msg)
      local ok, why = pay(msg)
      print(("payment %s, try %d: %s"):format(msg.body, msg.attempt, ok and "done" or why))
      return ok, why                             -- nil and an error: the policy decides
   end,
}

local ch = assert(mr.connect():channel())
assert(ch:queue_declare { queue = QUEUE, durable = true })
assert(ch:confirm_select())
for _, body in ipairs { "at noon", "in the rush hour", "with a stolen card", "of -1" } do
   assert(ch:publish("", QUEUE, body))
end
mr.on_stop(function()
   print("dead letters: " .. assert(ch:queue_declare { queue = QUEUE .. ".dead", passive = true }).message_count)
end)
