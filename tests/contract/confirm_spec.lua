--- Confirms, returns, transactions, and the keys that a publisher adds: as RabbitMQ answers them.
-- (What the client makes of confirms: publish_spec.)
local broker = require "broker"

local eventually, take = broker.eventually, broker.take
local queue, confirming, count = broker.queue, broker.confirming, broker.count

local function channel(ch) return assert(ch.connection:channel()) end

local function is_empty(ch, q)
   local msg, err = ch:get(q)
   assert.is_nil(msg)
   assert.equal("empty", err.kind)
end

local function refused(text, ok, err)
   assert.is_nil(ok)
   assert.same({ "precondition_failed", 406, text }, { err.kind, err.code, err.text })
end

-- Asserts that a publish in confirm mode ends its channel, and why.
local function ends(ch, code, text, ok, err)
   assert.is_nil(ok)
   assert.equal("lost", err.kind)
   eventually("the close", function() return not ch.is_open end)
   assert.same({ code, text }, { ch.last_error.code, ch.last_error.text })
   assert.is_true(ch.connection.is_open)
end

describe("a confirm", function()
   after_each(broker.close_all)

   broker.unless_redis(it, "queue arguments", "comes for whatever becomes of the message", function()
      local ch, q = confirming()
      local short = queue(ch, { ["x-max-length"] = 0 })
      local brief = queue(ch, { ["x-message-ttl"] = 0 })
      for _, target in ipairs { q, short, brief, broker.name "nowhere" } do
         assert.is_true(ch:publish("", target, "kept", { persistent = true }))
         assert.is_true(ch:publish("", target, "kept", { persistent = false }))
      end
      assert.equal(2, count(ch, q))
   end)

   it("comes once for a message that went to many queues", function()
      local ch = confirming()
      local exchange, queues = broker.name "fan", {}
      assert(ch:exchange_declare { exchange = exchange, type = "fanout", auto_delete = true })
      for i = 1, 10 do
         queues[i] = queue(ch)
         assert(ch:queue_bind { queue = queues[i], exchange = exchange })
      end
      for i = 1, 50 do assert(ch:publish_async(exchange, "", tostring(i), { mandatory = true })) end
      assert.is_true(ch:wait_for_confirms(10))
      for i = 1, 10 do assert.equal(50, count(ch, queues[i])) end
   end)

   it("does not wait for a consumer's ack", function()
      local ch, q = confirming()
      local seen
      assert(ch:consume(q, function(msg)
         seen = msg.body
         eventually("the confirm", function() return seen == "confirmed" end)
      end))
      assert.is_true(ch:publish("", q, "x"))
      eventually("the message", function() return seen == "x" end)
      seen = "confirmed"
   end)

   it("comes for all when the mode is asked for twice", function()
      local ch, q = confirming()
      for round = 1, 3 do
         assert.equal(round, assert(ch:publish_async("", q, "x")).number)
         assert.is_true(ch:confirm_select())
      end
      assert.is_true(ch:wait_for_confirms(10))
   end)

   it("comes for a message of a durable queue", function()
      local ch = broker.channel()
      local q = assert(ch:queue_declare { queue = broker.name "durable", durable = true }).queue
      assert(ch:confirm_select())
      for i = 1, 100 do assert(ch:publish_async("", q, tostring(i), { persistent = i % 2 == 0 })) end
      assert.is_true(ch:wait_for_confirms(10))
      assert.equal(100, ch:queue_delete { queue = q })
   end)

   it("does not come for a message that ends the channel", function()
      local conn = broker.connect()
      local nowhere = broker.name "no-exchange"
      for _, case in ipairs {
         { 404, ("NOT_FOUND - no exchange '%s' in vhost '/'"):format(nowhere), nowhere, {} },
         { 406, "PRECONDITION_FAILED - user_id property set to 'nobody' but authenticated user was 'guest'", "", { user_id = "nobody" } },
         { 406, 'PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,"CC",longstr}', "", { headers = { CC = "a" } } },
         { 406, 'PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,"BCC",table}', "", { headers = { BCC = { a = 1 } } } },
      } do
         local ch = assert(conn:channel())
         assert(ch:confirm_select())
         ends(ch, case[1], case[2], ch:publish(case[3], "q", "x", case[4]))
      end
   end)
end)

