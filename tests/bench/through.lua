--- through: publishes and consumes in one process, Lua at both ends; prints messages per second.
-- SPDX-License-Identifier: MIT
--
--   moonrabbit run tests/bench/through.lua URL [MESSAGES [BODY [ROUNDS]]]
--
-- Publishing (with or without confirms) and consuming with an ack for each message, at once, on two
-- connections. What is printed: URL, mode, messages, seconds and messages per second of each round.
local mr = require "moonrabbit"

local url, messages, size, rounds = ...
messages, size, rounds = tonumber(messages or 100000), tonumber(size or 100), tonumber(rounds or 3)
local body = ("x"):rep(size)
local scheme = url:match "^%a+"

local function round(mode)
   local out = assert(mr.connect(url):channel())
   local into = assert(mr.connect(url):channel())
   if mode == "confirmed" then assert(out:confirm_select()) end
   local queue = assert(into:queue_declare { exclusive = true }).queue
   local q = assert(mr.connect(url):channel())
   assert(into:qos { prefetch_count = 1000 })
   local seen, begun = 0, mr.now()
   assert(into:consume(queue, function() seen = seen + 1 end))
   -- An exclusive queue is its connection's: only publishing is open to the other.
   for _ = 1, messages do assert(out:publish_async("", queue, body)) end
   if mode == "confirmed" then assert(out:wait_for_confirms(120)) end
   while seen < messages do mr.sleep(0.001) end
   local seconds = mr.now() - begun
   print(("%s\t%s\t%d\t%.3f\t%.0f"):format(scheme, mode, messages, seconds, messages / seconds))
   for _, ch in ipairs { out, into, q } do ch.connection:release() end
end

for _, mode in ipairs { "unconfirmed", "confirmed" } do
   for _ = 1, rounds do round(mode) end
end
mr.stop()
