-- 1_hello: one side puts a message into a queue, the other takes it out.
-- Run it with: moonrabbit run examples/tutorials/1_hello.lua
-- On RabbitMQ each side can run in its own terminal: ... 1_hello.lua receive, ... 1_hello.lua send [TEXT]
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local side, text = ...                           -- "receive" or "send"; nothing: both

if side ~= "send" then
   mr.consumer {
      queue = "tutorial.hello",                  -- durable, declared if missing
      handler = function(msg)                    -- returning acks the message
         print("received " .. msg.body)
         if not side then mr.stop() end          -- only so that the example ends
      end,
   }
end

if side ~= "receive" then
   local ch = assert(mr.connect():channel())     -- AMQP_URL, or memory://: the broker inside the process
   assert(ch:queue_declare { queue = "tutorial.hello", durable = true }) -- both sides declare it, in any order
   assert(ch:confirm_select())                   -- from here on `publish` waits for the confirm
   assert(ch:publish("", "tutorial.hello", text or "Hello World!")) -- "": straight to the queue of that name
   print("sent " .. (text or "Hello World!"))
   if side then mr.stop() end
end
