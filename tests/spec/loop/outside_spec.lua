--- What is made outside of a poll, while the host sleeps in its own loop, happens without waiting for another event.
-- Feature: hosts that sleep until mr.fd() is readable
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local loop = require "moonrabbit.loop.loop"
local mr = require "moonrabbit"

ffi.cdef [[
struct outside_pollfd { int fd; short events, revents; };
int outside_poll(struct outside_pollfd *fds, unsigned long count, int milliseconds) __asm__("poll");
]]

local function is_readable(milliseconds)
   return ffi.C.outside_poll(ffi.new("struct outside_pollfd[1]", { { mr.fd(), 1, 0 } }), 1, milliseconds) == 1
end

-- Polls until nothing comes any more: then no other event brings what is made after it.
local function settle()
   while is_readable(150) do mr.poll() end
end

-- What happens only if a poll finds it: after each poll the host sleeps until the descriptor is readable.
local function poll_until(condition)
   while not condition() do
      assert(is_readable(10000), "the host sleeps, and nothing wakes it")
      mr.poll()
   end
end

describe("made outside of a poll", function()
   local broker, conn, ch, queue

   before_each(function()
      broker = assert(mr.testing.broker())
      conn = mr.connect { url = broker.url, heartbeat = 0 }
      ch = assert(conn:channel())
      queue = assert(ch:queue_declare { queue = "q" }).queue
      assert(ch:confirm_select())
   end)

   after_each(function()
      loop.close(1)
      broker:close()
      loop.close(1)
   end)

   -- Each prepares, and returns what is done while the host sleeps, and what is to be seen then.
   local ways = {
      ["a timer"] = function()
         local fired
         return function() mr.after(0.02, function() fired = true end) end, function() return fired end
      end,
      ["an earlier timer than that which is waited for"] = function()
         local fired
         mr.after(60, function() end)
         return function() mr.after(0.02, function() fired = true end) end, function() return fired end
      end,
      ["a timer that repeats"] = function()
         local rounds = 0
         return function() mr.every(0.01, function() rounds = rounds + 1 end) end, function() return rounds >= 3 end
      end,
      ["the cancel of a timer"] = function() -- the next one is due all the same
         local fired
         local first = mr.after(0.7, function() end)
         mr.after(0.8, function() fired = true end)
         return function() first:cancel() end, function() return fired end
      end,
      ["a task that sleeps"] = function()
         local is_over
         return function() mr.spawn(function() mr.sleep(0.01) is_over = true end) end, function() return is_over end
      end,
      ["a task that gives way"] = function()
         local is_over
         return function() mr.spawn(function() mr.sleep(0) coroutine.yield() is_over = true end) end, function() return is_over end
      end,
      ["a publish"] = function()
         local ticket
         return function() ticket = assert(ch:publish_async("", queue, "x")) end, function() return ticket and ticket.state == "acked" end
      end,
      ["a publisher's first publish"] = function()
         local ticket
         local publisher = mr.publisher { connection = conn, routing_key = queue }
         return function() ticket = assert(publisher:publish_async "x") end, function() return ticket and ticket.state == "acked" end
      end,
      ["a message for a consumer"] = function()
         local got
         assert(ch:consume(queue, function(msg) got = msg.body end))
         return function() ch:publish_async("", queue, "x") end, function() return got == "x" end
      end,
      ["the set of an event"] = function()
         local event, got = mr.event(), nil
         mr.spawn(function() got = event:wait() end)
         return function() event:set "it" end, function() return got == "it" end
      end,
      ["the release of a semaphore"] = function()
         local semaphore, got = mr.semaphore(1), nil
         semaphore:acquire()
         mr.spawn(function() got = semaphore:acquire() end)
         return function() semaphore:release() end, function() return got end
      end,
      ["a value for a channel of Lua"] = function()
         local line, got = mr.channel(1), nil
         mr.spawn(function() got = line:get() end)
         return function() assert(line:put "it") end, function() return got == "it" end
      end,
      ["the value that a full channel of Lua loses"] = function()
         local line, is_put = mr.channel(0), nil
         mr.spawn(function() is_put = line:put "it" end)
         return function() assert(line:get() == "it") end, function() return is_put end
      end,
      ["the close of a channel of Lua"] = function()
         local line, why = mr.channel(1), nil
         mr.spawn(function() why = select(2, line:get()) end)
         return function() line:close() end, function() return why and why.kind == "closed" end
      end,
      ["the release of a pool's connection"] = function()
         local pool, got = assert(mr.pool { url = broker.url, max_connections = 1 }), nil
         local lent = assert(pool:acquire())
         mr.spawn(function() got = pool:acquire() end)
         return function() lent:release() end, function() return got end
      end,
      ["an acquire from a pool"] = function()
         local pool, got = assert(mr.pool { url = broker.url }), nil
         return function() mr.spawn(function() got = pool:with(function() return true end) end) end, function() return got end
      end,
      ["a consumer"] = function()
         local worker
         return function() worker = mr.consumer { queue = "other", connection = conn, handler = print } end,
            function() return worker and worker.state == "consuming" end
      end,
      ["the end of a consumer"] = function()
         local worker, is_over = mr.consumer { queue = "other", connection = conn, handler = print }, nil
         assert(worker:wait(10))
         return function() mr.spawn(function() is_over = worker:cancel() end) end, function() return is_over end
      end,
      ["a call"] = function()
         local answer
         assert(mr.rpc.serve { queue = "double", connection = conn, handler = function(text) return text .. text end })
         return function() mr.spawn(function() answer = mr.rpc.call("double", "x", { connection = conn }) end) end,
            function() return answer == "xx" end
      end,
      ["a get"] = function()
         local err
         return function() mr.spawn(function() err = select(2, ch:get(queue)) end) end,
            function() return err and err.kind == "empty" end
      end,
      ["a connection"] = function()
         local other = mr.connect { url = broker.url, heartbeat = 0 }
         return function() mr.spawn(function() other:connect() end) end, function() return other.is_open end
      end,
      ["the close of a connection"] = function()
         return function() mr.spawn(function() conn:close() end) end, function() return conn.state == "closed" end
      end,
      ["the loss of a connection"] = function() return function() broker:drop() end, function() return not conn.is_open end end,
      ["a check of the health"] = function()
         local calls = 0
         return function()
            mr.health.check("ours", function() calls = calls + 1 return true end, { every = 0.02 })
         end, function() return calls >= 2 end
      end,
      ["a watched descriptor"] = function()
         local ready
         return function() mr.spawn(function() ready = mr.wait_fd(1, "w", 10) end) end, function() return ready == "w" end
      end,
      ["a stop"] = function() return mr.stop, mr.is_stopped end,
      ["what is made in a coroutine of the host"] = function()
         local fired
         return function()
            coroutine.wrap(function() mr.after(0.02, function() fired = true end) end)()
         end, function() return fired end
      end,
   }
   for name, way in pairs(ways) do
      it(name .. " wakes the host", function()
         local act, is_seen = way()
         settle()
         assert.is_not_true(is_seen())
         local from = mr.now()
         act()
         poll_until(is_seen)
         assert.is_true(mr.now() - from < 5, "after " .. mr.now() - from .. " s")
      end)
   end
end)
