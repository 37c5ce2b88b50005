--- The path from script to broker and back: declare, publish, consume, settle, lose.
-- Covers: lua/moonrabbit/channel/channel.lua by tx_rollback
local mr = require "moonrabbit"
local broker = require "broker"

local eventually = broker.eventually

describe("publishing", function()
   after_each(broker.close_all)

   local function queue(ch, arguments)
      return assert(ch:queue_declare { exclusive = true, arguments = arguments }).queue
   end

   it("waits for the confirm", function()
      local ch = broker.channel()
      local q = queue(ch)
      assert.is_true(ch:confirm_select())
      assert.is_true(ch:publish("", q, "x"))
      assert.equal(1, ch:queue_declare { queue = q, passive = true }.message_count)
   end)

   it("gives tickets that all end acked", function()
      local ch = broker.channel()
      local q = queue(ch)
      assert(ch:confirm_select())
      local tickets = {}
      for i = 1, 500 do tickets[i] = assert(ch:publish_async("", q, "x" .. i)) end
      assert.is_true(ch:wait_for_confirms(10))
      for i = 1, 500 do assert.equal("acked", tickets[i].state) end
      assert.is_true(tickets[500]:wait(0))
   end)

   broker.unless_redis(it, "a queue is a name", "reports a mandatory message that has no route as returned, and goes on", function()
      local ch = broker.channel()
      local q = queue(ch)
      assert(ch:confirm_select())
      local ok, err = ch:publish("", broker.name "nowhere", "lost soul", { mandatory = true })
      assert.is_nil(ok)
      assert.equal("returned", err.kind)
      assert.equal("lost soul", err.message.body)
      assert.is_true(ch:publish("", q, "x", { mandatory = true }))
   end)

   broker.unless_redis(it, "a queue is a name", "hands a returned message to on_return outside of confirm mode", function()
      local ch = broker.channel()
      local got, why
      ch:on_return(function(msg, err) got, why = msg, err end)
      assert(ch:publish("", broker.name "nowhere", "back", { mandatory = true }))
      eventually("the return", function() return got end)
      assert.equal("back", got.body)
      assert.equal("no_route", why.kind)
   end)

   broker.unless_redis(it, "queue arguments", "ends as nacked when the queue refuses", function()
      local ch = broker.channel()
      local q = queue(ch, { ["x-max-length"] = 1, ["x-overflow"] = "reject-publish" })
      assert(ch:confirm_select())
      assert.is_true(ch:publish("", q, "1"))
      local ok, err = ch:publish("", q, "2")
      assert.is_nil(ok)
      assert.equal("nacked", err.kind)
   end)

   it("carries bodies of every size, NUL bytes included", function()
      local ch = broker.channel()
      local q = queue(ch)
      for _, size in ipairs { 0, 1, 100, 4095, 4096, 4097, 131063, 131064, 131065, 2 ^ 20, 16 * 2 ^ 20 } do
         local body = ("a\0b\255"):rep(math.ceil(size / 4)):sub(1, size)
         assert(ch:publish("", q, body))
         local msg = eventually("the message", function() return (ch:get(q, { no_ack = true })) end)
         assert.is_true(msg.body == body, ("a body of %d bytes came back changed"):format(size))
      end
   end)

   it("refuses a body over max_message_size", function()
      local ch = broker.channel { max_message_size = 1000 }
      local ok, err = ch:publish("", "q", ("x"):rep(1001))
      assert.is_nil(ok)
      assert.equal("content_too_large", err.kind)
   end)

   broker.unless_redis(it, "headers", "carries headers of every type in both directions", function()
      local ch = broker.channel()
      local q = queue(ch)
      local sent = {
         s = "text", t = true, f = false, n = 42, d = 1.5, neg = -7, big = 9007199254740993LL,
         low = -9223372036854775807LL, i = mr.int(3), ts = mr.timestamp(1700000000), b = mr.bytes "a\0b",
         list = { 1, "two", { three = 3 } }, empty = mr.array {}, nested = { deep = { deeper = "x" } },
         none = mr.null, dec = mr.decimal(314, 2), nothing = {},
      }
      assert(ch:publish("", q, "x", { headers = sent }))
      local got = eventually("the message", function() return (ch:get(q, { no_ack = true })) end).headers
      assert.equal("text", got.s)
      assert.is_true(got.t)
      assert.is_false(got.f)
      assert.equal(42, got.n)
      assert.equal(1.5, got.d)
      assert.equal(-7, got.neg)
      assert.is_true(got.big == 9007199254740993LL)
      assert.is_true(got.low == -9223372036854775807LL)
      assert.equal(3, got.i)
      assert.is_true(got.ts == mr.timestamp(1700000000))
      assert.equal("a\0b", got.b)
      assert.same({ 1, "two", { three = 3 } }, got.list)
      assert.same({}, got.empty)
      assert.equal("x", got.nested.deep.deeper)
      assert.is_true(got.none == mr.null)
      assert.is_true(got.dec == mr.decimal(314, 2))
   end)

   it("carries all properties", function()
      local ch = broker.channel()
      local q = queue(ch)
      local sent = {
         content_type = "application/json", content_encoding = "utf-8", delivery_mode = 1, priority = 3,
         correlation_id = "c", reply_to = "r", expiration = "60000", message_id = "m", timestamp = 1700000000,
         type = "t", user_id = "guest", app_id = "a", cluster_id = "k",
      }
      assert(ch:publish("", q, '{"a":[1,2]}', sent))
      local msg = eventually("the message", function() return (ch:get(q, { no_ack = true })) end)
      for name, value in pairs(sent) do assert.equal(value, msg.properties[name]) end
      assert.same({ a = { 1, 2 } }, msg:decode())
   end)

   it("shows a body where it lies, without a string of it, as long as the message is there", function()
      local ch = broker.channel()
      local q = queue(ch)
      local body = ("\0binary\r\n"):rep(200000)
      assert(ch:publish("", q, body))
      local msg = eventually("the message", function() return (ch:get(q)) end)
      local before = collectgarbage "count"
      local at, size = msg:view()
      assert.equal(#body, size)
      assert(collectgarbage "count" - before < 100, "it was copied")
      assert.equal(0, at[0])
      assert.equal(("\n"):byte(), at[size - 1])
      assert.is_true(require("ffi").string(at, size) == body)
      assert(msg:ack())
      at, size = msg:view() -- the copy that a message from get keeps
      assert.is_true(require("ffi").string(at, size) == body)
      local kept
      assert(ch:publish("", q, "x"))
      assert(ch:consume(q, function(m) kept = m end))
      eventually("the handler's end", function() return kept and not kept.is_live end)
      assert.error_matches(function() kept:view() end, "this message is gone")
   end)

   broker.unless_redis(it, "transactions", "takes part in transactions", function()
      local ch = broker.channel()
      local q = queue(ch)
      assert.is_true(ch:tx_select())
      assert(ch:publish("", q, "gone"))
      assert.is_true(ch:tx_rollback())
      assert(ch:publish("", q, "kept"))
      assert.is_true(ch:tx_commit())
      assert.equal("kept", assert(ch:get(q)).body)
      assert.equal("empty", select(2, ch:get(q)).kind)
   end)
end)

describe("declaring", function()
   after_each(broker.close_all)

   broker.unless_redis(it, "exchanges", "covers exchanges, queues and bindings", function()
      local ch = broker.channel()
      local a, b = broker.name "ex-a", broker.name "ex-b"
      assert.is_true(ch:exchange_declare { exchange = a, type = "topic", auto_delete = true })
      assert.is_true(ch:exchange_declare { exchange = b, type = "fanout" })
      assert.is_true(ch:exchange_bind { destination = b, source = a, routing_key = "x.#" })
      local q = assert(ch:queue_declare { exclusive = true }).queue
      assert.is_true(ch:queue_bind { queue = q, exchange = b })
      assert(ch:publish(a, "x.y", "routed"))
      eventually("the message", function() return ch:queue_declare { queue = q, passive = true }.message_count == 1 end)
      assert.equal(1, ch:queue_purge { queue = q })
      assert.is_true(ch:queue_unbind { queue = q, exchange = b })
      assert.is_true(ch:exchange_unbind { destination = b, source = a, routing_key = "x.#" })
      assert.equal(0, ch:queue_delete { queue = q })
      assert.is_true(ch:exchange_delete { exchange = b })
   end)

   it("with other arguments fails naming the argument, and the connection lives on", function()
      local conn = broker.connect()
      local ch = assert(conn:channel())
      local q = assert(ch:queue_declare { queue = broker.name "other", exclusive = true }).queue
      local ok, err = ch:queue_declare { queue = q, exclusive = true, arguments = { ["x-max-length"] = 3 } }
      assert.is_nil(ok)
      assert.equal("precondition_failed", err.kind)
      assert.equal(406, err.code)
      assert.truthy(err.text:find("x%-max%-length"))
      assert.is_false(ch.is_open)
      assert.equal("precondition_failed", select(2, ch:publish("", q, "x")).kind)
      assert.is_true(conn.is_open)
      assert(conn:channel())
   end)
end)

describe("a connection", function()
   after_each(broker.close_all)

   broker.it_inside(it, "is seen at the broker under its name, with what it says of itself", function()
      local name = broker.name "billing"
      assert(broker.connect { name = name, client_properties = { team = "ops" } }:connect())
      local _, line = broker.connection_with(name)
      assert.truthy(line)
      for _, part in ipairs { '"product","Moonrabbit"', '"version","' .. mr.version, '"platform","C; Linux', '"team","ops"',
         '"connection.blocked",true', '"authentication_failure_close",true' } do
         assert.truthy(line:find(part, 1, true), part .. " is missing in " .. line)
      end
   end)

   broker.unless_redis(it, "options",
      "opens nothing before it is used, connects again after a close, and never shows its password", function()
      local conn = broker.connect { password = "guest" }
      assert.equal("idle", conn.state)
      assert(conn:connect())
      assert.equal("RabbitMQ", conn.server_properties.product)
      assert.is_true(conn:close())
      assert.is_true(conn:close())
      assert.equal("closed", conn.state)
      assert.is_true(assert(conn:channel()).is_open)
      assert.equal(2, conn.epoch)
      for k, v in pairs(conn:info()) do assert.falsy(tostring(v):find(":guest@", 1, true), k) end
      assert.is_nil(conn:info().password)
   end)

   broker.it_plain(it, "goes on to the next host when the first is dead", function()
      local conn = mr.connect { url = ("amqp://guest:guest@127.0.0.1:1,127.0.0.1:%d/"):format(broker.port) }
      assert(conn:connect())
      assert.equal("127.0.0.1:" .. broker.port, conn.host)
      conn:release()
   end)
end)

describe("consuming", function()
   after_each(broker.close_all)

   local function filled(ch, count)
      local q = assert(ch:queue_declare { queue = broker.name "work", auto_delete = true }).queue
      for i = 1, count do assert(ch:publish("", q, tostring(i))) end
      return q
   end

   it("acks what a handler returns from, each message once", function()
      local ch = broker.channel()
      local q, seen = filled(ch, 1000), {}
      assert(ch:qos { prefetch_count = 50 })
      local consumer = assert(ch:consume(q, function(msg) seen[#seen + 1] = msg.body end))
      eventually("all messages", function() return #seen == 1000 end)
      assert.is_true(consumer:cancel())
      assert.equal("cancelled", consumer.state)
      for i = 1, 1000 do assert.equal(tostring(i), seen[i]) end
   end)

   it("gives back what a handler fails on", function()
      local ch = broker.channel()
      local q, tries = filled(ch, 1), {}
      mr.log.configure "off"
      assert(ch:consume(q, function(msg)
         tries[#tries + 1] = msg.redelivered
         if #tries == 1 then error "not yet" end
      end))
      eventually("the second try", function() return #tries == 2 end)
      mr.log.configure "warn"
      assert.same({ false, true }, tries)
   end)

   it("lets a handler settle by itself, once", function()
      local ch = broker.channel()
      local q, results = filled(ch, 3), {}
      assert(ch:consume(q, function(msg)
         local first = { msg.body == "1" and msg:ack() or msg.body == "2" and msg:reject() or msg:nack { requeue = false } }
         local ok, err = msg:ack()
         results[#results + 1] = { first[1], ok, err.kind }
      end))
      eventually("three results", function() return #results == 3 end)
      for _, r in ipairs(results) do assert.same({ true, nil, "settled" }, r) end
   end)

   it("goes on while handlers wait, and keeps to the concurrency asked for", function()
      local ch = broker.channel()
      local q, running, most, done = filled(ch, 30), 0, 0, 0
      assert(ch:consume(q, function()
         running = running + 1
         most = math.max(most, running)
         mr.sleep(0.02)
         running = running - 1
         done = done + 1
      end, { concurrency = 5 }))
      eventually("all handlers", function() return done == 30 end)
      assert.equal(5, most)
   end)

   it("lets a handler declare, publish with confirm, cancel itself and close the connection", function()
      local conn = broker.connect()
      local ch, pub = assert(conn:channel()), assert(conn:channel())
      local q, log = filled(ch, 2), {}
      assert(pub:confirm_select())
      local consumer
      consumer = assert(ch:consume(q, function()
         local other = assert(ch:queue_declare { exclusive = true }).queue
         log[#log + 1] = pub:publish("", other, "x")
         log[#log + 1] = consumer:cancel()
         log[#log + 1] = conn:close()
      end, { concurrency = 1 }))
      eventually("the close", function() return #log >= 3 and conn.state == "closed" end)
      assert.is_true(log[1])
      assert.is_true(log[2])
   end)

   it("offers messages as an iterator", function()
      local ch = broker.channel()
      local q, seen = filled(ch, 5), 0
      local iterator, consumer = assert(ch:messages(q))
      for msg in iterator do
         seen = seen + 1
         assert.equal(tostring(seen), msg.body)
         assert.is_true(msg:ack())
         if seen == 5 then consumer:cancel() end
      end
      assert.equal(5, seen)
   end)

   it("keeps a message of get readable after it was settled", function()
      local ch = broker.channel()
      local q = filled(ch, 1)
      local msg = eventually("the message", function() return (ch:get(q)) end)
      assert.is_true(msg.is_live)
      assert.is_true(msg:ack())
      assert.equal("1", msg.body)
      assert.equal(q, msg.routing_key)
      assert.is_false(msg.is_live)
   end)

   it("raises when a message is read whose handler has returned", function()
      local ch = broker.channel()
      local q, kept = filled(ch, 1), nil
      assert(ch:consume(q, function(msg) kept = msg end))
      eventually("the message", function() return kept end)
      mr.sleep(0)
      assert.has_error(function() return kept.body end)
      assert.equal("settled", select(2, kept:ack()).kind)
   end)

   it("ends a consumer whose queue is deleted, unless it is to recover", function()
      local ch = broker.channel { recover = false }
      local q = filled(ch, 0)
      local consumer = assert(ch:consume(q, function() end))
      mr.log.configure "off"
      assert(broker.channel():queue_delete { queue = q })
      eventually("the cancel", function() return consumer.state == "cancelled" end)
      mr.log.configure "warn"
      assert.equal("cancelled", consumer.err.kind)
   end)

   it("refuses a tag that the channel uses already", function()
      local ch = broker.channel()
      local q = filled(ch, 0)
      assert(ch:consume(q, function() end, { consumer_tag = "same" }))
      local ok, err = ch:consume(q, function() end, { consumer_tag = "same" })
      assert.is_nil(ok)
      assert.equal("not_allowed", err.kind)
      assert.is_true(ch.is_open)
   end)
end)

describe("a lost connection", function()
   after_each(broker.close_all)

   broker.it_inside(it, "tells every waiter, ticket and delivery why", function()
      local events = {}
      local conn = broker.connect { name = "to be closed", recover = false, on_event = function(ev) events[ev.type] = ev end }
      local ch = assert(conn:channel())
      local q = assert(ch:queue_declare { queue = broker.name "lost", auto_delete = true }).queue
      assert(ch:publish("", q, "x"))
      local kept = eventually("the message", function() return (ch:get(q)) end)
      local pub = assert(conn:channel())
      assert(pub:confirm_select())
      local ended = {}
      mr.log.configure "off"
      local _, consumer = assert(pub:messages(assert(pub:queue_declare { exclusive = true }).queue))
      mr.spawn(function()
         while not ended.waiter do
            local ok, err = ch:queue_declare { queue = q, passive = true }
            if not ok then ended.waiter = err end
         end
      end)
      broker.close_connections "maintenance"
      eventually("the loss", function() return events.lost and ended.waiter end, 20)
      mr.log.configure "warn"
      assert.equal("connection_forced", events.lost.err.kind)
      assert.equal(320, events.lost.err.code)
      assert.equal("connection_forced", ended.waiter.kind)
      assert.equal("failed", consumer.state)
      assert.equal("stale", select(2, kept:ack()).kind)
      assert.equal("connection_forced", select(2, ch:publish("", q, "x")).kind)
      assert.equal("lost", conn.state)
      assert(conn:connect())          -- the same object connects again
   end)
end)
