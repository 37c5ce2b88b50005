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

   it("keep the connection of a handler that spins for 15 s, with 10 000 messages waiting", function()
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

   it("in loop mode stop with the script, and the broker drops the connection", function()
      local conn = broker.connect { heartbeat = 2, heartbeat_mode = "loop" }
      local ch = assert(conn:channel())
      mr.log.configure "off"
      spin(8)
      local ok, err = ch:queue_declare { exclusive = true }
      mr.log.configure "warn"
      assert.is_nil(ok)
      assert.equal("connection", err.scope)
      assert.equal("lost", conn.state)
   end)

   it("keep an idle connection", function()
      local conn = broker.connect { heartbeat = 1 }
      assert(conn:connect())
      mr.sleep(3.5)
      assert.is_true(conn.is_open)
      assert.equal(1, conn.epoch)
   end)
end)
