--- Publishing: confirms, returns, what a body and its properties may be, transactions.
local mr = require "moonrabbit"
local broker = require "broker"

local eventually, take = broker.eventually, broker.take
local queue, confirming, count = broker.queue, broker.confirming, broker.count
local INT64_MIN = -9223372036854775807LL - 1
local INT64_MAX = 9223372036854775807LL

local function full_queue()
   local ch, q = confirming { ["x-max-length"] = 1, ["x-overflow"] = "reject-publish" }
   assert.is_true(ch:publish("", q, "the one that fits"))
   return ch, q
end

describe("publishing with confirms", function()
   after_each(broker.close_all)

   it("waits until the broker has the message (X3)", function()
      local ch, q = confirming()
      assert.is_true(ch:publish("", q, "x"))
      assert.equal(1, count(ch, q))
   end)

   it("gives tickets that all end acked", function()
      local ch, q = confirming()
      local tickets = {}
      for i = 1, 500 do
         tickets[i] = assert(ch:publish_async("", q, "x" .. i))
         assert.equal(i, tickets[i].number)
      end
      assert.equal("waiting", tickets[500].state)
      assert.is_true(ch:wait_for_confirms(10))
      for i = 1, 500 do assert.equal("acked", tickets[i].state) end
      assert.is_true(tickets[500]:wait(0))
      assert.equal(500, count(ch, q))
   end)

   it("wakes everybody who waits for one ticket", function()
      local ch, q = confirming()
      local ticket = assert(ch:publish_async("", q, "x"))
      local woken = 0
      for _ = 1, 3 do
         mr.spawn(function()
            assert(ticket:wait(5))
            woken = woken + 1
         end)
      end
      eventually("three waiters", function() return woken == 3 end)
   end)

   broker.unless_redis(it, "a queue is a name", "lets many tasks publish at once, each getting its own result", function()
      local ch, q = confirming()
      local nowhere = broker.name "nowhere"
      local acked, returned = 0, 0
      for i = 1, 100 do
         mr.spawn(function()
            local ok, err = ch:publish("", i % 2 == 0 and q or nowhere, tostring(i), { mandatory = true })
            if ok then
               assert.equal(0, i % 2)
               acked = acked + 1
            else
               assert.equal(tostring(i), err.message.body)
               returned = returned + 1
            end
         end)
      end
      eventually("all results", function() return acked + returned == 100 end)
      assert.equal(50, acked)
   end)

   it("has nothing to wait for when nothing is out, and does not wait without confirms", function()
      local ch = confirming()
      assert.is_true(ch:wait_for_confirms(0))
      local ok, err = broker.channel():wait_for_confirms(1)
      assert.is_nil(ok)
      assert.equal("bad_argument", err.kind)
   end)

   broker.unless_redis(it, "a queue is a name", "reports a mandatory message without a route as returned, and goes on", function()
      local ch, q = confirming()
      local nowhere = broker.name "nowhere"
      local ok, err = ch:publish("", nowhere, "lost soul", { mandatory = true, message_id = "m1", headers = { n = 1 } })
      assert.is_nil(ok)
      assert.equal("returned", err.kind)
      assert.equal("publish", err.scope)
      assert.equal(312, err.code)
      assert.truthy(err.text:find("NO_ROUTE", 1, true))
      assert.truthy(err.hint:find("declare it", 1, true))
      assert.equal("lost soul", err.message.body)
      assert.equal(nowhere, err.message.routing_key)
      assert.equal("", err.message.exchange)
      assert.equal("m1", err.message.properties.message_id)
      assert.same({ n = 1 }, err.message.headers)
      assert.is_false(err.message.is_live)
      assert.is_true(ch:publish("", q, "x", { mandatory = true }))
   end)

   it("acks what has no route when it is not mandatory", function()
      local ch = confirming()
      assert.is_true(ch:publish("", broker.name "nowhere", "into the void"))
   end)

   broker.unless_redis(it, "a queue is a name", "tells a ticket of its return, and wait_for_confirms of the failures", function()
      local ch, q = confirming()
      local good = assert(ch:publish_async("", q, "x", { mandatory = true }))
      local bad = assert(ch:publish_async("", broker.name "nowhere", "back", { mandatory = true }))
      local ok, err = ch:wait_for_confirms(5)
      assert.is_nil(ok)
      assert.equal("returned", err.kind)
      assert.equal(1, err.count)
      assert.equal("acked", good.state)
      assert.equal("returned", bad.state)
      assert.equal("back", bad.message.body)
      assert.is_true(ch:wait_for_confirms(5)) -- told once
   end)

   broker.unless_redis(it, "a queue is a name", "calls on_return in confirm mode, too", function()
      local ch = confirming()
      local got
      ch:on_return(function(msg) got = msg.body end)
      ch:publish("", broker.name "nowhere", "back", { mandatory = true })
      eventually("the return", function() return got == "back" end)
   end)

   broker.unless_redis(it, "queue arguments", "ends as nacked when the queue refuses", function()
      local ch, q = full_queue()
      local ok, err = ch:publish("", q, "2")
      assert.is_nil(ok)
      assert.equal("nacked", err.kind)
      assert.equal("publish", err.scope)
      assert.is_true(err.recoverable)
      assert.truthy(err.hint:find("x-max-length", 1, true))
      assert.is_true(ch.is_open)
   end)

   broker.unless_redis(it, "queue arguments", "settles acks and nacks of a mixed batch one by one", function()
      local ch, full = full_queue()
      local q = queue(ch)
      local tickets = {}
      for i = 1, 100 do tickets[i] = assert(ch:publish_async("", i % 3 == 0 and full or q, tostring(i))) end
      local ok, err = ch:wait_for_confirms(10)
      assert.is_nil(ok)
      assert.equal("nacked", err.kind)
      assert.equal(33, err.count)
      for i = 1, 100 do assert.equal(i % 3 == 0 and "nacked" or "acked", tickets[i].state) end
      assert.equal(67, count(ch, q))
   end)

   it("ends as lost, saying why, when the channel is closed by the broker", function()
      local ch = confirming()
      local ok, err = ch:publish(broker.name "no-exchange", "k", "x")
      assert.is_nil(ok)
      assert.equal("lost", err.kind)
      assert.truthy(err.text:find("no exchange", 1, true), err.text)
      assert.truthy(err.text:find("the channel was closed before", 1, true), err.text)
      assert.falsy(err.hint:find("publish it again", 1, true), err.hint) -- that would be in vain
      assert.is_false(ch.is_open)
      assert.equal("not_found", ch.last_error.kind)
      assert.equal("not_found", select(2, ch:publish("", "q", "x")).kind)
   end)

   it("ends every ticket when the program closes the channel", function()
      local ch, q = confirming()
      local tickets = {}
      for i = 1, 50 do tickets[i] = assert(ch:publish_async("", q, "x")) end
      assert.is_true(ch:close())
      eventually("the end of all tickets", function()
         for i = 1, 50 do if tickets[i].state == "waiting" then return false end end
         return true
      end)
      for i = 1, 50 do assert.is_true(tickets[i].state == "acked" or tickets[i].state == "lost") end
   end)
end)

