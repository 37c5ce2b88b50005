--- handover: a fresh connection takes over without a gap.
local mr = require "moonrabbit"
local embedded = require "embedded"

local broker, connect, clean = embedded.broker, embedded.connect, embedded.close_all
local eventually = require("waits").eventually

describe("a handover", function()
   after_each(clean)

   it("moves channels and consumers; nothing is redelivered or lost, while messages flow", function()
      local b = broker()
      local conn, pub = connect { url = b.url }, assert(connect { url = b.url }:channel())
      local ch = assert(conn:channel())
      assert(ch:queue_declare { queue = "q" })
      assert(ch:qos { prefetch_count = 20 })
      local seen, redelivered, failed = {}, 0, 0
      local consumer = assert(ch:consume("q", function(msg)
         if msg.redelivered then redelivered = redelivered + 1 end
         if tonumber(msg.body) % 3 == 0 then mr.sleep(0.01) end
         if not msg:ack() then failed = failed + 1 end
         seen[#seen + 1] = msg.body
      end))
      local sent, stop = 0, false
      mr.spawn(function()
         while not stop do
            sent = sent + 1
            assert(pub:publish("", "q", tostring(sent)))
            mr.sleep(0.0005)
         end
      end)
      for round = 1, 3 do
         local number, tag = conn.number, consumer.tag
         assert.is_true(conn:handover())
         assert.not_equal(number, conn.number)
         assert.equal(tag, consumer.tag)
         assert.equal("consuming", consumer.state)
         assert.is_true(ch.is_open)
         local before = #seen
         eventually("messages by the new one", function() return #seen > before + 20 end)
         assert.equal(2, #b:report().connections, round)
      end
      stop = true
      eventually("the last message", function() return #seen == sent end)
      assert.same({ 0, 0 }, { redelivered, failed })
      local distinct = {}
      for _, body in ipairs(seen) do distinct[body] = true end
      for i = 1, sent do assert.is_true(distinct[tostring(i)], i) end
   end)

   it("takes along the channels that are opened meanwhile, and leaves those that are closed", function()
      local b = broker()
      local conn = connect { url = b.url }
      local closed, kept, opened = assert(conn:channel()), assert(conn:channel()), nil
      b:delay(0.02)
      local ok
      mr.spawn(function() ok = conn:handover() end)
      mr.spawn(function() opened = assert(conn:channel()) end)
      mr.spawn(function() closed:close() end)
      eventually("the handover", function() return ok and opened end)
      b:delay(0)
      eventually("the close of the old one", function() return #b:report().connections == 1 end)
      assert.same({ true, true, false }, { kept.is_open, opened.is_open, closed.is_open })
      for _, ch in ipairs { kept, opened } do assert(ch:queue_declare { exclusive = true }) end
   end)

   it("ends when the connection is released meanwhile", function()
      local b = broker()
      local conn = connect { url = b.url }
      assert(conn:channel())
      local err
      b:delay(0.02)
      mr.spawn(function() err = select(2, conn:handover()) end)
      conn:release()
      eventually("the end of the handover", function() return err end)
      b:delay(0)
      assert.equal("closed", err.kind)
      eventually("the close of both", function() return #b:report().connections == 0 end)
   end)

   it("waits for the handler that is at a message of the old one, and its ack counts", function()
      local b = broker()
      local conn = connect { url = b.url }
      local ch, go, acked = assert(conn:channel()), false, nil
      assert(ch:queue_declare { queue = "q" })
      assert(ch:consume("q", function(msg)
         eventually("the word", function() return go end)
         acked = msg:ack()
      end))
      assert(ch:publish("", "q", "x"))
      eventually("the delivery", function() return b:queue("q").messages_unacknowledged == 1 end)
      mr.after(0.05, function() go = true end)
      assert.is_true(conn:handover())
      assert.is_true(acked)
      eventually("the ack", function() return b:queue("q").messages_unacknowledged == 0 end)
      assert.equal(0, b:queue("q").messages_ready)
   end)

   it("takes no message of the new one for settled with those of the old one", function()
      local conn = embedded.connected()
      local ch = assert(conn:channel())
      assert(ch:queue_declare { queue = "q" })
      assert(ch:qos { prefetch_count = 2 })
      for i = 1, 4 do assert(ch:publish("", "q", tostring(i))) end
      local old, acked = {}, {}
      assert(ch:consume("q", function(msg)
         local i = tonumber(msg.body)
         if i <= 2 then
            old[i] = msg
            while not acked[4] do mr.sleep(0.001) end
            return
         end
         if i == 3 then eventually("the old ones", function() return old[2] end) end
         if i == 3 then assert(old[2]:ack { multiple = true }) end
         acked[i] = { msg:ack() }
      end))
      eventually("the old ones", function() return old[2] end)
      assert.is_true(conn:handover())
      assert.same({ { true }, { true } }, { acked[3], acked[4] })
      assert(ch:close())
      assert.equal(0, assert(assert(conn:channel()):queue_declare { queue = "q" }).message_count)
   end)

   it("keeps confirms: those that were out are answered, and the next ones count anew", function()
      local b = broker()
      local conn = connect { url = b.url }
      local ch = assert(conn:channel())
      assert(ch:queue_declare { queue = "q" })
      assert(ch:confirm_select())
      local tickets = {}
      for i = 1, 50 do tickets[i] = assert(ch:publish_async("", "q", "x")) end
      assert.is_true(conn:handover())
      for _, t in ipairs(tickets) do assert.same({ true }, { t:wait(5) }) end
      assert.is_true(ch:publish("", "q", "y"))
      assert.equal(51, b:queue("q").messages_ready)
   end)

   it("forgets no publish that failed, and keeps what is to be published again as before", function()
      local conn = embedded.connected { republish = 100 }
      local ch, bare = assert(conn:channel()), assert(conn:channel())
      for _, one in ipairs { ch, bare } do assert(one:confirm_select()) end
      bare.book.keeps = nil -- as mr.rpc has it
      assert.equal("returned", select(2, ch:publish("", "nowhere", "x", { mandatory = true })).kind)
      assert.is_true(conn:handover())
      local _, err = ch:wait_for_confirms(5)
      assert.same({ "returned", 1 }, { err and err.kind, err and err.count })
      assert.same({ 100 }, { ch.book.keeps.left, bare.book.keeps })
   end)

   it("does not say of an open transaction that it was committed: it was rolled back", function()
      local conn = embedded.connected()
      local ch, other = assert(conn:channel()), assert(conn:channel())
      assert(ch:queue_declare { queue = "q" })
      local function count() return assert(other:queue_declare { queue = "q", passive = true }).message_count end
      assert(ch:tx_select())
      assert(ch:publish("", "q", "committed"))
      assert.is_true(ch:tx_commit())
      assert.is_true(conn:handover()) -- none is open
      assert(ch:publish("", "q", "committed"))
      assert.is_true(ch:tx_commit())
      assert(ch:publish("", "q", "before"))
      assert.is_true(conn:handover())
      assert(ch:publish("", "q", "after"))
      local ok, err = ch:tx_commit()
      assert.same({ nil, "lost", 2 }, { ok, err and err.kind, count() })
      assert(ch:publish("", "q", "again"))
      assert.is_true(ch:tx_commit())
      assert.equal(3, count())
      assert(assert(ch:get "q"):ack())
      assert.is_true(conn:handover())
      assert.is_true(ch:tx_rollback()) -- as it is
      assert.is_true(ch:tx_commit())
      assert.equal(3, count())
   end)

   it("keeps what is to be recovered", function()
      local b = broker()
      local conn = connect { url = b.url, transport_options = { interval_max = 0 } }
      local ch, got = assert(conn:channel()), 0
      assert(ch:exchange_declare { exchange = "x", type = "fanout", auto_delete = true })
      assert(ch:queue_declare { queue = "q", auto_delete = true })
      assert(ch:queue_bind { queue = "q", exchange = "x" })
      assert(ch:consume("q", function() got = got + 1 end))
      assert.is_true(conn:handover())
      mr.log.configure "off"
      finally(function() mr.log.configure "error" end)
      local epoch = conn.epoch
      b:drop()
      eventually("the recovery", function() return conn.epoch > epoch and ch.is_open end)
      assert(ch:publish("x", "", "x"))
      eventually("the message", function() return got == 1 end)
   end)

   it("leaves everything as it was when it cannot be", function()
      local b = broker()
      local conn = connect { url = b.url }
      local ch, got = assert(conn:channel()), 0
      local q = assert(ch:queue_declare { exclusive = true }).queue
      local consumer = assert(ch:consume(q, function() got = got + 1 end))
      mr.log.configure "off"
      finally(function() mr.log.configure "error" end)
      local ok, err = conn:handover() -- an exclusive queue is its connection's
      assert.is_nil(ok)
      assert.equal("resource_locked", err.kind)
      b:refuse_logins()
      assert.equal("authentication_failed", select(2, conn:handover()).kind)
      assert(ch:publish("", q, "x"))
      eventually("the message", function() return got == 1 end)
      assert.equal("consuming", consumer.state)
      conn:close()
      assert.is_nil((conn:handover()))
   end)
end)
