--- control: what a console changes.
-- Covers: lua/moonrabbit/program/quiet.lua by pause
local control = require "moonrabbit.console.control"
local embedded = require "embedded"
local loop = require "moonrabbit.loop.loop"
local mr = require "moonrabbit"
local task = require "moonrabbit.loop.task"
local eventually = require("waits").eventually

describe("a change by a console", function()
   local conn, ch, count

   before_each(function()
      loop.close(1)
      mr.log.configure "off"
      count = 0
      conn = mr.connect "memory://"
      ch = conn:channel()
      for _, queue in ipairs { "one", "two" } do
         assert(mr.consumer { queue = queue, connection = conn, handler = function() count = count + 1 end }:wait(30))
      end
      local free = conn:channel()
      assert(free:queue_declare { queue = "three" })
      assert(free:consume("three", function() count = count + 1 end, { consumer_tag = "free" }))
   end)
   after_each(function()
      loop.close(1)
      mr.log.configure "error"
   end)

   local function consumers(queue) return ch:queue_declare { queue = queue, passive = true }.consumer_count end
   local function become(queue, n)
      eventually(("%d consumers of %s"):format(n, queue), function() return consumers(queue) == n end)
   end

   it("pauses one consumer by its queue or tag, and has it go on", function()
      become("one", 1)
      become("two", 1)
      assert.equal('paused: one of "one"', control.run("pause", { consumer = "one" }))
      become("one", 0)
      assert(ch:publish("", "one", "waits"))
      assert.equal(1, consumers "two")
      assert.equal(0, count)
      assert(control.run("resume", { consumer = "one" }))
      become("one", 1)
      eventually("the message", function() return count == 1 end)
      assert(control.run("pause", { consumer = "free" }))
      become("three", 0)
      assert(control.run("resume", { consumer = "free" }))
      become("three", 1)
   end)

   it("has all rest, and go on, but for one that is paused by itself", function()
      become("one", 1)
      become("two", 1)
      control.run("quiet", {})
      become("one", 0)
      become("two", 0)
      control.run("pause", { consumer = "two" })
      control.run("quiet", { off = "" })
      become("one", 1)
      assert.equal(0, consumers "two")
   end)

   it("cancels for good", function()
      become("one", 1)
      assert.equal('cancelled: one of "one"', control.run("cancel", { consumer = "one" }))
      become("one", 0)
      assert.is_nil(control.run("resume", { consumer = "one" }))
      assert.equal("no connection waits for its next try", control.run("reconnect", {}))
   end)

   -- A consumer whose handlers wait for `go`, and how many run and how many messages it has.
   local function slow(opts)
      local state = { running = 0 }
      opts.queue, opts.connection, opts.dead_letter = "slow", conn, false
      function opts.handler()
         state.running = state.running + 1
         while not state.go do mr.sleep(0.005) end
         state.running = state.running - 1
      end
      state.worker = mr.consumer(opts)
      assert(state.worker:wait(5))
      for i = 1, 5 do assert(ch:publish("", "slow", tostring(i))) end
      return state
   end
   local function left() return ch:queue_declare { queue = "slow", passive = true }.message_count end

   it("sets a prefetch that holds at once, also of one that is paused", function()
      local state = slow { prefetch = 2 }
      eventually("two messages", function() return state.running == 2 and left() == 3 end)
      assert.equal('prefetch 1: slow of "slow"', control.run("prefetch", { consumer = "slow", number = "1" }))
      state.go = true
      eventually("all messages", function() return left() == 0 and state.running == 0 end)
      state.go = false
      for i = 1, 5 do assert(ch:publish("", "slow", tostring(i))) end
      eventually("one message", function() return state.running == 1 and left() == 4 end)
      assert(control.run("prefetch", { consumer = "slow", number = "3" }))
      eventually("three more", function() return state.running == 4 and left() == 1 end)
      assert(control.run("pause", { consumer = "slow" }))
      become("slow", 0)
      assert.equal('prefetch 4: slow of "slow"; it holds from its next start on',
         control.run("prefetch", { consumer = "slow", number = "4" }))
      state.go = true
      assert(control.run("resume", { consumer = "slow" }))
      eventually("all messages", function() return left() == 0 and state.running == 0 end)
   end)

   it("sets a concurrency that holds at once, and for the next start", function()
      local state = slow { concurrency = 1 }
      eventually("one handler", function() return state.running == 1 and left() == 0 end)
      assert.equal('concurrency 3: slow of "slow"', control.run("concurrency", { consumer = "slow", number = "3" }))
      eventually("three handlers", function() return state.running == 3 end)
      assert.equal(3, state.worker.options.concurrency)
      local channel = conn:channel()
      local loose = assert(channel:consume("three", function() end, { consumer_tag = "loose" }))
      assert(control.run("concurrency", { consumer = "loose", number = "2" }))
      assert.equal(2, loose.concurrency)
      task.background(function() channel:messages("slow", { consumer_tag = "loop" })() end)
      eventually("the loop", function()
         local _, why = control.run("concurrency", { consumer = "loop", number = "2" })
         return why:find "a loop takes"
      end)
      state.go = true
      eventually("all messages", function() return left() == 0 and state.running == 0 end)
   end)

   it("changes one of two consumers that were given the same options", function()
      local opts = { queue = "slow", connection = conn, name = "a", handler = function() end }
      local a = mr.consumer(opts)
      opts.name = nil
      local b = mr.consumer(opts)
      assert(a:wait(5) and b:wait(5))
      assert(control.run("prefetch", { consumer = "a", number = "5" }))
      assert(control.run("concurrency", { consumer = "a", number = "2" }))
      assert.same({ 5, 2, nil, nil }, { a.options.prefetch, a.options.concurrency, b.options.prefetch, b.options.concurrency })
   end)

   it("connects now what waits for its next try", function()
      local b = embedded.broker { listen = "127.0.0.1:0" }
      local address = "127.0.0.1:" .. b.port
      local other = embedded.connect { url = "amqp://" .. address, retry = function() return 3600 end }
      assert(other:connect())
      b:unlisten()
      b:drop()
      eventually("the wait", function() return other.state == "retrying" end)
      assert(b:listen(address))
      assert.equal("connecting now: 1", control.run("reconnect", {}))
      eventually("the connection", function() return other.is_open end)
      embedded.close_all()
   end)

   it("is a line of the log with who made it, also when it has the log say less", function()
      local lines = {}
      mr.log.configure "info"
      mr.log.sink(function(_, line) lines[#lines + 1] = line end)
      become("one", 1)
      for _, change in ipairs { { "pause", consumer = "one" }, { "resume", consumer = "one" },
         { "prefetch", consumer = "one", number = "5" },
         { "concurrency", consumer = "one", number = "5" }, { "reconnect" }, { "quiet" }, { "quiet", off = "off" },
         { "log", level = "debug" }, { "log", level = "warn" }, { "log", level = "info" }, { "cancel", consumer = "one" } } do
         local name = change[1]
         change.uid, change.pid = 1234, 5678
         lines = {}
         assert(control.run(name, change))
         eventually(name, function()
            local text = table.concat(lines, "\n")
            return text:find('msg="changed by console" action=' .. name, 1, true) and text:find "pid=5678 .*uid=1234"
         end)
      end
      mr.log.sink(nil)
   end)

   it("is refused in one line when it makes no sense", function()
      for _, case in ipairs {
         { "dance", {}, 'no action "dance"' }, { "pause", {}, "which consumer" }, { "pause", { consumer = "x" }, 'no consumer "x"' },
         { "prefetch", { consumer = "one", number = "0" }, "whole number" }, { "prefetch", { consumer = "one" }, "whole number" },
         { "log", { level = "loud" }, "unknown log level" }, { "log", {}, "which level?" },
      } do
         local text, why = control.run(case[1], case[2])
         assert.is_nil(text)
         assert.truthy(why:find(case[3], 1, true), why)
         assert.is_nil(why:find "\n")
      end
   end)
end)