describe("publishing without confirms", function()
   after_each(broker.close_all)

   it("returns at once; what goes ahead of a question has arrived by its answer", function()
      local ch = broker.channel()
      local q = queue(ch)
      for i = 1, 1000 do assert.is_true(ch:publish("", q, tostring(i))) end
      assert.is_true(ch:publish_async("", q, "1001"))
      eventually("all messages", function() return count(ch, q) == 1001 end)
      for i = 1, 1001 do assert.equal(tostring(i), assert(ch:get(q, { no_ack = true })).body) end
   end)

   broker.unless_redis(it, "a queue is a name", "hands a returned message to on_return", function()
      local ch = broker.channel()
      local nowhere = broker.name "nowhere"
      local got, why
      ch:on_return(function(msg, err) got, why = msg, err end)
      assert.is_true(ch:publish("", nowhere, "back", { mandatory = true, type = "t" }))
      eventually("the return", function() return got end)
      assert.equal("back", got.body)
      assert.equal(nowhere, got.routing_key)
      assert.equal(312, got.reply_code)
      assert.equal("NO_ROUTE", got.reply_text)
      assert.equal("t", got.properties.type)
      assert.equal("no_route", why.kind)
      assert.equal(312, why.code)
   end)

   broker.unless_redis(it, "a queue is a name", "lets on_return publish the message elsewhere", function()
      local ch = broker.channel()
      local q = queue(ch)
      ch:on_return(function(msg) assert(ch:publish("", q, "again: " .. msg.body)) end)
      assert.is_true(ch:publish("", broker.name "nowhere", "x", { mandatory = true }))
      assert.equal("again: x", take(ch, q).body)
   end)

   it("to an exchange that is not there closes the channel, and only it", function()
      local conn = broker.connect()
      local ch, other = assert(conn:channel()), assert(conn:channel())
      assert(ch:publish(broker.name "no-exchange", "k", "x"))
      eventually("the close", function() return not ch.is_open end)
      local ok, err = ch:publish("", "q", "x")
      assert.is_nil(ok)
      assert.equal("not_found", err.kind)
      assert.equal(404, err.code)
      assert.equal("channel", err.scope)
      assert.is_true(conn.is_open)
      assert.is_true(other:publish("", queue(other), "x"))
   end)
end)

