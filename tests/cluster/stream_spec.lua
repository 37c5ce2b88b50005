--- streams: consumers, as the node of the leader is killed: theirs, or another one.
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local cluster = require "cluster"

local eventually = cluster.eventually

-- A consumer on the first of these nodes, and what it has handled.
local function reader(q, nodes, offset)
   local got = { n = 0, twice = 0, from = offset == "first" and 0 or 100 }
   got.worker = mr.consumer { connection = cluster.connect(nodes), queue = q, declare = false, stream = { offset = offset },
      concurrency = 5, prefetch = 20, dead_letter = false, handler = function(msg)
         if got[msg.body] then got.twice = got.twice + 1 else got.n = got.n + 1 end
         got[msg.body] = true
         mr.sleep(0.002)
      end }
   assert(got.worker:wait(20))
   assert.equal(nodes[1], cluster.node_of(got.worker.connection))
   return got
end

describe("a stream on three nodes", function()
   before_each(function() mr.log.configure "off" end)
   after_each(function()
      cluster.close_all()
      mr.log.configure "error"
   end)

   it("is read to its end, each message once, as the node of its leader is killed (FIELD-C3)", function()
      local q = cluster.name "stream"
      local ch = assert(cluster.connect({ 1 }, { recover = false }):channel())
      assert(ch:queue_declare { queue = q, durable = true, queue_type = "stream" }) -- its leader is where it is declared
      local pub = mr.publisher { connection = cluster.connect { 2, 3 }, routing_key = q }
      for i = 0, 99 do assert(pub:publish(tostring(i))) end
      local readers = { reader(q, { 1, 2, 3 }, "first"), reader(q, { 1, 3, 2 }, "next"), reader(q, { 2, 3 }, "first") }
      for i = 100, 199 do assert(pub:publish(tostring(i))) end
      eventually("some of them", function()
         for _, got in ipairs(readers) do if got.n < 20 then return false end end
         return true
      end)
      cluster.hurt("kill", 1)
      for i = 200, 398 do assert(pub:publish(tostring(i), { timeout = 60 })) end
      eventually("all", function()
         for _, got in ipairs(readers) do if got.n < 399 - got.from then return false end end
         return true
      end, 60)
      cluster.cure(1)
      for n, got in ipairs(readers) do
         for i = got.from, 398 do assert.is_true(got[tostring(i)], ("reader %d: %d was skipped"):format(n, i)) end
         assert.same({ 399 - got.from, 0, 398 }, { got.n, got.twice, got.worker.offset })
         assert(got.worker:cancel())
      end
      print "ledger: stream, the node of its leader killed: 399 of 399, 299 of 299, 399 of 399, none twice"
      pub:close { timeout = 1 }
      assert(assert(cluster.connect { 2 }:channel()):queue_delete { queue = q })
   end)
end)
