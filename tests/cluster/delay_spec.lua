--- delay: what waits, in delay queues or for its delayed publish, when the node with its leader is killed.
-- SPDX-License-Identifier: MIT
local cluster = require "cluster"
local mr = require "moonrabbit"

local eventually = cluster.eventually
local COUNT = 50

describe("three nodes, of which the one with the leaders is killed,", function()
   before_each(function()
      mr.log.configure "off"
      mr.defaults { queue_type = "quorum" }
   end)
   after_each(function()
      cluster.close_all()
      mr.defaults { queue_type = false }
      mr.log.configure "error"
   end)

   local function delete(queues)
      local ch = assert(cluster.connect({ 2 }):channel())
      for _, queue in ipairs(queues) do ch:queue_delete { queue = queue } end
   end

   it("lose no message that waits for its retry, whatever its delay (FIELD-C2)", function()
      local q, seen, done = cluster.name "retried", {}, {}
      -- All queues are declared by way of node 1, so that their leaders are there.
      local conn = cluster.connect { 1, 2, 3 }
      local w = mr.consumer { connection = conn, queue = q, handler = function(msg)
         local n = tonumber(msg.body)
         seen[n] = math.max(seen[n] or 0, msg.attempt)
         if msg.attempt > 1 then
            done[n] = true
            return
         end
         return { retry = n <= 40 and 4 + n / 100 or 4 } -- more lengths than have a queue of their own
      end }
      assert(w:wait(20))
      local pub = mr.publisher { connection = conn, routing_key = q }
      for n = 1, COUNT do assert(pub:publish(tostring(n))) end
      eventually("all to wait", function() return #seen == COUNT and w.running == 0 end, 60)
      cluster.hurt("kill", 1)
      eventually("all again", function()
         for n = 1, COUNT do if not done[n] then return false end end
         return true
      end, 60)
      cluster.cure(1)
      pub:close { timeout = 1 }
      assert(w:cancel())
      delete { q, q .. ".dead", q .. ".retry-exit" }
   end)

   it("lose no delayed publish, and go on taking them (FIELD-C2)", function()
      local q, got, sent = cluster.name "delayed", {}, 0
      local conn = cluster.connect { 1, 2, 3 }
      local w = mr.consumer { connection = conn, queue = q, handler = function(msg) got[msg.body] = true end }
      assert(w:wait(20))
      local pub = mr.publisher { connection = conn, routing_key = q }
      local failed = {}
      local function publish(delay)
         sent = sent + 1
         local ok, err = pub:publish(tostring(sent), { delay = delay })
         if not ok then failed[#failed + 1] = err.kind end
      end
      for n = 1, COUNT do publish(3 + n % 7 / 8) end
      cluster.hurt("kill", 1)
      for n = 1, COUNT do publish(0.5 + n % 7 / 8) end -- while the leaders are elected, and after
      assert.same({}, failed)
      eventually("all", function()
         for n = 1, sent do if not got[tostring(n)] then return false end end
         return true
      end, 60)
      cluster.cure(1)
      pub:close { timeout = 1 }
      assert(w:cancel())
      delete { q, q .. ".dead", q .. ".retry-exit", "mr.delay.to-queue." .. q }
   end)
end)
