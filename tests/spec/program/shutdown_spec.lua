--- shutdown: an orderly stop of a host that polls, and of mr.run: what ends, what is said of it, and how it begins anew.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local loop = require "moonrabbit.loop.loop"
local mr = require "moonrabbit"

ffi.cdef [[
struct stop_pollfd { int fd; short events, revents; };
int stop_poll(struct stop_pollfd *fds, unsigned long count, int milliseconds) __asm__("poll");
]]

local function is_readable(fd, milliseconds)
   return ffi.C.stop_poll(ffi.new("struct stop_pollfd[1]", { { fd, 1, 0 } }), 1, milliseconds) == 1
end

local longest -- seconds of a poll

-- A host that sleeps on the descriptor: until condition().
local function poll_until(condition)
   while not condition() do
      assert(is_readable(mr.fd(), 10000), "nothing comes any more")
      local from = mr.now()
      mr.poll()
      longest = math.max(longest, mr.now() - from)
   end
end

describe("a stop of a host that polls", function()
   local broker

   before_each(function()
      longest = 0
      broker = assert(mr.testing.broker())
   end)

   after_each(function()
      loop.close(1)
      broker:close()
      loop.close(1)
   end)

   it("lets handlers finish and publishes be confirmed, closes all, and is silent then (D9)", function()
      local conn, events = mr.connect(broker.url), {}
      local function note(what) events[#events + 1] = what end
      local ch = assert(conn:channel())
      assert(ch:queue_declare { queue = "out" })
      local worker = mr.consumer { queue = "in", connection = conn, handler = function()
         note "begun"
         mr.sleep(0.05)
         note "ended"
      end }
      assert(worker:wait(10))
      local publisher = mr.publisher { connection = conn, routing_key = "out" }
      for _ = 1, 2 do assert(ch:publish("", "in", "x")) end
      poll_until(function() return #events == 2 end)
      mr.on_stop(function()
         note "on_stop"
         assert(publisher:publish "last")
      end)
      for _ = 1, 50 do assert(publisher:publish_async "x") end
      mr.stop()
      mr.stop()
      assert.is_false((mr.is_stopped()))
      poll_until(mr.is_stopped)
      assert.same({ true, { handlers = 0, publishes = 0 } }, { mr.is_stopped() })
      assert.same({ "begun", "begun", "ended", "ended", "on_stop" }, events)
      assert.same({ 0, 0, 51 }, { broker:queue("in").messages_ready, broker:queue("in").messages_unacknowledged,
         broker:queue("out").messages_ready })
      assert.same({}, broker:report().connections)
      assert.is_true(longest < 0.5, longest .. " s in a poll")
      assert.is_false(is_readable(mr.fd(), 100))
      assert.is_false(mr.poll(0.001))
      mr.log.debug "after the stop"
      assert.is_number(mr.stats().published)
      mr.stop()
      assert.is_true((mr.is_stopped()))
   end)

   it("begins anew with the next thing, as often as wanted: a game that restarts (D9)", function()
      for round = 1, 3 do
         local got
         local ch = assert(mr.connect(broker.url):channel())
         assert(ch:queue_declare { queue = "q" })
         assert.is_false((mr.is_stopped()))
         assert(ch:consume("q", function(msg) got = msg.body end))
         assert(ch:publish("", "q", "round " .. round))
         poll_until(function() return got end)
         assert.equal("round " .. round, got)
         mr.stop()
         poll_until(mr.is_stopped)
         assert.same({}, broker:report().connections)
      end
      local firsts = {
         function(fn) mr.after(0.001, fn) end,
         function(fn) mr.spawn(function() mr.sleep(0.001) fn() end) end,
      }
      for _, first in ipairs(firsts) do
         local has_come = false
         first(function() has_come = true end)
         poll_until(function() return has_come end)
         mr.stop()
         poll_until(mr.is_stopped)
      end
   end)

   it("says what it had to abandon, after its drain (D9)", function()
      local ch = assert(mr.connect(broker.url):channel())
      assert(ch:queue_declare { queue = "q" })
      local is_begun
      assert(ch:consume("q", function()
         is_begun = true
         mr.sleep(60)
      end))
      assert(ch:publish("", "q", "x"))
      poll_until(function() return is_begun end)
      local told
      local publisher = mr.publisher { connection = mr.connect "amqp://127.0.0.1:1", routing_key = "never",
         on_failed = function(err, message) told = err.kind .. " " .. message.body end }
      assert(publisher:publish_async "cannot go out")
      local from = mr.now()
      mr.stop { drain = 0.2 }
      poll_until(mr.is_stopped)
      assert.is_true(mr.now() - from < 5)
      assert.same({ true, { handlers = 1, publishes = 1 } }, { mr.is_stopped() })
      assert.equal("lost cannot go out", told)
      assert.is_true(longest < 0.5, longest .. " s in a poll")
      assert.equal(1, broker:queue("q").messages_ready)
      assert.is_false(mr.run()) -- says the same, and ends it for good
      assert.is_false((mr.is_stopped()))
   end)

   it("needs nothing to be there, may be begun in a handler, and be ended by mr.run (D9)", function()
      mr.stop()
      poll_until(mr.is_stopped)
      assert.is_true(mr.run())
      mr.after(0.001, function() mr.stop { drain = 5 } end)
      local polls = 0
      mr.on_stop(function() mr.sleep(0.02) polls = polls + 1 end)
      mr.fd()
      for _ = 1, 5 do
         is_readable(mr.fd(), 10)
         mr.poll()
      end
      assert.is_true(mr.run { drain = 5 })
      assert.equal(1, polls)
   end)

   it("ends the waits of the host's coroutines that are left (D9)", function()
      local posted
      mr.host { waiter = function()
         return { wait = function() while not posted do coroutine.yield() end end, post = function() posted = true end }
      end }
      finally(function() mr.host { waiter = false } end)
      local result
      local co = coroutine.create(function() result = { pcall(function() return mr.event():wait() end) } end)
      assert(coroutine.resume(co))
      mr.stop()
      poll_until(mr.is_stopped)
      assert.is_true(posted)
      assert(coroutine.resume(co))
      assert.is_truthy(tostring(result[2]):find "the runtime was closed while this waited")
   end)

   it("may be a handler itself: a message is no options", function()
      local ch = assert(mr.connect(broker.url):channel())
      assert(ch:queue_declare { queue = "q" })
      assert(ch:consume("q", mr.stop))
      assert(ch:publish("", "q", "x"))
      poll_until(mr.is_stopped)
      assert.same({ 0, 0 }, { broker:queue("q").messages_ready, broker:queue("q").messages_unacknowledged })
   end)

   it("refuses wrong options", function()
      assert.error_matches(function() mr.stop { drain = "x" } end, 'option "drain"')
      assert.error_matches(function() mr.stop { drains = 1 } end, "drains")
   end)
end)

describe("what mr.run says of publishes that were lost", function()
   local broker, conn, ch

   before_each(function()
      broker = assert(mr.testing.broker())
      conn = mr.connect { url = broker.url, retry = mr.retry.never }
      ch = assert(conn:channel())
      assert(ch:queue_declare { queue = "q" })
      assert(ch:confirm_select())
   end)

   after_each(function()
      loop.close(1)
      broker:close()
      loop.close(1)
   end)

   local function lose()
      broker:drop()
      while conn.is_open do mr.sleep(0.005) end
   end

   -- Each: the way to lose a publish; does the program hear of it before the end?
   local ways = {
      ["a ticket that nobody asks, lost before the stop"] = { false, function()
         broker:silent(true)
         assert(ch:publish_async("", "q", "x"))
         lose()
      end },
      ["a ticket that ended by its timeout before the stop"] = { false, function()
         broker:silent(true)
         local ticket = assert(ch:publish_async("", "q", "x", { timeout = 0.05 }))
         while ticket.state == "waiting" do mr.sleep(0.01) end
         broker:silent(false)
      end },
      ["a publisher's, lost before the stop"] = { false, function()
         local publisher = mr.publisher { connection = mr.connect "amqp://127.0.0.1:1", routing_key = "q", timeout = 0.05 }
         local ticket = assert(publisher:publish_async "x")
         while ticket.state == "waiting" do mr.sleep(0.01) end
      end },
      ["nacked by a full queue before the stop"] = { false, function()
         assert(ch:queue_declare { queue = "full", arguments = { ["x-max-length"] = 0, ["x-overflow"] = "reject-publish" } })
         local ticket = assert(ch:publish_async("", "full", "x"))
         while ticket.state == "waiting" do mr.sleep(0.01) end
         assert(ticket.state == "nacked")
      end },
      ["a ticket that is asked"] = { true, function()
         broker:silent(true)
         local ticket = assert(ch:publish_async("", "q", "x"))
         lose()
         assert(select(2, ticket:wait()).kind == "lost")
         assert(select(2, ticket:wait()).kind == "lost")
      end },
      ["a ticket that is asked with its channel"] = { true, function()
         broker:silent(true)
         local ticket = assert(ch:publish_async("", "q", "x"))
         lose()
         assert(ch:wait_for_confirms() == nil)
         assert(ticket:wait() == nil)
      end },
      ["a publisher's that is flushed, or told to on_failed"] = { true, function()
         for _, on_failed in ipairs { print, false } do
            local publisher = mr.publisher { connection = mr.connect "amqp://127.0.0.1:1", routing_key = "q", timeout = 0.05,
               on_failed = on_failed and function() end or nil }
            assert(publisher:publish_async "x")
            assert(publisher:flush() == nil)
         end
      end },
      ["a publish that waits for its answer"] = { true, function()
         broker:silent(true)
         mr.after(0.01, function() broker:drop() end)
         assert(ch:publish("", "q", "x") == nil)
      end },
   }
   for name, way in pairs(ways) do
      it(("is %s: %s (D9)"):format(way[1], name), function()
         way[2]()
         assert.equal(way[1], mr.run())
      end)
   end

   it("is false once, not again with the next runtime (D9)", function()
      ways["a ticket that nobody asks, lost before the stop"][2]()
      assert.is_false(mr.run())
      assert.is_true(mr.run())
      broker:silent(false)
      assert(mr.connect(broker.url):connect())
      assert.is_true(mr.run())
   end)
end)
