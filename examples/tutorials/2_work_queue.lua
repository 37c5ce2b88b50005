-- 2_work_queue: slow jobs for any number of workers; a job that fails comes again later, a few times,
-- and is then put among the dead letters.
-- Run it with: moonrabbit run examples/tutorials/2_work_queue.lua
-- On RabbitMQ each part can run alone: ... worker (as many as you like), ... publish [JOB...], ... dead
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local args = { ... }
local side = table.remove(args, 1)               -- "worker", "publish" or "dead"; nothing: all
local jobs = #args > 0 and args or { "resize photo-1 ..", "resize photo-2 .", "resize no-such-photo" }
local QUEUE = "tutorial.jobs"

if not side or side == "worker" then
   mr.consumer {
      queue = QUEUE,
      prefetch = 1,                              -- one at a time: the next job goes to a free worker
      retry = mr.retry.exponential { first = 0.1, attempts = 3 }, -- three tries, 0.1 and 0.2 s apart
      handler = function(job)
         print(("try %d: %s"):format(job.attempt, job.body))
         if job.body:find "no%-such" then error("there is no such photo", 0) end
         local _, dots = job.body:gsub("%.", "")
         mr.sleep(dots * 0.1)                    -- work; other tasks of the program go on
         print("done:  " .. job.body)
      end,                                       -- returning acks; until then the broker keeps the job
   }
end

if not side or side == "dead" then
   mr.consumer {
      queue = QUEUE .. ".dead",                  -- where the worker's dead letters go
      dead_letter = false,
      handler = function(msg)
         print(("dead:  %s (%s; %s)"):format(msg.body, msg.headers["x-mr-reason"], msg.headers["x-mr-error"]))
         if not side then mr.stop() end          -- only so that the example ends
      end,
   }
end

if not side or side == "publish" then
   local ch = assert(mr.connect():channel())
   assert(ch:queue_declare { queue = QUEUE, durable = true })
   assert(ch:confirm_select())
   for _, job in ipairs(jobs) do assert(ch:publish("", QUEUE, job)) end -- persistent, unless you say otherwise
   print(("sent %d jobs"):format(#jobs))
   if side then mr.stop() end
end
