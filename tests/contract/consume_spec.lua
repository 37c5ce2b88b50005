--- Consuming: handlers, settling, iterators, get, qos; and what ends a consumer.
local mr = require "moonrabbit"
local broker = require "broker"

local eventually, take, quietly, count = broker.eventually, broker.take, broker.quietly, broker.count

-- A queue with the messages "1" .. "count"; it goes with its last consumer, or its connection.
local function filled(ch, number, options)
   local all = { queue = broker.name "work", exclusive = true }
   for k, v in pairs(options or {}) do all[k] = v end
   local q = assert(ch:queue_declare(all)).queue
   for i = 1, number do assert(ch:publish("", q, tostring(i))) end
   return q
end

local function names(first, last)
   local list = {}
   for i = first, last do list[#list + 1] = tostring(i) end
   return list
end

-- What is left in a queue once its channel is closed: all that was not settled.
local function left_after_close(ch, q)
   assert(ch:close())
   return count(assert(ch.connection:channel()), q)
end

describe("a handler", function()
   after_each(broker.close_all)

   it("gets each message once, in order, and acks by returning (O5, O10)", function()
      local ch = broker.channel()
      local q, seen = filled(ch, 1000), {}
      assert(ch:qos { prefetch_count = 50 })
      local consumer = assert(ch:consume(q, function(msg) seen[#seen + 1] = msg.body end))
      eventually("all messages", function() return #seen == 1000 end)
      assert.same(names(1, 1000), seen)
      assert.is_true(consumer:cancel())
      assert.equal("cancelled", consumer.state)
      assert.is_nil(consumer.err)
      assert.equal(0, left_after_close(ch, q))
   end)

   it("sees where a message comes from", function()
      local ch = broker.channel()
      local q, got = filled(ch, 1), nil
      local consumer = assert(ch:consume(q, function(msg)
         got = { msg.exchange, msg.routing_key, msg.redelivered, msg.consumer_tag, msg.delivery_tag, msg.is_live,
            msg.delivery_count, msg.channel == ch, tostring(msg) }
      end, { consumer_tag = "my tag" }))
      eventually("the message", function() return got end)
      assert.same({ "", q, false, "my tag", 1, true, 0, true }, { unpack(got, 1, 8) })
      assert.equal(("message 1 (exchange %q, routing key %q, 1 bytes)"):format("", q), got[9])
      assert.equal("my tag", consumer.tag)
      assert.equal(q, consumer.queue)
   end)

   it("that fails gives its message back, and the log says whose it was (O6)", function()
      local ch = broker.channel()
      local q, tries = filled(ch, 1), {}
      quietly(function()
         assert(ch:consume(q, function(msg)
            tries[#tries + 1] = msg.redelivered
            if #tries == 1 then error "not yet" end
         end))
         eventually("the second try", function() return #tries == 2 end)
      end)
      assert.same({ false, true }, tries)
      assert.equal(0, left_after_close(ch, q))
   end)

   it("may fail with anything: a table, nil, one of our errors", function()
      local ch = broker.channel()
      local whys = { {}, false, setmetatable({}, { __tostring = function() error "no" end }), 42 }
      local q, tries = filled(ch, 1), 0
      quietly(function()
         assert(ch:consume(q, function()
            tries = tries + 1
            if tries <= #whys then error(whys[tries]) end
         end))
         eventually("the last try", function() return tries == #whys + 1 end)
      end)
      assert.equal(0, left_after_close(ch, q))
   end)

   it("may settle by itself, once (X18)", function()
      local ch = broker.channel()
      local q, results = filled(ch, 3), {}
      assert(ch:consume(q, function(msg)
         local first = msg.body == "1" and msg:ack() or msg.body == "2" and msg:reject() or msg:nack { requeue = false }
         assert.is_false(msg.is_live)
         local ok, err = msg:ack()
         results[#results + 1] = { first, ok, err.kind, err.scope }
      end))
      eventually("three results", function() return #results == 3 end)
      for _, r in ipairs(results) do assert.same({ true, nil, "settled", "message" }, r) end
      assert.equal(0, left_after_close(ch, q))
   end)

   it("that fails after it has settled leaves it at that", function()
      local ch = broker.channel()
      local q, tries = filled(ch, 1), 0
      quietly(function()
         assert(ch:consume(q, function(msg)
            tries = tries + 1
            msg:ack()
            error "too late"
         end))
         eventually("the message", function() return tries == 1 end)
         mr.sleep(0)
         assert.equal(0, left_after_close(ch, q))
      end)
      assert.equal(1, tries)
   end)

   it("may give a message back: nack and reject with requeue", function()
      local ch = broker.channel()
      local q, seen = filled(ch, 2), {}
      assert(ch:qos { prefetch_count = 1 })
      assert(ch:consume(q, function(msg)
         seen[#seen + 1] = msg.body .. tostring(msg.redelivered)
         if not msg.redelivered then
            if msg.body == "1" then msg:nack() else msg:reject { requeue = true } end
         end
      end))
      eventually("four deliveries", function() return #seen == 4 end)
      assert.same({ "1false", "1true", "2false", "2true" }, seen)
   end)

   it("may refuse a message into a dead-letter queue", function()
      local ch = broker.channel()
      local dead = filled(ch, 0)
      local q = filled(ch, 2, { arguments = { ["x-dead-letter-exchange"] = "", ["x-dead-letter-routing-key"] = dead } })
      assert(ch:consume(q, function(msg)
         if msg.body == "1" then msg:reject() else msg:nack { requeue = false } end
      end))
      for i = 1, 2 do
         local msg = take(ch, dead)
         assert.equal(tostring(i), msg.body)
         local death = msg.headers["x-death"][1]
         assert.equal("rejected", death.reason)
         assert.equal(q, death.queue)
         assert.equal(1, death.count)
         assert.is_true(broker.seconds(death.time) > 1600000000)
      end
   end)

   it("may ack all before it at once; those are settled then", function()
      local ch = broker.channel()
      local q, kept, kinds = filled(ch, 5), {}, {}
      assert(ch:consume(q, function(msg)
         kept[#kept + 1] = msg
         if msg.body ~= "5" then
            eventually("the fifth", function() return kinds[1] end)
            kinds[#kinds + 1] = select(2, msg:ack()).kind
            return
         end
         kinds[1] = msg:ack { multiple = true }
      end))
      eventually("all of them", function() return #kinds == 5 end)
      assert.same({ true, "settled", "settled", "settled", "settled" }, kinds)
      assert.equal(0, left_after_close(ch, q))
   end)

   it("may give all before it back at once", function()
      local ch = broker.channel()
      local q = filled(ch, 4)
      local messages = {}
      for i = 1, 4 do messages[i] = take(ch, q, {}) end
      assert.is_true(messages[3]:nack { multiple = true })
      assert.is_true(messages[4]:ack())
      eventually("three in the queue", function() return count(ch, q) == 3 end)
      for i = 1, 3 do
         assert.equal("settled", select(2, messages[i]:ack()).kind)
         local again = take(ch, q)
         assert.equal(tostring(i), again.body)
         assert.is_true(again.redelivered)
      end
   end)

   it("without acks has nothing to settle", function()
      local ch = broker.channel()
      local q, kinds = filled(ch, 3), {}
      assert(ch:consume(q, function(msg)
         assert.is_false(msg.is_live)
         kinds[#kinds + 1] = select(2, msg:ack()).kind
      end, { no_ack = true }))
      eventually("all messages", function() return #kinds == 3 end)
      assert.same({ "settled", "settled", "settled" }, kinds)
      assert.equal(0, left_after_close(ch, q))
   end)

   it("that waits does not keep the others", function()
      local ch = broker.channel()
      local q, order = filled(ch, 3), {}
      assert(ch:consume(q, function(msg)
         if msg.body == "1" then eventually("the others", function() return #order == 2 end) end
         order[#order + 1] = msg.body
      end))
      eventually("all handlers", function() return #order == 3 end)
      assert.same({ "2", "3", "1" }, order)
   end)

   it("runs no more often at once than its concurrency allows", function()
      for _, concurrency in ipairs { 1, 5 } do
         local ch = broker.channel()
         local q, running, most, order = filled(ch, 30), 0, 0, {}
         assert(ch:consume(q, function(msg)
            running = running + 1
            most = math.max(most, running)
            order[#order + 1] = msg.body
            mr.sleep(0.005)
            running = running - 1
         end, { concurrency = concurrency }))
         eventually("all handlers", function() return #order == 30 and running == 0 end)
         assert.equal(concurrency, most)
         assert.same(names(1, 30), order)
         assert.equal(0, left_after_close(ch, q))
      end
   end)

   it("may declare, bind, publish with confirm, get and spawn", function()
      local conn = broker.connect()
      local ch, pub = assert(conn:channel()), assert(conn:channel())
      assert(pub:confirm_select())
      local q, done, spawned = filled(ch, 3), 0, 0
      assert(ch:consume(q, function(msg)
         local exchange = broker.name "fan"
         local other = assert(ch:queue_declare { exclusive = true }).queue
         assert(ch:exchange_declare { exchange = exchange, type = "fanout", auto_delete = true })
         assert(ch:queue_bind { queue = other, exchange = exchange })
         assert.is_true(pub:publish(exchange, "", msg.body, { mandatory = true }))
         assert.equal(msg.body, assert(ch:get(other, { no_ack = true })).body)
         assert(ch:queue_delete { queue = other })
         mr.spawn(function()
            mr.sleep(0)
            spawned = spawned + 1
         end)
         done = done + 1
      end))
      eventually("all handlers", function() return done == 3 and spawned == 3 end)
      assert.equal(0, left_after_close(ch, q))
   end)

   it("may open a channel and consume there", function()
      local conn = broker.connect()
      local ch = assert(conn:channel())
      local q, second, seen = filled(ch, 1), filled(ch, 5), {}
      assert(ch:consume(q, function()
         local inner = assert(conn:channel())
         assert(inner:consume(second, function(msg) seen[#seen + 1] = msg.body end))
         eventually("the inner messages", function() return #seen == 5 end)
      end))
      eventually("the inner messages", function() return #seen == 5 end)
   end)

   it("may answer a request", function()
      local ch = broker.channel()
      local requests, answers = filled(ch, 0), filled(ch, 0)
      assert(ch:consume(requests, function(msg) assert(msg:reply(msg.body:upper())) end))
      assert(ch:publish("", requests, "hello", { reply_to = answers, correlation_id = "17" }))
      local answer = take(ch, answers)
      assert.equal("HELLO", answer.body)
      assert.equal("17", answer.properties.correlation_id)
   end)

   it("may talk by direct reply-to", function()
      local ch = broker.channel()
      local requests, got = filled(ch, 0), nil
      assert(ch:consume(requests, function(msg) assert(msg:reply "pong") end))
      assert(ch:consume("amq.rabbitmq.reply-to", function(msg) got = msg.body end, { no_ack = true }))
      assert(ch:publish("", requests, "ping", { reply_to = "amq.rabbitmq.reply-to" }))
      eventually("the answer", function() return got == "pong" end)
   end)

   broker.unless_redis(it, "requeue", "is first called when the one who asked for it has its consumer", function()
      local ch = broker.channel()
      local q = filled(ch, 20)
      local function try()
         local consumer, order = nil, {}
         local done = 0
         consumer = assert(ch:consume(q, function(msg)
            order[#order + 1] = consumer.tag ~= "" and msg.body
            mr.sleep(0)
            msg:nack()
            done = done + 1
         end))
         assert.same({}, order)
         eventually("all", function() return done >= 20 end)
         assert(consumer:cancel())
         assert.same(names(1, 20), { unpack(order, 1, 20) })
         eventually("their return", function() return count(ch, q) == 20 end)
      end
      try() -- in the main chunk
      local ended = false
      mr.spawn(function()
         try()
         ended = true
      end)
      eventually("the task", function() return ended end)
   end)

   it("may cancel its own consumer; what no handler has seen goes back", function()
      local ch = broker.channel()
      local q, seen, consumer = filled(ch, 100), 0, nil
      consumer = assert(ch:consume(q, function()
         seen = seen + 1
         if seen == 10 then assert.is_true(consumer:cancel()) end
      end))
      eventually("the cancel", function() return consumer.state == "cancelled" end)
      assert.equal(10, seen)
      assert.equal(90, left_after_close(ch, q))
   end)

   it("may close its channel: its own message goes back", function()
      local conn = broker.connect()
      local ch, other = assert(conn:channel()), assert(conn:channel())
      local q, kind = filled(ch, 3), nil
      local consumer = assert(ch:consume(q, function(msg)
         assert.is_true(ch:close())
         kind = select(2, msg:ack()).kind
      end, { concurrency = 1 }))
      eventually("the close", function() return kind end)
      assert.equal("stale", kind)
      assert.equal("cancelled", consumer.state)
      assert.is_false(ch.is_open)
      eventually("three messages", function() return count(other, q) == 3 end)
   end)

   it("may close its connection", function()
      local conn = broker.connect()
      local ch = assert(conn:channel())
      local q, done = filled(ch, 3), false
      local consumer = assert(ch:consume(q, function()
         assert.is_true(conn:close())
         done = true
      end, { concurrency = 1 }))
      eventually("the close", function() return done end)
      assert.equal("closed", conn.state)
      assert.equal("cancelled", consumer.state)
      assert.equal("closed", select(2, ch:publish("", q, "x")).kind)
   end)

   it("may release its connection", function()
      local conn = broker.connect()
      local ch = assert(conn:channel())
      local q, kind = filled(ch, 3), nil
      assert(ch:consume(q, function(msg)
         assert.is_true(conn:release())
         kind = select(2, msg:ack()).kind
      end, { concurrency = 1 }))
      eventually("the release", function() return kind end)
      assert.equal("stale", kind)
      assert.equal("closed", conn.state)
   end)
end)

describe("a message", function()
   after_each(broker.close_all)

   it("is gone when its handler has returned: reading it raises, settling it says settled", function()
      local ch = broker.channel()
      local q, kept = filled(ch, 1), nil
      assert(ch:consume(q, function(msg) kept = msg end))
      eventually("the message", function() return kept end)
      mr.sleep(0)
      for _, field in ipairs { "body", "routing_key", "headers", "properties" } do
         local ok, why = pcall(function() return kept[field] end)
         assert.is_false(ok)
         assert.truthy(why:find("its handler has returned", 1, true))
      end
      assert.is_false(kept.is_live)
      assert.equal("settled", select(2, kept:ack()).kind)
      assert.equal("message (gone)", tostring(kept))
   end)

   it("whose body was read keeps it", function()
      local ch = broker.channel()
      local q, kept = filled(ch, 1), nil
      assert(ch:consume(q, function(msg) kept = msg.body and msg end))
      eventually("the message", function() return kept end)
      mr.sleep(0)
      assert.equal("1", kept.body)
   end)

   it("never shows the bytes of another one", function()
      local ch = broker.channel()
      local q, kept, seen = filled(ch, 1), nil, 0
      assert(ch:consume(q, function(msg)
         kept = kept or msg
         seen = seen + 1
      end))
      eventually("the message", function() return kept end)
      for i = 1, 1000 do assert(ch:publish("", q, "later " .. i)) end
      eventually("the later ones", function() return seen == 1001 end)
      assert.has_error(function() return kept.body end)
      assert.has_error(function() return kept.routing_key end)
   end)

   it("of get stays readable after it was settled", function()
      local ch = broker.channel()
      local q = filled(ch, 0)
      assert(ch:publish("", q, "x", { headers = { n = 1 }, type = "t" }))
      local msg = take(ch, q, {})
      assert.is_true(msg.is_live)
      assert.is_true(msg:ack())
      assert.is_false(msg.is_live)
      assert.same({ "x", q, "", "t", 1 }, { msg.body, msg.routing_key, msg.exchange, msg.properties.type, msg.headers.n })
      assert.equal("settled", select(2, msg:ack()).kind)
   end)

   it("has no fields to set, and no settle method is silent about wrong options", function()
      local ch = broker.channel()
      local msg = take(ch, filled(ch, 1), {})
      assert.has_error(function() msg.body = "y" end)
      local ok, why = pcall(function() msg:nack { requeu = false } end)
      assert.is_false(ok)
      assert.truthy(why:find('did you mean "requeue"', 1, true))
      assert.is_true(msg.is_live)
   end)

   it("comes back with basic.recover", function()
      local ch = broker.channel()
      local q, seen, waiting = filled(ch, 3), {}, 0
      assert(ch:consume(q, function(msg)
         seen[#seen + 1] = msg.body .. tostring(msg.redelivered)
         if not msg.redelivered then
            waiting = waiting + 1
            eventually("the redelivery", function() return #seen == 6 end)
         end
      end))
      eventually("three messages", function() return waiting == 3 end)
      quietly(function()
         assert.is_true(ch:recover())
         eventually("the redelivery", function() return #seen == 6 end)
      end)
      table.sort(seen)
      assert.same({ "1false", "1true", "2false", "2true", "3false", "3true" }, seen)
      assert.is_true(ch.is_open)
   end)
end)

describe("an iterator", function()
   after_each(broker.close_all)

   it("gives the messages in order, and ends when its consumer is cancelled", function()
      local ch = broker.channel()
      local q, seen = filled(ch, 5), {}
      local iterator, consumer = assert(ch:messages(q))
      for msg in iterator do
         seen[#seen + 1] = msg.body
         assert.is_true(msg:ack())
         if #seen == 5 then assert.is_true(consumer:cancel()) end
      end
      assert.same(names(1, 5), seen)
      assert.is_nil(consumer.err)
      assert.equal(0, left_after_close(ch, q))
   end)

   it("is ended by another task", function()
      local ch = broker.channel()
      local q = filled(ch, 0)
      local iterator, consumer = assert(ch:messages(q))
      mr.after(0.01, function() consumer:cancel() end)
      local rounds = 0
      for _ in iterator do rounds = rounds + 1 end
      assert.equal(0, rounds)
      assert.equal("cancelled", consumer.state)
   end)

   it("settles nothing by itself", function()
      local ch = broker.channel()
      local q = filled(ch, 3)
      local iterator, consumer = assert(ch:messages(q))
      local first = iterator()
      assert.equal("1", first.body)
      assert.is_true(first.is_live)
      assert.equal("2", iterator().body)
      assert.is_true(first:ack())
      assert.is_true(consumer:cancel())
      assert.equal(2, left_after_close(ch, q))
   end)

   it("may be read by several tasks, each message going to one", function()
      local ch = broker.channel()
      local q, seen, readers = filled(ch, 0), {}, 0
      local iterator, consumer = assert(ch:messages(q))
      for _ = 1, 4 do
         mr.spawn(function()
            readers = readers + 1
            for msg in iterator do
               seen[#seen + 1] = tonumber(msg.body)
               mr.sleep(0)
               msg:ack()
            end
            readers = readers - 1
         end)
      end
      for i = 1, 100 do assert(ch:publish("", q, tostring(i))) end
      eventually("all messages", function() return #seen == 100 end)
      table.sort(seen)
      for i = 1, 100 do assert.equal(i, seen[i]) end
      assert(consumer:cancel())
      eventually("the readers' end", function() return readers == 0 end)
   end)

   it("goes on where it was left by break", function()
      local ch = broker.channel()
      local q = filled(ch, 3)
      local iterator, consumer = assert(ch:messages(q))
      for msg in iterator do
         msg:ack()
         if msg.body == "1" then break end
      end
      assert.equal("2", iterator().body)
      assert(consumer:cancel())
   end)

   it("says why it ended when its channel was closed by the broker", function()
      local ch = broker.channel { recover = false }
      local iterator, consumer = assert(ch:messages(filled(ch, 0)))
      mr.spawn(function() ch:queue_declare { queue = broker.name "nowhere", passive = true } end)
      assert.is_nil(iterator())
      assert.equal("failed", consumer.state)
      assert.equal("not_found", consumer.err.kind)
   end)
end)

describe("get", function()
   after_each(broker.close_all)

   it("takes one message and tells how many are left", function()
      local ch = broker.channel()
      local q = filled(ch, 3)
      local msg = take(ch, q, {})
      assert.equal("1", msg.body)
      assert.equal(2, msg.message_count)
      assert.is_false(msg.redelivered)
      assert.is_true(msg:nack())
      local again = take(ch, q, {})
      assert.equal("1", again.body)
      assert.is_true(again.redelivered)
   end)

   it("says that the queue is empty", function()
      local ch = broker.channel()
      local msg, err = ch:get(filled(ch, 0))
      assert.is_nil(msg)
      assert.equal("empty", err.kind)
      assert.is_true(ch.is_open)
   end)

   it("from a queue that is not there says not_found and closes the channel", function()
      local ch = broker.channel()
      local name = broker.name "nowhere"
      local msg, err = ch:get(name)
      assert.is_nil(msg)
      assert.equal("not_found", err.kind)
      assert.truthy(err.text:find(name, 1, true))
      assert.is_false(ch.is_open)
   end)

   it("may be asked by many tasks at once", function()
      local ch = broker.channel()
      local q, seen = filled(ch, 50), {}
      for _ = 1, 50 do
         mr.spawn(function()
            local msg = take(ch, q)
            seen[#seen + 1] = msg.body
         end)
      end
      eventually("all", function() return #seen == 50 end)
      table.sort(seen, function(a, b) return tonumber(a) < tonumber(b) end)
      assert.same(names(1, 50), seen)
   end)
end)

describe("a consumer", function()
   after_each(broker.close_all)

   it("gets no more unsettled messages than the prefetch count (O4)", function()
      local ch = broker.channel()
      local q, waiting, go = filled(ch, 10), 0, false
      assert.is_true(ch:qos { prefetch_count = 3 })
      assert(ch:consume(q, function()
         waiting = waiting + 1
         eventually("the word", function() return go end)
      end))
      eventually("three messages", function() return waiting == 3 end)
      assert.equal(7, count(ch, q))
      assert.equal(3, waiting)
      go = true
      eventually("the rest", function() return waiting == 10 end)
   end)

   it("gets the next message when the ack of the last one has arrived, with a prefetch of 1 (X2)", function()
      local ch = broker.channel()
      local q = filled(ch, 5)
      assert(ch:qos { prefetch_count = 1 })
      local iterator = assert(ch:messages(q))
      for i = 1, 5 do
         local msg = assert(iterator())
         assert.same({ tostring(i), 5 - i }, { msg.body, count(ch, q) })
         assert.is_true(msg:ack())
      end
   end)

   it("shares a global prefetch with the others of its channel", function()
      local ch = broker.channel()
      local q1, q2, waiting, go = filled(ch, 5), filled(ch, 5), 0, false
      assert.is_true(ch:qos { prefetch_count = 4, global = true })
      local function handler()
         waiting = waiting + 1
         eventually("the word", function() return go end)
      end
      assert(ch:consume(q1, handler))
      assert(ch:consume(q2, handler))
      eventually("four messages", function() return waiting == 4 end)
      assert.equal(6, count(ch, q1) + count(ch, q2))
      go = true
      eventually("the rest", function() return waiting == 10 end)
   end)

   it("ends as cancelled when its queue is deleted; its handlers finish", function()
      local conn = broker.connect()
      local ch, other = assert(conn:channel()), assert(conn:channel())
      local q, started, finished = filled(ch, 1), false, false
      local consumer
      quietly(function()
         consumer = assert(ch:consume(q, function()
            started = true
            eventually("the cancel", function() return consumer.state == "cancelled" end)
            finished = true
         end))
         eventually("the delivery", function() return started end)
         assert(other:queue_delete { queue = q })
         eventually("the end of the handler", function() return finished end)
      end)
      assert.equal("cancelled", consumer.err.kind)
      assert.truthy(consumer.err.hint:find("queue was deleted", 1, true))
      assert.is_true(consumer:cancel()) -- again: nothing to do
      assert.is_true(ch.is_open)
   end)

   it("may be cancelled twice, and by many tasks at once", function()
      local ch = broker.channel()
      local consumer = assert(ch:consume(filled(ch, 10), function() mr.sleep(0) end))
      local done = 0
      for _ = 1, 3 do
         mr.spawn(function()
            assert.is_true(consumer:cancel())
            done = done + 1
         end)
      end
      eventually("three cancels", function() return done == 3 and consumer.state == "cancelled" end)
      assert.is_true(consumer:cancel())
   end)

   it("with the higher priority gets the messages first", function()
      local ch = broker.channel()
      local q, low, high = filled(ch, 0), 0, 0
      assert(ch:consume(q, function() low = low + 1 end, { priority = 1 }))
      assert(ch:consume(q, function() high = high + 1 end, { priority = 10 }))
      for i = 1, 20 do assert(ch:publish("", q, tostring(i))) end
      eventually("all messages", function() return low + high == 20 end)
      assert.equal(20, high)
   end)

   it("that is exclusive stays alone", function()
      local ch, other = broker.channel(), broker.channel()
      local q = filled(ch, 0, { exclusive = false, auto_delete = true })
      assert(ch:consume(q, function() end, { exclusive = true }))
      local consumer, err = other:consume(q, function() end)
      assert.is_nil(consumer)
      assert.equal("access_refused", err.kind)
      assert.equal(403, err.code)
      assert.equal("channel", err.scope)
   end)

   it("cannot read another connection's exclusive queue", function()
      local ch, other = broker.channel(), broker.channel()
      local consumer, err = other:consume(filled(ch, 0), function() end)
      assert.is_nil(consumer)
      assert.equal("resource_locked", err.kind)
      assert.equal(405, err.code)
   end)

   it("may not take a tag that the channel uses already", function()
      local ch = broker.channel()
      local q, seen = filled(ch, 0), 0
      assert(ch:consume(q, function() seen = seen + 1 end, { consumer_tag = "same" }))
      local consumer, err = ch:consume(q, function() end, { consumer_tag = "same" })
      assert.is_nil(consumer)
      assert.equal("not_allowed", err.kind)
      assert.is_true(ch.is_open)
      assert(ch:publish("", q, "x"))
      eventually("the message", function() return seen == 1 end)
   end)

   it("with wrong options is refused before anything is asked", function()
      local ch = broker.channel()
      local handler = function() end
      for _, case in ipairs {
         { { "q", handler, { concurency = 1 } }, 'did you mean "concurrency"' },
         { { "q", handler, { concurrency = 0 } }, "concurrency" },
         { { "q", handler, { priority = 1.5 } }, "priority" },
         { { "q", "no function" }, "handler" },
         { { nil, handler }, "queue" },
      } do
         local ok, why = pcall(function() ch:consume(unpack(case[1], 1, 3)) end)
         assert.is_false(ok)
         assert.truthy(why:find(case[2], 1, true), why)
         assert.truthy(why:find("consume_spec", 1, true), why)
      end
      assert.is_true(ch.is_open)
   end)
end)

describe("a channel closed by the broker", function()
   after_each(broker.close_all)

   it("tells why to all who wait on it; the others live on; its messages are stale", function()
      local events = {}
      local conn = broker.connect { recover = false, on_event = function(ev) events[#events + 1] = ev end }
      local ch, other = assert(conn:channel()), assert(conn:channel())
      local q, late, started = filled(other, 3), {}, 0
      local kept = take(ch, q, {})
      local consumer = assert(ch:consume(q, function(msg)
         started = started + 1
         eventually("the close", function() return not ch.is_open end)
         late[#late + 1] = select(2, msg:ack()).kind
      end))
      eventually("the deliveries", function() return started == 2 end)
      local nowhere = broker.name "nowhere"
      local waiter
      mr.spawn(function() waiter = select(2, ch:queue_declare { queue = nowhere, passive = true }) end)
      local ok, err = ch:queue_purge { queue = q } -- asked after it
      assert.is_nil(ok)
      assert.equal("not_found", err.kind)
      assert.equal(404, err.code)
      assert.equal("channel", err.scope)
      assert.truthy(err.text:find(nowhere, 1, true))
      eventually("the other waiter", function() return waiter end)
      assert.equal("not_found", waiter.kind)
      eventually("the handlers", function() return #late == 2 end)
      assert.same({ "stale", "stale" }, late)
      assert.equal("failed", consumer.state)
      assert.equal("not_found", consumer.err.kind)
      assert.is_false(kept.is_live)
      assert.equal("stale", select(2, kept:ack()).kind)
      assert.equal("1", kept.body)
      assert.is_true(conn.is_open)
      eventually("the messages' return", function() return count(other, q) == 3 end)
      eventually("the event", function() return events[#events].type == "channel_closed" end)
      assert.equal(ch, events[#events].channel)
      assert.equal("not_found", events[#events].err.kind)
   end)

   it("makes its number free: a new channel's tags are not mistaken for the old one's", function()
      local conn = broker.connect { recover = false }
      local other = assert(conn:channel())
      local q = filled(other, 2)
      local old = assert(conn:channel())
      local stale = take(old, q, {})
      assert(old:close())
      local new = assert(conn:channel())
      assert.equal(old.id, new.id)
      local fresh = take(new, q, {})
      assert.equal(stale.delivery_tag, fresh.delivery_tag)
      assert.equal("stale", select(2, stale:ack()).kind)
      assert.is_true(fresh.is_live)
      assert.is_true(fresh:ack())
      assert.is_true(new.is_open)
   end)
end)

describe("10 000 messages over 20 channels", function()
   after_each(broker.close_all)

   it("are each settled exactly once", function()
      local conn = broker.connect()
      local ch = assert(conn:channel())
      local q = assert(ch:queue_declare { exclusive = true }).queue
      assert(ch:confirm_select())
      for i = 1, 10000 do assert(ch:publish_async("", q, tostring(i))) end
      assert.is_true(ch:wait_for_confirms(30))
      local seen, total, again, before = {}, 0, 0, mr.stats()
      local function handler(msg)
         local n = tonumber(msg.body)
         if n % 7 == 0 then mr.sleep(0.001) end -- acks out of order
         if n % 100 == 0 and not msg.redelivered then
            assert.is_true(msg:nack())
            again = again + 1
            return
         end
         seen[n] = (seen[n] or 0) + 1
         total = total + 1
      end
      local channels = {}
      for i = 1, 20 do
         channels[i] = assert(conn:channel())
         assert(channels[i]:qos { prefetch_count = 17 + i })
         assert(channels[i]:consume(q, handler))
      end
      eventually("all messages", function() return total >= 10000 end, 60)
      for i = 1, 10000 do assert.equal(1, seen[i]) end
      assert.equal(100, again)
      for i = 1, 20 do assert(channels[i]:close()) end
      assert.equal(10000, total)
      assert.equal(0, count(ch, q))
      assert.equal(10100, mr.stats().settled - before.settled)
      eventually("the memory's return", function() return mr.stats().in_flight == before.in_flight end)
   end)
end)

describe("after consuming", function()
   it("no connection is left at the broker", broker.none_left)
end)
