--- kombu and ensure: what kombu's users know of a connection. CONTRACT Q13 to Q40 (simple queues: simple_queue_spec), T1, T2.
-- Covers: lua/moonrabbit/connection/ensure.lua by max_retries
local mr = require "moonrabbit"
local embedded = require "embedded"
local ensure = require "moonrabbit.connection.ensure"
local errors = require "moonrabbit.base.errors"
local loop = require "moonrabbit.loop.loop"

local broker, clean = embedded.broker, embedded.close_all

local function connect(options)
   local all = {}
   for k, v in pairs(options or {}) do all[k] = v end
   all.url = all.url or broker().url
   return embedded.connect(all)
end

describe("the arithmetic of retries (T1)", function()
   local function intervals(start, step, max, count)
      local list, sleep = {}, loop.sleep
      loop.sleep = function(seconds) assert.equal(list[#list], seconds) end
      local opts = ensure.options({ max_retries = count, interval_start = start, interval_step = step, interval_max = max,
         errback = function(_, seconds) list[#list + 1] = seconds end }, {})
      local ok, why = pcall(ensure.run, opts, function() return nil, errors.new("stream_lost", "connection") end)
      loop.sleep = sleep
      assert(ok, why)
      return list
   end

   it("is min(start + n * step, max)", function()
      assert.same({ 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 30 }, intervals(0, 2, 30, 17))
      assert.same({ 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 30 }, intervals(2, 2, 30, 16))
      assert.same({ 1, 1, 1 }, intervals(1, 1, 1, 3))
   end)

   local function failing(times, scope)
      local calls = 0
      return function()
         calls = calls + 1
         if calls > times then return "done", calls end
         return nil, errors.new("stream_lost", scope or "connection", "failure " .. calls)
      end, function() return calls end
   end

   local NOW = { interval_start = 0, interval_step = 0, interval_max = 0 }

   it("counts: 0 is one attempt, n is n + 1, and the last error comes out unchanged (T2, PEER 89, 90)", function()
      for _, case in ipairs { { 0, 1 }, { 1, 2 }, { 3, 4 } } do
         for _, scope in ipairs { "connection", "channel" } do
            local attempt, calls = failing(100, scope)
            local opts = ensure.options({ max_retries = case[1] }, NOW)
            local ok, err = ensure.run(opts, attempt)
            assert.is_nil(ok)
            assert.equal("failure " .. case[2], err.text)
            assert.equal(case[2], calls())
         end
      end
      local attempt = failing(11)
      assert.same({ "done", 12 }, { ensure.run(ensure.options({}, NOW), attempt) })
   end)

   it("tries no error again that is none of a connection or a channel", function()
      local calls = 0
      local ok, err = ensure.run(ensure.options({}, NOW), function()
         calls = calls + 1
         return nil, "no error of ours"
      end)
      assert.same({ nil, "no error of ours", 1 }, { ok, err, calls })
      assert.has_error(function() ensure.run(ensure.options({}, NOW), function() error("raised", 0) end) end, "raised")
   end)

   it("tells errback of each failure that is followed by another try, with the pause (C5, Q33)", function()
      local seen = {}
      local opts = ensure.options({ max_retries = 3, errback = function(err, interval)
         seen[#seen + 1] = { err.text, interval }
      end }, { interval_start = 0, interval_step = 0.001, interval_max = 0.0015 })
      ensure.run(opts, (failing(100)))
      assert.same({ { "failure 1", 0 }, { "failure 2", 0.001 }, { "failure 3", 0.0015 } }, seen)
   end)

   it("ends with its timeout (C5)", function()
      local opts = ensure.options({ timeout = 0.05 }, { interval_start = 0.02, interval_step = 0, interval_max = 1 })
      local attempt, calls = failing(100)
      assert.is_nil((ensure.run(opts, attempt)))
      assert.is_true(calls() >= 2 and calls() <= 3, calls())
   end)
end)

describe("a connection", function()
   after_each(clean)

   it("is ensured, however many tries it takes (Q35, M7)", function()
      local b = broker()
      local conn, tries = connect { url = b.url }, 0
      b:refuse_logins()
      mr.log.configure "off"
      finally(function() mr.log.configure "error" end)
      assert.equal(conn, conn:ensure_connection { interval_start = 0.01, errback = function()
         tries = tries + 1
         if tries == 2 then b:refuse_logins(false) end
      end, interval_step = 0 })
      assert.equal(2, tries)
      b:refuse_logins()
      local other = connect { url = b.url }
      local ok, err = other:ensure_connection { max_retries = 1, interval_start = 0, interval_step = 0 }
      assert.is_nil(ok)
      assert.equal("authentication_failed", err.kind)
   end)

   it("makes a function that survives a loss (Q32, Q34)", function()
      local b = broker()
      local conn = connect { url = b.url, recover = false }
      local declare = conn:ensure(function(name)
         local ch, err = conn:default_channel()
         if not ch then return nil, err end
         return ch:queue_declare { queue = name }
      end, { interval_start = 0.01, interval_step = 0, interval_max = 1, max_retries = 20 })
      assert.equal("one", assert(declare "one").queue)
      mr.log.configure "off"
      finally(function() mr.log.configure "error" end)
      b:drop()
      assert.equal("two", assert(declare "two").queue)
      assert.equal(2, conn.epoch)
   end)

   it("is its own pool, and has copies (Q23, Q26)", function()
      local conn = connect { name = "one", heartbeat = 7 }
      assert.equal(conn, conn:acquire())
      local copy = conn:clone { name = "two" }
      embedded.keep { close = function() copy:release() end }
      assert.equal("two", copy:info().name)
      assert.equal(7, copy:info().heartbeat)
      assert.equal("one", conn:info().name)
      assert.equal("idle", copy.state)
   end)

   it("drains one event at a time, or says that none came (Q31)", function()
      local conn = connect()
      local ch, got = assert(conn:channel()), 0
      local q = assert(ch:queue_declare { exclusive = true }).queue
      assert(ch:consume(q, function() got = got + 1 end, { no_ack = true }))
      mr.sleep(0)
      local _, err = conn:drain_events { timeout = 0.02 }
      assert.equal("timeout", err.kind)
      for _ = 1, 3 do assert(ch:publish("", q, "x")) end
      for i = 1, 3 do
         assert.is_true(conn:drain_events { timeout = 5 })
         assert.equal(i, got)
      end
   end)

   it("lists what its errors are (Q25, Q29)", function()
      for _, list in ipairs { connect().connection_errors, connect().channel_errors } do
         assert.is_true(#list > 5)
         for _, kind in ipairs(list) do assert.is_number(errors.numbers[kind], kind) end
      end
   end)

   it("keeps one channel for whatever needs one (M5)", function()
      local conn = connect()
      local ch = assert(conn:default_channel())
      assert.equal(ch, conn:default_channel())
      assert.is_nil((ch:queue_declare { queue = "missing", passive = true }))
      assert.is_true(assert(conn:default_channel()).is_open)
   end)
end)
