--- A forked child that does not exec begins anew: what is the parent's stays the parent's, which goes on undisturbed.
-- Covers: lua/moonrabbit/loop/life.lua by forked
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local build = require "build"
local loop = require "moonrabbit.loop.loop"
local mr = require "moonrabbit"

ffi.cdef [[
int spec_fork(void) __asm__("fork");
int spec_waitpid(int pid, int *status, int options) __asm__("waitpid");
void spec_leave(int code) __asm__("_exit");
void spec_exit(int code) __asm__("exit");
struct spec_pollfd { int fd; short events, revents; };
int spec_poll(struct spec_pollfd *fds, unsigned long count, int milliseconds) __asm__("poll");
]]

local function code_of(pid)
   local status = ffi.new "int[1]"
   assert(ffi.C.spec_waitpid(pid, status, 0) == pid)
   return status[0]
end

-- A child has forgotten what is the parent's, which LeakSanitizer would call lost at exit().
local EXIT = build.is_asan and ffi.C.spec_leave or ffi.C.spec_exit

-- Runs fn in a child; its exit status: 0 when fn raised nothing. `leave` ends it.
local function code_in_child(fn, leave)
   local pid = ffi.C.spec_fork()
   if pid ~= 0 then return code_of(pid) end
   local ok, why = xpcall(fn, debug.traceback)
   if not ok then io.stderr:write("in the child: ", tostring(why), "\n") end
   leave = leave or ffi.C.spec_leave
   leave(ok and 0 or 1)
end

local function in_child(fn, leave) assert.equal(0, code_in_child(fn, leave)) end

local function is_forked(result, err) return result == nil and err.kind == "forked" and err.hint:find "child" ~= nil end

-- TSan takes no new threads after the fork of a process that has several.
local it = not build.is_tsan and it or pending

