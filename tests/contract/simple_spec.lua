--- Simple queues, on whatever broker. CONTRACT Q15, Q16, Q21, Q22, T12.
local broker = require "broker"

local function delete(conn, name)
   local ch = assert(conn:channel())
   ch:queue_delete { queue = name }
   ch:exchange_delete { exchange = name }
   ch:close()
end

describe("simple queues", function()
   after_each(broker.close_all)

   it("put, get in order, count, clear (Q15, Q22, T12)", function()
      local conn, name = broker.connect(), broker.name "simple"
      local q = assert(conn:simple_queue(name))
      finally(function() delete(conn, name) end)
      for i = 1, 4 do assert(q:put { number = i }) end
      assert.equal(4, #q)
      for i = 1, 2 do
         local msg = assert(q:get { timeout = 5 })
         assert.equal(i, msg:decode().number)
         assert(msg:ack())
      end
      assert.equal(2, q:clear())
      assert.equal("empty", select(2, q:get { timeout = 0.01 }).kind)
   end)

   it("put on a queue of another exchange (Q16)", function()
      local conn, name = broker.connect(), broker.name "simple"
      local q = assert(conn:simple_queue({ queue = name, exchange = "amq.topic", routing_key = name .. ".x", durable = false,
         exclusive = true }, { exchange_opts = { type = "topic" } }))
      assert(q:put "x")
      local msg = assert(q:get { timeout = 5 })
      assert.same({ "amq.topic", name .. ".x" }, { msg.exchange, msg.routing_key })
   end)

   it("put on a buffer that is not there any more: nothing is said (Q21)", function()
      local conn, name = broker.connect(), broker.name "buffer"
      local q = assert(conn:simple_buffer(name))
      assert(q:put "x")
      assert.equal("x", assert(q:get { timeout = 5 }).body)
      delete(conn, name)
      assert(q:put "y")
   end)
end)
