-- network_drop: the network fails for some seconds: nothing arrives, and there is no error.
-- Run it with: moonrabbit run examples/resilience/network_drop.lua [SECONDS [HEARTBEAT]]
-- Without AMQP_URL an embedded broker plays dead; with it, you cut the network.
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
package.path = arg[0]:match "^(.-)[^/]*$" .. "?.lua;" .. package.path
local traffic = require "traffic"

local seconds, heartbeat = tonumber(arg[1]) or 4, tonumber(arg[2]) or 1
local say = traffic.say

local outside = os.getenv "AMQP_URL"
local b = not outside and assert(mr.testing.broker { listen = "127.0.0.1:0" })
local url = outside or ("amqp://127.0.0.1:%d"):format(b.port)

local flow = traffic.start { url = url, heartbeat = heartbeat }
mr.sleep(1)
if b then
   say("the network goes, for %g s; the heartbeat is %d s", seconds, heartbeat)
   b:silent()
   mr.sleep(seconds)
   b:silent(false)
   say("the network is back")
else
   say("take the network away now, for some seconds, and give it back (heartbeat: %d s)", heartbeat)
end
local is_back = traffic.wait_for_recovery(flow, b and 30 or 300)
mr.sleep(1)
local none_missing = flow.finish()
if b then b:close() end
say(is_back and none_missing and "passed" or "FAILED")
if not (is_back and none_missing) then os.exit(1) end
