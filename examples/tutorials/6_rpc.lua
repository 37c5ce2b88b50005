-- 6_rpc: a request and its answer: Fibonacci numbers from a server.
-- Run it with: moonrabbit run examples/tutorials/6_rpc.lua
-- On RabbitMQ each side can run alone: ... server (as many as you like), ... call [N]
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local side, n = ...                              -- "server" or "call"; nothing: both
local QUEUE = "tutorial.fibonacci"

local function fibonacci(i) return i < 2 and i or fibonacci(i - 1) + fibonacci(i - 2) end

if side ~= "call" then
   assert(mr.rpc.serve {
      queue = QUEUE,
      handler = function(request)                -- its result is the answer; nil and a text are an error
         if type(request) ~= "number" or request < 0 or request > 32 then return nil, "a number from 0 to 32, please" end
         return fibonacci(request)
      end,
   })
   if side then print "waiting for questions; Ctrl-C stops" end
end

if side ~= "server" then
   local function ask(number)                     -- a number is sent as JSON, and comes back as a number
      local answer, err = mr.rpc.call(QUEUE, number, { timeout = 5 }) -- one deadline for the whole call
      print(("fibonacci(%d) = %s"):format(number, tostring(answer or err)))
   end
   ask(tonumber(n) or 30)
   if not side then ask(-1) end
   mr.stop()
end
