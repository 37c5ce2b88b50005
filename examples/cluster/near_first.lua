-- near_first: a machine far away gets only what the near one has no room for: consumer priorities.
-- Run it with: moonrabbit run examples/cluster/near_first.lua
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local QUEUE = "example.near_first"

local begun = 0
local function machine(name, priority)
   local worker = mr.consumer {
      queue = QUEUE,
      queue_type = "quorum",                        -- stored on a majority of the cluster's nodes
      connection = mr.connect(),                    -- here: two machines in one program
      priority = priority,                          -- the highest that has room gets the message; default: 0
      prefetch = 2,                                 -- room for two messages
      handler = function(job)
         print(name .. ": " .. job.body)
         begun = begun + 1
         while begun < 3 do mr.sleep(0.01) end      -- so long that the third one finds the near machine busy
      end,
   }
   assert(worker:wait())
end

machine("far", 1)
machine("near", 10)

local out = mr.publisher { routing_key = QUEUE }
for n = 1, 3 do assert(out:publish("job " .. n)) end
while begun < 3 do mr.sleep(0.01) end
mr.stop()                                           -- only so that the example ends
