--- loop: time, descriptors and the runtime, without any broker.
-- Covers: lua/moonrabbit/init.lua by wait_fd
-- Covers: lua/moonrabbit/loop/wait.lua by descriptor
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local broker = require "broker"
local mr = require "moonrabbit"
local loop = require "moonrabbit.loop.loop"
local task = require "moonrabbit.loop.task"

ffi.cdef [[
int spec_pipe(int *fds) __asm__("pipe");
long spec_write(int fd, const char *bytes, size_t size) __asm__("write");
int spec_close(int fd) __asm__("close");
int spec_dup2(int from, int to) __asm__("dup2");
struct loop_pollfd { int fd; short events, revents; };
int loop_poll(struct loop_pollfd *fds, unsigned long count, int milliseconds) __asm__("poll");
]]

describe("loop", function()
   after_each(function() loop.close(1) end)

   it("sleeps at least as long as asked, in the main chunk", function()
      local from = mr.now()
      mr.sleep(0.02)
      assert.is_true(mr.now() - from >= 0.02)
   end)

   it("has who waits in a list leave it when the time is up, and nobody else", function()
      local list, woken = {}, {}
      for i = 1, 3 do
         mr.spawn(function() woken[i] = loop.wait_in(list, i == 2 and 0.01 or nil) or "late" end)
      end
      assert.equal(3, #list)
      broker.eventually("the one whose time is up", function() return woken[2] end)
      assert.same({ nil, "late" }, woken)
      assert.equal(2, #list)
      for _, token in ipairs(list) do task.wake(token, "woken") end
      broker.eventually("the others", function() return woken[1] and woken[3] end)
      assert.same({ "woken", "late", "woken" }, woken)
   end)

   it("lets tasks sleep side by side", function()
      local order = {}
      for i = 3, 1, -1 do
         mr.spawn(function(n)
            mr.sleep(n * 0.01)
            order[#order + 1] = n
         end, i)
      end
      local from = mr.now()
      while task.alive > 0 do loop.pump(1) end
      assert.same({ 1, 2, 3 }, order)
      assert.is_true(mr.now() - from < 0.5)
   end)

   it("fires a timer once, and a cancelled one never", function()
      local fired = {}
      mr.after(0.005, function() fired[#fired + 1] = "a" end)
      mr.after(0.001, function() fired[#fired + 1] = "b" end):cancel()
      mr.sleep(0.03)
      assert.same({ "a" }, fired)
   end)

   it("fires a periodic timer until it is cancelled, from within too", function()
      local count, timer = 0, nil
      timer = mr.every(0.002, function()
         count = count + 1
         if count == 3 then timer:cancel() end
      end)
      mr.sleep(0.05)
      assert.equal(3, count)
      assert.is_true(loop.is_idle())
   end)

   it("leaves rounds out while the last one is at work", function()
      local at_once, most = 0, 0
      local timer = mr.every(0.001, function()
         at_once = at_once + 1
         most = math.max(most, at_once)
         mr.sleep(0.02)
         at_once = at_once - 1
      end)
      mr.sleep(0.05)
      timer:cancel()
      assert.equal(1, most)
   end)

   it("goes on with a periodic timer whose function fails", function()
      mr.log.configure "off"
      local count = 0
      local timer = mr.every(0.001, function()
         count = count + 1
         error "oops"
      end)
      while count < 3 do loop.pump(1) end
      timer:cancel()
   end)

   it("waits for descriptors, and for no longer than asked", function()
      local fds = ffi.new "int[2]"
      assert.equal(0, ffi.C.spec_pipe(fds))
      assert.equal("w", mr.wait_fd(fds[1], "w", 1))
      local ready, err = mr.wait_fd(fds[0], "r", 0.01)
      assert.is_nil(ready)
      assert.equal("timeout", err.kind)
      mr.after(0.01, function() ffi.C.spec_write(fds[1], "x", 1) end)
      assert.equal("r", mr.wait_fd(fds[0], "r", 5))
      ffi.C.spec_close(fds[0])
      ffi.C.spec_close(fds[1])
   end)

   it("wakes who waits for a descriptor that is closed meanwhile, or becomes another file (FIELD-R16)", function()
      local fds, others = ffi.new "int[2]", ffi.new "int[2]"
      for _, close in ipairs {
         function() ffi.C.spec_close(fds[0]) end, function() ffi.C.spec_dup2(others[0], fds[0]) end,
      } do
         ffi.C.spec_pipe(fds)
         ffi.C.spec_pipe(others)
         local waiting = 0
         for _, mode in ipairs { "r", "rw" } do -- two of the same descriptor
            mr.spawn(function()
               waiting = waiting + 1
               if mr.wait_fd(fds[0], mode, 30) then waiting = waiting - 1 end
            end)
         end
         assert.is_nil((mr.wait_fd(fds[0], "r", 0.02)))
         close()
         local deadline = mr.now() + 20
         while waiting > 0 and mr.now() < deadline do mr.sleep(0.01) end
         assert.equal(0, waiting)
         for _, fd in ipairs { fds[0], fds[1], others[0], others[1] } do ffi.C.spec_close(fd) end
      end
      assert.equal("rw", mr.wait_fd(fds[0], "rw", 5)) -- closed before
   end)

   it("refuses wrong arguments, naming them", function()
      for _, case in ipairs {
         { "seconds", function() mr.sleep "1" end }, { "seconds", function() mr.sleep(-1) end },
         { "seconds", function() mr.sleep(0 / 0) end }, { "fn", function() mr.after(1) end },
         { "seconds", function() mr.every(0, print) end }, { "fn", function() mr.spawn(1) end },
         { "mode", function() mr.wait_fd(0, "x") end }, { "timeout", function() mr.wait_fd(0, "r", -1) end },
         { "fn", function() mr.on_stop() end }, { "drain", function() mr.run { drain = -1 } end },
         { "unknown option", function() mr.run { dran = 1 } end }, { "budget", function() mr.poll(-1) end },
      } do
         local ok, why = pcall(case[2])
         assert.is_false(ok)
         assert.is_truthy(why:find("loop_spec.lua:%d+: .*" .. case[1]), why)
      end
   end)

   it("serves a host with a loop of its own", function()
      local fired
      mr.after(0.001, function() fired = true end)
      assert.is_true(mr.fd() >= 0)
      local deadline = mr.now() + 5
      while not fired and mr.now() < deadline do mr.poll(0.001) end
      assert.is_true(fired)
   end)

   -- Each thing takes 0.2 ms, so 1 ms has room for five, and for the one that is over it.
   local function busily()
      local till = mr.now() + 0.0002
      while mr.now() < till do end -- luacheck: ignore 542
   end

   -- Polls until fn() says so, with a budget of 1 ms; asserts that no poll did more than fits.
   local function within_budget(counter, is_over)
      local deadline, polls = mr.now() + 20, 0
      while not is_over() and mr.now() < deadline do
         local before = counter.n
         mr.poll(0.001)
         assert.is_true(counter.n - before <= 6, counter.n - before .. " in one poll")
         polls = polls + 1
      end
      assert.is_true(is_over())
      return polls
   end

   it("keeps a poll's budget to the message, with others waiting", function()
      local counter = { n = 0 }
      local ch = assert(mr.connect("memory://"):channel())
      local q = assert(ch:queue_declare { exclusive = true }).queue
      for _ = 1, 200 do assert(ch:publish("", q, "x")) end
      assert(ch:consume(q, function()
         busily()
         counter.n = counter.n + 1
      end))
      assert.is_true(within_budget(counter, function() return counter.n == 200 end) > 30)
      ch.connection:release()
   end)

   it("keeps a poll's budget where messages wait for a place, or in a loop over messages", function()
      local counter, order = { n = 0 }, {}
      local ch = assert(mr.connect("memory://"):channel())
      local q = assert(ch:queue_declare { exclusive = true }).queue
      local other = assert(ch:queue_declare { exclusive = true }).queue
      local function count(msg)
         busily()
         counter.n = counter.n + 1
         order[#order + 1] = tonumber(msg.body)
      end
      assert(ch:consume(q, function(msg)
         if counter.n == 0 then mr.sleep(0.02) end -- the others wait for the end of the first
         count(msg)
      end, { concurrency = 1 }))
      for n = 1, 100 do assert(ch:publish("", q, tostring(n))) end
      within_budget(counter, function() return counter.n == 100 end)
      for n = 1, 100 do assert.equal(n, order[n]) end
      mr.spawn(function()
         for msg in ch:messages(other) do
            count(msg)
            msg:ack()
         end
      end)
      for n = 1, 100 do assert(ch:publish("", other, tostring(n))) end
      within_budget(counter, function() return counter.n == 200 end)
      ch.connection:release()
   end)

   it("keeps a poll's budget to the task and to the timer, and lets messages through beside them", function()
      local counter, got = { n = 0 }, 0
      local ch = assert(mr.connect("memory://"):channel())
      local q = assert(ch:queue_declare { exclusive = true }).queue
      assert(ch:consume(q, function() got = got + 1 end))
      for _ = 1, 100 do
         mr.spawn(function()
            mr.sleep(0.001)
            busily()
            counter.n = counter.n + 1
         end)
         mr.after(0.001, function()
            busily()
            counter.n = counter.n + 1
         end)
      end
      assert(ch:publish("", q, "x"))
      within_budget(counter, function() return counter.n == 200 and got == 1 end)
      ch.connection:release()
   end)

   it("begins nothing more in a poll whose budget one task, timer or message has used up, and each has its turns", function()
      local done, counter = { task = 0, timer = 0, message = 0 }, { n = 0 }
      local function work(kind)
         local till = mr.now() + 0.001
         while mr.now() < till do end -- luacheck: ignore 542
         done[kind] = done[kind] + 1
         counter.n = counter.n + 1
      end
      local ch = assert(mr.connect("memory://"):channel())
      local q = assert(ch:queue_declare { exclusive = true }).queue
      for _ = 1, 30 do assert(ch:publish("", q, "x")) end
      assert(ch:consume(q, function() work "message" end))
      for _ = 1, 2 do -- ready in each turn
         mr.spawn(function()
            while done.message < 30 or done.timer < 30 do
               coroutine.yield()
               work "task"
            end
         end)
      end
      for _ = 1, 30 do mr.after(0.001, function() work "timer" end) end
      local deadline = mr.now() + 20
      while (done.message < 30 or done.timer < 30) and mr.now() < deadline do
         local before = counter.n
         mr.poll(0.001)
         assert.is_true(counter.n - before <= 1, counter.n - before .. " of 1 ms in 1 ms")
      end
      assert.same({ 30, 30 }, { done.message, done.timer })
      assert.is_true(done.task > 20)
      ch.connection:release()
   end)

   it("keeps the descriptor readable while a poll has left something", function()
      local n = 0
      for _ = 1, 20 do
         mr.spawn(function()
            mr.sleep(0.001)
            busily()
            n = n + 1
         end)
      end
      local fds = ffi.new("struct loop_pollfd[1]", { { mr.fd(), 1, 0 } }) -- 1: POLLIN
      local deadline = mr.now() + 20
      while n < 20 and mr.now() < deadline do
         assert.equal(1, ffi.C.loop_poll(fds, 1, 5000))
         mr.poll(0.001)
      end
      assert.equal(20, n)
      -- What a poll has asked for may come when the next one has done it already: once, and not for ever.
      broker.eventually("a descriptor that is not readable", function()
         while mr.poll() do end
         return ffi.C.loop_poll(fds, 1, 20) == 0
      end)
   end)

   it("makes the descriptor readable for what is made outside of a poll: a timer, a sleep, a publish", function()
      local ch = assert(mr.connect("memory://"):channel())
      local q = assert(ch:queue_declare { exclusive = true }).queue
      local got, slept, fired = 0, false, false
      assert(ch:consume(q, function() got = got + 1 end))
      local fds = ffi.new("struct loop_pollfd[1]", { { mr.fd(), 1, 0 } })
      local function until_done(what)
         local deadline = mr.now() + 20
         while not what() and mr.now() < deadline do
            assert.equal(1, ffi.C.loop_poll(fds, 1, 5000))
            mr.poll()
         end
         assert.is_true(what())
         while mr.poll() do end
      end
      until_done(function() return true end)
      mr.every(3600, function() end) -- it must not hide the ones that come before
      mr.after(0.02, function() fired = true end)
      until_done(function() return fired end)
      mr.spawn(function()
         mr.sleep(0.02)
         slept = true
      end)
      until_done(function() return slept end)
      assert(ch:publish("", q, "x"))
      until_done(function() return got == 1 end)
      fired = false
      mr.after(0.001, function() mr.after(0.05, function() fired = true end) end)
      mr.sleep(0.02) -- a wait in the main chunk: the second timer was made in its turns
      until_done(function() return fired end)
      ch.connection:release()
   end)

   it("keeps the descriptor readable for what a budget has left, whatever timers are made then", function()
      local ch = assert(mr.connect("memory://"):channel())
      local q = assert(ch:queue_declare { exclusive = true }).queue
      local got, later = 0, 3600
      assert(ch:consume(q, function()
         local until_ = mr.now() + 0.002
         while mr.now() < until_ do got = got + 0 end
         got = got + 1
      end))
      local fds = ffi.new("struct loop_pollfd[1]", { { mr.fd(), 1, 0 } })
      for round = 1, 20 do
         for _ = 1, 5 do assert(ch:publish("", q, "x")) end
         while got < round * 5 do
            assert.equal(1, ffi.C.loop_poll(fds, 1, 5000))
            mr.poll(0.001)
            later = later - 1
            mr.after(later, function() end) -- the earliest one there is
         end
      end
      ch.connection:release()
   end)

   it("makes the descriptor readable when a timer is due", function()
      mr.after(0.02, function() end)
      local fds = ffi.new("struct loop_pollfd[1]", { { mr.fd(), 1, 0 } }) -- 1: POLLIN
      assert.equal(1, ffi.C.loop_poll(fds, 1, 5000))
   end)

   it("runs until there is nothing left to do", function()
      local steps = {}
      mr.spawn(function()
         mr.sleep(0.005)
         steps[#steps + 1] = "task"
      end)
      mr.after(0.01, function() steps[#steps + 1] = "timer" end)
      assert.is_true(mr.run())
      table.sort(steps) -- the task begins to sleep when its turn has come
      assert.same({ "task", "timer" }, steps)
   end)

   it("stops when it is asked to, running what waits for the stop", function()
      local steps = {}
      mr.every(0.001, function() end)
      mr.on_stop(function()
         mr.sleep(0.001)
         steps[#steps + 1] = "on_stop"
      end)
      mr.after(0.005, mr.stop)
      assert.is_true(mr.run())
      assert.same({ "on_stop" }, steps)
   end)

   it("cannot be run or closed from within a task", function()
      local run, close
      mr.spawn(function()
         run, close = pcall(mr.run), pcall(loop.close)
      end)
      assert.is_false(run)
      assert.is_false(close)
   end)

   it("ends a sleep of the main chunk when a stop is asked for", function()
      mr.after(0.001, mr.stop)
      local ok, why = pcall(mr.sleep, 60)
      assert.is_false(ok)
      assert.equal(task.STOPPED, why)
   end)

   it("forgets everything when it is closed", function()
      local ran
      mr.after(0.001, function() ran = true end)
      loop.close(1)
      mr.sleep(0.01)
      assert.is_nil(ran)
   end)
end)
