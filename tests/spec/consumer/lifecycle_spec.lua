--- consumer: the life of mr.consumer when it goes wrong at an awkward moment: while it starts, fails, is cancelled.
local mr = require "moonrabbit"
local subscription = require "moonrabbit.channel.subscription"
local embedded = require "embedded"
local errors = require "moonrabbit.base.errors"
local waits = require "waits"
local working = require "working"

local b, conn, ch -- the broker of the test, a connection, and a channel for looking and publishing

local function setup() b, conn, ch = working.setup() end
local clean = working.clean

local eventually = working.eventually

-- How often something is called from now on.
local function count_calls(of, name)
   local original, count = of[name], { n = 0 }
   of[name] = function(...)
      count.n = count.n + 1
      return original(...)
   end
   finally(function() of[name] = original end)
   return count
end

local function turns(n) for _ = 1, n do mr.sleep(0.001) end end

describe("a consumer that cannot start", function()
   before_each(setup)
   after_each(clean)

   it("fails for good, once, when the broker refuses it", function()
      local tries = count_calls(require "moonrabbit.consumer.setup", "run")
      local w = mr.consumer { queue = "q", connection = conn, arguments = { ["x-priority"] = "high" }, handler = function() end }
      local ok, err = w:wait(5)
      assert.same({ nil, "precondition_failed", "failed" }, { ok, err and err.kind, w.state })
      turns(50)
      assert.same({ 1, "failed" }, { tries.n, w.state })
   end)

   it("shows its channel only once it consumes, so that nobody else's 404 is taken for a refusal of its own", function()
      local seen, real = {}, require("moonrabbit.consumer.setup").run
      local w
      require("moonrabbit.consumer.setup").run = function(...)
         seen[#seen + 1] = w.channel == nil
         return real(...)
      end
      finally(function() require("moonrabbit.consumer.setup").run = real end)
      w = mr.consumer { queue = "q", connection = conn, handler = function() end }
      assert(w:wait(5))
      assert.truthy(w.channel)
      assert.same({ true }, seen)
      assert(w:cancel())
   end)

   it("tries again when its connection is lost meanwhile, whatever that connection's own tries", function()
      local own = embedded.connect { url = b.url, transport_options = { interval_start = 0.01, interval_max = 0.05 } }
      assert(own:connect())
      b:delay(0.05)
      local w = mr.consumer { queue = "q", connection = own, handler = function() end }
      turns(5) -- its channel is being opened
      b:drop()
      b:delay(0)
      assert.same({ true }, { w:wait(20) })
      assert(w:cancel())
   end)

   it("tries again at its policy's pace, not faster, when it had consumed before", function()
      local w = mr.consumer { queue = "q", connection = conn, handler = function() end }
      assert(w:wait(5))
      local tries = count_calls(require "moonrabbit.consumer.setup", "run")
      w.options.arguments = { ["x-priority"] = "high" } -- which is refused
      subscription.ended(w.inner, "failed", errors.new("stream_lost", "connection"))
      turns(100)
      assert.same({ 1, "recovering", "precondition_failed" }, { tries.n, w.state, w.err.kind })
      assert(w:cancel())
   end)
end)

-- A process that was killed and comes back, while the broker has not missed the connection of the first.
describe("a consumer whose predecessor the broker has yet to miss (FIELD-W12)", function()
   before_each(setup)
   after_each(clean)

   local CONSUME = { queue = "q", exclusive = true, handler = function() end }
   local DECLARE = { queue = { queue = "q", exclusive = true }, handler = function() end }

   local function hold(options)
      local dead = embedded.connect { url = b.url }
      local owner = assert(dead:channel())
      assert(owner:queue_declare { queue = "q", durable = not options.queue.exclusive, exclusive = options.queue.exclusive })
      if options.exclusive then assert(owner:consume("q", function() end, { exclusive = true })) end
      return dead
   end

   local function start(options)
      local all = { connection = conn }
      for k, v in pairs(options) do all[k] = v end
      return mr.consumer(all)
   end

   for kind, options in pairs { access_refused = CONSUME, resource_locked = DECLARE } do
      it("waits for it at its first start, too: " .. kind, function()
         local dead = hold(options)
         local w = start(options)
         eventually("a refusal", function() return w.err end)
         assert.same({ kind, "recovering" }, { w.err.kind, w.state })
         mr.testing.advance(20, 1)
         assert.equal("recovering", w.state)
         assert(dead:close())
         working.advance_until("consuming", function() return w.state == "consuming" end, 60)
         assert.equal("consuming", w.state)
      end)

      it("fails when that one is alive beyond the time that a dead one may be missed in: " .. kind, function()
         for heartbeat, seconds in pairs { [60] = 120, [300] = 600 } do
            local dead = hold(options)
            local own = embedded.connect { url = b.url, heartbeat = heartbeat }
            local w = mr.consumer { queue = options.queue, exclusive = options.exclusive, handler = options.handler,
               connection = own }
            eventually("a refusal", function() return w.err end)
            local since = mr.now()
            working.advance_until("its end", function() return w.state == "failed" end, seconds + 60)
            local took = mr.now() - since
            assert.is_true(took >= seconds - 1 and took < seconds + 40, took)
            assert.same({ kind, true }, { w.err.kind, w.err.hint:find("x-single-active-consumer", 1, true) ~= nil })
            assert(dead:close())
            own:close()
         end
      end)

      it("asks once when the program's policy says so: " .. kind, function()
         hold(options)
         local w = start { queue = options.queue, exclusive = options.exclusive, handler = options.handler,
            connection = embedded.connect { url = b.url, retry = mr.retry.never } }
         local ok, err = w:wait(5)
         assert.same({ nil, kind, "failed" }, { ok, err.kind, w.state })
      end)
   end
end)

describe("a consumer of a queue with a single active one (FIELD-W12)", function()
   before_each(setup)
   after_each(clean)

   local SINGLE = { queue = "q", durable = true, arguments = { ["x-single-active-consumer"] = true } }

   it("is not to be exclusive, as no broker takes it", function()
      local ok, why = pcall(mr.consumer, { connection = conn, queue = SINGLE, exclusive = true, handler = function() end })
      assert.is_false(ok)
      assert.truthy(why:find('option "exclusive": a queue with x-single-active-consumer has no exclusive consumers', 1, true))
   end)

   it("fails in the end where it is exclusive all the same", function()
      assert(assert(conn:channel()):queue_declare(SINGLE))
      local w = mr.consumer { connection = conn, queue = "q", declare = false, exclusive = true, handler = function() end }
      working.advance_until("its end", function() return w.state == "failed" end, 180)
      assert.equal("access_refused", w.err.kind)
   end)
end)

describe("a consumer that is cancelled while it starts", function()
   before_each(setup)
   after_each(clean)

   -- Cancelled, it has no consumer at the broker, then and later.
   local function stays_cancelled(w)
      eventually("its end", function() return w.state == "cancelled" end)
      mr.testing.advance(40, 5)
      assert.equal("cancelled", w.state)
      local q = b:queue "q"
      assert.equal(0, q and q.consumers or 0)
   end

   it("stays cancelled: at its connection", function()
      local w = mr.consumer { queue = "q", connection = embedded.connect { url = b.url }, handler = function() end }
      assert(w:cancel())
      stays_cancelled(w)
   end)

   local channel = require "moonrabbit.channel.channel"
   for where, of in pairs { ["at its declarations"] = { channel.methods, "qos" }, ["at consuming"] = { channel, "consume" } } do
      it("stays cancelled: " .. where, function()
         local methods, method = of[1], of[2]
         local original, w = methods[method], nil
         methods[method] = function(...)
            mr.after(0, function() w:cancel() end)
            return original(...)
         end
         finally(function() methods[method] = original end)
         w = mr.consumer { queue = "q", connection = conn, handler = function() end }
         stays_cancelled(w)
      end)
   end

   it("stays cancelled: when its broker has just said yes", function()
      local original, w = channel.consume, nil
      channel.consume = function(...)
         local inner, err = original(...)
         w:cancel()
         return inner, err
      end
      finally(function() channel.consume = original end)
      w = mr.consumer { queue = "q", connection = conn, handler = function() end }
      stays_cancelled(w)
   end)

   it("stays cancelled: while its policy thinks", function()
      local is_asked
      local late = embedded.connect { url = "amqp://127.0.0.1:1", connect_timeout = 1, retry = function()
         is_asked = true
         mr.sleep(0.5)
         return 0.1
      end }
      local w = mr.consumer { queue = "q", connection = late, handler = function() end }
      eventually("the question", function() return is_asked end)
      assert(w:cancel())
      stays_cancelled(w)
   end)
end)

describe("a consumer whose policy says stop", function()
   before_each(setup)
   after_each(clean)

   for what, strike in pairs {
      ["when its queue is deleted"] = function() assert(ch:queue_delete { queue = "q" }) end,
      ["when its channel is closed by the broker"] = function(w)
         w.channel:exchange_declare { exchange = "nowhere", passive = true }
      end,
      ["when its connection is lost"] = function() b:drop() end,
   } do
      it("fails for good " .. what, function()
         local w = mr.consumer { queue = "q", connection = embedded.connect { url = b.url, retry = mr.retry.never },
            handler = function() end }
         assert(w:wait(5))
         local tries = count_calls(require "moonrabbit.consumer.setup", "run")
         strike(w)
         eventually("the end", function() return w.state == "failed" end)
         mr.testing.advance(40, 5)
         assert.same({ "failed", 0 }, { w.state, tries.n })
      end)
   end
end)

describe("a consumer of a queue that the broker names", function()
   before_each(setup)
   after_each(clean)

   it("knows the name it has after a loss, too", function()
      local got
      local w = mr.consumer { queue = { exclusive = true }, connection = embedded.connect { url = b.url },
         handler = function(msg) got = msg.queue end }
      assert(w:wait(5))
      local name = w.queue
      waits.loss(w.channel.connection, function() b:drop() end)
      for _ = 1, 60 do
         if w.state == "consuming" then break end
         mr.testing.advance(0.5, 0.5)
      end
      eventually("the new name", function() return w.queue ~= name and b:queue(w.queue) end)
      assert(assert(embedded.connect { url = b.url }:channel()):publish("", w.queue, "x"))
      eventually("a message", function() return got == w.queue end)
   end)
end)
