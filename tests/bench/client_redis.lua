--- client_redis: Moonrabbit on Redis, for tests/bench/redis.sh.
-- SPDX-License-Identifier: MIT
--
--   moonrabbit run client_redis.lua publish|consume|roundtrip URL COUNT     prints as client_kombu.py does
local mr = require "moonrabbit"

local mode, url, count = arg[1], arg[2], tonumber(arg[3])
local body, times = ("x"):rep(100), {}
local conn = mr.connect(url)
local ch = assert(conn:channel())
assert(ch:queue_declare { queue = "bench", durable = true })
assert(ch:confirm_select())
assert(ch:qos { prefetch_count = 100 })
local began, done = mr.now(), mr.event()

local function publish() assert(ch:publish_async("", "bench", body, { content_type = "text/plain", content_encoding = "utf-8" })) end

if mode == "publish" then
   for _ = 1, count do publish() end
   assert(ch:wait_for_confirms(120))
elseif mode == "consume" then
   local left = count
   assert(ch:consume("bench", function(msg)
      msg:ack()
      left = left - 1
      if left == 0 then done:set() end
   end))
   assert(done:wait(300))
else
   local last = mr.now()
   assert(ch:consume("bench", function(msg)
      msg:ack()
      local now = mr.now()
      times[#times + 1] = now - last
      last = mr.now()
      if #times < count then publish() else done:set() end
   end))
   publish()
   assert(done:wait(300))
end
local took = mr.now() - began
table.sort(times)
print(("%.0f %.0f"):format(count / took, (times[math.floor(#times / 2) + 1] or 0) * 1e6))
conn:close()
