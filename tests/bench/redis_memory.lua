--- redis_memory: millions of messages through Redis and back in one process, and its memory on the way.
-- SPDX-License-Identifier: MIT
-- STORE=redis://127.0.0.1:6379/9 moonrabbit run tests/bench/redis_memory.lua; TOTAL is the number of messages.
local mr = require "moonrabbit"

local TOTAL = tonumber(os.getenv "TOTAL") or 5000000
local AHEAD = 5000 -- messages in the queue at most
local QUEUE = "mr-bench-memory"

local conn = mr.connect(assert(os.getenv "STORE", "STORE must be the URL of a Redis"))
local began, got = mr.now(), 0

local function resident() -- MiB
   for line in io.lines "/proc/self/status" do
      local kb = line:match "^VmRSS:%s+(%d+)"
      if kb then return kb / 1024 end
   end
end

local function count()
   got = got + 1
   if got % 250000 == 0 then
      print(("%d messages, %.1f MiB, of which Lua has %.1f; %.0f messages/s"):format(got, resident(), collectgarbage "count" / 1024,
         got / (mr.now() - began)))
      io.stdout:flush()
   end
   if got == TOTAL then mr.stop() end
end

mr.spawn(function()
   local input, output = assert(conn:channel()), assert(conn:channel())
   assert(input:queue_declare { queue = QUEUE, durable = true })
   assert(input:qos { prefetch_count = 500 })
   assert(input:consume(QUEUE, function(msg)
      assert(msg:ack())
      count()
   end))
   assert(output:confirm_select())
   local body = ("x"):rep(100)
   for i = 1, TOTAL do
      while i - got > AHEAD do mr.sleep(0.001) end
      assert(output:publish_async("", QUEUE, body))
   end
end)
