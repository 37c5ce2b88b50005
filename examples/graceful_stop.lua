-- graceful_stop: a stop loses nothing: running handlers finish, other messages go back to the queue.
-- Run it with: moonrabbit run examples/graceful_stop.lua [wait]
-- With `wait` you stop it: by Ctrl-C, or by `kill PID` as systemd does. Handlers have --drain SECONDS (30).
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local QUEUE = "example.stop"
local waits = ... == "wait"

local ch = assert(mr.connect():channel())
assert(ch:queue_declare { queue = QUEUE, durable = true })
assert(ch:confirm_select())
for i = 1, 5 do assert(ch:publish("", QUEUE, "job " .. i)) end

local begun = 0
mr.consumer {
   queue = QUEUE,
   concurrency = 2,                              -- two at a time; the broker has sent the other three ahead
   handler = function(job)
      begun = begun + 1
      print(job.body .. " begins")
      if begun == 2 and not waits then
         print "stopping"
         mr.stop()                               -- what SIGTERM and SIGINT do
      end
      mr.sleep(waits and 3 or 0.3)
      print(job.body .. " is done")
   end,
}

mr.on_stop(function()                            -- once no handler is at work, before the connections close
   local queue = assert(ch:queue_declare { queue = QUEUE, passive = true })
   print(queue.message_count .. " jobs are in the queue for the next one")
end)
