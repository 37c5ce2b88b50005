--- Heartbeats: the connection of a script that computes.
local mr = require "moonrabbit"
local broker = require "broker"

local function spin(seconds)
   local deadline = mr.now() + seconds
   local n = 0
   while mr.now() < deadline do n = n + 1 end
   return n
end

describe("heartbeats", function()
   after_each(broker.close_all)

   local function filled(count)
      local ch = broker.channel()
      local q = assert(ch:queue_declare { queue = broker.name "beats" }).queue
      assert(ch:confirm_select())
      for i = 1, count do assert(ch:publish_async("", q, tostring(i))) end
      assert.is_true(ch:wait_for_confirms(20))
      return q, ch
   end

   it("keep the connection of a handler that spins for 15 s, with 10 000 messages waiting (B1, L3, T11)", function()
      local q, admin = filled(10000)
      local conn = broker.connect { heartbeat = 2, name = "spinner" }
      local ch = assert(conn:channel())
      local seen, redelivered = 0, 0
      assert(ch:consume(q, function(msg)
         seen = seen + 1
         if msg.redelivered then redelivered = redelivered + 1 end
         if seen == 1 then spin(15) end
      end))
      broker.eventually("all messages", function() return seen == 10000 end, 40)
      assert.equal(0, redelivered)
      assert.equal(1, conn.epoch)
      assert.is_true(conn.is_open)
      assert(admin:queue_delete { queue = q })
   end)

   it("in loop mode stop with the script, and the broker drops the connection (P3, T11, L2)", function()
      local conn = broker.connect { heartbeat = 2, heartbeat_mode = "loop", recover = false }
      local ch = assert(conn:channel())
      mr.log.configure "off"
      spin(8)
      local ok, err = ch:queue_declare { exclusive = true }
      mr.log.configure "warn"
      assert.is_nil(ok)
      assert.equal("connection", err.scope)
      assert.equal("lost", conn.state)
   end)

   it("in loop mode cost the connection, which comes back with its consumer (P3)", function()
      local conn = broker.connect { heartbeat = 2, heartbeat_mode = "loop" }
      local ch, got = assert(conn:channel()), 0
      local q = assert(ch:queue_declare { queue = broker.name "loop", auto_delete = false }).queue
      assert(ch:consume(q, function() got = got + 1 end))
      mr.log.configure "off"
      spin(8)
      broker.eventually("the recovery", function() return conn.epoch == 2 and ch.is_open end, 20)
      mr.log.configure "warn"
      assert(ch:publish("", q, "x"))
      broker.eventually("the message", function() return got == 1 end)
      assert(ch:queue_delete { queue = q })
   end)

   it("keep an idle connection (B1)", function()
      local conn = broker.connect { heartbeat = 1 }
      assert(conn:connect())
      mr.sleep(3.5)
      assert.is_true(conn.is_open)
      assert.equal(1, conn.epoch)
   end)
end)
