--- What recovery makes again: the last word of the program, much of it, and beside what cannot be made (FIELD W3, W12,
-- W13, R18). The same tests for every broker.
local mr = require "moonrabbit"
local broker = require "broker"
local recovering = require "recovering"

local eventually, name = broker.eventually, broker.name
local open, force, counter = recovering.open, recovering.force, recovering.counter

-- Calls fn(1) to fn(n), fifty at a time, and waits for all.
local function many(n, fn)
   local at, left = 0, n
   for _ = 1, 50 do
      mr.spawn(function()
         while at < n do
            at = at + 1
            assert(fn(at))
            left = left - 1
         end
      end)
   end
   eventually("all of them", function() return left == 0 end, 120)
end

-- On a connection of its own, which is not there any more.
local function as_somebody_else(fn)
   local admin = broker.channel()
   fn(admin)
   admin.connection:release()
end

describe("what is made again after a loss", function()
   before_each(recovering.quiet)
   after_each(recovering.clean)

   it("is the queue of the last declare that succeeded (FIELD-W3)", function()
      local ch, seen = open()
      local q = name "last"
      local function declare(on, limit)
         return on:queue_declare { queue = q, durable = true, arguments = { ["x-max-length"] = limit } }
      end
      local function delete() as_somebody_else(function(admin) assert(admin:queue_delete { queue = q }) end) end
      assert(declare(ch, 1))
      delete()
      assert(declare(ch, 1000))
      local other = assert(ch.connection:channel())
      assert.equal("precondition_failed", select(2, declare(other, 5)).kind)
      assert(ch:queue_declare { queue = q, passive = true })
      delete()
      force(seen)
      as_somebody_else(function(admin) assert(declare(admin, 1000)) end)
      assert(ch:queue_delete { queue = q })
   end)

   it("is the exchange of the last declare that succeeded (FIELD-W3)", function()
      local ch, seen = open()
      local x = name "last"
      assert(ch:exchange_declare { exchange = x, type = "direct", durable = true })
      as_somebody_else(function(admin) assert(admin:exchange_delete { exchange = x }) end)
      assert(ch:exchange_declare { exchange = x, type = "topic", durable = false, auto_delete = true })
      as_somebody_else(function(admin) assert(admin:exchange_delete { exchange = x }) end)
      force(seen)
      as_somebody_else(function(admin)
         assert(admin:exchange_declare { exchange = x, type = "topic", durable = false, auto_delete = true })
      end)
      assert(ch:exchange_delete { exchange = x })
   end)

   it("is an exclusive consumer, once the broker misses the connection that had it (FIELD-W12)", function()
      local ch, seen = open { transport_options = { interval_start = 60, interval_max = 60 } }
      local beside = assert(ch.connection:channel())
      local q, p, handler, got = name "alone", name "beside", counter()
      for _, queue in ipairs { q, p } do assert(ch:queue_declare { queue = queue, durable = true }) end
      local consumer = assert(ch:consume(q, handler, { exclusive = true }))
      assert(beside:consume(p, handler))
      broker.close_connections "x"
      eventually("the loss", function() return seen.lost end)
      local dead = eventually("the queue", function() -- what a half-open connection of our own looks like
         local other = broker.channel { recover = false }
         return other:consume(q, function() end, { exclusive = true }) and other
      end)
      mr.spawn(function() ch.connection:connect() end)
      eventually("what is beside it", function() return beside.is_open end)
      assert(beside:publish("", p, "beside"))
      eventually("the message", function() return got.beside == 1 end)
      mr.sleep(0.6) -- longer than a pause between two tries
      assert.same({ "recovering", nil }, { consumer.state, consumer.err and consumer.err.kind == "access_refused" or nil })
      dead.connection:release()
      assert.same({}, recovering.recovered(seen, 1).failed)
      assert.equal("consuming", consumer.state)
      assert(ch:publish("", q, "m"))
      eventually("the message", function() return got.m == 1 end)
      for _, queue in ipairs { q, p } do assert(ch:queue_delete { queue = queue }) end
   end)

   it("is much that fails, in little time, and what does not fail before it (FIELD-W13)", function()
      local N = 4000
      local ch, seen, conn = open()
      local good = assert(conn:channel())
      local q, x, handler, got = name "failing", name "gone", counter()
      local exchanges = broker.kind == "memory" and N or 20
      as_somebody_else(function(admin)
         many(exchanges, function(i) return admin:exchange_declare { exchange = x .. i, durable = true } end)
      end)
      assert(good:queue_declare { queue = q, durable = true })
      assert(good:consume(q, handler))
      many(N, function(i)
         return ch:queue_bind { queue = q, exchange = x .. i % exchanges + 1, routing_key = "k" .. i }
      end)
      as_somebody_else(function(admin)
         many(exchanges, function(i) return admin:exchange_delete { exchange = x .. i } end)
      end)
      local begun
      local ev = recovering.through(seen, function()
         broker.close_connections "x"
         begun = mr.now()
         eventually("the good one", function() return conn.epoch == 2 and good.is_open end, 20)
      end)
      assert.is_true(mr.now() - begun < 15, mr.now() - begun) -- it took 112 s
      assert.equal(N, #ev.failed)
      assert.equal("binding not_found", ev.failed[N].what .. " " .. ev.failed[N].kind)
      assert.is_true(ch.is_open)
      assert(good:publish("", q, "m"))
      eventually("the message", function() return got.m == 1 end)
      assert(good:queue_delete { queue = q })
   end)

   it("is a good consumer among many on the same channel whose queues have gone (FIELD-W13)", function()
      local ch, seen = open { transport_options = { interval_start = 60, interval_max = 60 } }
      local q, handler, got = name "stays", counter()
      local N, consumers = 300, {}
      local function each_queue(method)
         as_somebody_else(function(admin)
            many(N, function(i) return admin[method](admin, { queue = q .. i, durable = method == "queue_declare" or nil }) end)
         end)
      end
      assert(ch:queue_declare { queue = q, durable = true })
      each_queue "queue_declare"
      for i = 1, N do
         if i == 2 then assert(ch:consume(q, handler)) end
         consumers[i] = assert(ch:consume(q .. i, function() end))
      end
      broker.close_connections "x"
      eventually("the loss", function() return seen.lost end)
      each_queue "queue_delete"
      mr.spawn(function() ch.connection:connect() end)
      assert.equal(N, #recovering.recovered(seen, 1).failed)
      for _, consumer in ipairs(consumers) do assert.equal("failed", consumer.state) end
      assert(ch:publish("", q, "m"))
      eventually("the message", function() return got.m == 1 end)
      assert(ch:queue_delete { queue = q })
   end)

   it("is a thousand queues with their bindings, each of them (FIELD-R18)", function()
      local N = broker.kind == "memory" and 10000 or 500
      local ch, seen = open()
      local q = name "many"
      many(N, function(i) return ch:queue_declare { queue = q .. i, exclusive = true } end)
      many(N, function(i) return ch:queue_bind { queue = q .. i, exchange = "amq.topic", routing_key = q .. i } end)
      local ev = recovering.through(seen, function() broker.close_connections "x" end)
      assert.same({ 2 * N, 0 }, { ev.entities, #ev.failed })
      assert.is_true(ch:publish("amq.topic", q .. N, "m"))
      assert.equal(1, ch:queue_purge { queue = q .. N })
   end)
end)
