-- hello_consumer: takes messages off the queue "hello" and prints them.
-- Run it with: moonrabbit run examples/hello_consumer.lua
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"

local conn = mr.connect()                        -- AMQP_URL, or memory://
local ch = assert(conn:channel())                -- connects now; the C library beats from here on
assert(ch:queue_declare { queue = "hello" })
assert(ch:qos { prefetch_count = 100 })          -- at most 100 messages ahead of us

assert(ch:consume("hello", function(msg)
   print("received: " .. msg.body)               -- returning acks; an error would give it back
end))

print "waiting for messages; Ctrl-C stops"