describe("a return", function()
   after_each(broker.close_all)

   it("comes with all that was sent, before the confirm", function()
      local ch = confirming()
      local exchange = broker.name "unbound"
      assert(ch:exchange_declare { exchange = exchange, type = "topic", auto_delete = true })
      local q = queue(ch)
      assert(ch:queue_bind { queue = q, exchange = exchange, routing_key = "other.key" })
      local ok, err = ch:publish(exchange, "some.key", "body", { mandatory = true, type = "t", headers = { n = 1 } })
      assert.is_nil(ok)
      assert.same({ "returned", 312, "NO_ROUTE (312)" }, { err.kind, err.code, err.text })
      local msg = err.message
      assert.same({ "body", exchange, "some.key", 312, "NO_ROUTE", "t", 1 },
         { msg.body, msg.exchange, msg.routing_key, msg.reply_code, msg.reply_text, msg.properties.type, msg.headers.n })
   end)

   broker.unless_redis(it, "a queue is a name", "comes in the order of publishing", function()
      local ch = broker.channel()
      local order, nowhere = {}, broker.name "nowhere"
      ch:on_return(function(msg) order[#order + 1] = tonumber(msg.body) end)
      for i = 1, 20 do assert(ch:publish("", nowhere, tostring(i), { mandatory = true })) end
      eventually("all of them", function() return #order == 20 end)
      for i = 1, 20 do assert.equal(i, order[i]) end
   end)

   broker.unless_redis(it, "queue arguments", "does not come for what a queue drops or refuses", function()
      local ch = confirming()
      assert.is_true(ch:publish("", queue(ch, { ["x-max-length"] = 0 }), "dropped", { mandatory = true }))
      local full = queue(ch, { ["x-max-length"] = 0, ["x-overflow"] = "reject-publish" })
      assert.equal("nacked", select(2, ch:publish("", full, "refused", { mandatory = true })).kind)
   end)
end)

broker.unless_redis(describe, "transactions", "a transaction", function()
   after_each(broker.close_all)

   local function transacting()
      local ch = broker.channel()
      local q = queue(ch)
      assert.is_true(ch:tx_select())
      return ch, q
   end

   it("publishes at the commit, in order", function()
      local ch, q = transacting()
      for i = 1, 5 do assert(ch:publish("", q, tostring(i))) end
      is_empty(ch, q)
      assert.is_true(ch:tx_commit())
      for i = 1, 5 do assert.equal(tostring(i), assert(ch:get(q)).body) end
      is_empty(ch, q)
   end)

   it("forgets what was published at the rollback, and goes on", function()
      local ch, q = transacting()
      assert(ch:publish("", q, "forgotten"))
      assert.is_true(ch:tx_rollback())
      assert(ch:publish("", q, "kept"))
      assert.is_true(ch:tx_commit())
      assert.is_true(ch:tx_commit()) -- of nothing
      assert.is_true(ch:tx_rollback())
      assert.equal("kept", assert(ch:get(q)).body)
      is_empty(ch, q)
   end)

   it("forgets what was published and acked when the channel closes", function()
      local ch, q = transacting()
      local plain = channel(ch)
      assert(plain:publish("", q, "1"))
      assert.is_true(take(ch, q, {}):ack())
      assert(ch:publish("", q, "forgotten"))
      assert(ch:close())
      local msg = take(plain, q)
      assert.same({ "1", true }, { msg.body, msg.redelivered })
      is_empty(plain, q)
   end)

   it("acks at the commit", function()
      local ch, q = transacting()
      local plain = channel(ch)
      for i = 1, 3 do assert(plain:publish("", q, tostring(i))) end
      assert.is_true(take(ch, q, {}):ack())
      assert.is_true(take(ch, q, {}):ack())
      take(ch, q, {})
      assert.is_true(ch:tx_commit())
      assert(ch:close())
      local msg = take(plain, q)
      assert.same({ "3", true }, { msg.body, msg.redelivered })
      is_empty(plain, q)
   end)

   it("takes acks back at the rollback: the messages are out still", function()
      local ch, q = transacting()
      local plain = channel(ch)
      assert(plain:publish("", q, "1"))
      assert.is_true(take(ch, q, {}):ack())
      assert.is_true(ch:tx_rollback())
      is_empty(plain, q)
      assert.is_true(ch:tx_commit())
      is_empty(plain, q)
      assert(ch:close())
      assert.is_true(take(plain, q).redelivered)
   end)

   it("rejects and requeues at the commit", function()
      local ch = broker.channel()
      local plain = channel(ch)
      local dead = queue(plain)
      local q = queue(plain, { ["x-dead-letter-exchange"] = "", ["x-dead-letter-routing-key"] = dead })
      for i = 1, 2 do assert(plain:publish("", q, tostring(i))) end
      assert.is_true(ch:tx_select())
      assert.is_true(take(ch, q, {}):reject())
      assert.is_true(take(ch, q, {}):nack())
      assert.is_true(assert(ch:qos { prefetch_count = 0 })) -- both have arrived by this answer
      is_empty(plain, q)
      is_empty(plain, dead)
      assert.is_true(ch:tx_commit())
      assert.equal("1", take(plain, dead).body)
      assert.equal("2", take(plain, q).body)
   end)

   it("returns what has no route at the commit", function()
      local ch, q = transacting()
      local returned
      ch:on_return(function(msg) returned = msg.reply_text end)
      assert(ch:publish("", broker.name "nowhere", "x", { mandatory = true }))
      assert(ch:publish("", q, "y", { mandatory = true }))
      is_empty(ch, q)
      assert.is_nil(returned)
      assert.is_true(ch:tx_commit())
      eventually("the return", function() return returned == "NO_ROUTE" end)
      assert.equal("y", assert(ch:get(q)).body)
   end)

   it("ends with its channel when an exchange is not there, and nothing of it remains", function()
      local ch, q = transacting()
      local nowhere = broker.name "no-exchange"
      assert(ch:publish("", q, "x"))
      assert(ch:publish(nowhere, q, "y"))
      local ok, err = ch:tx_commit()
      assert.is_nil(ok)
      assert.same({ "not_found", 404, ("NOT_FOUND - no exchange '%s' in vhost '/'"):format(nowhere) }, { err.kind, err.code, err.text })
      is_empty(channel(ch), q)
   end)

   it("is begun before it ends, as often as one likes, and never with confirms", function()
      local conn = broker.connect()
      local function fresh() return assert(conn:channel()) end
      refused("PRECONDITION_FAILED - channel is not transactional", fresh():tx_commit())
      refused("PRECONDITION_FAILED - channel is not transactional", fresh():tx_rollback())
      local ch = fresh()
      assert.is_true(ch:tx_select())
      assert.is_true(ch:tx_select())
      refused("PRECONDITION_FAILED - cannot switch from tx to confirm mode", ch:confirm_select())
      ch = fresh()
      assert.is_true(ch:confirm_select())
      refused("PRECONDITION_FAILED - cannot switch from confirm to tx mode", ch:tx_select())
      assert.is_true(conn.is_open)
   end)
end)

broker.unless_redis(describe, "CC", "the keys of CC and BCC", function()
   after_each(broker.close_all)

   it("route as the routing key does; BCC does not show", function()
      local ch = confirming()
      local to, cc, bcc, other = queue(ch), queue(ch), queue(ch), queue(ch)
      assert.is_true(ch:publish("", to, "x", { headers = { CC = { cc, broker.name "nowhere" }, BCC = { bcc }, own = 1 } }))
      for _, q in ipairs { to, cc, bcc } do
         local msg = take(ch, q)
         assert.same({ "", to, 1, nil }, { msg.exchange, msg.routing_key, msg.headers.own, msg.headers.BCC })
         assert.equal(cc, msg.headers.CC[1])
         assert.is_nil(msg.headers.BCC)
      end
      assert.equal(0, count(ch, other))
   end)

   it("bring a message to a queue once", function()
      local ch = confirming()
      local exchange, q = broker.name "topic", queue(ch)
      assert(ch:exchange_declare { exchange = exchange, type = "topic", auto_delete = true })
      assert(ch:queue_bind { queue = q, exchange = exchange, routing_key = "a.*" })
      assert(ch:queue_bind { queue = q, exchange = exchange, routing_key = "*.b" })
      assert.is_true(ch:publish(exchange, "a.b", "x", { headers = { CC = { "a.c", "c.b" }, BCC = { "a.d" } } }))
      assert.equal(1, count(ch, q))
   end)

   it("are a route: nothing comes back", function()
      local ch, q = confirming()
      assert.is_true(ch:publish("", broker.name "nowhere", "x", { mandatory = true, headers = { BCC = { q } } }))
      assert.equal("x", take(ch, q).body)
      assert.equal("returned", select(2, ch:publish("", broker.name "nowhere", "x",
         { mandatory = true, headers = { CC = { broker.name "nowhere" } } })).kind)
   end)

   it("that are no strings do not count", function()
      local ch, q = confirming()
      assert.is_true(ch:publish("", q, "x", { headers = { CC = { 1, q } } }))
      assert.equal(1, count(ch, q))
   end)
end)