describe("a forked child", function()
   local broker, conn, ch, queue

   -- The broker is the parent's, and goes on in a thread of it while the parent waits for its child.
   before_each(function()
      broker = assert(mr.testing.broker { listen = "127.0.0.1:0" })
      conn = mr.connect(("amqp://127.0.0.1:%d/"):format(broker.port))
      ch = assert(conn:channel())
      queue = assert(ch:queue_declare { queue = "q" }).queue
      assert(ch:confirm_select())
   end)

   after_each(function()
      loop.close(1)
      broker:close()
      loop.close(1)
   end)

   local function url() return ("amqp://127.0.0.1:%d/"):format(broker.port) end

   local function publish_anew(body)
      local own = assert(assert(mr.connect(url())):channel())
      assert(own:confirm_select())
      assert(own:publish("", queue, body))
      assert(own.connection:close())
   end

   local function bodies()
      local list = {}
      for _ = 1, broker:queue(queue).messages_ready do list[#list + 1] = assert(ch:get(queue, { no_ack = true })).body end
      return list
   end

   it("is refused what is the parent's, before and after it began anew, and the parent goes on (D8, FIELD-R17)", function()
      assert(ch:publish("", queue, "x"))
      local msg, ticket = assert(ch:get(queue)), assert(ch:publish_async("", queue, "y"))
      local consumer = assert(ch:consume(assert(ch:queue_declare { exclusive = true }).queue, print))
      local worker = mr.consumer { queue = "jobs", connection = conn, handler = print }
      assert(worker:wait(10))
      local publisher = mr.publisher { connection = conn, routing_key = queue }
      assert(publisher:publish "z")
      local pool = assert(mr.pool { url = url() })
      assert(pool:acquire()):release()
      in_child(function()
         local calls = {
            function() return ch:publish("", queue, "y") end, function() return ch:publish_async("", queue, "y") end,
            function() return ch:queue_declare { queue = "z" } end,
            function() return ch:get(queue) end, function() return ch:consume(queue, print) end,
            function() return msg:ack() end, function() return conn:channel() end, function() return conn:close() end,
            function() return conn:release() end, function() return consumer:cancel() end, function() return worker:cancel() end,
            function() return publisher:publish "x" end, function() return publisher:close() end,
         }
         assert(not msg.is_live and is_forked(msg:ack()))
         for _ = 1, 2 do
            for i, call in ipairs(calls) do assert(is_forked(call()), "call " .. i) end
         end
         assert(not msg.is_live and not ch.is_open)
         assert(pool:acquire()):release() -- a pool only lends: it makes its own
         publish_anew "from the child"
         for i, call in ipairs(calls) do assert(is_forked(call()), "call " .. i) end
      end)
      assert(ticket:wait(10))
      assert(msg:ack())
      assert.same({ "consuming", "consuming" }, { consumer.state, worker.state })
      assert(publisher:publish "still here")
      assert.same({ "y", "z", "from the child", "still here" }, bodies())
      assert.equal(1, conn.epoch)
   end)

   it("goes on with what was made, but not used, before the fork: as the workers of nginx (D8)", function()
      local unused = mr.connect { url = url(), name = "unused" }
      local publisher = mr.publisher { connection = unused, routing_key = queue }
      local pool = assert(mr.pool { url = url(), strategy = "shared" })
      local function work(name)
         local own = assert(unused:channel())
         assert(own:confirm_select())
         assert(own:publish("", queue, name .. " by connection"))
         assert(publisher:publish(name .. " by publisher"))
         assert(pool:with(function(lent) return lent:publish("", queue, name .. " by pool") end))
         local got = mr.event()
         assert(own:consume(assert(own:queue_declare { exclusive = true }).queue, function(msg) got:set(msg.body) end))
         mr.after(0.001, function() own:publish("", own:queue_declare { queue = "", exclusive = true }.queue, "timer") end)
         mr.spawn(function() mr.sleep(0.001) got:set "spawned" end)
         assert(got:wait(10) == "spawned")
         assert(unused:close())
      end
      for i = 1, 2 do in_child(function() work("child " .. i) end, EXIT) end
      work "parent"
      local expected = {}
      for _, name in ipairs { "child 1", "child 2", "parent" } do
         for _, by in ipairs { "connection", "publisher", "pool" } do expected[#expected + 1] = name .. " by " .. by end
      end
      assert.same(expected, bodies())
   end)

   it("begins anew by whatever it calls first, also in a loop of the host's (D8)", function()
      loop.descriptor()
      local function polled(fn)
         local box = ffi.new("struct spec_pollfd[1]", { { mr.fd(), 1, 0 } })
         while not fn() do
            assert(ffi.C.spec_poll(box, 1, 10000) == 1, "nothing comes")
            mr.poll()
         end
      end
      local firsts = {
         sleep = function() mr.sleep(0.001) end,
         spawn = function()
            local is_over
            mr.spawn(function() mr.sleep(0.001) is_over = true end)
            polled(function() return is_over end)
         end,
         after = function()
            local is_over
            mr.after(0.001, function() is_over = true end)
            polled(function() return is_over end)
         end,
         every = function()
            local rounds = 0
            mr.every(0.001, function() rounds = rounds + 1 end)
            polled(function() return rounds >= 2 end)
         end,
         poll = mr.poll, fd = function() assert(mr.fd() >= 0) end, run = function() assert(mr.run()) end,
         stop = function() mr.stop() assert(mr.run()) end,
         stats = function() assert(mr.stats().published == 0) end, wait_fd = function() mr.wait_fd(0, "r", 0.001) end,
         event = function() assert(select(2, mr.event():wait(0.001)).kind == "timeout") end,
         log = function() mr.log.debug "a child's line" end,
         on_stop = function()
            local is_over
            mr.on_stop(function() is_over = true end)
            assert(mr.run() and is_over)
         end,
         default = function()
            mr.set_default_url(url())
            assert(mr.publisher { routing_key = queue }:publish "default")
         end,
      }
      mr.after(0, function() error "a timer of the parent" end)
      mr.on_stop(function() error "a hook of the parent" end)
      mr.stop()
      for name, first in pairs(firsts) do
         assert.equal(0, code_in_child(function()
            first()
            publish_anew(name)
         end), name)
      end
   end)

   it("tells nothing of what the parent is about, which ends as if there was no child (D8)", function()
      local told, count = 0, 200
      local publisher = mr.publisher { connection = conn, routing_key = queue, on_failed = function() told = told + 1 end }
      local tickets, fired = {}, 0
      mr.spawn(function() mr.sleep(0.02) fired = fired + 1 end)
      for i = 1, count do
         tickets[i] = assert(publisher:publish_async("p" .. i))
         if i == count / 2 then
            in_child(function()
               mr.sleep(0.05)
               publish_anew "child"
               mr.run()
               assert(told == 0 and fired == 0, ("told %d, fired %d"):format(told, fired))
               assert(not pcall(error) and is_forked(publisher:publish "no"))
            end, EXIT)
         end
      end
      for _, ticket in ipairs(tickets) do assert(ticket:wait(10)) end
      while fired == 0 do mr.sleep(0.01) end
      assert.same({ 0, 1, count + 1 }, { told, fired, #bodies() })
   end)

   it("may exit at once, or fork again (D8)", function()
      assert(ch:publish("", queue, "0"))
      for _, leave in ipairs { EXIT, ffi.C.spec_leave } do in_child(function() end, leave) end
      in_child(function()
         publish_anew "child"
         local mine = assert(mr.connect(url()):channel())
         assert(mine:confirm_select())
         assert(code_in_child(function()
            assert(is_forked(mine:publish("", queue, "no")))
            assert(is_forked(ch:publish("", queue, "no")))
            publish_anew "grandchild"
         end, EXIT) == 0)
         assert(mine:publish("", queue, "child again"))
      end, EXIT)
      assert.same({ "0", "child", "grandchild", "child again" }, bodies())
   end)

   it("that was forked within a task is told so there, and begins anew outside of it (D8)", function()
      local status
      mr.spawn(function()
         local pid = ffi.C.spec_fork()
         if pid ~= 0 then
            status = code_of(pid)
            return mr.sleep(0.001)
         end
         for _, call in ipairs { function() mr.sleep(0.01) end, function() mr.event():wait(0.01) end, mr.stats,
            function() mr.connect "memory://" end, function() mr.after(1, print) end } do
            local ok, why = pcall(call)
            if ok or not tostring(why):find "forked within a task.*fork in the main chunk" then ffi.C.spec_leave(1) end
         end
         status = "child"
      end)
      if status == "child" then
         local ok = pcall(publish_anew, "outside")
         ffi.C.spec_leave(ok and 0 or 1)
      end
      assert.equal(0, status)
      assert.same({ "outside" }, bodies())
   end)

   it("ends the waits of the host's coroutines that it has inherited, with the reason (D8)", function()
      mr.host { waiter = function()
         local is_over = false
         return { wait = function() while not is_over do coroutine.yield() end end, post = function() is_over = true end }
      end }
      finally(function() mr.host { waiter = false } end)
      local result
      local co = coroutine.create(function() result = { pcall(mr.sleep, 0.01) } end)
      assert(coroutine.resume(co))
      in_child(function()
         mr.poll()
         assert(coroutine.resume(co))
         assert(not result[1] and tostring(result[2]):find "waits in the parent process", tostring(result[2]))
      end)
      while coroutine.status(co) ~= "dead" do
         mr.poll(0.05)
         assert(coroutine.resume(co))
      end
      assert.same({ true }, result)
   end)
end)
