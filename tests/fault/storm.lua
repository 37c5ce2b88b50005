-- storm: a thousand connections of one program are lost together. What happens then is printed as "what value" lines
-- for storm_spec, and every event is counted, so that the log can be held against it.
-- Run it with: moonrabbit run tests/fault/storm.lua [CONNECTIONS]
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"

local count = tonumber((...)) or 1000
local b = assert(mr.testing.broker { listen = "127.0.0.1:0" })
local port = b.port

local starts = {}                        -- when tries began, as the host heard of it
local due = {}                           -- when they were to begin, counted from the loss of all
local seen = setmetatable({}, { __index = function() return 0 end })
local back = 0                           -- connections that are back

local function say(what, value) print(("%s %.5g"):format(what, value)) end

local function listener()
   local waited = 0
   return function(ev)
      seen[ev.type] = seen[ev.type] + 1
      if ev.type == "connecting" then starts[#starts + 1] = mr.now() end
      if ev.type == "retrying" then
         waited = (ev.attempt == 1 and 0 or waited) + ev.delay
         due[#due + 1] = waited
      end
      if ev.type == "recovered" then back = back + 1 end
   end
end

local function wait_until(what, seconds, condition)
   local deadline = os.time() + seconds
   while not condition() do
      if os.time() > deadline then error("in vain waited for: " .. what, 2) end
      mr.sleep(0.005)
   end
end

-- The largest part of all tries that began, or were to begin, within 100 ms.
local function crowd(times)
   table.sort(times)
   local most, first = 0, 1
   for last = 1, #times do
      while times[last] - times[first] > 0.1 do first = first + 1 end
      most = math.max(most, last - first + 1)
   end
   return most / #times
end

-- Seconds of processor time of all threads.
local function cpu()
   local f = assert(io.open "/proc/self/stat")
   local fields = {}
   for field in f:read("*a"):gsub("^.*%) ", ""):gmatch "%S+" do fields[#fields + 1] = field end
   f:close()
   return (tonumber(fields[12]) + tonumber(fields[13])) / 100 -- utime, stime
end

-- The part of one core that is used in the next second.
local function load_of_a_second()
   local began, used = mr.now(), cpu()
   mr.sleep(1)
   return (cpu() - used) / (mr.now() - began)
end

local function storm(name, fn)
   starts, due, back = {}, {}, 0
   local began = fn() or mr.now()
   wait_until("all to be back", 40, function() return back == count end)
   say(name .. "_seconds", mr.now() - began)
   say(name .. "_tries", #starts)
   say(name .. "_crowd", crowd(starts))
   say(name .. "_due_crowd", crowd(due))
end

local connections, opened = {}, 0
for i = 1, count do
   local conn = mr.connect { url = ("amqp://127.0.0.1:%d"):format(port), name = "storm " .. i, on_event = listener(),
      connect_timeout = 30, socket_timeout = 30 }
   connections[i] = conn
   mr.spawn(function()
      assert(conn:channel())
      opened = opened + 1
   end)
end
wait_until("the connections", 40, function() return opened == count end)
seen.connected = 0

storm("drop", function() b:drop() end)

storm("outage", function()
   b:drop()
   b:close() -- nobody listens any more
   mr.sleep(1)
   say("outage_load", load_of_a_second())
   wait_until("the port", 10, function()
      b = mr.testing.broker { listen = "127.0.0.1:" .. port }
      return b
   end)
   return mr.now()
end)

mr.testing.advance(11) -- whoever is back for ten seconds begins anew

storm("refusal", function()
   local before = seen.retrying
   b:refuse_logins()
   b:drop()
   -- After the loss, and after the refusal, upon which nobody tries again for 15 seconds at least.
   wait_until("the refusals", 40, function() return seen.retrying == before + count * 2 end)
   say("refusal_load", load_of_a_second())
   b:refuse_logins(false)
   local now = mr.now()
   mr.testing.advance(31)
   return now
end)

for _, what in ipairs { "lost", "retrying", "connecting", "connected", "recovered" } do say(what, seen[what]) end
say("log_dropped", mr.stats().log_dropped)
for _, conn in ipairs(connections) do mr.spawn(function() conn:close() end) end
