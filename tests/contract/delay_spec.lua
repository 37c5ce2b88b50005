--- Delays of any length side by side, of mr.publisher and simple queues, without a queue for each length.
local broker = require "broker"
local mr = require "moonrabbit"
local older = require "older"

local eventually = broker.eventually

describe("a delayed message", function()
   local conn, ch, made
   before_each(function()
      mr.log.configure "off"
      conn, made = broker.connect(), {}
      ch = assert(conn:channel())
   end)
   after_each(function()
      local last = broker.channel()
      for _, name in ipairs(made) do
         last:queue_delete { queue = name }
         last:queue_delete { queue = "mr.delay.to-queue." .. name }
         last:queue_delete { queue = "mr.delay.to-exchange." .. name }
         last:exchange_delete { exchange = "mr.delay.to-exchange." .. name }
         last:exchange_delete { exchange = "mr.delay.to-exchange." .. name .. ".drain" }
         last:exchange_delete { exchange = name }
      end
      last:exchange_delete { exchange = "mr.delay" } -- the next test declares it again
      broker.close_all()
      mr.log.configure "warn"
   end)

   local function queue(arguments)
      local name = broker.name "later"
      made[#made + 1] = name
      assert(ch:queue_declare { queue = name, durable = true, arguments = arguments })
      return name
   end

   -- What arrives in a queue: bodies in order; body -> seconds since now, and its message.
   local function arrivals(name)
      local got = { at = {}, msg = {} }
      local began = mr.now()
      assert(ch:consume(name, function(msg)
         got[#got + 1], got.at[msg.body] = msg.body, mr.now() - began
         got.msg[msg.body] = { routing_key = msg.routing_key, properties = msg.properties, headers = msg.headers }
      end))
      return got
   end

   it("does not wait behind one with a longer delay, and comes to the millisecond (FIELD-C2)", function()
      local q = queue()
      local pub = mr.publisher { connection = conn, routing_key = q }
      assert(pub:publish("an hour", { delay = 3600 }))
      assert(pub:publish("a year", { delay = 365 * 86400 }))
      local got = arrivals(q)
      local before, began = {}, mr.now()
      for _, ms in ipairs { 900, 300, 77, 600, 5 } do
         before[ms] = mr.now() - began
         assert(pub:publish(tostring(ms), { delay = ms / 1000 }))
      end
      assert(pub:publish("now", { delay = 0 }))
      eventually("all but the long ones", function() return #got == 6 end)
      for _, ms in ipairs { 900, 300, 77, 600, 5 } do
         local at = got.at[tostring(ms)]
         local due = before[ms] + ms / 1000
         assert.is_true(at >= due - 0.002 and at < due + 2, ms .. " ms came after " .. at .. ", due " .. due)
      end
      assert.equal(0, broker.count(ch, q))
   end)

   broker.unless_redis(it, "delay",
      "goes to any exchange with its routing key, properties and headers, confirmed as any other (FIELD-C2)", function()
      local x, q = broker.name "events", queue()
      made[#made + 1] = x
      assert(ch:exchange_declare { exchange = x, type = "topic", durable = true })
      assert(ch:queue_bind { queue = q, exchange = x, routing_key = "order.*" })
      local got = arrivals(q)
      local pub = mr.publisher { connection = conn, exchange = x }
      assert(pub:publish("nobody", { routing_key = "nobody.cares", delay = 0.05 }))
      assert(pub:publish("x", { routing_key = "order.paid", delay = 0.05, message_id = "m1", priority = 3, headers = { a = 1,
         ["x-death"] = "of an earlier way", ["mr-delay-500ms"] = "1ms" } }))
      eventually("it", function() return got.msg.x end)
      local msg = got.msg.x
      assert.same({ "order.paid", "m1", 3, 2, 1 }, { msg.routing_key, msg.properties.message_id, msg.properties.priority,
         msg.properties.delivery_mode, msg.headers.a })
      assert.is_nil(msg.headers["mr-delay-500ms"])
      assert.equal("expired", msg.headers["x-death"][1].reason)
      assert.same({ "x" }, { unpack(got) })
      -- And again, by its own headers: nothing of the first way is left in them.
      assert(pub:publish("again", { routing_key = "order.paid", delay = 0.3, headers = msg.headers }))
      eventually("it again", function() return got.msg.again end)
      assert.is_true(got.at.again - got.at.x >= 0.3)
      assert.equal("250ms", got.msg.again.headers["mr-delay"])
      for _, death in ipairs(got.msg.again.headers["x-death"]) do assert.equal(1, death.count) end
   end)

   broker.unless_redis(it, "delay",
      "is refused where there is no such queue or exchange, too long a delay, or an expiration (FIELD-C2)", function()
      local pub = mr.publisher { connection = conn }
      local ok, err = pub:publish("x", { routing_key = broker.name "nowhere", delay = 1 })
      assert.is_nil(ok)
      assert.equal("not_found", err.kind)
      ok, err = pub:publish("x", { exchange = broker.name "nowhere", routing_key = "k", delay = 1 })
      assert.is_nil(ok)
      assert.equal("not_found", err.kind)
      ok, err = pub:publish("x", { routing_key = "q", delay = 1e9 })
      assert.is_nil(ok)
      assert.equal("bad_argument", err.kind)
      assert.matches("longer than the 8%d%d days", err.text)
      for _, bad in ipairs { { delay = -1 }, { delay = 1, expiration = "5" } } do
         bad.routing_key = "q"
         assert.is_false(pcall(pub.publish, pub, "x", bad))
      end
   end)

   it("is declared for again when somebody has deleted what it needs (FIELD-C2)", function()
      local q = queue()
      local pub = mr.publisher { connection = conn, routing_key = q }
      local got = arrivals(q)
      assert(pub:publish("one", { delay = 0.008 }))
      eventually("the first", function() return got.msg.one end)
      assert(ch:queue_delete { queue = "mr.delay.8ms" })
      assert(pub:publish("two", { delay = 0.008 }))
      eventually("the second", function() return got.msg.two end)
   end)

   broker.it_rabbitmq(it, "is kept in front of a queue that is full (FIELD-C2)", function()
      local q = queue { ["x-max-length"] = 1, ["x-overflow"] = "reject-publish" }
      local pub = mr.publisher { connection = conn, routing_key = q }
      assert(pub:publish "first")
      assert(pub:publish("second", { delay = 0.05 }))
      local hop = "mr.delay.to-queue." .. q
      eventually("it in front of its queue", function()
         local said = broker.ctl("-q list_queues name messages --no-table-headers")
         return said:find(hop .. "\t1", 1, true)
      end, 60)
      assert.equal(1, broker.count(ch, q))
   end)

   broker.it_rabbitmq(it, "is kept when its exchange has been deleted and made anew (FIELD-C2)", function()
      local x, q = broker.name "moved", queue()
      made[#made + 1] = x
      local function make()
         assert(ch:exchange_declare { exchange = x, type = "topic", durable = true })
         assert(ch:queue_bind { queue = q, exchange = x, routing_key = "k" })
      end
      make()
      local got = arrivals(q)
      local pub = mr.publisher { connection = conn, exchange = x, routing_key = "k" }
      assert(pub:publish("one", { delay = 0.05 }))
      eventually("the first", function() return got.msg.one end)
      assert(ch:exchange_delete { exchange = x })
      make()
      assert(pub:publish("two", { delay = 0.05 }))
      local hop = "mr.delay.to-exchange." .. x
      eventually("it in front of its exchange", function()
         return broker.ctl("-q list_queues name messages --no-table-headers"):find(hop .. "\t1", 1, true)
      end, 60)
      local further = mr.publisher { connection = broker.connect(), exchange = x, routing_key = "k" }
      assert(further:publish("three", { delay = 0.05 }))
      eventually("the third", function() return got.msg.three end)
   end)

   it("is put by a simple queue, too (FIELD-C2)", function()
      local name = broker.name "simple"
      made[#made + 1] = name
      local q = assert(conn:simple_queue(name))
      local began = mr.now()
      assert(q:put({ n = 1 }, { delay = 0.3 }))
      assert(q:put { n = 2 })
      local first, second = assert(q:get { timeout = 10 }), assert(q:get { timeout = 10 })
      assert.same({ 2, 1 }, { first:decode().n, second:decode().n })
      assert.is_true(mr.now() - began >= 0.3)
      q:close()
   end)

   it("waits in classic queues where the broker's quorum queues have no time to live, before RabbitMQ 3.10 (FIELD-C2)", function()
      local renew = older(finally)
      ch:queue_delete { queue = "mr.delay.2ms" }
      local q = queue()
      local got = arrivals(q)
      assert(mr.publisher({ connection = conn, routing_key = q }):publish("x", { delay = 0.002 }))
      eventually("it", function() return got.msg.x end)
      assert(broker.channel():queue_declare { queue = "mr.delay.2ms", durable = true, queue_type = "classic", arguments = {
         ["x-message-ttl"] = 2, ["x-dead-letter-exchange"] = "mr.delay.2ms" } })
      -- Who has quorum queues takes it as it is.
      renew()
      local pub = mr.publisher { connection = broker.connect(), routing_key = q }
      assert(pub:publish("y", { delay = 0.002 }))
      eventually("it", function() return got.msg.y end)
      ch:queue_delete { queue = "mr.delay.2ms" }
   end)
end)
