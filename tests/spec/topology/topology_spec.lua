--- topology, with plan, apply, upkeep, delayed and scratch. CONTRACT X5, X6, X7, X10 to X17, T14, H7.
-- Covers: lua/moonrabbit/topology/apply.lua by on_conflict
-- Covers: lua/moonrabbit/topology/delayed.lua by dead_ttl
-- Covers: lua/moonrabbit/topology/maintenance.lua by min_successes
-- Covers: lua/moonrabbit/topology/plan.lua by conflict
-- Covers: lua/moonrabbit/topology/probe.lua by passive
local mr = require "moonrabbit"
local embedded = require "embedded"
local waits = require "waits"

local eventually = waits.eventually

local setup = embedded.connected

local function clean()
   embedded.close_all()
   mr.log.configure "error"
end

local function shop()
   return mr.topology {
      exchanges = { { exchange = "orders", type = "topic" }, "audit" },
      queues = { { queue = "invoices", max_length = 10 }, "log" },
      bindings = {
         { queue = "invoices", exchange = "orders", routing_key = "order.#" },
         { destination = "audit", source = "orders", routing_key = "#" },
         { queue = "log", exchange = "audit", routing_key = "order.paid" },
      },
   }
end

local function names(list)
   local out = {}
   for i, item in ipairs(list) do out[i] = item.what .. " " .. item.name end
   return out
end

