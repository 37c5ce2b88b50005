-- hello: one script that publishes three messages and consumes them.
-- Run it with: moonrabbit run examples/hello.lua
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"

local conn = mr.connect()                        -- AMQP_URL, or memory://: the broker inside the process
local ch = assert(conn:channel())
local queue = assert(ch:queue_declare { exclusive = true }).queue
assert(ch:confirm_select())                      -- from here on `publish` waits for the broker's word

local left = 3
assert(ch:consume(queue, function(msg)
   print("received:  " .. msg.body)              -- returning acks; an error would give it back
   left = left - 1
   if left == 0 then mr.stop() end               -- the last one: finish, flush, close, exit 0
end))

for i = 1, left do
   assert(ch:publish("", queue, "hello number " .. i))
   print("confirmed: hello number " .. i)
end

print("through " .. conn.host)
