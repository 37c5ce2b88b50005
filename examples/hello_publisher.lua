-- hello_publisher: puts messages into the queue "hello" and waits until the broker has them.
-- Run it with: moonrabbit run examples/hello_publisher.lua [COUNT]
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"

local out = mr.publisher {
   routing_key = "hello",                        -- the queue of that name
   topology = mr.topology { queues = { "hello" } }, -- made when it is not there
}
for i = 1, tonumber((...)) or 3 do
   local ok, err = out:publish("hello number " .. i) -- waits for the broker's word
   print(ok and "confirmed: hello number " .. i or "failed: " .. tostring(err))
end
out:close()
