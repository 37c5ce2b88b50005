--- Lost connections come back, and everything the program had on them (FAULTS T01, T03, T04, T06, T10-T12, T19,
-- T20; PEER-TESTS 4.2). The same tests for every broker: its own word is what counts.
local mr = require "moonrabbit"
local broker = require "broker"
local recovering = require "recovering"

local eventually, take, name = broker.eventually, broker.take, broker.name
local open, force, story = recovering.open, recovering.force, recovering.story
local has_consumers, counter = recovering.has_consumers, recovering.counter

local function queue(ch, options)
   options = options or {}
   options.queue = options.queue or name "back"
   if options.exclusive == nil and options.auto_delete == nil and options.durable == nil then options.durable = true end
   return assert(ch:queue_declare(options)).queue
end

local function exists(what)
   local ch = broker.channel()
   local ok
   if what.queue then ok = ch:queue_declare { queue = what.queue, passive = true }
   else ok = ch:exchange_declare { exchange = what.exchange, passive = true } end
   ch.connection:release()
   return ok ~= nil
end

-- Publishes and says how many messages came to the queue by it: 0 or 1. The answer to the question comes after.
local function arrives(ch, exchange, key, q, props)
   assert(ch:publish(exchange, key, "ping", props))
   return assert(ch:queue_purge { queue = q })
end

