--- When and how often a lost connection is tried again, and how the program ends that: retry styles, close, release and
-- cancel in every state (FAULTS T18, T37, T42; PEER-TESTS 4.2: 38, 42). The clock is moved, so the broker is embedded.
local mr = require "moonrabbit"
local broker = require "broker"
local build = require "build"
local descriptors = require "descriptors"
local recovering = require "recovering"

local within = require("waits").within

local open, story, through = recovering.open, recovering.story, recovering.through

local b -- the broker of the test

-- Tests move the clock: what they wait for has its time by the wall clock.
local function eventually(what, condition) within(what, 10, condition) end

local function delays(seen)
   local list = {}
   for _, ev in ipairs(seen) do
      if ev.type == "retrying" then list[#list + 1] = ev.delay end
   end
   return list
end

-- Moves the clock until condition() holds, at most so many seconds.
local function advance_until(condition, seconds)
   for _ = 1, seconds do
      if condition() then return end
      mr.testing.advance(1)
   end
   assert.truthy(condition(), "it did not happen in time")
end

-- conn:connect() with the clock moved as long as it takes; the events, its results and the time it took.
local function connect(options, seconds)
   local on_event, seen = recovering.recorder()
   options.on_event = on_event
   local conn = broker.connect(options)
   local result
   mr.spawn(function() result = { conn:connect() } end)
   local began = mr.now()
   advance_until(function() return result end, seconds or 60)
   return conn, seen, result, mr.now() - began
end

-- A port on which nobody listens.
local function dead_port()
   local gone = assert(mr.testing.broker { listen = "127.0.0.1:0" })
   local port = gone.port
   gone:close()
   return port
end

local function before()
   mr.log.configure "off"
   b = assert(mr.testing.broker {})
end

local function after()
   broker.close_all()
   b:close()
   mr.log.configure "warn"
end

if broker.kind ~= "memory" then return end

describe("transport_options", function()
   before_each(before)
   after_each(after)

   it("say how long to wait before each try, and after how many the last error is final (C1, C2, C3, C4)", function()
      local conn, seen, result, took = connect { url = "amqp://127.0.0.1:" .. dead_port(),
         transport_options = { max_retries = 3, interval_start = 0, interval_step = 2, interval_max = 30 } }
      assert.same({ 0, 2, 4 }, delays(seen))
      assert.equal("connecting retrying connecting retrying connecting retrying connecting gave_up", story(seen))
      assert.is_nil(result[1])
      assert.same({ "connection_refused", "connection_refused" }, { result[2].kind, seen.gave_up.err.kind })
      assert.same({ result[2].text, "lost" }, { seen.gave_up.err.text, conn.state })
      assert.equal(result[2].text, conn.last_error.text)
      assert.is_true(took >= 6 and took < 9, took)
      for i = 1, 3 do assert.equal("connection_refused", seen.retrying.err.kind, i) end
   end)

   it("have kombu's defaults, a bound, and none at all when max_retries is 0", function()
      local port = dead_port()
      local _, seen = connect { url = "amqp://127.0.0.1:" .. port,
         transport_options = { max_retries = 5, interval_start = 1, interval_step = 5, interval_max = 8 } }
      assert.same({ 1, 6, 8, 8, 8 }, delays(seen))
      _, seen = connect { url = "amqp://127.0.0.1:" .. port, transport_options = { max_retries = 2 } }
      assert.same({ 0, 2 }, delays(seen))
      local _, none, result = connect { url = "amqp://127.0.0.1:" .. port, transport_options = { max_retries = 0 } }
      assert.same({}, delays(none))
      assert.equal("connection_refused", result[2].kind)
   end)

   it("bound a recovery too: then the last error is everybody's (P0 42)", function()
      local ch, seen, conn = open { url = b.url,
         transport_options = { max_retries = 3, interval_start = 0, interval_step = 2, interval_max = 30 } }
      assert(ch:queue_declare { queue = "q" })
      local consumer = assert(ch:consume("q", function() end))
      local iterator, reader = assert(ch:messages "q")
      local waited, read
      b:refuse_logins()
      b:drop()
      eventually("the loss", function() return seen.lost end)
      mr.spawn(function() waited = { ch:publish("", "q", "x", { timeout = 100 }) } end)
      mr.spawn(function() read = { iterator() } end)
      advance_until(function() return seen.gave_up end, 20)
      assert.same({ 0, 2, 4 }, delays(seen))
      assert.same({ 1, 1 }, { seen.count.lost, seen.count.gave_up })
      assert.equal("authentication_failed", seen.gave_up.err.kind)
      eventually("those who wait", function() return waited and read end)
      assert.same({ "authentication_failed", "lost" }, { waited[2].kind, conn.state })
      for _, c in ipairs { consumer, reader } do assert.same({ "failed", "authentication_failed" }, { c.state, c.err.kind }) end
      assert.is_false(ch.is_open)
      b:refuse_logins(false)
      assert(conn:channel()) -- the same object begins anew
      assert.equal(2, conn.epoch)
      assert.equal(0, b:queue("q").consumers)
   end)
end)

describe("other ways to say when to retry", function()
   before_each(before)
   after_each(after)

   it("are pika's: connection_attempts, retry_delay apart, then the last error (N3, N4)", function()
      local _, seen, result, took = connect { url = "amqp://127.0.0.1:" .. dead_port(), connection_attempts = 3,
         retry_delay = 5 }
      assert.same({ 5, 5 }, delays(seen))
      assert.equal("connecting retrying connecting retrying connecting gave_up", story(seen))
      assert.equal("connection_refused", result[2].kind)
      assert.is_true(took >= 10 and took < 13, took)
   end)

   it("cannot be given together", function()
      local _, err = mr.try_connect { url = b.url, connection_attempts = 2, transport_options = { max_retries = 3 } }
      assert.equal("bad_option", err.kind)
      assert.truthy(err.text:find("choose one", 1, true), err.text)
   end)

   it("none: the first connect fails at once, a loss is retried for ever with a growing, random wait", function()
      local _, seen, result = connect { url = "amqp://127.0.0.1:" .. dead_port() }
      assert.same({}, delays(seen))
      assert.equal("connection_refused", result[2].kind)
      local listening = assert(mr.testing.broker { listen = "127.0.0.1:0" })
      local _, lost = open { url = listening.url, transport_options = false, connect_timeout = 3, socket_timeout = 3 }
      listening:silent()
      listening:drop()
      advance_until(function() return lost.count.retrying >= 12 end, 600)
      local bound, sum = 0.5, 0
      for i, delay in ipairs(delays(lost)) do
         assert.is_true(delay >= 0 and delay <= bound, i)
         bound = math.min(2 * bound, 30)
         sum = sum + delay
      end
      assert.is_true(sum > 5, sum)
      listening:silent(false)
      advance_until(function() return lost.recovered end, 200)
      listening:close()
   end)

   it("and with it refused logins wait at the cap, and are retried", function()
      local _, seen = open { url = b.url, transport_options = false }
      b:refuse_logins()
      b:drop()
      advance_until(function() return seen.count.retrying >= 6 end, 300)
      local list = delays(seen)
      for i = 2, 6 do assert.is_true(list[i] >= 15 and list[i] <= 30, list[i]) end
      assert.equal("authentication_failed", seen.retrying.err.kind)
      b:refuse_logins(false)
      advance_until(function() return seen.recovered end, 40)
   end)

   it("recover = false is none at all: lost is the end, and the program's to mend", function()
      local ch, seen, conn = open { url = b.url, recover = false }
      b:drop()
      eventually("the loss", function() return seen.lost end)
      mr.testing.advance(60)
      assert.is_nil(seen.lost.recovering)
      assert.same({ 0, 1, "lost", false }, { seen.count.retrying, conn.epoch, conn.state, ch.is_open })
   end)

   it("recover.topology = false brings channels and consumers back, but declares nothing", function()
      local ch, seen = open { url = b.url, recover = { topology = false } }
      assert(ch:exchange_declare { exchange = "x", auto_delete = true })
      assert(ch:queue_declare { queue = "q" })
      assert(ch:queue_declare { queue = "mine", exclusive = true })
      assert(ch:consume("q", function() end))
      assert.same({ 1, {} }, { through(seen, function() b:drop() end).entities, {} })
      assert.is_nil(b:queue "mine")
      assert.equal(1, b:queue("q").consumers)
   end)
end)

-- What each state is, made of a fresh connection; waits until it is there.
local slow = { interval_start = 600, interval_max = 600 }
local states = {
   connecting = function()
      b:silent()
      local on_event, seen = recovering.recorder()
      local conn = broker.connect { url = b.url, on_event = on_event, connect_timeout = 30 }
      mr.spawn(function() conn:connect() end)
      eventually("connecting", function() return seen.connecting end)
      return conn, seen
   end,
   retrying = function()
      local ch, seen, conn = open { url = b.url, transport_options = slow }
      local consumer = assert(ch:queue_declare { queue = "q" }) and assert(ch:consume("q", function() end))
      b:drop()
      eventually("retrying", function() return seen.retrying end)
      return conn, seen, ch, consumer
   end,
   reconnecting = function()
      local ch, seen, conn = open { url = b.url, transport_options = slow }
      local consumer = assert(ch:queue_declare { queue = "q" }) and assert(ch:consume("q", function() end))
      b:drop()
      eventually("retrying", function() return seen.retrying end)
      b:silent()
      mr.spawn(function() conn:connect() end)
      eventually("connecting", function() return seen.count.connecting == 2 end)
      return conn, seen, ch, consumer
   end,
   recovering = function()
      local ch, seen, conn = open { url = b.url }
      local consumer = assert(ch:queue_declare { queue = "q" }) and assert(ch:consume("q", function() end))
      for i = 1, 20 do assert(ch:queue_declare { queue = "q" .. i }) end
      b:delay(0.02)
      b:drop()
      eventually("connected", function() return seen.count.connected == 2 end)
      assert.is_nil(seen.recovered)
      return conn, seen, ch, consumer
   end,
   open = function()
      local ch, seen, conn = open { url = b.url }
      local consumer = assert(ch:queue_declare { queue = "q" }) and assert(ch:consume("q", function() end))
      return conn, seen, ch, consumer
   end,
}

local function nothing_left(conn)
   b:silent(false)
   b:delay(0)
   assert.truthy(conn.state == "closed" or conn.state == "lost", conn.state)
   eventually("the broker to be alone", function() return #b:report().connections == 0 end)
   mr.testing.advance(700)
   assert.equal(0, #b:report().connections) -- it does not come back
end

-- Within two seconds of the wall clock; only a broker that does not answer may take close_timeout.
local function in_time(fn)
   local began = mr.now()
   fn()
   assert.is_true(mr.now() - began < 2, mr.now() - began)
end

describe("in the state", function()
   before_each(before)
   after_each(after)

   for state, enter in pairs(states) do
      it(state .. ", close() ends everything in time (P0 38, T18)", function()
         local conn, seen, ch, consumer = enter()
         in_time(function() assert(conn:close()) end)
         nothing_left(conn)
         eventually("the word", function() return seen.closed end)
         if ch then
            assert.same({ false, "cancelled" }, { ch.is_open, consumer.state })
            assert.equal("closed", select(2, ch:publish("", "q", "x")).kind)
         end
         assert(conn:connect()) -- and it can be used again
         assert.is_true(conn.is_open)
      end)

      it(state .. ", release() ends everything in time (T18)", function()
         local conn, _, ch, consumer = enter()
         in_time(function() assert(conn:release()) end)
         nothing_left(conn)
         if ch then assert.same({ false, "cancelled" }, { ch.is_open, consumer.state }) end
      end)

      if state ~= "connecting" then
         it(state .. ", channel:close() and consumer:cancel() end in time and stay ended (T12, T18, T19)", function()
            local conn, seen, ch, consumer = enter()
            local other
            in_time(function() assert.is_true(consumer:cancel()) end)
            in_time(function() assert.is_true(ch:close()) end)
            assert.same({ "cancelled", false }, { consumer.state, ch.is_open })
            b:silent(false)
            b:delay(0)
            assert(conn:connect())
            local second, losses = assert(conn:channel()), seen.count.lost
            assert.equal(1, second.number)
            assert(second:queue_declare { queue = "q", passive = true })
            eventually("no consumer", function() return b:queue("q").consumers == 0 end)
            through(seen, function()
               b:drop()
               eventually("the loss", function() return seen.count.lost > losses end)
               other = conn:connect()
            end)
            assert.same({ conn, true, 0 }, { other, second.is_open, b:queue("q").consumers })
            assert.equal(1, b:report().connections[1].channels)
         end)
      end
   end

   for _, event in ipairs { "lost", "retrying", "connecting", "connected", "recovered" } do
      for _, what in ipairs { "close", "release", "channel" } do
         it(("%s, told by on_event, %s() called from there ends in time (T37)"):format(event, what), function()
            local ended, ch, conn
            local is_armed = false
            local seen
            ch, seen, conn = open { url = b.url, on_event = function(ev)
               if not is_armed or ev.type ~= event or ended then return end
               if what == "channel" then ended = { ch:close() }
               else ended = { ev.connection[what](ev.connection) } end
            end }
            assert(ch:queue_declare { queue = "q", auto_delete = true })
            assert(ch:consume("q", function() end))
            is_armed = true
            b:drop()
            eventually("the end", function() return ended end)
            assert.is_true(ended[1], tostring(ended[2]))
            if what ~= "channel" then return nothing_left(conn) end
            eventually("the recovery", function() return seen.recovered end)
            assert.same({ false, true }, { ch.is_open, conn.is_open })
            assert.equal(0, b:report().connections[1].channels)
         end)
      end
   end

   it("retrying, connect() tries at once", function()
      local conn, seen, ch, consumer = states.retrying()
      local began = mr.now()
      assert.equal(conn, conn:connect())
      assert.is_true(mr.now() - began < 2)
      assert.same({ 2, "consuming", true }, { conn.epoch, consumer.state, ch.is_open })
      eventually("the word", function() return seen.count.recovered == 1 end)
   end)

   it("retrying, connect() that fails says why, and the retries go on", function()
      local conn, seen = states.retrying()
      b:refuse_logins()
      local _, err = conn:connect()
      assert.same({ "authentication_failed", "retrying" }, { err.kind, conn.state })
      b:refuse_logins(false)
      advance_until(function() return seen.recovered end, 700)
   end)
end)

describe("200 recoveries", function()
   before_each(before)
   after_each(after)

   it("leave nothing behind: descriptors, deliveries, memory (T44)", function()
      local ch, seen, conn = open { url = b.url }
      local second = assert(conn:channel())
      assert(second:confirm_select())
      assert(ch:queue_declare { queue = "q", arguments = { ["x-max-length"] = 100 } })
      local named = assert(ch:queue_declare { exclusive = true }).queue
      assert(ch:queue_bind { queue = named, exchange = "amq.direct", routing_key = "k" })
      assert(ch:qos { prefetch_count = 10 })
      local handled = 0
      assert(ch:consume("q", function() handled = handled + 1 end))
      assert(ch:consume(named, function() end))
      local function memory()
         for n = #seen, 1, -1 do seen[n] = nil end
         collectgarbage()
         collectgarbage()
         local f = assert(io.open "/proc/self/statm")
         local _, pages = f:read("*n", "*n")
         f:close()
         return collectgarbage "count", pages * 4
      end
      local lua, resident, files
      for i = 1, 450 do -- pools are full after 250
         for n = 1, 20 do assert(second:publish_async("", "q", ("x"):rep(100) .. n)) end
         through(seen, function() b:drop() end)
         assert(second:publish("", "q", "confirmed"))
         if i == 250 then
            lua, resident = memory()
            files = descriptors.count()
         end
      end
      eventually("the handlers", function() return b:queue("q").messages_ready == 0 end)
      local lua_now, resident_now = memory()
      eventually("as many descriptors", function() return descriptors.count() <= files end)
      assert.is_true(lua_now - lua < 100, lua_now - lua) -- KiB
      if not build.is_sanitized then -- sanitizers keep what was freed
         assert.is_true(resident_now - resident < 2048, resident_now - resident)
      end
      eventually("all to be given back", function() return mr.stats().in_flight == 0 end)
      assert.same({ 1, 451, 0 }, { b:queue("q").consumers, conn.epoch, mr.stats().outbound })
      assert.is_true(handled > 200)
   end)
end)

describe("after retries", function()
   it("no connection is left at the broker", broker.none_left)
end)
