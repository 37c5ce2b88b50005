--- Pressure from either side: a broker that blocks, a script that is behind.
local mr = require "moonrabbit"
local broker = require "broker"

describe("a broker that blocks publishing", function()
   after_each(broker.close_all)

   broker.it_inside(it, "is reported; a publish waits to its deadline, consuming goes on, and it ends (K5)", function()
      local events = {}
      local conn = broker.connect { on_event = function(ev) events[ev.type] = ev end }
      local ch = assert(conn:channel())
      local q = assert(ch:queue_declare { exclusive = true }).queue
      assert(ch:publish("", q, "before"))
      broker.block(true)
      assert(ch:publish("", q, "noticed"))          -- the broker tells those who publish
      broker.eventually("the block", function() return conn.is_blocked end)
      broker.eventually("the event", function() return events.blocked end)
      local begun = mr.now()
      local ok, err = ch:publish("", q, "waits", { timeout = 0.3 })
      assert.is_nil(ok)
      assert.equal("blocked_timeout", err.kind)
      assert.is_true(mr.now() - begun >= 0.29 and mr.now() - begun < 3)
      broker.block(false)
      assert.is_true(ch:publish("", q, "after", { timeout = 20 }))
      assert.is_false(conn.is_blocked)
      broker.eventually("the event", function() return events.unblocked end)
   end)
end)

describe("a script that is behind", function()
   after_each(broker.close_all)

   it("makes the connection stop reading, not grow, and loses nothing; it beats on meanwhile (T35)", function()
      local TOTAL, body = 90000, ("x"):rep(1024)     -- more than the 64 MiB that may be in its hands
      local ch = broker.channel { heartbeat = 1 }
      local q = assert(ch:queue_declare { exclusive = true }).queue
      assert(ch:confirm_select())
      for i = 1, TOTAL do
         assert(ch:publish_async("", q, body, { persistent = false, timeout = 60 }))
         if i % 5000 == 0 then assert(ch:wait_for_confirms(60)) end
      end
      local seen, most = 0, 0
      assert(ch:consume(q, function()
         seen = seen + 1
         if seen == 1 then
            local deadline = mr.now() + 4             -- the I/O thread reads on meanwhile
            while mr.now() < deadline do most = math.max(most, mr.stats().in_flight) end
         end
      end, { no_ack = true }))
      broker.eventually("all messages", function() return seen == TOTAL end, 60)
      assert.same({ true, 1 }, { ch.connection.is_open, ch.connection.epoch })
      assert.is_true(most <= 65536 + 1024, ("%d deliveries were in the script's hands"):format(most))
      broker.eventually("all memory to be given back", function() return mr.stats().in_flight == 0 end)
   end)
end)
