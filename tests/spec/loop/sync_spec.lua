--- sync: events, semaphores and channels between tasks.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local mr = require "moonrabbit"
local loop = require "moonrabbit.loop.loop"
local waits = require "waits"

ffi.cdef [[
struct sync_pollfd { int fd; short events, revents; };
int sync_poll(struct sync_pollfd *fds, unsigned long count, int milliseconds) __asm__("poll");
]]

after_each(function() loop.close(1) end)

describe("mr.event", function()
   it("hands its values to all who wait, and to who comes later (FIELD-H2)", function()
      local event, got = mr.event(), {}
      for i = 1, 3 do mr.spawn(function() got[i] = { event:wait() } end) end
      assert.is_false(event:is_set())
      event:set("a", nil, 3)
      assert.is_true(event:is_set())
      assert.same({}, got) -- set never runs anybody
      waits.eventually("all", function() return #got == 3 end)
      for i = 1, 3 do assert.same({ "a", nil, 3 }, got[i]) end
      assert.same({ "a", nil, 3 }, { event:wait(0) })
      event:set()
      assert.is_true(event:wait())
      event:set(nil, "why")
      assert.same({ nil, "why" }, { event:wait() })
   end)

   it("waits again after a reset (FIELD-H2)", function()
      local event = mr.event()
      event:set(1)
      event:reset()
      assert.is_false(event:is_set())
      local value, err = event:wait(0.001)
      assert.is_nil(value)
      assert.equal("timeout", err.kind)
      assert.is_true(mr.is_error(err))
      mr.after(0.001, function() event:set(2) end)
      assert.equal(2, event:wait(10))
   end)

   it("gives who waited the values of the set that woke him, whatever comes after (FIELD-H2)", function()
      local event, got = mr.event(), nil
      mr.spawn(function() got = event:wait() end)
      event:set "first"
      event:reset()
      event:set "second"
      waits.eventually("its end", function() return got end)
      assert.equal("first", got)
   end)

   it("can be set within functions of C and in tasks (FIELD-H2)", function()
      local event = mr.event()
      mr.spawn(function() table.sort({ 2, 1 }, function(a, b)
         event:set(a)
         return a < b
      end) end)
      assert.is_number(event:wait(10))
   end)

   it("wakes a host with a loop of its own (FIELD-H2)", function()
      local event, got = mr.event(), nil
      mr.spawn(function() got = event:wait() end)
      repeat until not mr.poll()
      event:set "now"
      local fds = ffi.new("struct sync_pollfd[1]", { { mr.fd(), 1, 0 } })
      assert.equal(1, ffi.C.sync_poll(fds, 1, 10000))
      repeat until not mr.poll()
      assert.equal("now", got)
   end)

   it("lets the main chunk end when the program is to stop (FIELD-H2)", function()
      mr.after(0.001, mr.stop)
      assert.is_false(pcall(function() mr.event():wait() end))
   end)

   it("forgets who waits beyond the time limit of its handler (FIELD-H2)", function()
      local ch = assert(mr.connect("memory://sync"):channel())
      assert(ch:queue_declare { queue = "q", auto_delete = true })
      local event, semaphore, channel, why = mr.event(), mr.semaphore(1), mr.channel(1), {}
      semaphore:acquire()
      assert(ch:consume("q", function(msg)
         local wait = msg.body == "event" and event.wait or msg.body == "semaphore" and semaphore.acquire or channel.get
         local of = msg.body == "event" and event or msg.body == "semaphore" and semaphore or channel
         local _, err = pcall(wait, of)
         why[#why + 1] = type(err) == "table" and err.kind or err
      end, { time_limit = 0.02 }))
      for _, body in ipairs { "event", "semaphore", "channel" } do assert(ch:publish("", "q", body)) end
      waits.eventually("three limits", function() return #why == 3 end)
      assert.same({ "timeout", "timeout", "timeout" }, why)
      semaphore:release()
      assert.equal(1, semaphore:free())
      assert.is_true(channel:put(1, 0))
      assert.equal(1, channel:count())
   end)
end)

describe("mr.semaphore", function()
   it("lets n at a time through, in their order (FIELD-H2)", function()
      local semaphore, at_once, most, order = mr.semaphore(2), 0, 0, {}
      for i = 1, 6 do
         mr.spawn(function()
            assert.is_true(semaphore:acquire())
            at_once = at_once + 1
            most = math.max(most, at_once)
            mr.sleep(0.001)
            at_once = at_once - 1
            order[#order + 1] = i
            semaphore:release()
         end)
      end
      waits.eventually("all", function() return #order == 6 end)
      assert.equal(2, most)
      assert.same({ 1, 2, 3, 4, 5, 6 }, order)
      assert.equal(2, semaphore:free())
   end)

   it("waits no longer than it may (FIELD-H2)", function()
      local semaphore = mr.semaphore()
      assert.is_true(semaphore:acquire { timeout = 0 })
      for _, patience in ipairs { 0, 0.001, { timeout = 0 }, { timeout = 0.001 } } do
         local ok, err = semaphore:acquire(patience)
         assert.is_nil(ok)
         assert.equal("timeout", err.kind)
      end
      semaphore:release()
      assert.is_true(semaphore:acquire(0))
      semaphore:release()
      assert.is_false(pcall(semaphore.release, semaphore)) -- more often than acquired
   end)

   it("never gives to who has gone (FIELD-H2)", function()
      local semaphore, got = mr.semaphore(1), {}
      semaphore:acquire()
      mr.spawn(function() got[1] = semaphore:acquire(0.005) or false end)
      mr.spawn(function() got[2] = semaphore:acquire() end)
      waits.eventually("the first to give up", function() return got[1] == false end)
      semaphore:release()
      waits.eventually("the second", function() return got[2] end)
      assert.equal(0, semaphore:free())
   end)

   it("gives back what `with` took, whatever happens (FIELD-H2)", function()
      local semaphore = mr.semaphore(1)
      assert.same({ 1, nil, 3 }, { semaphore:with(function(...) return ... end, 1, nil, 3) })
      local ok, why = pcall(semaphore.with, semaphore, function() error("oops", 0) end)
      assert.is_false(ok)
      assert.equal("oops", why)
      assert.equal(1, semaphore:free())
   end)
end)

describe("mr.channel", function()
   it("keeps the order, and holds no more than it may (FIELD-H2)", function()
      for size = 0, 3 do
         local channel, got, most = mr.channel(size), {}, 0
         mr.spawn(function()
            for i = 1, 10 do
               assert.is_true(channel:put(i))
               most = math.max(most, channel:count())
            end
            channel:close()
         end)
         mr.spawn(function() for value in channel:values() do got[#got + 1] = value end end)
         waits.eventually("ten values", function() return #got == 10 end)
         assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, got)
         assert.is_true(most <= size)
         assert.is_true(channel:is_closed())
      end
   end)

   it("takes any value but nil (FIELD-H2)", function()
      local channel = mr.channel(3)
      assert.is_true(channel:put(false))
      assert.is_true(channel:put {})
      assert.is_false(channel:get())
      assert.same({}, channel:get())
      assert.is_false(pcall(channel.put, channel, nil))
   end)

   it("waits no longer than it may (FIELD-H2)", function()
      local channel = mr.channel(1)
      local function kind(value, err) return value == nil and err.kind end
      assert.equal("timeout", kind(channel:get(0)))
      assert.equal("timeout", kind(channel:get { timeout = 0.001 }))
      assert.is_true(channel:put "a")
      assert.equal("timeout", kind(channel:put("b", 0)))
      assert.equal("timeout", kind(channel:put("b", { timeout = 0.001 })))
      assert.equal("a", channel:get())
      assert.equal(0, channel:count()) -- what was not put in does not come later
   end)

   it("ends for all when it is closed, but what is in it comes out (FIELD-H2)", function()
      local channel, ends = mr.channel(1), {}
      channel:put "in it"
      mr.spawn(function() ends.put = select(2, channel:put "waits") end)
      channel:close()
      channel:close()
      waits.eventually("the putter's end", function() return ends.put end)
      assert.equal("closed", ends.put.kind)
      assert.equal("closed", select(2, channel:put "late").kind)
      assert.equal("in it", channel:get())
      assert.equal("closed", select(2, channel:get()).kind)
      local empty = mr.channel(1)
      mr.spawn(function() ends.get = select(2, empty:get()) end)
      empty:close()
      waits.eventually("the getter's end", function() return ends.get end)
      assert.equal("closed", ends.get.kind)
   end)

   it("refuses what makes no sense (FIELD-H2)", function()
      for _, fn in ipairs {
         function() mr.channel(-1) end, function() mr.channel(0.5) end, function() mr.channel "1" end,
         function() mr.semaphore(0) end, function() mr.semaphore "1" end, function() mr.event():wait(-1) end,
         function() mr.semaphore(1):acquire { timeuot = 1 } end, function() mr.semaphore(1):acquire "1" end,
         function() mr.channel(1):get(-1) end, function() mr.semaphore(1):with(1) end,
      } do
         local ok, why = pcall(fn)
         assert.is_false(ok)
         assert.is_truthy(why:find("sync_spec.lua", 1, true), why)
      end
   end)
end)
