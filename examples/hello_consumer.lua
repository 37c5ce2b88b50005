-- hello_consumer: takes messages off the queue "hello" and prints them.
-- Run it with: moonrabbit run examples/hello_consumer.lua
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"

mr.consumer {                                    -- at AMQP_URL, or memory://
   queue = "hello",                              -- declared if missing
   prefetch = 100,                               -- at most 100 messages ahead of us
   handler = function(msg)
      print("received: " .. msg.body)            -- returning acks; an error: another try later
   end,
}

print "waiting for messages; Ctrl-C stops"
