--- Events that come one by one are taken without a turn of the loop each; what else is to be done has its turn all the same.
-- Feature: scripts that publish and wait, and handlers, one message after the other
-- SPDX-License-Identifier: MIT
local broker = require "broker"
local build = require "build"
local loop = require "moonrabbit.loop.loop"
local mr = require "moonrabbit"
local task = require "moonrabbit.loop.task"

describe("a flow of events", function()
   local conn, ch, queue
   before_each(function()
      loop.close(1)
      conn = mr.connect "memory://"
      ch = assert(conn:channel())
      queue = assert(ch:queue_declare { exclusive = true }).queue
   end)
   after_each(function() loop.close(1) end)

   -- Handlers that publish the next message, for ever.
   local function flow()
      local handled = { count = 0 }
      assert(ch:consume(queue, function()
         handled.count = handled.count + 1
         assert(ch:publish_async("", queue, "next"))
      end))
      assert(ch:publish_async("", queue, "first"))
      return handled
   end

   it("leaves timers and tasks their turns, and ends when the program is asked to stop", function()
      local handled, slept, fired = flow(), 0, 0
      mr.spawn(function()
         while slept < 20 do
            mr.sleep(0.001)
            slept = slept + 1
         end
         mr.after(0.02, mr.stop)
      end)
      local timer = mr.every(0.001, function() fired = fired + 1 end)
      local from = mr.now()
      mr.run()
      timer:cancel()
      assert.is_true(mr.now() - from < 10)
      assert.equal(20, slept)
      assert.is_true(fired > 3)
      assert.is_true(handled.count > 20)
   end)

   it("goes on while handlers wait, and gives each what it waits for", function()
      local late, open = 0, 0
      assert(ch:qos { prefetch_count = 10 })
      assert(ch:consume(queue, function(msg)
         open = open + 1
         if tonumber(msg.body) % 3 == 0 then mr.sleep(0.002) end
         open, late = open - 1, late + 1
         if late == 300 then mr.stop() end
      end))
      for i = 1, 300 do assert(ch:publish_async("", queue, tostring(i))) end
      mr.run()
      assert.equal(300, late)
      assert.equal(0, open)
   end)

   it("has the main chunk's publishes confirmed while handlers, timers and other publishes take theirs", function()
      local other, handled, fired, rest = assert(conn:channel()), 0, 0, 300
      assert(ch:confirm_select())
      assert(other:confirm_select())
      assert(ch:consume(queue, function() handled = handled + 1 end))
      local timer = mr.every(0.001, function() fired = fired + 1 end)
      mr.spawn(function()
         while rest > 0 do
            assert(other:publish("", queue, "from a task"))
            rest = rest - 1
         end
      end)
      local count = 0
      while count < 2000 or rest > 0 or fired < 5 do
         assert(ch:publish("", queue, "from the main chunk"))
         count = count + 1
      end
      timer:cancel()
      assert.equal(0, ch.book.outstanding)
      broker.eventually("all messages", function() return handled == count + 300 end)
   end)

   it("ends each batch, also one that the main chunk's wait has begun and a turn went on with", function()
      local ended, handled = 0, 0
      loop.after_batch(function() ended = ended + 1 end)
      assert(ch:confirm_select())
      assert(ch:consume(queue, function() handled = handled + 1 end))
      for _ = 1, 100 do assert(ch:publish("", queue, "x")) end
      broker.eventually("all messages", function() return handled == 100 end)
      assert.is_true(ended >= 100, ended)
   end)

   it("ends a child that a handler has forked, without a complaint, and goes on in the parent", function()
      if build.is_sanitized then return pending "the child has lost its threads and what they own" end
      local path = broker.script [[
         local ffi = require "ffi"
         local mr = require "moonrabbit"
         ffi.cdef "int fork(void); int waitpid(int pid, int *status, int options);"
         local ch = assert(mr.connect("memory://"):channel())
         local q = assert(ch:queue_declare { exclusive = true }).queue
         assert(ch:consume(q, function()
            local child = ffi.C.fork()
            if child == 0 then return end
            ffi.C.waitpid(child, ffi.new "int[1]", 0)
            mr.stop()
         end))
         assert(ch:publish_async("", q, "x"))
      ]]
      local pipe = assert(io.popen(("timeout 20 %s run --log-level warn %s 2>&1; echo $?"):format(broker.command, path)))
      local out = pipe:read "*a"
      pipe:close()
      assert.equal("0\n", out)
   end)

   it("tells the main chunk of each publish what became of it", function()
      local limits = { ["x-max-length"] = 1, ["x-overflow"] = "reject-publish" }
      local small = assert(ch:queue_declare { exclusive = true, arguments = limits }).queue
      assert(ch:confirm_select())
      local kinds = {}
      local function publish(key, props)
         local ok, err = ch:publish("", key, "x", props)
         kinds[#kinds + 1] = ok and "acked" or err.kind
      end
      for _ = 1, 3 do
         publish(queue)
         publish(small)
         publish("nowhere", { mandatory = true })
      end
      assert.same({ "acked", "acked", "returned", "acked", "nacked", "returned", "acked", "nacked", "returned" }, kinds)
      assert.equal(0, ch.book.outstanding)
   end)

   it("ends the main chunk's publishes when the program is asked to stop", function()
      assert(ch:confirm_select())
      mr.after(0.02, mr.stop)
      local from = mr.now()
      local ok, why = pcall(function()
         while mr.now() - from < 10 do assert(ch:publish("", queue, "x")) end
      end)
      assert.is_false(ok)
      assert.equal(task.STOPPED, why)
   end)
end)
