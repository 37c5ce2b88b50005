-- standby: one worker at a time, in the order of the messages; when it goes, another machine takes over.
-- Run it with: moonrabbit run examples/cluster/standby.lua
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local QUEUE = { queue = "example.standby", queue_type = "quorum", arguments = { ["x-single-active-consumer"] = true } }

local seen = 0
local function machine(name)
   local worker = mr.consumer {
      queue = QUEUE,
      connection = mr.connect(),                    -- here: two machines in one program
      concurrency = 1,                              -- one handler at a time: the order holds
      retry = false,                                -- a retry comes later, behind others: it would break the order
      handler = function(msg)
         print(name .. ": " .. msg.body)
         seen = seen + 1
         if msg.body == "entry 6" then mr.stop() end -- only so that the example ends
      end,
   }
   assert(worker:wait())
   return worker
end

local first = machine "machine a"
machine "machine b"                                 -- it consumes, and gets nothing for as long as a is there

local out = mr.publisher { routing_key = QUEUE.queue }
for n = 1, 3 do assert(out:publish("entry " .. n)) end
while seen < 3 do mr.sleep(0.01) end

first:cancel()                                      -- or it stops, is killed, or loses its connection
for n = 4, 6 do assert(out:publish("entry " .. n)) end