describe("a connection that is lost", function()
   before_each(recovering.quiet)
   after_each(recovering.clean)

   it("is open again as the same object, and says what happened (P0 4, 12)", function()
      local ch, seen, conn = open { name = "steady" }
      local q = queue(ch, { exclusive = true })
      assert(ch:exchange_declare { exchange = name "x", auto_delete = true })
      local before = #seen
      local ev = force(seen)
      assert.equal("lost retrying connecting connected recovered", story(seen, before + 1))
      assert.is_true(seen.lost.recovering)
      assert.same({ "connection_forced", 320 }, { seen.lost.err.kind, seen.lost.err.code })
      assert.same({ 1, 0, "connection_forced" }, { seen.retrying.attempt, seen.retrying.delay, seen.retrying.err.kind })
      assert.same({ 2, conn }, { seen.connected.epoch, seen.connected.connection })
      assert.same({ 2, {}, {} }, { ev.entities, ev.failed, ev.renamed })
      assert.is_true(ev.gap >= 0 and ev.gap < 20, ev.gap)
      assert.same({ "open", 2, true }, { conn.state, conn.epoch, ch.is_open })
      assert.is_nil(conn.last_error)
      local _, properties = broker.connection_with(broker.mark)
      if properties then assert.truthy(properties:find("steady", 1, true), properties) end
      assert.equal(1, arrives(ch, "", q, q))
   end)

   it("comes back ten times in a row, with exactly one consumer each time (P0 23, 35, O7)", function()
      local ch, seen, conn = open()
      local q, handler, got = queue(ch), counter()
      local consumer = assert(ch:consume(q, handler))
      local tag = consumer.tag
      for i = 1, 10 do
         force(seen)
         assert.same({ i + 1, "consuming", tag }, { conn.epoch, consumer.state, consumer.tag })
         has_consumers(q, 1)
         assert(ch:publish("", q, "m" .. i))
         eventually("message " .. i, function() return got["m" .. i] end)
      end
      assert.equal(10, got.n - (got.again or 0))
      assert(consumer:cancel())
      has_consumers(q, 0)
      assert(ch:queue_delete { queue = q })
   end)

   it("brings 50 consumers on 10 queues back, each once, several times (T01, M3)", function()
      local ch, seen, conn = open()
      local channels, queues, handler, got = { ch }, {}, counter()
      for i = 2, 5 do channels[i] = assert(conn:channel()) end
      for i = 1, 10 do
         queues[i] = queue(ch)
         for _, c in ipairs(channels) do assert(c:consume(queues[i], handler, { no_ack = true })) end
      end
      for round = 1, 3 do
         local ev = force(seen)
         assert.equal(60, ev.entities)
         assert.same({}, ev.failed)
         for _, q in ipairs(queues) do has_consumers(q, 5) end
         for _, q in ipairs(queues) do
            for i = 1, 10 do assert(ch:publish("", q, round .. q .. i)) end
         end
         eventually("the messages", function() return got.n == 100 * round end)
      end
      for _, count in pairs(got) do assert.is_true(count == 1 or count == 300, count) end
      for _, q in ipairs(queues) do assert(ch:queue_delete { queue = q }) end
   end)

   it("keeps the numbers of its channels; closed ones stay closed (P0 12)", function()
      local first, seen, conn = open()
      local all = { first }
      for i = 2, 6 do all[i] = assert(conn:channel()) end
      assert(all[2]:close())
      assert(all[5]:close())
      force(seen)
      for _, i in ipairs { 1, 3, 4, 6 } do
         assert.same({ i, true }, { all[i].number, all[i].is_open })
         local q = queue(all[i], { exclusive = true })
         assert.equal(1, arrives(all[i], "", q, q))
      end
      assert.is_false(all[2].is_open)
      assert.equal("closed", select(2, all[2]:publish("", "q", "x")).kind)
      assert.same({ 2, 5 }, { assert(conn:channel()).number, assert(conn:channel()).number })
   end)

   it("has its prefetch limits again, of consumers and of channels (O4)", function()
      local ch, seen, conn = open()
      local limited = assert(conn:channel())
      local q, p = queue(ch), queue(ch)
      assert(ch:qos { prefetch_count = 3 })
      assert(limited:qos { prefetch_count = 2, global = true })
      local ones, others = {}, {}
      assert(ch:consume(q, function(msg)
         ones[#ones + 1] = msg
         eventually("the end", function() return ones.done end, 60)
      end))
      for _ = 1, 2 do
         assert(limited:consume(p, function(msg)
            others[#others + 1] = msg
            eventually("the end", function() return ones.done end, 60)
         end))
      end
      force(seen)
      for i = 1, 9 do
         assert(ch:publish("", q, tostring(i)))
         assert(ch:publish("", p, tostring(i)))
      end
      eventually("what is sent ahead", function() return #ones == 3 and #others == 2 end)
      local free = broker.channel()
      assert.equal(6, assert(free:queue_declare { queue = q, passive = true }).message_count)
      assert.equal(7, assert(free:queue_declare { queue = p, passive = true }).message_count)
      ones.done = true
      assert(free:queue_delete { queue = q })
      assert(free:queue_delete { queue = p })
   end)

   it("has confirm mode again: 500 publishes that are out are lost at once, the next is number 1 (T06)", function()
      local ch, seen, conn = open()
      local q = queue(ch)
      assert(ch:confirm_select())
      local tickets, lost, acked = {}, 0, 0
      for i = 1, 500 do tickets[i] = assert(ch:publish_async("", q, tostring(i))) end
      force(seen)
      for i = 1, 500 do
         local ok, err = tickets[i]:wait(0)
         if ok then acked = acked + 1
         else
            assert.equal("lost", err.kind, tostring(err))
            lost = lost + 1
         end
      end
      assert.equal(500, lost + acked)
      local t = assert(ch:publish_async("", q, "again"))
      assert.equal(1, t.number)
      assert(t:wait())
      assert.same({ "acked", true }, { t.state, conn.is_open })
      assert.is_true(assert(ch:queue_delete { queue = q }) >= acked + 1)
   end)

   it("has transactions again; the one that was open is rolled back, and its commit says so", function()
      local ch, seen = open()
      local q = queue(ch)
      assert(ch:tx_select())
      assert(ch:publish("", q, "before"))
      force(seen)
      assert(ch:publish("", q, "behind")) -- in the same transaction, as the program sees it
      local ok, err = ch:tx_commit()
      assert.same({ nil, "lost" }, { ok, err.kind })
      assert.truthy(err.text:find("the connection was lost while the transaction was open", 1, true), err.text)
      assert(ch:publish("", q, "kept"))
      assert(ch:tx_commit())
      force(seen) -- with nothing in the transaction, nothing is lost
      assert(ch:publish("", q, "dropped"))
      assert(ch:tx_rollback())
      assert.equal("kept", take(ch, q).body)
      assert(ch:tx_commit())
      assert.equal(0, assert(ch:queue_delete { queue = q }))
   end)

   it("has its exchanges, queues and bindings again, with their arguments (T19, P0 14, 15, O3)", function()
      local ch, seen = open()
      local direct, topic, headers, far = name "direct", name "topic", name "headers", name "far"
      assert(ch:exchange_declare { exchange = direct, auto_delete = true })
      assert(ch:exchange_declare { exchange = topic, type = "topic", auto_delete = true })
      assert(ch:exchange_declare { exchange = headers, type = "headers", auto_delete = true })
      assert(ch:exchange_declare { exchange = far, type = "fanout", auto_delete = true })
      local q = queue(ch, { exclusive = true, arguments = { ["x-max-length"] = 5 } })
      local auto = queue(ch, { auto_delete = true })
      assert(ch:queue_bind { queue = q, exchange = direct, routing_key = "k" })
      assert(ch:queue_bind { queue = q, exchange = topic, routing_key = "a.#" })
      assert(ch:queue_bind { queue = q, exchange = headers,
         arguments = { ["x-match"] = "all", colour = "red", size = 3 } })
      assert(ch:exchange_bind { source = far, destination = direct })
      assert(ch:queue_bind { queue = auto, exchange = topic, routing_key = "auto" })
      assert(ch:consume(auto, function() end))
      for _ = 1, 2 do
         assert.same({}, force(seen).failed)
         assert.equal(1, arrives(ch, direct, "k", q))
         assert.equal(1, arrives(ch, topic, "a.b.c", q))
         assert.equal(0, arrives(ch, topic, "b", q))
         assert.equal(1, arrives(ch, headers, "", q, { headers = { colour = "red", size = 3 } }))
         assert.equal(0, arrives(ch, headers, "", q, { headers = { colour = "red", size = 4 } }))
         assert.equal(1, arrives(ch, far, "k", q))
         has_consumers(auto, 1)
         for _ = 1, 8 do assert(ch:publish("", q, "x")) end
         assert.equal(5, assert(ch:queue_purge { queue = q }))
      end
   end)

   it("gives queues that the broker named their new name everywhere (P0 16)", function()
      local ch, seen = open()
      local x, handler, got = name "x", counter()
      assert(ch:exchange_declare { exchange = x, auto_delete = true })
      local old = assert(ch:queue_declare { exclusive = true }).queue
      assert(ch:queue_bind { queue = old, exchange = x, routing_key = "k" })
      local consumer = assert(ch:consume(old, handler))
      for round = 1, 3 do
         local ev = force(seen)
         local new = ev.renamed[old]
         assert.truthy(new)
         assert.not_equal(old, new)
         assert.same({ new, "consuming" }, { consumer.queue, consumer.state })
         assert(ch:publish(x, "k", "bound"))
         assert(ch:publish("", new, "named"))
         eventually("both", function() return got.bound == round and got.named == round end)
         old = new
      end
      assert(ch:queue_unbind { queue = old, exchange = x, routing_key = "k" })
      assert.is_false(exists { exchange = x }) -- its last binding went: auto-delete
      force(seen)
      assert.is_false(exists { exchange = x })
   end)

   it("has what was declared on channels that are closed by now, whoever closed them (T19)", function()
      local ch, seen, conn = open()
      local setup, refused = assert(conn:channel()), assert(conn:channel())
      local x, q, p, handler, got = name "x", name "q", name "p", counter()
      assert(setup:exchange_declare { exchange = x, auto_delete = true })
      assert(setup:queue_declare { queue = q, exclusive = true })
      assert(refused:queue_declare { queue = p, exclusive = true })
      assert(refused:queue_bind { queue = p, exchange = x, routing_key = "p" })
      local old = assert(setup:queue_declare { exclusive = true }).queue
      assert(setup:queue_bind { queue = q, exchange = x, routing_key = "q" })
      assert(setup:close())
      assert.equal(404, select(2, refused:queue_declare { queue = name "missing", passive = true }).code)
      assert(ch:consume(q, handler))
      local consumer = assert(ch:consume(old, handler))
      for round = 1, 3 do
         local ev = force(seen)
         assert.same({ 8, {} }, { ev.entities, ev.failed })
         assert.equal(consumer.queue, ev.renamed[old])
         old = consumer.queue
         assert(ch:publish(x, "q", "bound"))
         assert(ch:publish("", old, "named"))
         eventually("both", function() return got.bound == round and got.named == round end)
         assert.equal(1, arrives(ch, x, "p", p))
      end
      assert(ch:close())
      assert.equal(6, force(seen).entities) -- there is no channel at all
      assert.equal(1, arrives(assert(conn:channel()), x, "p", p))
   end)

   it("gives the name that the broker chose to bindings without one, too", function()
      local ch, seen = open()
      local _ = assert(ch:queue_declare { exclusive = true }).queue
      assert(ch:queue_bind { queue = "", exchange = "amq.direct", routing_key = "mine" })
      local handler, got = counter()
      local consumer = assert(ch:consume("", handler))
      local ev = force(seen)
      assert.same({}, ev.failed)
      assert(ch:publish("amq.direct", "mine", "here"))
      eventually("the message", function() return got.here == 1 end)
      assert(consumer:cancel())
   end)

   it("does not bring back what the program took away (T19, P0 19, 21)", function()
      local ch, seen = open()
      local gone, kept, x, y = name "gone", name "kept", name "x", name "y"
      for _, exchange in ipairs { x, y } do assert(ch:exchange_declare { exchange = exchange, auto_delete = true }) end
      for _, q in ipairs { gone, kept } do queue(ch, { queue = q, durable = true }) end
      assert(ch:queue_bind { queue = kept, exchange = x, routing_key = "stays" })
      assert(ch:queue_bind { queue = kept, exchange = x, routing_key = "goes" })
      assert(ch:queue_bind { queue = gone, exchange = y, routing_key = "k" })
      assert(ch:exchange_bind { source = x, destination = "amq.fanout", routing_key = "k" })
      local cancelled = assert(ch:consume(kept, function() end))
      assert(cancelled:cancel())
      assert(ch:queue_unbind { queue = kept, exchange = x, routing_key = "goes" })
      assert(ch:exchange_unbind { source = x, destination = "amq.fanout", routing_key = "k" })
      assert(ch:queue_delete { queue = gone }) -- takes the binding along, and that the exchange
      local ev = force(seen)
      assert.same({ 3, {} }, { ev.entities, ev.failed }) -- x, kept, one binding
      assert.is_false(exists { queue = gone })
      assert.is_false(exists { exchange = y })
      has_consumers(kept, 0)
      assert.equal(1, arrives(ch, x, "stays", kept))
      assert.equal(0, arrives(ch, x, "goes", kept))
      assert.equal("cancelled", cancelled.state)
      assert(ch:exchange_delete { exchange = x })
      assert.equal(1, force(seen).entities)
      assert.is_false(exists { exchange = x })
      assert(ch:queue_delete { queue = kept })
   end)

   it("knows what goes along with a last consumer and a closed channel (T19)", function()
      local ch, seen, conn = open()
      local second = assert(conn:channel())
      local auto, other = queue(ch, { auto_delete = true }), queue(ch, { auto_delete = true })
      local first, last = assert(ch:consume(auto, function() end)), assert(second:consume(auto, function() end))
      assert(second:consume(other, function() end))
      assert(first:cancel())
      assert.equal(4, force(seen).entities)
      has_consumers(auto, 1)
      assert(last:cancel())
      assert(second:close()) -- the last consumer of `other` went with it
      eventually("the queues to go", function() return not exists { queue = auto } and not exists { queue = other } end)
      assert.equal(0, force(seen).entities)
      assert.is_false(exists { queue = auto })
      assert.is_false(exists { queue = other })
      queue(ch, { queue = other, exclusive = true }) -- the name is free
      assert.equal(1, force(seen).entities)
   end)
end)

describe("messages from before a loss", function()
   before_each(recovering.quiet)
   after_each(recovering.clean)

   it("are stale: acks stay here, the channel open, the broker redelivers once (T03, T04, T41, P0 24)", function()
      local ch, seen, conn = open()
      local q = queue(ch)
      assert(ch:qos { prefetch_count = 10 })
      local copies, verdicts = {}, {}
      assert(ch:consume(q, function(msg)
         copies[#copies + 1] = msg
         if not msg.redelivered then
            local body = msg.body
            eventually("the recovery", function() return seen.recovered end, 30)
            verdicts[body] = { pcall(function() return select(2, msg:ack()).kind end) }
         else
            eventually("the end", function() return copies.done end, 30)
         end
      end))
      for i = 1, 3 do assert(ch:publish("", q, tostring(i))) end
      eventually("the deliveries", function() return #copies == 3 end)
      local last = copies[3]
      force(seen)
      eventually("the redelivery", function() return #copies == 6 and verdicts["3"] end)
      assert.same({ true, "stale" }, verdicts["1"])
      assert.is_false(last.is_live)
      for i = 4, 6 do assert.is_true(copies[i].redelivered and copies[i].is_live) end
      local old, err = last:ack { multiple = true }
      assert.is_nil(old)
      assert.truthy(err.kind == "stale" or err.kind == "settled", err.kind)
      -- nothing of the new ones was settled by it
      assert.equal(0, assert(ch:queue_declare { queue = q, passive = true }).message_count)
      assert.same({ true, 2 }, { ch.is_open, conn.epoch })
      broker.close_connections "x"
      recovering.recovered(seen, 2)
      eventually("all three again", function() return #copies == 9 end)
      copies.done = true
      assert(broker.channel():queue_delete { queue = q })
   end)

   it("may not be settled by a multiple ack that would hit new ones (T04)", function()
      local ch, seen = open()
      local q = queue(ch)
      for i = 1, 4 do assert(ch:publish("", q, tostring(i))) end
      local old = {}
      for i = 1, 4 do old[i] = take(ch, q, {}) end
      force(seen)
      local new = {}
      for i = 1, 4 do new[i] = take(ch, q, {}) end
      local ok, err = old[4]:ack { multiple = true }
      assert.is_nil(ok)
      assert.equal("stale", err.kind)
      for i = 1, 4 do assert.is_true(new[i].is_live and new[i].redelivered) end
      assert(ch:close())
      eventually("all of them", function()
         return assert(broker.channel():queue_declare { queue = q, passive = true }).message_count == 4
      end)
      assert.equal(4, assert(broker.channel():queue_delete { queue = q }))
   end)
end)

describe("while a connection is away", function()
   before_each(recovering.quiet)
   after_each(recovering.clean)

   it("publishes and declares wait for it, and succeed (P0 54)", function()
      local ch, seen, conn = open { transport_options = { interval_start = 1, interval_step = 0, interval_max = 1 } }
      local q = queue(ch)
      assert(ch:confirm_select())
      broker.close_connections "x"
      eventually("the loss", function() return seen.lost end)
      assert.same({ "retrying", false, 1 }, { conn.state, ch.is_open, conn.epoch })
      local done, gone = {}, 0
      mr.spawn(function() done.publish = { ch:publish("", q, "waited") } end)
      mr.spawn(function() done.declare = { ch:queue_declare { queue = q, passive = true } } end)
      mr.spawn(function() done.channel = { conn:channel() } end)
      for _ in pairs(done) do gone = gone + 1 end
      assert.equal(0, gone)
      eventually("all", function() return done.publish and done.declare and done.channel end)
      assert.is_true(done.publish[1], tostring(done.publish[2]))
      assert.equal(q, done.declare[1].queue)
      assert.is_true(done.channel[1].is_open, tostring(done.channel[2]))
      assert.equal("waited", take(ch, q).body)
      assert(ch:queue_delete { queue = q })
   end)

   it("they fail for the original reason when their time is up (T42)", function()
      local ch, seen = open { transport_options = { interval_start = 30, interval_step = 0, interval_max = 30 } }
      broker.close_connections "maintenance"
      eventually("the loss", function() return seen.lost end)
      local began = mr.now()
      for _, fn in ipairs {
         function() return ch:publish("", "q", "x", { timeout = 0.1 }) end,
         function() return ch:queue_declare { queue = "q", passive = true, timeout = 0.1 } end,
         function() return ch:get("q", { timeout = 0.1 }) end,
         function() return ch:consume("q", function() end, { timeout = 0.1 }) end,
      } do
         local ok, err = fn()
         assert.is_nil(ok)
         assert.same({ "connection_forced", 320 }, { err.kind, err.code })
         assert.truthy(err.text:find("maintenance", 1, true), err.text)
      end
      assert.is_true(mr.now() - began < 5)
   end)
end)

describe("after recoveries", function()
   it("no connection is left at the broker", broker.none_left)
end)
