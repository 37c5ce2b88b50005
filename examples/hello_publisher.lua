-- hello_publisher: puts messages into the queue "hello" and waits until the broker has them.
-- Run it with: moonrabbit run examples/hello_publisher.lua [COUNT]
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"

local count = tonumber((...)) or 3

local conn = mr.connect()
local ch = assert(conn:channel())
assert(ch:queue_declare { queue = "hello" })
assert(ch:confirm_select())                      -- from here on `publish` waits for the broker's word

for i = 1, count do
   local ok, err = ch:publish("", "hello", "hello number " .. i)
   print(ok and "confirmed: hello number " .. i or "failed: " .. tostring(err))
end

conn:close()
