--- Recovery when the broker or others work against it: queues that go, channels that are closed, refusals, cuts at any
-- byte of a recovery (FAULTS T10-T12, T17, T20, T21, T25).
-- Covers: lua/moonrabbit/connection/events.lua by consumer_cancelled
local mr = require "moonrabbit"
local broker = require "broker"
local embedded = require "embedded"
local recovering = require "recovering"

local eventually, name = broker.eventually, broker.name
local open, force, story, through = recovering.open, recovering.force, recovering.story, recovering.through
local has_consumers, counter = recovering.has_consumers, recovering.counter
local quiet, clean, own = recovering.quiet, recovering.clean, embedded.broker
local is_memory = broker.kind == "memory"

-- A test of the embedded broker's own means.
local function it_embedded(what, fn)
   if is_memory then it(what, fn) end
end

describe("a queue that others delete", function()
   before_each(quiet)
   after_each(clean)

   it("and make again is consumed from again, by the same consumer (T10)", function()
      local ch, seen, conn = open()
      local admin, q, handler, got = broker.channel(), name "again", counter()
      assert(admin:queue_declare { queue = q, durable = true })
      local consumer = assert(ch:consume(q, handler))
      for round = 1, 3 do
         assert(admin:queue_delete { queue = q })
         eventually("the cancel", function() return seen.count.consumer_cancelled == round end)
         assert.same({ "recovering", true, consumer }, { consumer.state, seen.consumer_cancelled.recovering,
            seen.consumer_cancelled.consumer })
         if is_memory then mr.testing.advance(5) end -- it asks in vain a few times
         assert(admin:queue_declare { queue = q, durable = true })
         eventually("the return", function() return consumer.state == "consuming" end, 20)
         has_consumers(q, 1)
         assert(admin:publish("", q, "m" .. round))
         eventually("the message", function() return got["m" .. round] == 1 end)
      end
      assert.same({ 3, 1, true }, { seen.count.consumer_cancelled, conn.epoch, ch.is_open })
      assert(consumer:cancel())
      has_consumers(q, 0)
      assert(admin:queue_delete { queue = q })
   end)

   it("and make again only after a loss is consumed from again, too (T10)", function()
      local ch, seen = open()
      local admin, q, handler, got = broker.channel(), name "again", counter()
      assert(admin:queue_declare { queue = q, durable = true })
      local consumer = assert(ch:consume(q, handler))
      assert(admin:queue_delete { queue = q })
      eventually("the cancel", function() return seen.consumer_cancelled end)
      force(seen)
      assert.equal("recovering", consumer.state)
      assert(broker.channel():queue_declare { queue = q, durable = true })
      eventually("the return", function() return consumer.state == "consuming" end, 20)
      has_consumers(q, 1)
      assert(ch:publish("", q, "m"))
      eventually("the message", function() return got.m == 1 end)
      assert.equal(1, seen.count.consumer_cancelled)
      assert(ch:queue_delete { queue = q })
   end)

   it("leaves nothing behind of a consumer that is cancelled meanwhile (T10, T19)", function()
      local ch, seen = open()
      local admin, q = broker.channel(), name "again"
      assert(admin:queue_declare { queue = q, durable = true })
      local consumer = assert(ch:consume(q, function() end))
      assert(admin:queue_delete { queue = q })
      eventually("the cancel", function() return seen.consumer_cancelled end)
      assert(consumer:cancel())
      assert.equal("cancelled", consumer.state)
      assert(admin:queue_declare { queue = q, durable = true })
      if is_memory then mr.testing.advance(12) else force(seen) end
      has_consumers(q, 0)
      assert(ch:queue_delete { queue = q })
   end)

   it("and make otherwise fails alone, and is reported at each recovery (T20)", function()
      local ch, seen = open()
      local admin, q, good, x = broker.channel(), name "other", name "good", name "x"
      assert(ch:exchange_declare { exchange = x, auto_delete = true })
      assert(ch:queue_declare { queue = q, durable = true })
      assert(ch:queue_declare { queue = good, exclusive = true })
      assert(ch:queue_bind { queue = good, exchange = x, routing_key = "k" })
      assert(ch:qos { prefetch_count = 7 })
      local handler, got = counter()
      assert(ch:consume(good, handler))
      assert(admin:queue_delete { queue = q })
      assert(admin:queue_declare { queue = q, durable = true, arguments = { ["x-max-length"] = 5 } })
      for round = 1, 3 do
         local before = #seen
         local ev = force(seen)
         assert.same({ 4, 1 }, { ev.entities, #ev.failed })
         local f = ev.failed[1]
         assert.same({ "queue", q, "precondition_failed" }, { f.what, f.name, f.kind })
         assert.truthy(f.text:find("x-max-length", 1, true), f.text)
         assert(ch:publish(x, "k", "m" .. round))
         eventually("the message", function() return got["m" .. round] == 1 end)
         assert.same({ true, "lost retrying connecting connected recovered" }, { ch.is_open, story(seen, before + 1) })
      end
      assert(ch:queue_delete { queue = q })
   end)
end)

describe("a channel that the broker closes", function()
   before_each(quiet)
   after_each(clean)

   it("opens again with all it had; its consumers go on, other channels notice nothing (T11)", function()
      local ch, seen, conn = open()
      local other, q, p = assert(conn:channel()), name "mine", name "theirs"
      for _, queue in ipairs { q, p } do assert(ch:queue_declare { queue = queue, exclusive = true }) end
      local handler, got = counter()
      assert(ch:qos { prefetch_count = 1 })
      assert(ch:confirm_select())
      local held, verdict
      local consumer = assert(ch:consume(q, function(msg)
         if msg.body == "hold" and not msg.redelivered then
            held = msg
            eventually("the close", function() return seen.channel_closed end)
            verdict = { msg:ack() }
            return
         end
         handler(msg)
      end))
      assert(other:consume(p, handler))
      assert(ch:publish("", q, "hold"))
      eventually("the message", function() return held end)
      local ok, err = ch:publish(name "missing", "k", "x")
      assert.same({ "lost" }, { not ok and err.kind })
      eventually("the end", function() return seen.channel_closed and verdict end)
      assert.same({ ch, true, 404 }, { seen.channel_closed.channel, seen.channel_closed.recovering,
         seen.channel_closed.err.code })
      assert.is_nil(verdict[1])
      assert.equal("stale", verdict[2].kind)
      eventually("the redelivery", function() return got.hold == 1 end)
      assert(ch:publish("", q, "next")) -- confirmed: the mode is back
      assert(other:publish("", p, "there"))
      eventually("both", function() return got.next == 1 and got.there == 1 end)
      assert.same({ "consuming", 1, 0, true }, { consumer.state, conn.epoch, seen.count.lost, ch.is_open })
      has_consumers(p, nil) -- exclusive: only we may look
      for round = 1, 5 do
         local t = assert(ch:publish_async(name "missing", "k", "x"))
         assert.equal("lost", select(2, t:wait(5)).kind)
         eventually("the event", function() return seen.count.channel_closed == 1 + round end)
         assert(ch:publish("", q, "again" .. round))
         eventually("the message", function() return got["again" .. round] == 1 end)
      end
      force(seen)
      assert(ch:publish("", q, "after"))
      eventually("the message", function() return got.after == 1 end)
   end)

   it("takes acks and cancels right after, and sends nothing for them (T12)", function()
      local ch, seen, conn = open()
      local q = name "held"
      assert(ch:queue_declare { queue = q, durable = true })
      local held = {}
      local consumer = assert(ch:consume(q, function(msg)
         if msg.redelivered then return msg:nack() end -- the channel was back before the cancel
         held[#held + 1] = msg
         eventually("the end", function() return held.done end)
      end))
      for i = 1, 3 do assert(ch:publish("", q, tostring(i))) end
      eventually("the messages", function() return #held == 3 end)
      assert(ch:publish(name "missing", "k", "x"))
      eventually("the close", function() return seen.channel_closed end)
      for i = 1, 3 do assert.equal("stale", select(2, held[i]:ack()).kind) end
      assert.is_true(consumer:cancel())
      assert.equal("cancelled", consumer.state)
      held.done = true
      eventually("the messages to be back", function()
         return assert(ch:queue_declare { queue = q, passive = true }).message_count == 3
      end)
      has_consumers(q, 0)
      assert.same({ 1, 0, true }, { conn.epoch, seen.count.lost, ch.is_open })
      assert.equal(3, assert(ch:queue_delete { queue = q }))
   end)

   it("stays closed when it has no consumers, with the broker's reason (T42)", function()
      local ch, seen, conn = open()
      assert(ch:publish(name "missing", "k", "x"))
      eventually("the close", function() return seen.channel_closed end)
      assert.same({ false, false }, { seen.channel_closed.recovering, ch.is_open })
      local _, err = ch:publish("", "q", "x")
      assert.same({ "not_found", 404 }, { err.kind, err.code })
      force(seen)
      assert.same({ false, true }, { ch.is_open, conn.is_open })
   end)
end)

describe("an exclusive queue", function()
   before_each(quiet)
   after_each(clean)

   -- A connection that has lost its exclusive queue to another one: what a half-dead connection of its own looks like.
   local function locked(lose)
      local ch, seen, conn = open { transport_options = { interval_start = 60, interval_max = 60 } }
      local q, handler, got = name "locked", counter()
      assert(ch:queue_declare { queue = q, exclusive = true })
      local consumer = assert(ch:consume(q, handler))
      lose()
      eventually("the loss", function() return seen.lost end)
      local usurper = eventually("the queue", function()
         local other = broker.channel { recover = false }
         return other:queue_declare { queue = q, exclusive = true } and other
      end)
      return { ch = ch, seen = seen, conn = conn, q = q, got = got, consumer = consumer, usurper = usurper }
   end

   it("that a dead connection still locks is asked for until it is free (T21)", function()
      local t = locked(function() broker.close_connections "x" end)
      local connected
      mr.spawn(function() connected = { t.conn:connect() } end)
      eventually("the connection", function() return t.seen.count.connected == 2 end)
      if is_memory then mr.testing.advance(30) end
      assert.is_nil(t.seen.recovered)
      assert.equal("recovering", t.consumer.state)
      t.usurper.connection:release()
      assert.same({}, recovering.recovered(t.seen, 1).failed)
      eventually("connect", function() return connected end)
      assert.equal(t.conn, connected[1])
      assert(t.ch:publish("", t.q, "m"))
      eventually("the message", function() return t.got.m == 1 end)
   end)

   it_embedded("that stays locked is given up after two minutes and reported (T21)", function()
      local t = locked(function() broker.close_connections "x" end)
      mr.spawn(function() t.conn:connect() end)
      eventually("the connection", function() return t.seen.count.connected == 2 end)
      mr.testing.advance(125)
      local ev = recovering.recovered(t.seen, 1)
      assert.equal("queue resource_locked", ev.failed[1].what .. " " .. ev.failed[1].kind)
      assert.equal("failed", t.consumer.state)
      assert.equal("resource_locked", t.consumer.err.kind)
      assert.is_true(t.ch.is_open)
   end)
end)

describe("a recovery that is disturbed", function()
   before_each(quiet)
   after_each(clean)

   -- A connection with some of everything at a broker of its own; check() says that all of it is there.
   local function rich(b, options)
      options = options or {}
      options.url = b.url
      local ch, seen, conn = open(options)
      local second, third = assert(conn:channel()), assert(conn:channel())
      local handler, got = counter()
      local consumers = {}
      assert(ch:qos { prefetch_count = 50 })
      assert(second:confirm_select())
      assert(ch:exchange_declare { exchange = "x", type = "topic" })
      assert(ch:exchange_declare { exchange = "y", type = "fanout", auto_delete = true })
      for i = 1, 4 do
         assert(ch:queue_declare { queue = "q" .. i, auto_delete = i % 2 == 0 })
         assert(ch:queue_bind { queue = "q" .. i, exchange = "x", routing_key = "k" .. i })
         consumers[i] = assert((i % 2 == 0 and ch or third):consume("q" .. i, handler))
      end
      assert(ch:exchange_bind { source = "y", destination = "x" })
      local rounds = 0
      local function check()
         rounds = rounds + 1
         for i = 1, 4 do
            eventually("one consumer of q" .. i, function() return b:queue("q" .. i).consumers == 1 end)
            local body = rounds .. "-" .. i
            assert(second:publish("y", "k" .. i, body, { timeout = 20 }))
            eventually("message " .. body, function() return got[body] end)
            assert.same({ 1, "consuming" }, { got[body], consumers[i].state })
         end
         assert.same({ "open", 1 }, { conn.state, #b:report().connections })
      end
      check()
      -- The end of a recovery that no loss follows: an answer on the connection shows that it outlived the last drop, of
      -- which nobody may have heard yet.
      local function ended(what, recoveries)
         eventually(what, function()
            local is_whole = seen.count.recovered > recoveries and conn.is_open and seen[#seen].type == "recovered"
            local epoch = conn.epoch
            return is_whole and third:queue_declare { queue = "q1", passive = true } and conn.epoch == epoch
               and seen[#seen].type == "recovered"
         end)
      end
      return { ch = ch, seen = seen, conn = conn, check = check, consumers = consumers, ended = ended }
   end

   it_embedded("by a cut at any byte starts again and ends well (T17)", function()
      local b = own()
      local t = rich(b)
      for n = 50, 3000, 149 do
         local retries, recoveries = t.seen.count.retrying, t.seen.count.recovered
         b:cut_after(n)
         b:drop()
         eventually("three tries", function()
            return t.seen.count.retrying >= retries + 3 or t.seen.count.recovered > recoveries
         end)
         b:cut_after(nil)
         b:drop()
         t.ended("the end of cut " .. n, recoveries)
         t.check()
      end
   end)

   it_embedded("by losses at any time starts again and ends well (T17)", function()
      local b = own()
      local t = rich(b)
      b:delay(0.004)
      for i = 1, 40 do
         local connected = t.seen.count.connected
         b:drop()
         eventually("the connection", function() return t.seen.count.connected > connected end)
         mr.sleep(0.003 * i) -- somewhere in the recovery
      end
      b:drop()
      b:delay(0)
      local recoveries = t.seen.count.recovered
      b:drop()
      t.ended("the end", recoveries)
      t.check()
   end)

   for _, code in ipairs { 403, 404, 405, 406, 541 } do
      it_embedded(("by a declare refused with %d goes on without that or again (T17, T25)"):format(code), function()
         local b = own()
         local t = rich(b)
         b:fail_next_declare(code)
         local ev = through(t.seen, function() b:drop() end)
         assert.equal(code == 541 and 2 or 1, t.seen.count.lost)
         assert.equal((code == 405 or code == 541) and 0 or 1, #ev.failed)
         t.check()
         assert.is_true(#through(t.seen, function() b:drop() end).failed == 0)
         t.check()
      end)
   end

   it_embedded("by a declare that always costs the connection leaves it out (T25)", function()
      local b = own()
      local is_broken = false
      local ch, seen, conn = open { url = b.url, on_event = function(ev)
         if is_broken and ev.type == "connecting" then b:fail_next_declare(541) end
      end }
      assert(ch:exchange_declare { exchange = "x" })
      assert(ch:queue_declare { queue = "q", exclusive = true })
      is_broken = true
      b:delay(0.05) -- so that each try finds its first declare refused
      b:drop()
      local ev = recovering.recovered(seen, 1)
      is_broken = false
      assert.same({ 5, 6 }, { seen.count.lost, conn.epoch }) -- each is asked for twice
      b:delay(0)
      assert.same({ "exchange", "x", "internal_error" }, { ev.failed[1].what, ev.failed[1].name, ev.failed[1].kind })
      assert.same({ "queue", "q", 2 }, { ev.failed[2].what, ev.failed[2].name, #ev.failed })
      b:fail_next_declare(0)
      for _ = 1, 3 do assert.same({}, through(seen, function() b:drop() end).failed) end
      assert.same({ 8, true, 0 }, { seen.count.lost, ch.is_open, b:queue "q".messages_ready })
   end)
end)

describe("after disturbed recoveries", function()
   it("no connection is left at the broker", broker.none_left)
end)
