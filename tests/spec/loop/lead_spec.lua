--- A script that waits for one answer after the other runs the I/O loop itself, and the I/O thread takes it back.
-- Covers: runtime/engine/turn.c by commands
-- SPDX-License-Identifier: MIT
local build = require "build"
local loop = require "moonrabbit.loop.loop"
local mr = require "moonrabbit"
local broker = require "broker"

local eventually = broker.eventually
local is_fast = not build.is_sanitized -- an answer comes within some 100 us

-- How often the I/O thread has gone to sleep.
local function sleeps()
   local pipe = assert(io.popen "grep -l '^mr io' /proc/$PPID/task/*/comm")
   local path = pipe:read "*l"
   pipe:close()
   for line in io.lines((path:gsub("comm$", "status"))) do
      local n = line:match "^voluntary_ctxt_switches:%s*(%d+)"
      if n then return tonumber(n) end
   end
end

describe("the helm", function()
   local ch, queue
   before_each(function()
      loop.close(1)
      ch = assert(mr.connect("memory://"):channel())
      queue = assert(ch:queue_declare { exclusive = true }).queue
      assert(ch:confirm_select())
   end)
   after_each(function() loop.close(1) end)

   local function publish_one_by_one(count)
      for _ = 1, count do
         assert(ch:publish("", queue, "x"))
         assert(ch:wait_for_confirms(10))
      end
   end

   it("is the script's while it waits for one confirm after the other: nobody else is woken", function()
      if not is_fast then return pending "too slow here" end
      eventually("a run of quick answers", function() -- another process may hold it up
         publish_one_by_one(50)
         local before = sleeps()
         publish_one_by_one(1000)
         return sleeps() - before < 150 -- it is 11 to 60; where it is woken for each, 330 to 1500
      end)
   end)

   it("goes back to the I/O thread when the script computes: what it has sent is written meanwhile", function()
      for _ = 1, 20 do
         publish_one_by_one(20)
         local before = mr.stats().bytes_out
         assert(ch:publish_async("", queue, "while it computes"))
         local till = mr.now() + 10
         while mr.stats().bytes_out == before and mr.now() < till do end -- no turn of this thread
         assert.is_true(mr.stats().bytes_out > before)
         assert(ch:wait_for_confirms(10))
      end
   end)

   it("goes back when the script sends much at once, or waits for long", function()
      for _ = 1, 10 do
         publish_one_by_one(20)
         for _ = 1, 500 do assert(ch:publish_async("", queue, "x")) end
         assert(ch:wait_for_confirms(10))
         publish_one_by_one(20)
         local began = mr.now()
         mr.sleep(0.01)
         assert.is_true(mr.now() - began >= 0.01)
      end
      assert.equal(10 * 540, ch:queue_declare({ queue = queue, passive = true }).message_count)
   end)

   it("is not a host's that has asked for the descriptor: it is readable for the answer", function()
      publish_one_by_one(20)
      local fd = mr.fd()
      publish_one_by_one(20)
      assert(ch:publish_async("", queue, "x"))
      eventually("the confirm", function()
         mr.poll()
         return mr.stats().confirmed == 41
      end)
      assert.equal(fd, mr.fd())
   end)

   it("ends with its runtime, whoever has it, with commands on their way", function()
      for _ = 1, 20 do
         publish_one_by_one(10)
         loop.close(1)
         ch = assert(mr.connect("memory://"):channel())
         queue = assert(ch:queue_declare { exclusive = true }).queue
         assert(ch:confirm_select())
      end
   end)
end)
