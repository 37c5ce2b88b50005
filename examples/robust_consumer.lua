-- robust_consumer: consumes "task_queue" and keeps running, whatever happens to the broker or the network.
-- Run it with: moonrabbit run examples/robust_consumer.lua, with AMQP_URL for RabbitMQ. Ctrl-C or SIGTERM stops it.
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local pause = tonumber(mr.args.pause) or 5       -- --set pause=SECONDS

local conn = mr.connect {
   name = "robust_consumer", heartbeat = 600, blocked_connection_timeout = 300,
   retry = mr.retry.fixed { delay = pause },     -- no limit, also before the broker has started
}

mr.consumer {
   queue = "task_queue", connection = conn,      -- durable; declared at every connect, like everything
   prefetch = 1,                                 -- one task at a time
   retry = function()                            -- a task that failed goes back, but not at once
      mr.sleep(0.5)
      return "requeue"
   end,
   handler = function(msg)                       -- returning acks, an error asks `retry`
      print("processing " .. msg.body)
      mr.sleep(tonumber(msg.body:match "sleep (%S+)") or 0)
      if msg.body:find "fail" and not msg.redelivered then error "the task failed" end
      print("done " .. msg.body)
   end,
}
mr.every(tonumber(mr.args.every) or 30, function() print("connected: " .. tostring(conn.is_open)) end)
