--- retry: policies, and a connection that asks one.
local mr = require "moonrabbit"
local errors = require "moonrabbit.base.errors"
local retry = mr.retry

local function delays(policy, count)
   local list = {}
   for n = 1, count do list[n] = policy { scope = "connect", attempt = n } end
   return list
end

describe("a retry policy", function()
   after_each(function() retry.set_random(nil) end)

   it("may be fixed", function()
      assert.same({ 2, 2, "stop", "stop" }, delays(retry.fixed { delay = 2, attempts = 3 }, 4))
      assert.same({ 5, 5 }, delays(retry.fixed(), 2))
   end)

   it("may be linear", function()
      assert.same({ 0, 2, 4, 5, 5 }, delays(retry.linear { max = 5 }, 5))
      assert.same({ 1, 1.5, "stop" }, delays(retry.linear { start = 1, step = 0.5, attempts = 3 }, 3))
   end)

   it("may be exponential, with jitter from a source that can be set", function()
      assert.same({ 0.5, 1, 2, 4, 5, 5 }, delays(retry.exponential { max = 5, jitter = false }, 6))
      retry.set_random(function() return 0.25 end)
      assert.same({ 0.125, 0.25, 0.5, "stop" }, delays(retry.exponential { attempts = 4 }, 4))
      retry.set_random(nil)
      for _, d in ipairs(delays(retry.exponential { first = 1, max = 3 }, 50)) do assert.is_true(d >= 0 and d <= 3) end
      assert.equal(30, retry.exponential { jitter = false } { attempt = 5000 })
   end)

   it("takes its jitter from its own source, and spreads messages only when asked to", function()
      local policy = retry.exponential { random = function() return 0.5 end }
      assert.equal(0.25, policy { scope = "connect", attempt = 1 })
      assert.equal(0.5, policy { scope = "message", attempt = 1 })
      assert.equal(0.25, retry.exponential { jitter = true, random = function() return 0.5 end } { scope = "message",
         attempt = 1 })
   end)

   it("stops when its total time is over", function()
      for _, policy in ipairs { retry.fixed { total = 60 }, retry.linear { total = 60 }, retry.exponential { total = 60 } } do
         assert.is_number(policy { scope = "connect", attempt = 9, elapsed = 59.9 })
         assert.equal("stop", policy { scope = "connect", attempt = 9, elapsed = 60 })
      end
   end)

   it("may be none, or depend on the kind of error", function()
      assert.equal("stop", retry.never {})
      local policy = retry.by_kind { authentication_failed = retry.never, default = retry.fixed { delay = 1 } }
      assert.equal("stop", policy { attempt = 1, err = errors.new("authentication_failed", "connection") })
      assert.equal(1, policy { attempt = 1, err = errors.new("stream_lost", "connection") })
   end)

   it("is refused with options that make no sense", function()
      assert.has_error(function() retry.fixed { dely = 1 } end)
      assert.has_error(function() retry.fixed { attempts = 0 } end)
      assert.has_error(function() retry.fixed { delay = 0 / 0 } end)
      assert.has_error(function() retry.fixed { delay = math.huge } end, 'option "delay" must be finite')
      assert.equal("stop", retry.exponential { max = math.huge, total = math.huge, attempts = 3 } { attempt = 3 })
      assert.has_error(function() retry.linear { start = -1 } end, 'option "start" must not be negative')
      assert.has_error(function() retry.exponential { factor = 0.5 } end, 'option "factor" must be 1 or more')
      assert.has_error(function() retry.by_kind { default = 3 } end, 'the policy of "default" must be a function')
   end)

   it("that gives no answer is told from one that does", function()
      assert.equal(3, retry.ask(function() return 3 end, {}))
      assert.equal("next_host", retry.ask(function() return "next_host" end, {}))
      for _, bad in ipairs { function() return -1 end, function() return "soon" end, function() return 0 / 0 end,
         function() end, function() error "boom" end } do
         local verdict, why = retry.ask(bad, {})
         assert.is_nil(verdict)
         assert.is_string(why)
      end
   end)

   it("has words for its scope only", function()
      local words = { connect = "next_host", message = "requeue dead_letter drop", channel = "", topology = "", publish = "" }
      for scope, own in pairs(words) do
         assert.equal("stop", retry.ask(retry.never, { scope = scope }))
         for word in ("next_host requeue dead_letter drop"):gmatch "%S+" do
            local verdict = retry.ask(function() return word end, { scope = scope })
            assert.equal(own:find(word, 1, true) and word or nil, verdict)
         end
      end
   end)

   it("that throws, talks nonsense or hangs leaves the decision to the built-in one", function()
      mr.log.configure "off"
      for _, policy in ipairs { function() error "boom" end, function() return "soon" end,
         function() mr.sleep(3600) end } do
         local verdict
         mr.spawn(function() verdict = retry.decide(policy, { scope = "message", attempt = 1 }, retry.fixed { delay = 7 }) end)
         for _ = 1, 20 do
            if verdict then break end
            mr.testing.advance(0.1, 0.1)
         end
         assert.equal(7, verdict)
      end
      mr.log.configure "error"
   end)

   it("that gives no answer is reported, with its scope and what was wrong", function()
      local log, lines = require "moonrabbit.loop.log", {}
      local original = log.error
      log.error = function(text, fields) lines[#lines + 1] = { text, fields } end
      finally(function() log.error = original end)
      assert.equal("stop", retry.decide(function() return "soon" end, { scope = "publish", attempt = 3 }, retry.never))
      assert.same({ { "the retry policy gave no answer; the built-in one decides", { scope = "publish", attempt = 3,
         error = 'it gave "soon"' } } }, lines)
   end)

   it("may wait for its answer, shortly", function()
      local verdict
      mr.spawn(function()
         verdict = retry.decide(function()
            mr.sleep(0.2)
            return 3
         end, { scope = "publish", attempt = 1 }, retry.never)
      end)
      mr.testing.advance(0.5, 0.1)
      assert.equal(3, verdict)
   end)
end)

describe("a connection with a policy of the program's", function()
   local opened = {}

   after_each(function()
      for i = #opened, 1, -1 do opened[i]:close() end
      opened = {}
      mr.log.configure "error"
   end)

   local function setup(policy, more)
      local b = assert(mr.testing.broker())
      local events = {}
      local all = { url = b.url, retry = policy, on_event = function(ev) events[#events + 1] = ev end }
      for k, v in pairs(more or {}) do all[k] = v end
      local conn = mr.connect(all)
      opened = { b, { close = function() conn:release() end } }
      assert(conn:connect())
      mr.log.configure "off"
      return b, conn, events
   end

   local function eventually(what, condition)
      local deadline = os.time() + 10
      while not condition() do
         if os.time() > deadline then error("in vain waited for: " .. what, 2) end
         mr.sleep(0.002)
      end
   end

   it("asks it with what it should know, and does as it says", function()
      local seen = {}
      local b, conn = setup(function(ctx)
         seen[#seen + 1] = { ctx.scope, ctx.attempt, ctx.err.kind }
         return 0.01
      end)
      b:refuse_logins()
      b:drop()
      eventually("three tries", function() return #seen >= 3 end)
      b:refuse_logins(false)
      eventually("the recovery", function() return conn.is_open and conn.epoch == 2 end)
      assert.same({ "connect", 1, "stream_lost" }, seen[1])
      assert.same({ "connect", 2, "authentication_failed" }, seen[2])
   end)

   it("gives up when it says stop, with the last error", function()
      local b, conn, events = setup(retry.exponential { first = 0.01, attempts = 3 })
      b:refuse_logins()
      b:drop()
      eventually("the end", function() return #events > 0 and events[#events].type == "gave_up" end)
      assert.equal("authentication_failed", events[#events].err.kind)
      assert.equal("lost", conn.state)
   end)

   it("goes on by the built-in one when it throws, talks nonsense or hangs", function()
      for _, policy in ipairs { function() error "boom" end, function() return {} end,
         function() mr.sleep(3600) return 1 end } do
         local b, conn = setup(policy)
         b:drop()
         eventually("the recovery", function()
            mr.testing.advance(0.2, 0.1)
            return conn.epoch == 2
         end)
         conn:release()
         b:close()
      end
   end)

   -- A channel with a consumer, on a connection whose policy is asked; what it was asked.
   local function consuming(verdict)
      local asked = {}
      local b, conn, events = setup(function(ctx)
         asked[#asked + 1] = ctx
         return verdict(ctx)
      end)
      local ch = assert(conn:channel())
      assert(ch:queue_declare { queue = "q" })
      return asked, b, conn, assert(ch:consume("q", function() end)), events
   end

   it("asks it when a channel that the broker closed is to be brought back", function()
      local asked, _, conn, consumer, events = consuming(function() return 20 end)
      local ch = consumer.channel
      local ok, err = ch:exchange_declare { exchange = "nowhere", passive = true }
      assert.same({ nil, "not_found" }, { ok, err.kind })
      eventually("the question", function() return asked[1] end)
      assert.same({ "channel", 1, "not_found" }, { asked[1].scope, asked[1].attempt, asked[1].err.kind })
      mr.testing.advance(19)
      assert.equal("recovering", consumer.state)
      mr.testing.advance(1.5, 0.5)
      eventually("the channel", function() return consumer.state == "consuming" end)
      assert.same({ 1, 1 }, { #asked, conn.epoch })
      for _, ev in ipairs(events) do
         if ev.type == "repairing" then assert.same({ 1, 20, "not_found" }, { ev.attempt, ev.delay, ev.err.kind }) end
      end
   end)

   it("gives such a channel up when it says stop, with the broker's reason", function()
      local _, _, conn, consumer = consuming(retry.never)
      local ch = consumer.channel
      ch:exchange_declare { exchange = "nowhere", passive = true }
      eventually("the end", function() return consumer.state == "failed" end)
      assert.same({ "not_found", "not_found", false, true }, { consumer.err.kind, ch.last_error.kind, ch.is_open,
         conn.is_open })
   end)

   it("asks it when a consumer that the broker cancelled is to be brought back", function()
      local asked, _, conn, consumer = consuming(function(ctx) return ctx.attempt * 10 end)
      local admin = assert(conn:clone { retry = nil }:connect())
      opened[#opened + 1] = { close = function() admin:release() end }
      local ch = assert(admin:channel())
      assert(ch:queue_delete { queue = "q" })
      eventually("the question", function() return asked[1] end)
      assert.same({ "topology", 1, "cancelled" }, { asked[1].scope, asked[1].attempt, asked[1].err.kind })
      mr.testing.advance(10.5, 0.5)
      eventually("the next question", function() return asked[2] end)
      assert.same({ "topology", 2, "not_found" }, { asked[2].scope, asked[2].attempt, asked[2].err.kind })
      assert.is_true(asked[2].elapsed >= 10)
      assert(ch:queue_declare { queue = "q" })
      mr.testing.advance(20.5, 0.5)
      eventually("the consumer", function() return consumer.state == "consuming" end)
   end)

   it("gives such a consumer up when it says stop", function()
      local _, _, conn, consumer = consuming(retry.never)
      local admin = assert(conn:clone():connect())
      opened[#opened + 1] = { close = function() admin:release() end }
      assert(assert(admin:channel()):queue_delete { queue = "q" })
      eventually("the end", function() return consumer.state == "failed" end)
      assert.same({ "cancelled", true }, { consumer.err.kind, consumer.channel.is_open })
   end)

   it("brings channels back by the built-in one when it throws", function()
      local _, _, _, consumer = consuming(function() error "boom" end)
      consumer.channel:exchange_declare { exchange = "nowhere", passive = true }
      eventually("the return", function()
         mr.testing.advance(0.5, 0.5)
         return consumer.state == "consuming"
      end)
   end)

   it("has one way to say when", function()
      local conn, err = mr.try_connect { url = "memory://", retry = retry.fixed(), retry_delay = 3 }
      assert.is_nil(conn)
      assert.equal("bad_option", err.kind)
   end)
end)
