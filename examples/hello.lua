-- hello: one script that publishes three messages and consumes them.
-- Run it with: moonrabbit run examples/hello.lua
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"

local left = 3
mr.consumer {                                    -- at AMQP_URL, or memory://: the broker inside the process
   queue = "hello",                              -- durable, declared if missing
   handler = function(msg)
      print("received:  " .. msg.body)           -- returning acks; an error: another try later
      left = left - 1
      if left == 0 then mr.stop() end            -- the last one: finish, flush, close, exit 0
   end,
}

local out = mr.publisher { routing_key = "hello", topology = mr.topology { queues = { "hello" } } }
for i = 1, 3 do
   assert(out:publish("hello number " .. i))     -- waits until the broker has it
   print("confirmed: hello number " .. i)
end