local function lines(plan)
   local out = {}
   for line in tostring(plan):gmatch "[^\n]+" do out[#out + 1] = line end
   return out
end

describe("a topology", function()
   after_each(clean)

   it("is data: durable unless it says otherwise, under AMQP's names or shorter ones", function()
      local t = mr.topology {
         exchanges = { orders = { type = "topic", alternate_exchange = "amq.fanout" }, { exchange = "first", durable = false } },
         queues = { "plain", { queue = "full", message_ttl = 1.5, expires = 60, max_priority = 5, overflow = "reject-publish",
            dead_letter_exchange = "", dead_letter_routing_key = "plain", single_active_consumer = true,
            arguments = { ["x-custom"] = "y" } } },
      }
      assert.same({ { exchange = "first", durable = false, type = "direct" },
         { exchange = "orders", durable = true, type = "topic", arguments = { ["alternate-exchange"] = "amq.fanout" } } }, t.exchanges)
      assert.same({ { queue = "plain", durable = true }, { queue = "full", durable = true, arguments = { ["x-message-ttl"] = 1500,
         ["x-expires"] = 60000, ["x-max-priority"] = 5, ["x-overflow"] = "reject-publish", ["x-dead-letter-exchange"] = "",
         ["x-dead-letter-routing-key"] = "plain", ["x-single-active-consumer"] = true, ["x-custom"] = "y" } } }, t.queues)
      assert.equal("topology of 2 exchanges, 2 queues, 0 bindings", tostring(t))
   end)

   it("has the arguments of streams, an age also in seconds", function()
      local t = mr.topology { queues = {
         { queue = "a", queue_type = "stream", max_age = 90.5, stream_max_segment_size_bytes = 1e6, max_length_bytes = 1e9 },
         { queue = "b", queue_type = "stream", max_age = "7D", initial_cluster_size = 1 } } }
      assert.same({ ["x-queue-type"] = "stream", ["x-max-age"] = "91s", ["x-stream-max-segment-size-bytes"] = 1e6,
         ["x-max-length-bytes"] = 1e9 }, t.queues[1].arguments)
      assert.same({ ["x-queue-type"] = "stream", ["x-max-age"] = "7D", ["x-initial-cluster-size"] = 1 }, t.queues[2].arguments)
      assert.is_false((pcall(mr.topology, { queues = { { queue = "c", queue_type = "classic", max_age = 5 } } })))
   end)

   it("says what is wrong with it where it is written", function()
      for text, data in pairs {
         ['unknown option "queus": did you mean "queues"?'] = { queus = {} },
         ['unknown option "durabel": did you mean "durable"?'] = { queues = { { queue = "q", durabel = true } } },
         ['option "type" must be a string, not a number'] = { exchanges = { x = { type = 7 } } },
         ['option "queue" is missing'] = { queues = { { durable = true } } },
         ['queue "q" is there twice'] = { queues = { "q", q = {} } },
         ['queue "q" must be a table, not a boolean'] = { queues = { q = true } },
         ['queue "q" has "max_length" and the argument "x-max-length": say it once'] =
            { queues = { q = { max_length = 1, arguments = { ["x-max-length"] = 1 } } } },
         ['binding of "jobs": there is no queue "jobs" here: did you mean "job"?; one that somebody else declares'] =
            { queues = { "job" }, bindings = { { queue = "jobs", exchange = "amq.topic" } } },
         ['binding of "job": there is no exchange "orders" here'] =
            { queues = { "job" }, bindings = { { queue = "job", exchange = "orders" } } },
         ["a binding has queue and exchange, or destination and source"] = { queues = { "q" }, bindings = { { queue = "q" } } },
         ["the default exchange has no bindings"] = { queues = { "q" }, bindings = { { queue = "q", exchange = "" } } },
         ['dead letters of queue "q": there is no exchange "dead" here'] = { queues = { q = { dead_letter_exchange = "dead" } } },
         ['dead letters of queue "q": there is no queue "q.dead" here'] =
            { queues = { q = { dead_letter_exchange = "", dead_letter_routing_key = "q.dead" } } },
         ['exchange "x": there is no exchange "y" here'] = { exchanges = { x = { alternate_exchange = "y" } } },
         ['delays: there is no queue "q" here'] = { delays = { q = { queue = "q.DQ" } } },
      } do
         local ok, why = pcall(function() mr.topology(data) end)
         assert.is_false(ok, text)
         assert.truthy(why:find(text, 1, true) and why:find "^[^:]*topology_spec%.lua:", why)
      end
   end)

   it("names what it declares", function()
      local t = mr.topology { exchanges = { "a", b = { passive = true } }, queues = { "q", p = { passive = true } } }
      assert.same({ exchanges = { "a" }, queues = { "q" } }, t:names())
   end)
end)

describe("a topology's plan", function()
   after_each(clean)

   it("says what would be made, and makes nothing", function()
      local conn, b = setup()
      local plan = assert(shop():plan(conn))
      assert.same({ 7, 0, 0, 0, 0 }, { plan.create, plan.same, plan.conflict, plan.missing, plan.unknown })
      assert.same({ "create   exchange orders", "create   exchange audit", "create   queue invoices", "create   queue log",
         "create   binding invoices <- orders (order.#)", "create   binding audit <- orders (#)",
         "create   binding log <- audit (order.paid)" }, lines(plan))
      assert.equal(0, #b:report().queues)
      eventually("the end of its channels", function() return b:report().connections[1].channels == 0 end)
   end)

   it("says what is the same; of bindings between what is there, that AMQP does not tell", function()
      local conn = setup()
      local t = shop()
      assert(t:apply(conn))
      local plan = assert(t:plan(conn))
      assert.same({ 0, 4, 0, 0, 3 }, { plan.create, plan.same, plan.conflict, plan.missing, plan.unknown })
      assert.equal("same     queue log", lines(plan)[4])
      assert.equal("unknown  binding invoices <- orders (order.#): AMQP does not tell", lines(plan)[5])
   end)

   it("names every field that differs, with what is there and what is wanted; nothing changes (H7)", function()
      local conn, b = setup()
      local ch = assert(conn:channel())
      assert(ch:queue_declare { queue = "q", arguments = { ["x-max-length"] = 10, ["x-overflow"] = "reject-publish",
         ["x-single-active-consumer"] = true } })
      assert(ch:exchange_declare { exchange = "x", type = "topic", auto_delete = true })
      local t = mr.topology { exchanges = { x = { internal = true } },
         queues = { q = { max_length = 20, message_ttl = 5, auto_delete = true, overflow = "drop-head" } } }
      local plan = assert(t:plan(conn))
      assert.equal(2, plan.conflict)
      local found = {}
      for _, item in ipairs(plan) do
         assert.equal("precondition_failed", item.err.kind)
         for _, d in ipairs(item.differs) do found[item.name .. "." .. d.field] = { d.found, d.wanted } end
      end
      assert.same({ ["x.type"] = { "topic", "direct" }, ["x.durable"] = { false, true }, ["x.auto_delete"] = { true, false },
         ["x.internal"] = { false, true }, ["q.durable"] = { false, true }, ["q.auto_delete"] = { false, true },
         ["q.x-max-length"] = { 10, 20 }, ["q.x-message-ttl"] = { nil, 5000 }, ["q.x-overflow"] = { "reject-publish", "drop-head" },
         ["q.x-single-active-consumer"] = { true } }, found)
      assert.truthy(tostring(plan):find('conflict queue q: auto_delete is false, wanted true; durable is false', 1, true))
      assert.truthy(tostring(plan):find('x-message-ttl is not set, wanted 5000', 1, true))
      local row = b:queue "q"
      assert.same({ false, false }, { row.durable, row.auto_delete })
      assert.same(plan, assert(t:plan(conn)))
   end)

   it("is not made again after a loss: it only asked", function()
      mr.log.configure "off"
      local conn, b = setup()
      local other = assert(embedded.connect { url = b.url }:channel())
      assert(other:queue_declare { queue = "theirs", durable = true })
      assert(mr.topology { queues = { "theirs" } }:plan(conn))
      assert(other:queue_delete { queue = "theirs" })
      b:drop()
      eventually("the connection", function() return conn.epoch == 2 and conn.is_open end)
      assert(conn:channel())
      assert.is_nil(b:queue "theirs")
   end)

   it("knows what somebody else has to declare, and what another connection locks", function()
      local conn, b = setup()
      local other = assert(embedded.connect { url = b.url }:channel())
      assert(other:queue_declare { queue = "mine", exclusive = true })
      local t = mr.topology { exchanges = { theirs = { passive = true }, "amq.topic" }, queues = { "mine", "new" },
         bindings = { { queue = "new", exchange = "theirs" }, { queue = "new", exchange = "amq.topic" } } }
      local plan = assert(t:plan(conn))
      local verdicts = {}
      for i, item in ipairs(plan) do verdicts[i] = item.verdict end
      assert.same({ "conflict", "missing", "conflict", "create", "missing", "create" }, verdicts)
      assert.equal("exclusive", plan[3].differs[1].field)
      assert(other:exchange_declare { exchange = "theirs", type = "fanout" })
      assert.equal("same", assert(t:plan(conn))[2].verdict)
   end)

   it("fails when the broker cannot be asked", function()
      local plan, err = shop():plan(embedded.connect { url = "amqp://127.0.0.1:1/" })
      assert.same({ nil, "connection_refused" }, { plan, err.kind })
   end)
end)

describe("a topology that is applied", function()
   after_each(clean)

   it("is there, and works; again it changes nothing (X14)", function()
      local conn, b = setup()
      local t = shop()
      local report = assert(t:apply(conn))
      assert.same({ "exchange orders", "exchange audit", "queue invoices", "queue log", "binding invoices", "binding audit",
         "binding log" }, names(report.declared))
      assert.same({}, report.kept)
      local ch = assert(conn:channel())
      assert(ch:confirm_select())
      assert(ch:publish("orders", "order.paid", "x", { mandatory = true }))
      assert(t:apply(conn))
      assert.same({ 1, 1 }, { b:queue "invoices".messages_ready, b:queue "log".messages_ready })
      assert.is_true(b:queue "invoices".durable)
      eventually("the end of its own", function() return b:report().connections[1].channels == 1 end)
   end)

   it("comes back after a loss that took it", function()
      mr.log.configure "off"
      local conn, b = setup()
      assert(mr.topology { queues = { q = { durable = false, auto_delete = false } } }:apply(conn))
      local other = assert(embedded.connect { url = b.url }:channel())
      assert(other:queue_delete { queue = "q" })
      b:drop()
      eventually("the queue", function() return b:queue "q" end)
   end)

   it("tells what failed, and in which fields; the rest is made (H7)", function()
      local conn, b = setup()
      local ch = assert(conn:channel())
      assert(ch:queue_declare { queue = "invoices", arguments = { ["x-max-length"] = 99 } })
      local ok, err = shop():apply(conn)
      assert.is_nil(ok)
      assert.same({ "precondition_failed", 406 }, { err.kind, err.code })
      assert.truthy(tostring(err):find("queue invoices: ", 1, true))
      assert.truthy(tostring(err):find("x-max-length is 99, wanted 10", 1, true))
      assert.same({ { field = "durable", wanted = true, found = false }, { field = "x-max-length", wanted = 10, found = 99 } }, err.differs)
      assert.same({ "queue invoices" }, names(err.failed))
      assert.same({ "binding invoices" }, names(err.skipped))
      assert.same({ "exchange orders", "exchange audit", "queue log", "binding audit", "binding log" }, names(err.declared))
      assert.is_true(b:queue "log".durable)
   end)

   it("keeps what is there in another shape, only when it is told so (T14)", function()
      local conn = setup()
      local ch = assert(conn:channel())
      assert(ch:queue_declare { queue = "invoices" })
      local report = assert(shop():apply(conn, { on_conflict = "keep" }))
      assert.same({ "queue invoices" }, names(report.kept))
      assert.equal(6, #report.declared)
      assert(ch:confirm_select())
      assert(ch:publish("orders", "order.paid", "x", { mandatory = true }))
      assert.equal(1, ch:queue_declare { queue = "invoices", passive = true }.message_count)
   end)

   it("fails when what somebody else declares is missing, or the broker does not allow it", function()
      local conn = setup()
      local ok, err = mr.topology { queues = { "q", p = { passive = true } }, exchanges = { "amq.new" } }:apply(conn)
      assert.is_nil(ok)
      assert.equal("access_refused", err.kind)
      assert.truthy(err.text:find("(and 1 more failed)", 1, true))
      assert.same({ "exchange amq.new", "queue p" }, names(err.failed))
   end)

   it("asks its policy when the connection fails, and stops when that says so (X7)", function()
      mr.log.configure "off"
      local seen = {}
      local conn = embedded.connect { url = "amqp://127.0.0.1:1/" }
      local ok, err = shop():apply(conn, { retry = function(ctx)
         seen[#seen + 1] = { ctx.scope, ctx.attempt, ctx.err.kind }
         return ctx.attempt < 3 and 0.01 or "stop"
      end })
      assert.same({ nil, "connection_refused" }, { ok, err.kind })
      assert.same({ { "topology", 1, "connection_refused" }, { "topology", 2, "connection_refused" },
         { "topology", 3, "connection_refused" } }, seen)
      ok, err = shop():apply(conn, { retry = mr.retry.fixed { delay = 0.01, attempts = 2 } })
      assert.same({ nil, "connection_refused" }, { ok, err.kind })
      ok, err = shop():apply(conn) -- without a policy: at once
      assert.same({ nil, "connection_refused" }, { ok, err.kind })
   end)

   it("is made once the broker can be reached (X7)", function()
      mr.log.configure "off"
      local first = embedded.broker { listen = "127.0.0.1:0" }
      local port = first.port
      first:close()
      local conn = embedded.connect { url = ("amqp://127.0.0.1:%d/"):format(port) }
      local b
      mr.after(0.05, function() b = embedded.broker { listen = "127.0.0.1:" .. port } end)
      assert(shop():apply(conn, { retry = mr.retry.fixed { delay = 0.02, attempts = 500 } }))
      assert.is_truthy(b:queue "invoices")
   end)

   it("blames the caller for misuse", function()
      local conn = setup()
      for text, fn in pairs {
         ['unknown option "on_conflit": did you mean "on_conflict"?'] = function() shop():apply(conn, { on_conflit = "keep" }) end,
         ['option "on_conflict" must be "error" or "keep"'] = function() shop():apply(conn, { on_conflict = "maybe" }) end,
         ['argument 1 ("conn") must be a connection'] = function() shop():apply() end,
         ['argument 1 ("conn") must be a connection, as of mr.connect'] = function() shop():plan {} end,
         ['argument 1 ("conn") must be a connection, as'] = function() shop():counts "memory://" end,
         ['there is no queue "q" in this topology'] = function() shop():purge(conn, "q") end,
         ['option "topology" must be one of mr.topology'] = function() mr.publisher { topology = {} } end,
      } do
         local ok, why = pcall(fn)
         assert.is_false(ok, text)
         assert.truthy(why:find(text, 1, true) and why:find "^[^:]*topology_spec%.lua:", why)
      end
   end)
end)

describe("the queues of a topology", function()
   after_each(clean)

   local function filled()
      local conn, b = setup()
      local t = mr.topology(mr.topology.delayed "q")
      assert(t:apply(conn))
      local ch = assert(conn:channel())
      assert(ch:confirm_select())
      for queue, n in pairs { q = 3, ["q.DQ"] = 2, ["q.XQ"] = 1 } do
         for _ = 1, n do assert(ch:publish("", queue, "x")) end
      end
      return t, conn, b, ch
   end

   it("are counted: main, delayed, dead (X16)", function()
      local t, conn = filled()
      assert.same({ 3, 2, 1 }, { t:message_counts(conn, "q") })
      assert.same({ 1, 0, 0 }, { t:message_counts(conn, "q.XQ") })
      assert.same({ messages = 3, consumers = 0 }, assert(t:counts(conn)).q)
      assert.same({ messages = 0, consumers = 0, is_missing = true },
         assert(mr.topology { queues = { "none" } }:counts(conn)).none)
   end)

   it("are emptied, one with its companions, or all (X17)", function()
      local t, conn = filled()
      assert.equal(1, t:purge(conn, "q.XQ"))
      assert.same({ 3, 2, 0 }, { t:message_counts(conn, "q") })
      assert.equal(5, t:purge(conn))
      assert.equal(0, t:purge(conn, "q"))
   end)

   it("are deleted, with what they hold, under conditions (X17)", function()
      local t, conn, b = filled()
      local sum, err = t:delete(conn, { if_empty = true })
      assert.same({ nil, "precondition_failed" }, { sum, err.kind })
      assert.equal(6, t:delete(conn, { queue = "q" }))
      assert.equal(0, #b:report().queues)
      assert.equal(0, t:delete(conn)) -- what is not there is no error
      local other = shop()
      assert(other:apply(conn))
      assert.equal(0, other:delete(conn))
      local ch = assert(conn:channel())
      assert.equal("not_found", select(2, ch:exchange_declare { exchange = "orders", passive = true }).kind)
   end)

   it("are waited for until they are worked off (X17)", function()
      local t, conn, _, ch = filled()
      local ok, err = t:join(conn, "q", { timeout = 0.05, idle_time = 0.01 })
      assert.same({ nil, "timeout", 5 }, { ok, err.kind, err.messages })
      assert.is_truthy(err.text:find("still had 5 messages", 1, true))
      assert(ch:queue_purge { queue = "q.DQ" })
      assert(ch:consume("q", function() mr.sleep(0.02) end, { concurrency = 1 }))
      local began = mr.now()
      assert.is_true(t:join(conn, "q", { timeout = 10, min_successes = 3, idle_time = 0.03 }))
      assert.is_true(mr.now() - began >= 0.06)
   end)
end)

describe("a queue with delays", function()
   after_each(clean)

   local function setup_delays(options)
      local conn, b = setup()
      local t = mr.topology(mr.topology.delayed("q", options))
      local pub = mr.publisher { connection = conn, topology = t, routing_key = "q" }
      embedded.keep { close = function() pub:close { timeout = 0 } end }
      return t, pub, conn, b
   end

   it("is three: dead letters go to q.XQ, what expires in q.DQ goes to q (X10), kept for a week (X11)", function()
      local t, pub, conn, b = setup_delays()
      assert.same({ exchanges = {}, queues = { "q", "q.DQ", "q.XQ" } }, t:names())
      assert.same({ ["x-message-ttl"] = 604800000 }, t.queues[3].arguments)
      assert.is_nil(mr.topology(mr.topology.delayed("p", { dead_ttl = 0 })).queues[3].arguments)
      assert.is_true(pub:publish "now")
      for _, q in ipairs(t:names().queues) do assert.is_true(b:queue(q).durable) end
      local ch = assert(conn:channel())
      assert(assert(ch:get "q"):reject())
      eventually("the dead letter", function() return b:queue "q.XQ".messages_ready == 1 end)
      mr.testing.advance(604801, 3600)
      eventually("its end", function() return b:queue "q.XQ".messages_ready == 0 end)
   end)

   it("gives a message its own delay, by expiration in ms (X15); the head of q.DQ goes first", function()
      local _, pub, conn, b = setup_delays()
      assert.is_true(pub:publish("later", { delay = 60 }))
      assert.is_true(pub:publish("behind it", { delay = 1 }))
      local ch = assert(conn:channel())
      assert.same({ 0, 2 }, { b:queue "q".messages_ready, b:queue "q.DQ".messages_ready })
      mr.testing.advance(30)
      assert.equal(0, b:queue "q".messages_ready) -- one second is over, but a longer one is in front
      mr.testing.advance(31)
      eventually("both", function() return b:queue "q".messages_ready == 2 end)
      local msg = assert(ch:get("q", { no_ack = true }))
      assert.equal("later", msg.body)
      assert.equal("60000", msg.headers["x-death"][1]["original-expiration"])
   end)

   it("refuses a delay that is too long, and tells both; the broker cuts it short as well (X12)", function()
      local t, pub, conn, b = setup_delays { max_delay = 60 }
      local ok, err = pub:publish("x", { delay = 61 })
      assert.same({ nil, "bad_argument", 61, 60, "q.DQ" }, { ok, err.kind, err.delay, err.max_delay, err.queue })
      assert.equal("a delay of 61 s is longer than the 60 s that \"q.DQ\" allows", err.text)
      assert.is_true(pub:publish("x", { delay = 60 }))
      assert.equal(60000, t.queues[2].arguments["x-message-ttl"])
      local ch = assert(conn:channel())
      assert(ch:publish("", "q.DQ", "by hand", { expiration = "3600000" }))
      mr.testing.advance(61)
      eventually("both", function() return b:queue "q".messages_ready == 2 end)
   end)

   it("may be changed, for it is data: expired delays that stop in q.XQ, say (X13, X14)", function()
      local conn, b = setup()
      local data = mr.topology.delayed "q"
      data.queues[2].dead_letter_routing_key = "q.XQ"
      local t = mr.topology(data)
      local pub = mr.publisher { connection = conn, topology = t, routing_key = "q" }
      assert.is_true(pub:publish("x", { delay = 1 }))
      mr.testing.advance(2)
      eventually("the end of the delay", function() return b:queue "q.XQ".messages_ready == 1 end)
      assert.equal(0, b:queue "q".messages_ready)
      assert(pub:close())
   end)

   it("takes higher priorities first (X6)", function()
      local _, pub, conn = setup_delays { max_priority = 10 }
      for _, p in ipairs { 1, 9, 5 } do assert.is_true(pub:publish(tostring(p), { priority = p })) end
      local ch, got = assert(conn:channel()), {}
      for i = 1, 3 do got[i] = assert(ch:get("q", { no_ack = true })).body end
      assert.same({ "9", "5", "1" }, got)
   end)

   it("knows only its own", function()
      local t = mr.topology(mr.topology.delayed "q")
      local through, err = t:delay("other", 1)
      assert.same({ nil, "bad_argument" }, { through, err.kind })
      assert.same({ queue = "q.DQ", expiration = "1500" }, t:delay("q", 1.5))
   end)
end)

describe("a publisher with a topology", function()
   after_each(clean)

   it("declares it again when a message came back, and repeats that once (X5)", function()
      local conn, b = setup()
      local pub = mr.publisher { connection = conn, topology = shop(), routing_key = "invoices" }
      embedded.keep { close = function() pub:close { timeout = 0 } end }
      assert.is_true(pub:publish "1")
      local ch = assert(conn:channel())
      assert(ch:queue_delete { queue = "invoices" })
      assert.is_true(pub:publish "2")
      assert.equal(1, b:queue "invoices".messages_ready)
      assert.equal(1, pub:stats().retried)
      local ok, err = pub:publish("3", { routing_key = "nobody" })
      assert.same({ nil, "returned" }, { ok, err.kind })
      assert.same({ 2, 1 }, { pub:stats().retried, pub:stats().returned })
   end)

   it("has what came back come back when it cannot be declared any more", function()
      mr.log.configure "off"
      local conn, b = setup()
      local pub = mr.publisher { connection = conn, topology = shop(), routing_key = "nobody" }
      embedded.keep { close = function() pub:close { timeout = 0 } end }
      assert.is_true(pub:publish("1", { routing_key = "log" }))
      b:fail_next_declare(403, "ACCESS_REFUSED - as a test asked for")
      assert.equal("returned", select(2, pub:publish "2").kind)
      assert.equal(0, pub:stats().retried)
   end)
end)
