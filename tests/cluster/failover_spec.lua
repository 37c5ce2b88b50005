--- failover: publishers and consumers, as the node they are at is killed, frozen, cut off or drained.
-- SPDX-License-Identifier: MIT
-- A ledger: what was confirmed has been handled at the end; what was handled twice was lost with its connection in between.
local mr = require "moonrabbit"
local cluster = require "cluster"

local eventually = cluster.eventually
local QUORUM = { ["x-queue-type"] = "quorum" }

-- Publishes one message each 5 ms until told to stop; notes which were confirmed, and the longest time without a confirm.
local function publishing(pub, ledger)
   ledger.confirmed, ledger.failed, ledger.gap, ledger.out = {}, {}, 0, 0
   local last = mr.now()
   mr.spawn(function()
      local n = 0
      while not ledger.is_over do
         n = n + 1
         local body = tostring(n)
         ledger.out = ledger.out + 1
         mr.spawn(function()
            local ok, err = pub:publish(body)
            ledger.out = ledger.out - 1
            if not ok then ledger.failed[body] = err.kind return end
            ledger.confirmed[body] = true
            ledger.gap, last = math.max(ledger.gap, mr.now() - last), mr.now()
         end)
         mr.sleep(0.005)
      end
   end)
end

local function count(set)
   local n = 0
   for _ in pairs(set) do n = n + 1 end
   return n
end

