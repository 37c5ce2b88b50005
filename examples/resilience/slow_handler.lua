-- slow_handler: a handler that takes longer than the heartbeat timeout.
-- Run it with: moonrabbit run examples/resilience/slow_handler.lua [SECONDS [HEARTBEAT]]
-- At AMQP_URL, or on memory://. A handler that waits (mr.sleep, a publish, a query) lets the program go on, and one
-- that blocks (a long computation, a C library) does not. Heartbeats come from the I/O thread, so neither costs the
-- connection, unless heartbeat_mode = "loop" asks for a broker that notices a program that hangs. Then the ack at the
-- end of the handler goes nowhere, which the program cannot know yet, and the message comes again.
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
package.path = arg[0]:match "^(.-)[^/]*$" .. "?.lua;" .. package.path
local traffic = require "traffic"

local seconds, heartbeat = tonumber(arg[1]) or 4, tonumber(arg[2]) or 1
local say = traffic.say

local function block() os.execute("sleep " .. seconds) end -- no task of this program runs meanwhile
local function wait() mr.sleep(seconds) end

-- Sends one message through a slow handler and reports the result.
local function try(mode, how, work)
   say("--- heartbeat_mode = %s: a handler that %ss for %g s, heartbeat %d s", mode, how, seconds, heartbeat)
   local lost, deliveries, done = 0, 0, 0
   local conn = mr.connect {
      heartbeat = heartbeat, heartbeat_mode = mode,
      on_event = function(ev)
         if ev.type == "lost" then lost = lost + 1 end
         traffic.tell(ev)
      end,
   }
   local ch = assert(conn:channel())
   local queue = assert(ch:queue_declare { queue = ("slow-%s-%s-%d"):format(mode, how, os.time()) }).queue
   assert(ch:consume(queue, function(msg)
      deliveries = deliveries + 1
      say("the handler begins%s", msg.redelivered and ", again: redelivered" or "")
      if not msg.redelivered then work() end
      local ok, err = msg:ack()
      say("the handler ends: %s", ok and "acked" or "not acked, " .. tostring(err))
      if ok then done = done + 1 end
   end))
   assert(ch:publish("", queue, "slow"))
   local deadline = mr.now() + seconds + 30
   while done == 0 and mr.now() < deadline do mr.sleep(0.05) end
   mr.sleep(heartbeat * 2) -- long enough to notice if the broker closed the connection
   say("result %s/%s: connection lost %d times, delivered %d times, acked %d times", mode, how, lost, deliveries, done)
   ch:queue_delete { queue = queue }
   conn:release()
   return lost, done
end

local good = true
for _, mode in ipairs { "thread", "loop" } do
   for _, case in ipairs { { "wait", wait }, { "block", block } } do
      local how = case[1]
      local lost, done = try(mode, how, case[2])
      local is_expected = done >= 1 and (lost > 0) == (mode == "loop" and how == "block")
      good = good and is_expected
   end
end
say(good and "passed" or "FAILED")
if not good then os.exit(1) end
