--- Messages that are large, or larger than this program takes: only they suffer, never the connection.
local mr = require "moonrabbit"
local broker = require "broker"

local eventually, take, quietly = broker.eventually, broker.take, broker.quietly

local LIMIT = 65536
local LARGE = ("x"):rep(LIMIT + 1)

-- A queue that outlives its maker's connection, whose dead go to another; both are removed at the end.
local function queues(ch)
   local dead, q = broker.name "dead", broker.name "large"
   assert(ch:queue_declare { queue = dead })
   assert(ch:queue_declare { queue = q,
      arguments = { ["x-dead-letter-exchange"] = "", ["x-dead-letter-routing-key"] = dead } })
   finally(function()
      local admin = broker.channel()
      assert(admin:queue_delete { queue = q })
      assert(admin:queue_delete { queue = dead })
      broker.close_all()
   end)
   return q, dead
end

-- A publisher in confirm mode, and a channel of a connection that takes no body over LIMIT.
local function pair()
   local out = broker.channel()
   assert(out:confirm_select())
   return out, broker.channel { max_message_size = LIMIT }
end

local function lives(ch)
   assert.same({ true, true, 1 }, { ch.is_open, ch.connection.is_open, ch.connection.epoch })
end

describe("a message over max_message_size", function()
   after_each(broker.close_all)

   it("is rejected to the dead letters, the next one comes, and the connection lives (FIELD-W15)", function()
      local out, small = pair()
      local q, dead = queues(out)
      local before, got = mr.stats().oversized, {}
      assert(out:publish("", q, LARGE, { message_id = "large" }))
      assert(out:publish("", q, ("y"):rep(LIMIT)))
      quietly(function()
         assert(small:consume(q, function(msg)
            got[#got + 1] = #msg.body
            assert(msg:ack())
         end))
         eventually("the good message", function() return got[1] end)
         assert(out:publish("", q, "small"))
         eventually("another", function() return got[2] end)
      end)
      assert.same({ LIMIT, 5 }, got)
      local msg = take(out, dead)
      local death = msg.headers["x-death"][1]
      assert.is_true(msg.body == LARGE)
      assert.same({ "large", "rejected", q }, { msg.properties.message_id, death.reason, death.queue })
      assert.equal(before + 1, mr.stats().oversized)
      lives(small)
   end)

   it("does not stop mr.consumer, however many come (FIELD-W15)", function()
      local out = broker.channel()
      assert(out:confirm_select())
      local q, dead = queues(out)
      local got, large = 0, 0
      local w = mr.consumer { connection = broker.connect { max_message_size = LIMIT }, queue = q, declare = false,
         prefetch = 2, dead_letter = false, handler = function() got = got + 1 end }
      assert(w:wait(20))
      quietly(function()
         for i = 1, 20 do assert(out:publish("", q, i % 2 == 0 and "good" or LARGE)) end
         eventually("the good ones", function() return got == 10 end, 30)
      end)
      for _ = 1, 10 do large = large + (take(out, dead).body == LARGE and 1 or 0) end
      assert.equal(10, large)
   end)

   it("is kept by mr.consumer where its queue has no dead letters of its own; the others come (FIELD-W15)", function()
      local out = broker.channel()
      assert(out:confirm_select())
      for _, prefetch in ipairs { 1, 3 } do
         local q = broker.name "kept"
         assert(out:queue_declare { queue = q, durable = true })
         local small, before, got, order, busy = broker.connect { max_message_size = LIMIT }, mr.stats().oversized, 0, true, 0
         local w
         w = mr.consumer { connection = small, queue = q, prefetch = prefetch, handler = function(msg)
            order, got = order and (prefetch > 1 or msg.body == "good" .. got + 1), got + 1
            busy = math.max(busy, w.running)
            mr.sleep(0.001)
         end }
         assert(w:wait(20))
         quietly(function()
            for i = 1, 20 do
               assert(out:publish("", q, LARGE))
               assert(out:publish("", q, "good" .. i))
            end
            eventually("the good ones", function() return got == 20 and w.running == 0 end, 60)
         end)
         assert.same({ true, "consuming", true, true }, { order, w.state, small.is_open, busy <= prefetch })
         assert.equal(before + 20, mr.stats().oversized)
         eventually("the I/O thread to have given back the last", function() return mr.stats().in_flight == 0 end)
         assert.equal(0, broker.count(out, w.dead_letter))
         assert(w:cancel())
         eventually("those that were kept", function() return broker.count(out, q) == 20 end)
         assert.is_true(take(out, q).body == LARGE)
         for _, queue in ipairs { q, w.dead_letter, q .. ".retry-exit" } do assert(out:queue_delete { queue = queue }) end
      end
   end)

   broker.it_inside(it, "is kept by mr.consumer through losses, also while it begins anew (FIELD-W15)", function()
      local q, got, asked = broker.name "kept", {}, 0
      local at_once = { interval_start = 0, interval_step = 0, interval_max = 1 }
      local conn = broker.connect { max_message_size = LIMIT, transport_options = at_once }
      local out = assert(broker.connect { transport_options = at_once }:channel())
      assert(out:confirm_select())
      local w = mr.consumer { connection = conn, queue = q, prefetch = 1, handler = function(msg) got[msg.body] = true end }
      assert(w:wait(20))
      local methods = require("moonrabbit.channel.channel").methods
      local qos = methods.qos
      methods.qos = function(...) -- which it asks for when it begins anew
         asked = asked + 1
         if asked == 1 or asked == 3 then broker.close_connections "x" end
         return qos(...)
      end
      finally(function() methods.qos = qos end)
      quietly(function()
         for i = 1, 2 do
            local good = "good" .. i
            eventually("the way", function() return out:publish("", q, LARGE) end, 60)
            eventually(good, function()
               return got[good] or not out:publish("", q, good) or mr.sleep(0.1)
            end, 60)
         end
         eventually("its standing", function() return w.state == "consuming" and not w.is_widening end, 60)
         assert.is_true(asked >= 2)
         assert(w:cancel())
         local large = 0
         eventually("those that were kept", function()
            local msg = out:get(q, { no_ack = true })
            if msg and msg.body == LARGE then large = large + 1 end
            return large >= 2
         end, 60)
      end)
      for _, queue in ipairs { q, w.dead_letter, q .. ".retry-exit" } do assert(out:queue_delete { queue = queue }) end
   end)

   it("is rejected by mr.consumer where the queue is known to have dead letters of its own (FIELD-W15)", function()
      local out = broker.channel()
      assert(out:confirm_select())
      local q, dead = queues(out)
      local w = mr.consumer { connection = broker.connect { max_message_size = LIMIT }, handler = function() end,
         queue = { queue = q, durable = false, arguments = { ["x-dead-letter-exchange"] = "", ["x-dead-letter-routing-key"] = dead } } }
      assert(w:wait(20))
      quietly(function()
         assert(out:publish("", q, LARGE))
         assert.equal(#LARGE, #take(out, dead).body)
      end)
      for _, queue in ipairs { w.dead_letter, q .. ".retry-exit" } do assert(out:queue_delete { queue = queue }) end
   end)

   it("is dropped where there are no acks, and the next one comes (FIELD-W15)", function()
      local out, small = pair()
      local q = queues(out)
      local before, got = mr.stats().oversized, nil
      assert(out:publish("", q, LARGE))
      assert(out:publish("", q, "next"))
      quietly(function()
         assert(small:consume(q, function(msg) got = msg.body end, { no_ack = true }))
         eventually("the next", function() return got end)
      end)
      assert.equal("next", got)
      assert.equal(before + 1, mr.stats().oversized)
      lives(small)
   end)

   it("is told to who gets it, by its kind, and the next get goes on (FIELD-W15)", function()
      local out, small = pair()
      local q, dead = queues(out)
      for i, no_ack in ipairs { false, true } do
         assert(out:publish("", q, LARGE))
         assert(out:publish("", q, "next"))
         quietly(function()
            local msg, err = small:get(q, { no_ack = no_ack })
            assert.is_nil(msg)
            assert.equal("content_too_large", err.kind)
            assert.is_true(#err.hint > 0)
         end)
         assert.equal("next", assert(small:get(q, { no_ack = true })).body)
         if i == 1 then assert.equal(#LARGE, #take(out, dead).body) end
      end
      assert.equal("empty", select(2, out:get(dead)).kind)
      lives(small)
   end)

   broker.unless_redis(it, "transactions",
      "is the only one that suffers on a channel with a transaction and with many consumers (FIELD-W15)", function()
      local out, small = pair()
      local q, dead = queues(out)
      local other, got = queues(out), {}
      assert(small:tx_select())
      for _, name in ipairs { q, other } do
         assert(out:publish("", name, LARGE))
         assert(out:publish("", name, name))
      end
      quietly(function()
         for _, name in ipairs { q, other } do
            assert(small:consume(name, function(msg)
               got[msg.body] = true
               assert(msg:ack())
            end))
         end
         eventually("both", function() return got[q] and got[other] end)
         assert(small:tx_commit())
      end)
      assert.equal(#LARGE, #take(out, dead).body)
      lives(small)
   end)
end)

describe("a large message", function()
   after_each(broker.close_all)

   it("of 80 MiB arrives, by consume and by get, as any other (FIELD-H1)", function()
      local out, into = broker.channel(), broker.channel()
      assert(out:confirm_select())
      local q = queues(out)
      local body = ("0123456789abcdef"):rep(80 * 2 ^ 16)
      assert(out:publish("", q, body, { timeout = 60, persistent = false }))
      local got
      local consumer = assert(into:consume(q, function(msg)
         got = msg.body == body
         assert(msg:reject { requeue = true })
      end))
      eventually("the message", function() return got ~= nil end, 60)
      assert.is_true(got)
      assert(consumer:cancel())
      collectgarbage()
      assert.is_true(eventually("the message", function() return (into:get(q, { no_ack = true, timeout = 60 })) end, 60).body == body)
      lives(into)
   end)

   it("does not hold up those behind it on its connection, nor other connections (FIELD-H1)", function()
      local out, into, other = broker.channel(), broker.channel(), broker.channel()
      assert(out:confirm_select())
      assert(other:confirm_select())
      local q, aside = queues(out)
      local got = {}
      for i = 1, 3 do assert(out:publish("", q, ("x"):rep(24 * 2 ^ 20), { timeout = 60, persistent = false, message_id = tostring(i) })) end
      assert(into:consume(q, function(msg)
         got[#got + 1] = msg.properties.message_id
         assert(other:publish("", aside, "small", { timeout = 60 }))
         assert(msg:ack())
      end, { concurrency = 1 }))
      eventually("all", function() return #got >= 3 end, 60)
      assert.same({ "1", "2", "3" }, { got[1], got[2], got[3] })
      lives(into)
   end)
end)

describe("a content header over frame_max", function()
   after_each(broker.close_all)

   -- RabbitMQ adds x-death to headers that were almost as long as a frame may be, and sends what comes of it. The broker
   -- of memory:// keeps to frame_max, so there is nothing to see on it but that nothing breaks.
   it("arrives, and so does the message behind it (FIELD-W10)", function()
      local out, into = broker.channel(), broker.channel()
      assert(out:confirm_select())
      local q, dead = queues(out)
      local headers = { long = ("h"):rep(130900) }
      for _, id in ipairs { "long", "next" } do
         assert(out:publish("", q, id, { headers = id == "long" and headers or nil, message_id = id }))
      end
      for _ = 1, 2 do assert(take(out, q, {}):reject()) end
      local got = {}
      quietly(function()
         assert(into:consume(dead, function(msg)
            got[msg.body] = msg.headers
            assert(msg:ack())
         end))
         eventually("the next", function() return got.next end)
      end)
      assert.equal("rejected", got.next["x-death"][1].reason)
      if broker.is_rabbitmq then
         assert.is_true(got.long.long == headers.long)
         assert.equal("rejected", got.long["x-death"][1].reason)
      end
      lives(into)
   end)
end)