describe("three nodes", function()
   before_each(function() mr.log.configure "off" end)
   after_each(function()
      cluster.close_all()
      mr.log.configure "error"
   end)

   for _, case in ipairs {
      { "kill", "is killed", "quorum", 5 }, { "freeze", "hangs", "quorum", 15 }, { "part", "is cut off from the others", "quorum", 15 },
      { "drain", "is drained", "quorum", 5 }, { "kill", "is killed", "classic", 30 },
   } do
      local how, words, type_, patience = case[1], case[2], case[3], case[4]
      it(("lose nothing that was confirmed as the node of all clients %s; queue: %s"):format(words, type_), function()
         local q = cluster.name(how)
         local far = cluster.connect { 3 }
         local ch = assert(far:channel())
         -- A classic queue lives on the node where it is declared: here on one that stays.
         assert(ch:queue_declare { queue = q, durable = true, arguments = type_ == "quorum" and QUORUM or nil })
         local ledger, handled, times = {}, {}, 0
         local consuming = cluster.connect { 1, 2, 3 }
         local w = mr.consumer { connection = consuming, queue = q, declare = false, retry = false, dead_letter = false, prefetch = 50,
            handler = function(msg)
               handled[msg.body] = (handled[msg.body] or 0) + 1
               times = times + 1
            end }
         assert(w:wait(20))
         local pub = mr.publisher { connection = cluster.connect { 1, 2, 3 }, routing_key = q }
         publishing(pub, ledger)
         eventually("the first hundred", function() return count(ledger.confirmed) >= 100 end)
         assert.equal(1, cluster.node_of(pub.connection))
         cluster.hurt(how, 1)
         local before = count(ledger.confirmed)
         eventually("confirms by another node", function() return count(ledger.confirmed) >= before + 300 end, 60)
         cluster.cure(1)
         ledger.is_over = true
         eventually("all publishes to have ended", function() return ledger.out == 0 end, 60)
         eventually("all confirmed ones to be handled", function()
            for body in pairs(ledger.confirmed) do if not handled[body] then return false end end
            return true
         end, 60)
         assert.same({}, ledger.failed)
         assert.is_true(ledger.gap < patience, ("%.1f s without a confirm"):format(ledger.gap))
         print(("ledger: %s, %s: %d confirmed, %d handled again, longest gap %.2f s"):format(how, type_, count(ledger.confirmed),
            times - count(handled), ledger.gap))
         pub:close { timeout = 1 }
         assert(w:cancel())
         assert(ch:queue_delete { queue = q })
      end)
   end

   it("confirm the publishes of fifty publishers soon after the leader of their queue is killed (FIELD-C4)", function()
      local q = cluster.name "leader"
      local ch = assert(cluster.connect({ 1 }, { recover = false }):channel())
      assert(ch:queue_declare { queue = q, durable = true, arguments = QUORUM }) -- its leader is where it is declared
      local pubs, last, gap, failed, is_over, running = {}, {}, 0, {}, false, 0
      for n = 1, 50 do
         pubs[n] = mr.publisher { connection = cluster.connect { 1, 2, 3 }, routing_key = q }
         assert(pubs[n]:publish "first")
         last[n], running = mr.now(), running + 1
         mr.spawn(function()
            while not is_over do
               local ok, err = pubs[n]:publish "x"
               if not ok then failed[#failed + 1] = err.kind end
               gap, last[n] = math.max(gap, mr.now() - last[n]), mr.now()
               mr.sleep(0.02)
            end
            running = running - 1
         end)
      end
      cluster.hurt("kill", 1)
      local killed = mr.now()
      eventually("all to go on", function()
         for n = 1, 50 do if last[n] < killed + 2 then return false end end
         return true
      end, 30)
      is_over = true
      eventually("their ends", function() return running == 0 end, 70)
      assert.same({}, failed)
      assert.is_true(gap < 10, ("%.1f s without a confirm"):format(gap))
      print(("ledger: leader killed, 50 publishers: longest gap %.2f s"):format(gap))
      for _, pub in ipairs(pubs) do pub:close { timeout = 1 } end
      cluster.cure(1)
      assert(assert(cluster.connect { 2 }:channel()):queue_delete { queue = q })
   end)

   it("have a consumer wait for the node that holds its queue, and others go on (FIELD-C8)", function()
      local q, other, got = cluster.name "held", cluster.name "other", {}
      local ch = assert(cluster.connect({ 3 }, { recover = false }):channel())
      assert(ch:queue_declare { queue = q, durable = true }) -- on node 3
      cluster.hurt("kill", 3)
      local conn = cluster.connect { 1, 2 }
      local function consumer(queue)
         return mr.consumer { connection = conn, queue = queue, handler = function(msg) got[msg.body] = true end }
      end
      local waiting, fine = consumer(q), consumer(other)
      eventually("the other one", function() return fine.state == "consuming" end, 30)
      eventually("its first try", function() return waiting.state == "recovering" end, 30)
      assert.equal("not_found", waiting.err.kind)
      assert.is_true(waiting.err.recoverable)
      assert.truthy(waiting.err.hint:find("the node that holds this queue is down", 1, true), waiting.err.hint)
      cluster.cure(3)
      eventually("it to consume", function() return waiting.state == "consuming" end, 60)
      local out = assert(conn:channel())
      assert(out:confirm_select())
      assert(out:publish("", q, "one"))
      assert(out:publish("", other, "two"))
      eventually("both messages", function() return got.one and got.two end)
      for _, w in ipairs { waiting, fine } do
         assert(w:cancel())
         for _, queue in ipairs { w.queue, w.dead_letter, w.queue .. ".retry-exit" } do out:queue_delete { queue = queue } end
      end
   end)

   it("keep a connection for its other consumers when one's queue has no majority (FIELD-C10)", function()
      local q, other, lost, got = cluster.name "stuck", cluster.name "fine", 0, {}
      local single = { ["x-queue-type"] = "quorum", ["x-quorum-initial-group-size"] = 1 } -- stored on one node only
      local ch = assert(cluster.connect({ 3 }, { recover = false }):channel())
      assert(ch:queue_declare { queue = q, durable = true, arguments = single })
      local conn = cluster.connect({ 1, 2 }, { on_event = function(ev) if ev.type == "lost" then lost = lost + 1 end end })
      local function consumer(queue)
         return mr.consumer { connection = conn, queue = queue, handler = function(msg) got[msg.body] = true end }
      end
      local stuck, fine = consumer { queue = q, arguments = single }, consumer(other)
      assert(stuck:wait(20))
      assert(fine:wait(20))
      cluster.hurt("kill", 3)
      cluster.run("ctl", 1, [[eval 'rabbit_networking:close_all_connections("test").']])
      -- RabbitMQ answers the consume by closing the connection: twice, until the one to blame is known, and once more if at the
      -- first time another request was on its way.
      eventually("a connection of its own", function() return stuck.connection ~= conn end, 20)
      eventually("the other one", function() return fine.state == "consuming" end, 20)
      local out, lost_by_then = assert(conn:channel()), lost
      assert.is_true(lost_by_then <= 4, lost_by_then .. " losses")
      assert(out:confirm_select())
      assert(out:publish("", other, "two"))
      eventually("its message", function() return got.two end, 20)
      eventually("a try on the other connection", function() return stuck.state == "recovering" and stuck.next_try end, 20)
      assert.equal("internal_error", stuck.err.kind)
      cluster.cure(3)
      eventually("it to consume", function() return stuck.state == "consuming" end, 60)
      assert(out:publish("", q, "one"))
      eventually("its message", function() return got.one end, 20)
      assert.equal(lost_by_then, lost)
      for _, w in ipairs { stuck, fine } do
         assert(w:cancel())
         for _, queue in ipairs { w.queue, w.dead_letter, w.queue .. ".retry-exit" } do out:queue_delete { queue = queue } end
      end
   end)
end)
