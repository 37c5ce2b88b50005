--- publisher, with its outbox, its jobs and its sender. CONTRACT X3 to X5, X7, X8, X22.
-- Covers: lua/moonrabbit/publisher/buffer.lua by drop_oldest
-- Covers: lua/moonrabbit/publisher/job.lua by routing_key
-- Covers: lua/moonrabbit/publisher/sender.lua by in_line
local mr = require "moonrabbit"
local embedded = require "embedded"
local waits = require "waits"

local eventually = waits.eventually

local function setup(options, connection)
   local conn, b = embedded.connected(connection)
   local ch = assert(conn:channel())
   assert(ch:queue_declare { queue = "q", durable = true, arguments = options and options.arguments })
   local given = { connection = conn, routing_key = "q" }
   for k, v in pairs(options or {}) do given[k] = v end
   given.arguments = nil
   local pub = mr.publisher(given)
   embedded.keep { close = function() pub:close { timeout = 0 } end }
   return pub, b, conn, ch
end

local function quiet() mr.log.configure "off" end -- what goes wrong is meant to

local function clean()
   embedded.close_all()
   mr.log.configure "error"
end

local function bodies(ch)
   local list = {}
   local msg = ch:get("q", { no_ack = true })
   while msg do
      list[#list + 1] = msg.body
      msg = ch:get("q", { no_ack = true })
   end
   return list
end

local background = waits.background

-- The connection goes and cannot come back before online().
local function offline(b, conn)
   b:refuse_logins()
   waits.loss(conn, function() b:drop() end)
end

local function online(b, conn)
   b:refuse_logins(false)
   for _ = 1, 60 do
      if conn.is_open then return end
      mr.testing.advance(1)
   end
   error "the connection did not come back"
end

local function states(tickets)
   local list = {}
   for i, t in ipairs(tickets) do list[i] = t.state end
   return list
end

describe("a publisher", function()
   after_each(clean)

   it("confirms, and publishes persistent messages (X3, X22)", function()
      local pub, b, conn, ch = setup()
      assert.is_true(pub:publish "1")
      local msg = assert(ch:get("q", { no_ack = true }))
      assert.equal(2, msg.properties.delivery_mode)
      local t = assert(pub:publish_async "2")
      assert.equal("waiting", t.state)
      assert.is_true(t:wait())
      assert.equal("acked", t.state)
      assert.same({ acked = 2, accepted = 2, in_line = 0, in_flight = 0, aside = 0, bytes = 0, nacked = 0, returned = 0, lost = 0,
         timeout = 0, sent = 0, retried = 0, dropped = 0, refused = 0 }, pub:stats())
      assert.is_nil(conn.publisher)
      assert.equal(2, b:report().connections[1].channels) -- one of its own
   end)

   it("opens nothing before the first publish, and waits for a connection that is not there yet", function()
      local pub = mr.publisher { connection = embedded.connect { url = "memory://lazy" }, routing_key = "q" }
      assert.equal("idle", pub.connection.state)
      quiet()
      local port
      do
         local b = assert(mr.testing.broker { listen = "127.0.0.1:0" })
         port = b.port
         b:close()
      end
      local conn = embedded.connect { url = ("amqp://127.0.0.1:%d/"):format(port) }
      local early = mr.publisher { connection = conn, routing_key = "q", mandatory = false }
      local t = assert(early:publish_async "early")
      mr.sleep(0.05)
      assert.equal("waiting", t.state)
      local b = embedded.broker { listen = "127.0.0.1:" .. port }
      assert.is_true(t:wait(10))
      assert.is_true(early:close())
      assert.equal(port, b.port)
   end)

   it("says at once that what it declares is refused, and tries again at the next publish", function()
      quiet()
      local b = embedded.broker()
      local conn = embedded.connect { url = b.url }
      local ch = assert(conn:channel())
      assert(ch:queue_declare { queue = "q" })
      local pub = mr.publisher { connection = conn, routing_key = "q", topology = mr.topology { queues = { "q" } } }
      embedded.keep { close = function() pub:close { timeout = 0 } end }
      local began = mr.now()
      for _ = 1, 2 do
         local ok, err = pub:publish "x"
         assert.same({ nil, "precondition_failed" }, { ok, err.kind })
         assert.truthy(err.text:find("inequivalent arg 'durable'", 1, true))
      end
      assert.is_true(mr.now() - began < 10)
      assert(ch:queue_delete { queue = "q" })
      assert.is_true(pub:publish "y")
      assert.same({ 2, 1 }, { pub:stats().lost, pub:stats().acked })
   end)

   it("has properties for every message, and each publish its own", function()
      local pub, _, _, ch = setup { persistent = false, properties = { app_id = "billing", headers = { a = 1 } } }
      assert(pub:publish({ id = 7 }, { message_id = "m", headers = { b = 2 }, persistent = true }))
      assert(pub:publish "x")
      local msg = assert(ch:get("q", { no_ack = true }))
      assert.same({ "billing", "m", 2, "application/json", { b = 2 } }, { msg.properties.app_id, msg.properties.message_id,
         msg.properties.delivery_mode, msg.properties.content_type, msg.headers })
      assert.same({ id = 7 }, msg:decode())
      msg = assert(ch:get("q", { no_ack = true }))
      assert.same({ 1, { a = 1 }, nil }, { msg.properties.delivery_mode, msg.headers, msg.properties.message_id })
   end)

   it("goes where the publish says, or else where it was told at first", function()
      local pub, _, _, ch = setup()
      assert(ch:queue_declare { queue = "other" })
      assert(ch:queue_bind { queue = "other", exchange = "amq.topic", routing_key = "a.#" })
      assert(pub:publish("1", { routing_key = "other" }))
      assert(pub:publish("2", { exchange = "amq.topic", routing_key = "a.b" }))
      assert.same({ "1", "2" }, { ch:get("other", { no_ack = true }).body, ch:get("other", { no_ack = true }).body })
   end)

   it("tells what nobody takes: returned; and not so without mandatory (X5)", function()
      local pub = setup()
      local ok, err = pub:publish("x", { routing_key = "nobody" })
      assert.same({ nil, "returned", 312, "x" }, { ok, err.kind, err.code, err.message.body })
      assert.truthy(err.hint:find("no queue has this name", 1, true)) -- FIELD-C15
      err = select(2, pub:publish("x", { exchange = "amq.topic", routing_key = "nobody" }))
      assert.truthy(err.hint:find("bind a queue", 1, true))
      assert.is_true(pub:publish("x", { routing_key = "nobody", mandatory = false }))
      local stats = pub:stats()
      assert.same({ 2, 1 }, { stats.returned, stats.acked })
   end)

   it("tells what the broker refuses: nacked, also to on_failed", function()
      local seen = {}
      local pub = setup { arguments = { ["x-max-length"] = 1, ["x-overflow"] = "reject-publish" },
         on_failed = function(err, message) seen[#seen + 1] = { err.kind, message.body, message.routing_key } end }
      assert.is_true(pub:publish "1")
      assert.equal("nacked", select(2, pub:publish "2").kind)
      eventually("on_failed", function() return #seen == 1 end)
      assert.same({ { "nacked", "2", "q" } }, seen)
   end)

   it("bounds the wait for a confirm, by 30 s if nothing is said, and goes on (X4, FIELD-C11)", function()
      local pub, b = setup { confirm_timeout = 2 }
      assert.is_true(pub:publish "0")
      assert.equal(30, mr.publisher({ connection = pub.connection }).usual.timeout) -- the default
      b:delay(3)
      local t = assert(pub:publish_async "1")
      mr.testing.advance(2.5)
      eventually("its end", function() return t.state ~= "waiting" end)
      assert.equal("timeout", t.state)
      assert.equal("timeout", select(2, t:wait()).kind)
      b:delay(0)
      mr.testing.advance(4)
      eventually("another", function() return pub:publish "2" end)
   end)

   it("waits for ever when it is told to (X4)", function()
      local pub, b = setup { confirm_timeout = 0, timeout = 0 }
      assert.is_true(pub:publish "0")
      b:silent()
      local t = assert(pub:publish_async "1")
      mr.testing.advance(100, 20) -- the heartbeat is 60 s
      assert.equal("waiting", t.state)
      b:silent(false)
      assert.is_true(t:wait(20))
   end)

   it("without confirms says that it was sent, also after a time in line", function()
      quiet()
      local pub, b, conn = setup { confirm = false }
      assert.is_true(pub:publish "1")
      eventually("the first", function() return b:queue "q".messages_ready == 1 end) -- what is sent may be lost
      offline(b, conn)
      local t = assert(pub:publish_async "2")
      assert.equal("waiting", t.state)
      online(b, conn)
      assert.is_true(t:wait(10))
      assert.equal("sent", t.state)
      eventually("both", function() return b:queue "q".messages_ready == 2 end)
      assert.same({ 2, 0 }, { pub:stats().sent, pub:stats().acked })
   end)

   it("without confirms tells of what came back to on_failed alone", function()
      local seen
      local pub = setup { confirm = false, on_failed = function(err, message) seen = { err.code, message.body } end }
      assert.is_true(pub:publish("x", { routing_key = "nobody" }))
      eventually("its return", function() return seen end)
      assert.same({ 312, "x" }, seen)
   end)
end)

describe("a publisher whose connection goes", function()
   after_each(clean)
   before_each(quiet)

   it("keeps what is published meanwhile, and sends it in its order", function()
      local pub, b, conn, ch = setup()
      assert.is_true(pub:publish "0")
      offline(b, conn)
      for i = 1, 50 do assert(pub:publish_async(tostring(i))) end
      assert.same({ 50, 91 }, { pub:stats().in_line, pub:stats().bytes })
      local waiting = background(pub.publish, pub, "51")
      online(b, conn)
      assert.is_true(pub:flush { timeout = 10 })
      eventually("who waits to go on", function() return waiting.done end)
      assert.is_true(waiting.result)
      local got = bodies(ch)
      assert.equal(52, #got)
      for i, body in ipairs(got) do assert.equal(tostring(i - 1), body) end
      assert.same({ 52, 52, 0 }, { pub:stats().acked, pub:stats().accepted, pub:stats().bytes })
   end)

   it("holds up no other publish while what a delay needs cannot be declared (FIELD-C2)", function()
      local cascade = require "moonrabbit.delay.cascade"
      local errors = require "moonrabbit.base.errors"
      local prepare, tries = cascade.prepare, 0
      function cascade.prepare()
         tries = tries + 1
         mr.sleep(0.01)
         return nil, errors.new("timeout", "channel", "the broker did not answer")
      end
      finally(function() cascade.prepare = prepare end)
      local pub = setup()
      assert.is_true(pub:publish "0")
      local late = assert(pub:publish_async("late", { delay = 0.001 }))
      for n = 1, 5 do assert.is_true(pub:publish(tostring(n), { timeout = 5 })) end
      eventually("tries", function() return tries > 1 end)
      assert.equal("waiting", late.state)
      cascade.prepare = prepare
      assert.is_true(late:wait())
   end)

   it("sends the headers that were published, whatever the program uses its table for meanwhile", function()
      local pub, b, conn, ch = setup()
      local props = { headers = { list = {} } }
      assert.is_true(pub:publish "0")
      b:silent() -- those are sent again
      for i = 1, 4 do
         if i == 3 then -- those wait in line
            mr.sleep(0.02)
            offline(b, conn)
         end
         props.message_id, props.headers.n, props.headers.list[1] = tostring(i), i, i
         assert(pub:publish_async(tostring(i), props))
      end
      props.headers.n = 0
      b:silent(false)
      online(b, conn)
      assert.is_true(pub:flush { timeout = 10 })
      assert.equal("0", ch:get("q", { no_ack = true }).body)
      for i = 1, 4 do
         local msg = assert(ch:get("q", { no_ack = true }))
         local own = msg.properties
         assert.same({ tostring(i), tostring(i), i, i }, { msg.body, own.message_id, own.headers.n, own.headers.list[1] })
      end
   end)

   it("sends again what was not confirmed, before what came later", function()
      local pub, b, conn, ch = setup()
      assert.is_true(pub:publish "0")
      b:silent()
      local tickets = {}
      for i = 1, 3 do tickets[i] = assert(pub:publish_async(tostring(i))) end
      mr.sleep(0.02)
      assert.equal(3, pub:stats().in_flight)
      offline(b, conn)
      b:silent(false)
      assert.same({ 3, 0 }, { pub:stats().in_line, pub:stats().in_flight })
      tickets[4] = assert(pub:publish_async "4")
      online(b, conn)
      assert.is_true(pub:flush { timeout = 10 })
      assert.same({ "acked", "acked", "acked", "acked" }, states(tickets))
      assert.same({ "0", "1", "2", "3", "4" }, bodies(ch))
      assert.equal(3, pub:stats().retried)
   end)

   it("several times, still has one end for each publish, and loses none", function()
      local pub, b, _, ch = setup()
      for i = 1, 300 do
         assert(pub:publish_async(tostring(i)))
         if i % 60 == 0 then b:drop() end
         if i % 10 == 0 then mr.sleep(0.002) end
      end
      pub:flush { timeout = 20 }
      local stats = pub:stats()
      assert.equal(300, stats.acked)
      assert.equal(300, stats.accepted)
      assert.same({ 0, 0, 0, 0 }, { stats.in_line, stats.in_flight, stats.aside, stats.bytes })
      local seen, count = {}, 0
      for _, body in ipairs(bodies(ch)) do
         if not seen[body] then count = count + 1 end
         seen[body] = true
      end
      assert.equal(300, count)
   end)

   it("ends what waits at its deadline, and says why", function()
      local pub, b, conn, ch = setup { timeout = 20 }
      assert.is_true(pub:publish "0")
      offline(b, conn)
      local short = assert(pub:publish_async("short", { timeout = 1 }))
      local long = assert(pub:publish_async "long")
      mr.testing.advance(1.5)
      eventually("its end", function() return short.state ~= "waiting" end)
      assert.equal("timeout", short.state)
      local err = select(2, short:wait())
      assert.equal("timeout", err.kind)
      assert.truthy(err.text:find "^not sent in time")
      assert.equal("waiting", long.state)
      mr.testing.advance(20)
      eventually("its end", function() return long.state ~= "waiting" end)
      assert.equal("timeout", long.state)
      online(b, conn)
      assert.is_true(pub:publish "after")
      assert.same({ "0", "after" }, bodies(ch))
   end)

   it("never waits longer than its time for a connection that cannot be had (X8)", function()
      local conn = embedded.connect { url = "amqp://127.0.0.1:1/" }
      local pub = mr.publisher { connection = conn, routing_key = "q", timeout = 0.2 }
      local began = mr.now()
      local ok, err = pub:publish "x"
      assert.same({ nil, "timeout" }, { ok, err.kind })
      assert.truthy(err.text:find("nothing listens on that port", 1, true))
      assert.is_true(mr.now() - began < 3)
   end)

   it("by the program's own hand loses what was out, and connects again when it is next used", function()
      local pub, b, conn, ch = setup()
      assert.is_true(pub:publish "0")
      b:silent()
      local t = assert(pub:publish_async "1")
      local closing = background(conn.close, conn, { timeout = 0.05 })
      eventually("the close", function() return closing.done end)
      b:silent(false)
      assert.equal("lost", select(2, t:wait()).kind)
      assert.is_true(pub:publish "2")
      assert.is_true(conn.is_open)
      assert.is_false(ch.is_open)
   end)

   it("for ever, because it was released, loses what waits", function()
      local pub, b, conn = setup()
      assert.is_true(pub:publish "0")
      offline(b, conn)
      local t = assert(pub:publish_async "1")
      conn:release()
      eventually("its end", function() return t.state ~= "waiting" end)
      assert.equal("lost", t.state)
      assert.equal("lost", select(2, pub:publish "2").kind)
   end)

   it("by the broker's word (320) goes on as after any loss", function()
      local pub, b, _, ch = setup()
      assert.is_true(pub:publish "0")
      b:close_connections()
      for i = 1, 3 do assert.is_true(pub:publish(tostring(i))) end
      assert.same({ "0", "1", "2", "3" }, bodies(ch))
   end)

   it("and does not recover by itself connects again", function()
      local pub, b, conn = setup(nil, { recover = false })
      assert.is_true(pub:publish "0")
      waits.loss(conn, function() b:drop() end)
      assert.is_true(pub:publish "1")
      assert.same({ "0", "1" }, bodies(assert(conn:channel())))
   end)

   it("and whose attempts to come back are spent tries on, to the deadline of what waits", function()
      local pub, b, conn = setup(nil, { transport_options = { max_retries = 0 } })
      assert.is_true(pub:publish "0")
      b:refuse_logins()
      b:drop()
      eventually("the end", function() return conn.state ~= "open" and conn.state ~= "retrying" end)
      local short, long = assert(pub:publish_async("1", { timeout = 1 })), assert(pub:publish_async "2")
      mr.testing.advance(2, 0.25)
      eventually("its end", function() return short.state ~= "waiting" end)
      assert.equal("timeout", short.state)
      b:refuse_logins(false)
      mr.testing.advance(6, 0.25)
      assert.is_true(long:wait(10))
      assert.same({ "0", "2" }, bodies(assert(conn:channel())))
   end)

   it("keeps its peace with the connection's own republishing", function()
      local pub, b, conn, ch = setup(nil, { republish = 1e6 })
      assert.is_true(pub:publish "0")
      b:silent()
      local t = assert(pub:publish_async "1")
      mr.sleep(0.02)
      offline(b, conn)
      b:silent(false)
      online(b, conn)
      assert.is_true(t:wait(10))
      assert.same({ "0", "1" }, bodies(ch))
   end)
end)

describe("a publisher's channel", function()
   after_each(clean)
   before_each(quiet)

   it("is opened again when a missing exchange cost it; that publish is lost, not repeated for ever", function()
      local pub, _, _, ch = setup()
      assert.is_true(pub:publish "0")
      local ok, err = pub:publish("x", { exchange = "missing" })
      assert.same({ nil, "lost" }, { ok, err.kind })
      assert.truthy(err.text:find "no exchange 'missing'")
      assert.is_true(pub:publish "1")
      assert.same({ "0", "1" }, bodies(ch))
   end)

   it("waits while the broker blocks, to the deadline of each publish: blocked_timeout", function()
      local pub, b, conn, ch = setup()
      assert.is_true(pub:publish "0")
      b:block()
      assert(ch:publish("", "nobody", "the broker tells those who publish"))
      eventually("the block", function() return conn.is_blocked end)
      local short = assert(pub:publish_async("short", { timeout = 1 }))
      local long = assert(pub:publish_async "long")
      assert.equal(2, pub:stats().in_line)
      mr.testing.advance(1.5)
      eventually("its end", function() return short.state ~= "waiting" end)
      assert.equal("timeout", short.state)
      assert.equal("blocked_timeout", select(2, short:wait()).kind)
      b:block(false)
      assert.is_true(long:wait(10))
      assert.same({ "0", "long" }, bodies(ch))
   end)

   it("waits while the broker is out of memory, and goes on when it is read empty", function()
      local pub, b, conn = setup()
      local ch = assert(embedded.connect { url = b.url }:channel()) -- a broker does not read from whom it blocks
      b:memory_limit(5000)
      for _ = 1, 20 do
         assert(pub:publish_async(("x"):rep(1000)))
         mr.sleep(0.002)
      end
      eventually("the block", function() return conn.is_blocked end)
      assert.is_true(pub:stats().in_line > 0)
      local got = 0
      eventually("all to come", function()
         got = got + #bodies(ch)
         return got == 20
      end)
      assert.is_true(pub:flush { timeout = 10 })
      assert.equal(20, pub:stats().acked)
   end)

   it("stays the same through a handover", function()
      local pub, _, conn, ch = setup()
      assert.is_true(pub:publish "0")
      assert.is_true(conn:handover())
      assert.is_true(pub:publish "1")
      assert.same({ "0", "1" }, bodies(ch))
   end)

   it("passes over what is too large for the broker", function()
      local pub = setup(nil, { max_message_size = 1000 })
      assert.is_true(pub:publish "0")
      assert.equal("content_too_large", select(2, pub:publish(("x"):rep(2000))).kind)
      assert.is_true(pub:publish "1")
      assert.equal(0, pub:stats().bytes)
      local first = setup(nil, { max_message_size = 1000 }) -- the same before its channel is open
      local ok, err = first:publish(("x"):rep(2000))
      assert.same({ nil, "lost" }, { ok, err.kind })
      assert.is_true(first:publish "1")
   end)
end)

describe("a publisher's buffer", function()
   after_each(clean)
   before_each(quiet)

   local function away(when_full, max_bytes)
      local pub, b, conn, ch = setup { buffer = { max_bytes = max_bytes or 10, when_full = when_full } }
      assert.is_true(pub:publish "0")
      offline(b, conn)
      return pub, b, conn, ch
   end

   it("that is full has publishes wait for room, in their order, to their deadline (block)", function()
      local pub, b, conn, ch = away "block"
      for i = 1, 2 do assert(pub:publish_async(("%d"):rep(5):format(i, i, i, i, i))) end
      local late = {}
      for i = 3, 5 do late[i] = background(pub.publish, pub, ("%d"):rep(5):format(i, i, i, i, i)) end
      local short = background(pub.publish, pub, "short", { timeout = 1 })
      local small = background(pub.publish, pub, "s")
      assert.equal(10, pub:stats().bytes)
      mr.testing.advance(1.5)
      eventually("its end", function() return short.done end)
      assert.equal("backpressure", short.err.kind)
      assert.is_nil(late[3].done)
      online(b, conn)
      eventually("all", function() return late[3].done and late[4].done and late[5].done and small.done end)
      assert.same({ "0", "11111", "22222", "33333", "44444", "55555", "s" }, bodies(ch))
      assert.same({ 1, 0 }, { pub:stats().refused, pub:stats().bytes })
   end)

   it("that is full drops the oldest (drop_oldest): lost, with the reason", function()
      local pub, b, conn, ch = away "drop_oldest"
      local first, second = assert(pub:publish_async "11111"), assert(pub:publish_async "22222")
      local third = assert(pub:publish_async "333")
      assert.same({ "lost", "waiting", "waiting" }, states { first, second, third })
      local err = select(2, first:wait())
      assert.same({ "backpressure", "the buffer was full: the oldest had to go" }, { err.kind, err.text })
      local last = assert(pub:publish_async "4444444")
      assert.same({ "lost", "waiting", "waiting" }, states { second, third, last })
      online(b, conn)
      assert.is_true(last:wait(10))
      assert.same({ "0", "333", "4444444" }, bodies(ch))
      assert.same({ 2, 2, 0 }, { pub:stats().dropped, pub:stats().lost, pub:stats().bytes })
   end)

   it("that is full refuses (error)", function()
      local pub, b, conn, ch = away "error"
      assert(pub:publish_async "1111111111")
      local t, err = pub:publish_async "2"
      assert.same({ nil, "backpressure" }, { t, err.kind })
      assert.truthy(err.text:find("holds 10 bytes of the 10", 1, true))
      online(b, conn)
      eventually("room", function() return pub:stats().bytes == 0 end)
      assert.is_true(pub:publish "3")
      assert.same({ "0", "1111111111", "3" }, bodies(ch))
   end)

   it("counts what is in flight, too; drop_oldest waits for that", function()
      local pub, b, _, ch = setup { buffer = { max_bytes = 10, when_full = "drop_oldest" } }
      assert.is_true(pub:publish "0")
      b:delay(0.05)
      local t = assert(pub:publish_async "1111111111")
      local next_one = background(pub.publish, pub, "2222222222")
      assert.is_nil(next_one.done)
      assert.is_true(t:wait(10))
      eventually("the next", function() return next_one.done end)
      assert.is_true(next_one.result)
      assert.equal(0, pub:stats().dropped)
      b:delay(0)
      assert.same({ "0", "1111111111", "2222222222" }, bodies(ch))
   end)

   it("never takes what is larger than all of it", function()
      for _, when in ipairs { "block", "drop_oldest", "error" } do
         local pub = setup { buffer = { max_bytes = 10, when_full = when } }
         assert.equal("content_too_large", select(2, pub:publish "12345678901").kind)
         assert.is_true(pub:publish "1234567890")
      end
   end)
end)

describe("a publisher's retry policy", function()
   after_each(clean)

   it("decides about each failure, and is told all of it (X7)", function()
      local seen = {}
      local pub = setup { retry = function(ctx)
         seen[#seen + 1] = { ctx.scope, ctx.attempt, ctx.err.kind, ctx.message.body, ctx.message.routing_key, ctx.elapsed >= 0 }
         return ctx.attempt < 3 and 0.01 or "stop"
      end }
      local ok, err = pub:publish("x", { routing_key = "nobody" })
      assert.same({ nil, "returned" }, { ok, err.kind })
      assert.same({ { "publish", 1, "returned", "x", "nobody", true }, { "publish", 2, "returned", "x", "nobody", true },
         { "publish", 3, "returned", "x", "nobody", true } }, seen)
      assert.same({ 2, 1 }, { pub:stats().retried, pub:stats().returned })
   end)

   it("may be one of the built-in ones, with a bound for the attempts (X7)", function()
      local pub, _, _, ch = setup { retry = mr.retry.fixed { delay = 0.01, attempts = 5 } }
      mr.after(0.02, function() ch:queue_declare { queue = "late" } end)
      assert.is_true(pub:publish("x", { routing_key = "late" }))
      assert.is_true(pub:stats().retried >= 1)
      assert.equal("returned", select(2, pub:publish("x", { routing_key = "never" })).kind)
   end)

   it("has the others go on meanwhile", function()
      local pub, _, _, ch = setup { retry = mr.retry.fixed { delay = 30, attempts = 2 } }
      local t = assert(pub:publish_async("x", { routing_key = "nobody" }))
      eventually("the wait", function() return pub:stats().aside == 1 end)
      assert.is_true(pub:publish "1")
      assert.same({ "1" }, bodies(ch))
      mr.testing.advance(30)
      eventually("its end", function() return t.state ~= "waiting" end)
      assert.equal("returned", t.state)
   end)

   it("does not lead beyond the deadline of a publish", function()
      local pub = setup { retry = mr.retry.fixed { delay = 30 }, timeout = 20 }
      assert.equal("returned", select(2, pub:publish("x", { routing_key = "nobody" })).kind)
   end)

   it("that throws, talks nonsense or hangs is reported, and the built-in one decides", function()
      quiet()
      for _, policy in ipairs { function() error "x" end, function() return "maybe" end, function() return -1 end } do
         local pub = setup { retry = policy }
         assert.equal("returned", select(2, pub:publish("x", { routing_key = "nobody" })).kind)
         assert(pub:close())
      end
      local pub = setup { retry = function() mr.sleep(1e6) end }
      local call = background(pub.publish, pub, "x", { routing_key = "nobody" })
      mr.testing.advance(2)
      eventually("its end", function() return call.done end)
      assert.equal("returned", call.err.kind)
   end)
end)

describe("the end of a publisher", function()
   after_each(clean)

   it("flushes: what is out has ended when close returns; nothing is taken from then on", function()
      local pub, b, _, ch = setup()
      local tickets = {}
      for i = 1, 20 do tickets[i] = assert(pub:publish_async(tostring(i))) end
      assert.is_true(pub:close())
      for i = 1, 20 do assert.equal("acked", tickets[i].state) end
      assert.equal(20, #bodies(ch))
      assert.equal("closed", select(2, pub:publish "x").kind)
      assert.is_true(pub:close())
      eventually("its channel", function() return b:report().connections[1].channels == 1 end)
   end)

   it("comes at its deadline, whatever is out: in line, in flight, aside", function()
      quiet()
      local pub, b, conn = setup { retry = mr.retry.fixed { delay = 50 }, buffer = { max_bytes = 30 } }
      assert.is_true(pub:publish "0")
      local aside = assert(pub:publish_async("aside", { routing_key = "nobody" }))
      eventually("the wait", function() return pub:stats().aside == 1 end)
      b:silent()
      local flying = assert(pub:publish_async "flying")
      local blocked = background(pub.publish, pub, ("x"):rep(25))
      local ok, err
      mr.after(0.1, function() b:drop() end)
      ok, err = pub:close { timeout = 0.05 }
      assert.same({ nil, "timeout", 2 }, { ok, err.kind, err.count })
      eventually("the end of all", function() return blocked.done and flying.state ~= "waiting" end)
      assert.same({ "lost", "lost", "closed" }, { aside.state, flying.state, blocked.err.kind })
      assert.same({ 0, 0, 0, 0 }, { pub:stats().in_line, pub:stats().in_flight, pub:stats().aside, pub:stats().bytes })
      b:silent(false)
      local other = mr.publisher { connection = conn, routing_key = "q" }
      eventually("the way", function() return conn.is_open end)
      offline(b, conn)
      local waiting = assert(other:publish_async "waiting")
      assert.is_nil((other:close { timeout = 0 }))
      assert.equal("lost", waiting.state)
   end)

   it("is told by flush: how many failed, and how the last one did", function()
      local pub = setup()
      assert.is_true(pub:flush())
      assert(pub:publish_async "1")
      assert(pub:publish_async("2", { routing_key = "nobody" }))
      local ok, err = pub:flush { timeout = 10 }
      assert.same({ nil, "returned", 1 }, { ok, err.kind, err.count })
      assert.is_true(pub:flush())
   end)

   it("is the program's, too: what is in line is counted as still to be sent", function()
      quiet()
      local pub, b, conn = setup()
      assert.is_true(pub:publish "0")
      offline(b, conn)
      assert(pub:publish_async "1")
      assert.equal("publisher to exchange \"\" (1 in line, 0 in flight)", tostring(pub))
      assert.equal(1, require("moonrabbit.program.shutdown").outstanding())
      online(b, conn)
      assert.is_true(pub:flush { timeout = 10 })
      assert.equal(0, require("moonrabbit.program.shutdown").outstanding())
   end)
end)

describe("a publisher's options", function()
   after_each(clean)

   it("are checked where they are given", function()
      local pub = setup()
      for text, fn in pairs {
         ['unknown option "confirms": did you mean "confirm"?'] = function() mr.publisher { confirms = true } end,
         ['unknown option "max_byte": did you mean "max_bytes"?'] = function() mr.publisher { buffer = { max_byte = 1 } } end,
         ['option "when_full" must be "block"'] = function() mr.publisher { buffer = { when_full = "wait" } } end,
         ['option "max_bytes" must be a whole number'] = function() mr.publisher { buffer = { max_bytes = 0 } } end,
         ['"timeout" must be a number of seconds'] = function() mr.publisher { timeout = -1 } end,
         ['unknown option "prioritty": did you mean "priority"?'] = function() pub:publish("x", { prioritty = 1 }) end,
         ['unknown option "appid": did you mean "app_id"?'] = function() mr.publisher { properties = { appid = "x" } } end,
         ['option "routing_key" must be a string, not a number'] = function() pub:publish("x", { routing_key = 7 }) end,
         ['argument 2 ("props") must be a table'] = function() pub:publish("x", "q") end,
         ["a body cannot be a function"] = function() pub:publish_async(print) end,
         ['a "routing_key" is missing'] = function() mr.publisher({ connection = pub.connection }):publish "x" end,
         ['"delay" and "expiration"'] = function() pub:publish("x", { routing_key = "q", delay = 1, expiration = "1" }) end,
         ['option "delay" must be a number'] = function() pub:publish("x", { routing_key = "q", delay = "1" }) end,
         ['"delay" must be a number of seconds, not negative'] = function() pub:publish("x", { routing_key = "q", delay = -1 }) end,
         ['option "connection" must be a connection'] = function() mr.publisher { connection = {} } end,
      } do
         local ok, why = pcall(fn)
         assert.is_false(ok, text)
         assert.truthy(why:find(text, 1, true) and why:find "^[^:]*publisher_spec%.lua:", why)
      end
      assert.equal("bad_argument", select(2, pub:publish("x", { routing_key = ("k"):rep(256) })).kind)
   end)

   it("do not stand in for mistakes with what is published later: a table that changes is not sent changed", function()
      quiet()
      local pub, b, conn, ch = setup()
      assert.is_true(pub:publish "0")
      offline(b, conn)
      local props = { message_id = "before" }
      assert(pub:publish_async("1", props))
      props.message_id = "after"
      online(b, conn)
      assert.is_true(pub:flush { timeout = 10 })
      ch:get("q", { no_ack = true })
      assert.equal("before", ch:get("q", { no_ack = true }).properties.message_id)
   end)
end)
