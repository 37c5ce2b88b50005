-- hello_publisher: puts messages into the queue "hello" and waits until the broker has them.
-- Run it with: moonrabbit run examples/hello_publisher.lua [COUNT]
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"

local out = mr.publisher {
   routing_key = "hello",                        -- the queue of that name
   topology = mr.topology { queues = { "hello" } }, -- declared if missing
}
for i = 1, tonumber((...)) or 3 do
   local ok, err = out:publish("hello number " .. i) -- waits for the confirm
   print(ok and "confirmed: hello number " .. i or "failed: " .. tostring(err))
end
out:close()
