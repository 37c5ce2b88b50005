--- Topologies as data, on whatever broker: what only the broker's answers can tell. CONTRACT X6, X10, X12, X15 to X17, H7, T14.
local mr = require "moonrabbit"
local broker = require "broker"

-- A topology of names that no other test uses; deleted at the end of the test.
local function setup(data_of)
   local name, conn = broker.name "topology", broker.connect()
   local t = mr.topology(data_of(name))
   finally(function()
      t:delete(broker.connect())
      broker.close_all()
   end)
   return t, conn, name
end

local function shop(name)
   return { exchanges = { { exchange = name, type = "topic" }, { exchange = name .. ".audit", type = "fanout" } },
      queues = { { queue = name, max_length = 10, overflow = "reject-publish" }, name .. ".log" },
      bindings = { { queue = name, exchange = name, routing_key = "order.#" },
         { destination = name .. ".audit", source = name, routing_key = "#" },
         { queue = name .. ".log", exchange = name .. ".audit" } } }
end

describe("a topology", function()
   broker.unless_redis(it, "queue arguments", "is planned, applied, and then the same", function()
      local t, conn, name = setup(shop)
      local plan = assert(t:plan(conn))
      assert.same({ 7, 0 }, { plan.create, plan.same })
      assert.equal(7, #assert(t:apply(conn)).declared)
      assert.equal(7, #assert(t:apply(conn)).declared)
      plan = assert(t:plan(conn))
      assert.same({ 0, 4, 3, 0 }, { plan.create, plan.same, plan.unknown, plan.conflict })
      local ch = assert(conn:channel())
      assert(ch:confirm_select())
      assert(ch:publish(name, "order.paid", "x", { mandatory = true }))
      assert.same({ 1, 0, 0 }, { t:message_counts(conn, name) })
      assert.equal(1, assert(t:counts(conn))[name .. ".log"].messages)
      assert.equal(2, t:purge(conn))
   end)

   it("explains a type that differs, with all that goes with it, and says how to move (FIELD-C2)", function()
      local t, conn, name = setup(function(name)
         return { queues = { { queue = name, queue_type = "quorum", delivery_limit = 3, overflow = "reject-publish" } } }
      end)
      local ch = assert(conn:channel())
      assert(ch:queue_declare { queue = name, durable = false, arguments = { ["x-max-priority"] = 5 } })
      local plan = assert(t:plan(conn))
      assert.same({ { field = "durable", wanted = true, found = false }, { field = "x-delivery-limit", wanted = 3 },
         { field = "x-max-priority", found = 5 }, { field = "x-overflow", wanted = "reject-publish" },
         { field = "x-queue-type", wanted = "quorum", found = "classic" } }, plan[1].differs)
      local text = tostring(plan)
      assert.truthy(text:find('x-queue-type is "classic", wanted "quorum"', 1, true), text)
      assert.truthy(text:find('docs/cluster.md, "From classic to quorum"', 1, true), text)
      local ok, err = t:apply(conn)
      assert.is_nil(ok)
      assert.truthy(err.text:find("From classic to quorum", 1, true), err.text)
      local report = assert(t:apply(conn, { on_conflict = "keep" }))
      assert.equal(1, #report.kept)
   end)

   broker.unless_redis(it, "queue arguments", "names each field that differs, and changes none (H7, T14)", function()
      local t, conn, name = setup(shop)
      local ch = assert(conn:channel())
      assert(ch:queue_declare { queue = name, arguments = { ["x-max-length"] = 99, ["x-message-ttl"] = 60000 } })
      assert(ch:exchange_declare { exchange = name, type = "direct", durable = true })
      local plan = assert(t:plan(conn))
      assert.same({ 2, 4, 1 }, { plan.conflict, plan.create, plan.unknown })
      local fields = {}
      for _, item in ipairs(plan) do
         for _, d in ipairs(item.differs or {}) do
            fields[item.what .. " " .. d.field] = { d.found == nil and "none" or d.found, d.wanted == nil and "none" or d.wanted }
         end
      end
      assert.same({ ["exchange type"] = { "direct", "topic" }, ["queue durable"] = { false, true },
         ["queue x-max-length"] = { 99, 10 }, ["queue x-message-ttl"] = { 60000, "none" },
         ["queue x-overflow"] = { "none", "reject-publish" } }, fields)
      assert(ch:queue_declare { queue = name, arguments = { ["x-max-length"] = 99, ["x-message-ttl"] = 60000 } })

      local ok, err = t:apply(conn)
      assert.same({ nil, "precondition_failed", 2 }, { ok, err.kind, #err.failed })
      local report = assert(t:apply(conn, { on_conflict = "keep" }))
      assert.equal(2, #report.kept)
      assert.equal(5, #report.declared)
   end)

   broker.unless_redis(it, "queue arguments", "is worked off, counted, deleted (X16, X17)", function()
      local t, conn, name = setup(function(name) return mr.topology.delayed(name) end)
      assert(t:apply(conn))
      local ch = assert(conn:channel())
      assert(ch:confirm_select())
      for _ = 1, 5 do assert(ch:publish("", name, "x")) end
      assert.equal("timeout", select(2, t:join(conn, name, { timeout = 0 })).kind)
      local consumer = assert(ch:consume(name, function() end))
      assert.is_true(t:join(conn, name, { timeout = 10, idle_time = 0.01 }))
      local ok, err = t:delete(conn, { queue = name, if_unused = true })
      assert.same({ nil, "precondition_failed" }, { ok, err.kind })
      assert(consumer:cancel())
      assert.equal(0, t:delete(conn))
      assert.is_true(assert(t:counts(conn))[name].is_missing)
   end)

   for title, kind in pairs { ["(X10, X15)"] = false, ["of quorum queues (FIELD-C2)"] = "quorum" } do
      broker.unless_redis(it, "queue arguments", "of delays delivers later, and dead letters aside " .. title, function()
         local t, conn, name = setup(function(name)
            return mr.topology.delayed(name, { max_delay = 5, queue_type = kind or nil })
         end)
         for _, queue in ipairs(t.queues) do assert.equal(kind or nil, (queue.arguments or {})["x-queue-type"]) end
         local pub = mr.publisher { connection = conn, topology = t, routing_key = name }
         assert.is_true(pub:publish("later", { delay = 0.05 }))
         assert.equal("bad_argument", select(2, pub:publish("x", { delay = 6 })).kind) -- X12
         local ch = assert(conn:channel())
         local msg
         broker.eventually("the message", function()
            msg = ch:get(name)
            return msg
         end)
         assert.equal("later", msg.body)
         assert(msg:reject())
         broker.eventually("the dead letter", function() return select(3, t:message_counts(conn, name)) == 1 end)
      end)
   end

   broker.unless_redis(it, "priorities", "with priorities gives the urgent ones first (X6)", function()
      local t, conn, name = setup(function(name) return { queues = { { queue = name, max_priority = 10 } } } end)
      local pub = mr.publisher { connection = conn, topology = t, routing_key = name }
      for _, p in ipairs { 1, 9, 5 } do assert.is_true(pub:publish(tostring(p), { priority = p })) end
      local ch, got = assert(conn:channel()), {}
      for i = 1, 3 do got[i] = broker.take(ch, name).body end
      assert.same({ "9", "5", "1" }, got)
   end)

   broker.unless_redis(it, "queue arguments", "is declared again by its publisher when a message came back (X5)", function()
      local t, conn, name = setup(shop)
      local pub = mr.publisher { connection = conn, topology = t, exchange = name, routing_key = "order.new" }
      assert.is_true(pub:publish "1")
      local ch = assert(conn:channel())
      assert(ch:queue_delete { queue = name })
      assert(ch:exchange_unbind { destination = name .. ".audit", source = name, routing_key = "#" })
      assert.is_true(pub:publish "2")
      assert.equal(1, pub:stats().retried)
      assert.same({ 1, 0, 0 }, { t:message_counts(conn, name) })
   end)
end)
