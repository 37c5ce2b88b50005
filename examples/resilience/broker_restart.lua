-- broker_restart: the broker stops, is down for some seconds, and comes back.
-- Run it with: moonrabbit run examples/resilience/broker_restart.lua [SECONDS]
-- Without AMQP_URL it restarts a `moonrabbit broker` of its own, which keeps nothing on disk; with it, you restart
-- the broker.
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
package.path = arg[0]:match "^(.-)[^/]*$" .. "?.lua;" .. package.path
local traffic = require "traffic"

local seconds = tonumber(arg[1]) or 4
local say = traffic.say
local outside = os.getenv "AMQP_URL"

-- Starts a broker process: returns its pipe, its process id and its port.
local function start(port)
   local link = assert(io.popen "readlink /proc/$PPID/exe")
   local command = link:read "*l"
   link:close()
   local pipe = assert(io.popen(("echo $$; exec '%s' broker --listen 127.0.0.1:%d 2>/dev/null"):format(command, port)))
   local pid, line = pipe:read "*l", pipe:read "*l"
   return { pipe = pipe, pid = pid, port = tonumber((assert(line, "no broker"):match "127%.0%.0%.1:(%d+)")) }
end

local function stop(broker)
   os.execute("kill " .. broker.pid) -- as `systemctl stop` does
   broker.pipe:read "*a"             -- until it has ended
   broker.pipe:close()
end

local broker = not outside and start(0)
local url = outside or ("amqp://127.0.0.1:%d"):format(broker.port)

local flow = traffic.start { url = url }
flow.may_lose = not outside           -- messages in queues of the embedded broker are lost with it
mr.sleep(1)
if broker then
   say("the broker stops")
   mr.spawn(function()
      mr.sleep(seconds)
      broker = start(broker.port)
      say("the broker is back, and empty")
   end)
   stop(broker)
else
   say("restart the broker now")
end
local is_back = traffic.wait_for_recovery(flow, outside and 300 or 40 + seconds)
mr.sleep(1)
local none_missing = flow.finish()
if broker then stop(broker) end
local is_good = is_back and (none_missing or flow.may_lose and flow.confirmed == flow.sent)
say(is_good and "passed" or "FAILED")
if not is_good then os.exit(1) end