describe("a body", function()
   after_each(broker.close_all)

   for _, size in ipairs { 0, 1, 4095, 4096, 131063, 131064, 131065, 262128, 2 ^ 20, 16 * 2 ^ 20 } do
      it(("of %d bytes comes back as it was"):format(size), function()
         local ch, q = confirming()
         local body = ("a\0b\255\r\n\206"):rep(math.ceil(size / 7)):sub(1, size)
         assert(ch:publish("", q, body))
         local got = assert(ch:get(q, { no_ack = true })).body
         assert.equal(size, #got)
         assert.is_true(got == body)
      end)
   end

   it("of several frames comes back over a connection with the least frame_max", function()
      local ch = broker.channel { frame_max = 4096 }
      local q = queue(ch)
      for _, size in ipairs { 4087, 4088, 4089, 100000 } do
         local body = ("\0x"):rep(size):sub(1, size)
         assert(ch:publish("", q, body))
         assert.is_true(take(ch, q).body == body)
      end
   end)

   it("may go out by many tasks at once without getting mixed", function()
      local conn = broker.connect()
      local ch = assert(conn:channel())
      local q = queue(ch)
      for c = 1, 5 do
         local own = assert(conn:channel())
         for i = 1, 4 do
            mr.spawn(function() assert(own:publish("", q, string.char(64 + c):rep(200000 + i))) end)
         end
      end
      for _ = 1, 20 do
         local body = take(ch, q).body
         assert.equal(("").rep(body:sub(1, 1), #body), body)
      end
   end)

   it("over max_message_size is refused before anything is sent", function()
      local ch = broker.channel { max_message_size = 1000 }
      local q = queue(ch)
      local ok, err = ch:publish("", q, ("x"):rep(1001))
      assert.is_nil(ok)
      assert.equal("content_too_large", err.kind)
      assert.truthy(err.hint:find("max_message_size", 1, true))
      assert.is_true(ch:publish("", q, ("x"):rep(1000)))
      assert.equal(1000, #take(ch, q).body)
   end)
end)

describe("headers", function()
   after_each(broker.close_all)

   local function through(headers)
      local ch = broker.channel()
      local q = queue(ch)
      assert(ch:publish("", q, "x", { headers = headers }))
      return take(ch, q).headers
   end

   it("carry strings, booleans and numbers", function()
      local sent = {
         text = "text", empty = "", nul = "a\0b", utf8 = "größe", yes = true, no = false,
         zero = 0, whole = 42, negative = -7, exact = 2 ^ 53 - 1, half = 1.5, tiny = 1e-300, huge = 1e300,
      }
      assert.same(sent, through(sent))
   end)

   it("carry 64-bit integers exactly, as cdata beyond 2^53", function()
      local got = through { max = INT64_MAX, min = INT64_MIN, odd = 9007199254740993LL, unsigned = 5ULL, small = 7LL }
      assert.equal("cdata", type(got.max))
      assert.is_true(got.max == INT64_MAX)
      assert.is_true(got.min == INT64_MIN)
      assert.is_true(got.odd == 9007199254740993LL)
      assert.equal(5, got.unsigned)
      assert.equal(7, got.small)
   end)

   it("refuse an unsigned integer that the wire cannot carry", function()
      local ch = broker.channel()
      assert.has_error(function() ch:publish("", "q", "x", { headers = { n = 0x8000000000000000ULL } }) end)
   end)

   broker.unless_redis(it, "headers", "carry the explicit types", function()
      local got = through {
         int = mr.int(3), stamp = mr.timestamp(1700000000), bytes = mr.bytes "a\0b", none = mr.null,
         decimal = mr.decimal(314, 2), list = mr.array { 1, 2 }, empty = mr.array {},
      }
      assert.equal(3, got.int)
      assert.is_true(got.stamp == mr.timestamp(1700000000))
      assert.equal(1700000000, got.stamp.value)
      assert.equal("a\0b", got.bytes)
      assert.is_true(got.none == mr.null)
      assert.is_true(got.decimal == mr.decimal(314, 2))
      assert.same({ 1, 2 }, got.list)
      assert.same({}, got.empty)
   end)

   it("carry tables in tables and arrays in arrays", function()
      local sent = {
         map = { deep = { deeper = { n = 1 } }, list = { 1, "two", { three = 3 }, { 4, { 5 } } } },
         list = { { { {} } }, "x" }, empty = {},
      }
      assert.same(sent, through(sent))
   end)

   broker.unless_redis(it, "headers", "carry all types that come in through again unchanged", function()
      local first = through { n = 1, stamp = mr.timestamp(5), none = mr.null, d = mr.decimal(1, 1), big = INT64_MAX,
         list = { 1, mr.null }, map = { x = mr.timestamp(6) } }
      local second = through(first)
      assert.is_true(second.stamp == mr.timestamp(5))
      assert.is_true(second.none == mr.null)
      assert.is_true(second.d == mr.decimal(1, 1))
      assert.is_true(second.big == INT64_MAX)
      assert.is_true(second.list[2] == mr.null)
      assert.is_true(second.map.x == mr.timestamp(6))
   end)

   it("may be many", function()
      local sent = {}
      for i = 1, 300 do sent["key-" .. i] = ("v"):rep(i) end
      assert.same(sent, through(sent))
   end)

   it("that do not fit into one frame are refused, and the connection lives on", function()
      for _, frame_max in ipairs { 4096, 131072 } do
         local ch = broker.channel { frame_max = frame_max }
         local q = queue(ch)
         local ok, err = ch:publish("", q, "x", { headers = { large = ("v"):rep(frame_max) } })
         assert.is_nil(ok)
         assert.equal("content_too_large", err.kind)
         assert.is_true(ch:publish("", q, "x"))
         assert.equal("x", take(ch, q).body)
      end
   end)

   it("that have no AMQP form are refused by name", function()
      local ch = broker.channel()
      local function refused(headers, part)
         local ok, why = pcall(ch.publish, ch, "", "q", "x", { headers = headers })
         assert.is_false(ok)
         assert.truthy(tostring(why):find(part, 1, true), why)
      end
      refused({ callback = print }, "callback")
      refused({ [("k"):rep(129)] = 1 }, "128")
      refused({ [1] = "a", x = "b" }, "must be a string")
      for _, n in ipairs { 1 / 0, -1 / 0, 0 / 0 } do refused({ ratio = n }, "ratio") end
      local loop = {}
      loop.loop = loop
      refused(loop, "holds itself")
      assert.is_true(ch.is_open)
   end)
end)

describe("properties", function()
   after_each(broker.close_all)

   local function through(props)
      local ch = broker.channel()
      local q = queue(ch)
      assert(ch:publish("", q, props.content_type and '{"a":[1,2]}' or "x", props))
      return take(ch, q)
   end

   it("come back, all 14", function()
      local sent = {
         content_type = "application/json", content_encoding = "utf-8", headers = { h = 1 }, delivery_mode = 1,
         priority = 3, correlation_id = "c\0c", reply_to = "r", expiration = "60000", message_id = "m",
         timestamp = 1700000000, type = "t", user_id = "guest", app_id = "a", cluster_id = "k",
      }
      local msg = through(sent)
      assert.same(sent, msg.properties)
      assert.same({ a = { 1, 2 } }, msg:decode())
   end)

   broker.unless_redis(it, "priorities", "are absent when they were not given, and the message persistent (X22)", function()
      assert.same({ delivery_mode = 2 }, through({}).properties)
      assert.equal(1, through({ persistent = false }).properties.delivery_mode)
      local ch = broker.channel()
      local q = queue(ch)
      assert(ch:publish("", q, "x"))
      assert.same({ delivery_mode = 2 }, take(ch, q).properties)
   end)

   it("may be empty strings and zeros", function()
      local sent = { delivery_mode = 2, priority = 0, message_id = "", timestamp = 0 }
      assert.same(sent, through(sent).properties)
   end)

   it("take strings of 255 bytes and refuse longer ones", function()
      assert.equal(255, #through({ message_id = ("m"):rep(255) }).properties.message_id)
      local ch = broker.channel()
      assert.has_error(function() ch:publish("", "q", "x", { message_id = ("m"):rep(256) }) end)
   end)

   it("that do not exist are refused, naming the nearest", function()
      local ch = broker.channel()
      local ok, why = pcall(function() ch:publish("", "q", "x", { corelation_id = "c" }) end)
      assert.is_false(ok)
      assert.truthy(why:find('did you mean "correlation_id"', 1, true))
      assert.truthy(why:find("publish_spec", 1, true), why) -- blames this file
   end)

   it("let a user claim no other name than its own", function()
      local ch, q = confirming()
      local ok, err = ch:publish("", q, "x", { user_id = "somebody" })
      assert.is_nil(ok)
      assert.equal("precondition_failed", ch.last_error.kind)
      assert.truthy(err.text:find("user_id", 1, true), err.text)
   end)
end)

describe("a routing key", function()
   after_each(broker.close_all)

   it("of 255 bytes works, a longer one is refused", function()
      local ch = broker.channel()
      local q, exchange = queue(ch), broker.name "topic"
      assert(ch:exchange_declare { exchange = exchange, type = "topic", auto_delete = true })
      assert(ch:queue_bind { queue = q, exchange = exchange, routing_key = "#" })
      local key = ("k"):rep(255)
      assert(ch:publish(exchange, key, "x"))
      local msg = take(ch, q)
      assert.equal(key, msg.routing_key)
      assert.equal(exchange, msg.exchange)
      local ok, err = ch:publish(exchange, key .. "k", "x")
      assert.is_nil(ok)
      assert.equal("bad_argument", err.kind)
      assert.is_true(ch.is_open)
   end)
end)

describe("a transaction", function()
   after_each(broker.close_all)

   broker.unless_redis(it, "transactions", "publishes at the commit and forgets at a rollback", function()
      local ch, watcher = broker.channel(), broker.channel()
      local q = assert(watcher:queue_declare { queue = broker.name "tx", auto_delete = true }).queue
      assert.is_true(ch:tx_select())
      assert(ch:publish("", q, "rolled back"))
      assert.is_true(ch:tx_rollback())
      assert(ch:publish("", q, "committed"))
      assert.equal(0, count(watcher, q))
      assert.is_true(ch:tx_commit())
      assert.equal(1, count(watcher, q))
      assert.equal("committed", assert(watcher:get(q, { no_ack = true })).body)
      assert(watcher:queue_delete { queue = q })
   end)

   broker.unless_redis(it, "transactions", "acks at the commit", function()
      local ch = broker.channel()
      local q = queue(ch)
      assert(ch:publish("", q, "x"))
      assert(ch:tx_select())
      local msg = take(ch, q, {})
      assert.is_true(msg:ack())
      assert.is_true(ch:tx_commit())
      assert.is_true(ch:close())
      assert.equal(0, count(assert(ch.connection:channel()), q))
   end)

   broker.unless_redis(it, "transactions", "and confirms exclude each other", function()
      local ch = broker.channel()
      assert(ch:tx_select())
      local ok, err = ch:confirm_select()
      assert.is_nil(ok)
      assert.equal("precondition_failed", err.kind)
      assert.is_false(ch.is_open)
   end)

   it("cannot be committed before it has begun", function()
      local ch = broker.channel()
      local ok, err = ch:tx_commit()
      assert.is_nil(ok)
      assert.equal("precondition_failed", err.kind)
   end)
end)

describe("after publishing", function()
   it("no connection is left at the broker", broker.none_left)
end)
