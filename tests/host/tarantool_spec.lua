--- Tests moonrabbit.tarantool: fibers that wait, a fiber that keeps beating, handlers in fibers, the end, and no shared names.
-- SPDX-License-Identifier: MIT
-- Covers: lua/moonrabbit/tarantool.lua by in_fiber
-- Covers: lua/moonrabbit/loop/apart.lua by run
local broker = require "broker"
local mr = require "moonrabbit"
local page = require "page"
local process = require "process"

-- What each script begins with: `beat` has the longest gap of a fiber that sleeps for 1 ms.
local PRELUDE = [[
io.stdout:setvbuf "no"
local fiber = require "fiber"
local mr = require "moonrabbit"
local adapter = require "moonrabbit.tarantool"
local function report(...) print(table.concat({ ... }, " ")) end
adapter.start()
local conn = mr.connect()
local beat = { gap = 0, count = 0 }
fiber.create(function()
   local last = fiber.clock()
   while true do
      fiber.sleep(0.001)
      local now = fiber.clock()
      beat.gap, beat.count, last = math.max(beat.gap, now - last), beat.count + 1, now
   end
end)
local function eventually(what, condition)
   local deadline = fiber.clock() + 20
   while not condition() do
      if fiber.clock() > deadline then report("in vain waited for " .. what) os.exit(1) end
      fiber.sleep(0.002)
   end
end
]]

local function start(text, environment)
   return process.start("tarantool " .. broker.script(PRELUDE .. text), ("AMQP_URL=%s %s"):format(broker.tcp_url, environment or ""))
end

local function run(text, environment)
   local out, code = start(text, environment):wait()
   assert.equal(0, code, out)
   return out
end

local function a_folder()
   local path = os.tmpname()
   os.remove(path)
   os.execute("mkdir " .. path)
   return path
end

local function lines_of(path)
   local f = assert(io.open(path))
   local text = f:read "*a"
   f:close()
   return text:gmatch "[^\n]+"
end

describe("Tarantool", function()
   after_each(function()
      process.end_all()
      broker.close_all()
   end)

   it("runs the program of the page, which prints what the page shows", function()
      local path = broker.script(page.program "fibers.lua")
      local out, code = process.start("tarantool " .. path, "AMQP_URL=" .. broker.tcp_url):wait()
      assert.same({ page.output "tarantool fibers.lua", 0 }, { out, code })
   end)

   it("keeps a fiber of 1 ms beating during an rpc, and suspends only the fiber that waits", function()
      local out = run [[
         local served = assert(mr.rpc.serve { queue = "fibers", connection = conn, handler = function(text)
            mr.sleep(0.2)
            return text .. text
         end })
         assert(mr.rpc.call("fibers", "warm", { connection = conn }))
         beat.gap, beat.count = 0, 0
         report("answer", (assert(mr.rpc.call("fibers", "main chunk ", { connection = conn }))))
         report("beats", beat.count, "gap", ("%.2f"):format(beat.gap * 1000))
         local left = 20
         local began = mr.now()
         for i = 1, 20 do
            fiber.create(function()
               assert((assert(mr.rpc.call("fibers", "f" .. i, { connection = conn }))) == ("f" .. i):rep(2))
               left = left - 1
            end)
         end
         eventually("the fibers", function() return left == 0 end)
         report("side by side", tostring(mr.now() - began < 2))
         served:close()
         os.exit(0)
      ]]
      assert.truthy(out:find("answer main chunk main chunk \n", 1, true), out)
      assert.truthy(out:find("side by side true", 1, true), out)
      local beats, gap = out:match "beats (%d+) gap ([%d.]+)"
      print(("note: Tarantool: %s beats of a 1 ms fiber in an rpc of 200 ms, longest gap %s ms"):format(beats, gap))
      assert.is_true(tonumber(beats) >= 20, out) -- 185 on an idle machine, 1 if the rpc held all fibers
      assert.is_true(tonumber(gap) < 150, out)
   end)

   it("publishes with confirm from many fibers at once; a cancelled fiber is forgotten without harm", function()
      local ch, q = broker.confirming()
      local out = run(([[
         local ch = assert(conn:channel())
         assert(ch:confirm_select())
         local never = assert(ch:queue_declare { exclusive = true }).queue
         local left, failed, harmed = 50, 0, 0
         for i = 1, 50 do
            fiber.create(function()
               for k = 1, 10 do
                  if not ch:publish("", %q, i .. " " .. k) then failed = failed + 1 end
               end
               left = left - 1
            end)
         end
         -- Some die while they wait, each in another kind of wait.
         for _, wait in ipairs { function() mr.sleep(60) end, function() ch:publish("", %q, "of the dead") end,
               function() mr.rpc.call(never, "x", { connection = conn, timeout = 60 }) end,
               function() mr.event():wait() end } do
            fiber.create(function()
               local ok, why = pcall(wait)
               if ok or not tostring(why):find "cancelled" then harmed = harmed + 1 end
            end):cancel()
         end
         eventually("the fibers", function() return left == 0 end)
         local gone = mr.stats()
         report("failed", failed, "harmed", harmed, "confirmed", tostring(gone.confirmed))
         report("stopped", tostring(adapter.stop()))
         os.exit(0)
      ]]):format(q, q))
      assert.truthy(out:find("failed 0 harmed 0 confirmed 501\nstopped true\n", 1, true), out)
      assert.equal(501, broker.count(ch, q))
   end)

   it("handles messages in fibers, which may wait by Tarantool's means; an error in one is the handler's", function()
      local q = broker.name "fibers"
      local out = run(([[
         local most, running, seen = 0, 0, {}
         mr.log.configure "off"
         local worker = mr.consumer { queue = { queue = %q, auto_delete = true, durable = false }, connection = conn, retry = false,
            dead_letter = false, handler = adapter.in_fiber(function(msg)
               running = running + 1
               most = math.max(most, running)
               fiber.sleep(0.05)
               running = running - 1
               seen[#seen + 1] = msg.body
               if msg.body == "2" then error "deliberate" end
               if msg.body == "3" then return "reject" end
            end) }
         assert(worker:wait(10))
         local ch = assert(conn:channel())
         for i = 1, 4 do assert(ch:publish("", %q, tostring(i))) end
         eventually("the messages", function() return #seen == 4 and worker.running == 0 end)
         table.sort(seen)
         eventually("the acks and the rejects", function() return mr.stats().settled == 4 end)
         report("seen", table.concat(seen, ""), "most", most)
         os.exit(0)
      ]]):format(q, q))
      assert.truthy(out:find("seen 1234 most 4", 1, true), out)
   end)

   it("suspends only the handler, the task or the timer that waits by Tarantool's means", function()
      local q = broker.name "own"
      local out = run(([[
         local gate, log = fiber.channel(1), {}
         local function note(...) log[#log + 1] = table.concat({ ... }, " ") end
         local worker = mr.consumer { queue = { queue = %q, auto_delete = true, durable = false }, connection = conn,
            handler = function(msg)
               if msg.body == "first" then
                  note("first gets", tostring(gate:get(10)))
                  mr.sleep(0.01)
                  fiber.sleep(0.01)
                  note("first is", msg.body)
               else
                  gate:put(msg.body)
                  note(msg.body)
               end
            end }
         assert(worker:wait(10))
         local ch = assert(conn:channel())
         assert(ch:confirm_select())
         assert(ch:publish("", %q, "first"))
         assert(ch:publish("", %q, "second"))
         eventually("both", function() return mr.stats().settled == 2 and worker.running == 0 end)
         report(table.concat(log, ", "))
         local ended = 0
         for i = 1, 3 do
            mr.spawn(function() assert(gate:get(10) == "go") ended = ended + 1 end)
            mr.after(0.001, function() assert(gate:get(10) == "go") ended = ended + 1 end)
         end
         mr.sleep(0.02)
         for i = 1, 6 do gate:put "go" end
         eventually("the tasks", function() return ended == 6 end)
         report("stopped", tostring(adapter.stop()))
         os.exit(0)
      ]]):format(q, q, q))
      assert.equal("second, first gets second, first is first\nstopped true\n", out)
   end)

   it("has a handler's time limit end only Moonrabbit's waits in it", function()
      local q = broker.name "limit"
      local out = run(([[
         mr.log.configure "off"
         local seen = {}
         local worker = mr.consumer { queue = { queue = %q, auto_delete = true, durable = false }, connection = conn, retry = false,
            dead_letter = false, time_limit = 0.1, handler = function()
               fiber.sleep(0.2)
               seen[#seen + 1] = tostring(select(2, pcall(mr.sleep, 10)))
            end }
         assert(worker:wait(10))
         local ch = assert(conn:channel())
         assert(ch:publish("", %q, "x"))
         eventually("the limit", function() return #seen == 1 end)
         report(seen[1])
         os.exit(0)
      ]]):format(q, q))
      assert.truthy(out:find("over its time limit of 0.1 s", 1, true), out)
   end)

   it("abandons a handler that waits by Tarantool's means beyond the drain, which does no harm when it goes on", function()
      local q = broker.name "abandoned"
      local ch = broker.channel()
      assert(ch:queue_declare { queue = q, durable = true })
      local out = run(([[
         local gate, ended, body = fiber.channel(0), 0, nil
         local function begin()
            local worker = mr.consumer { queue = %q, connection = conn, retry = false, dead_letter = false, handler = function(msg)
               gate:get()
               body = select(2, pcall(function() return msg.body end))
               ended = ended + 1
               report("ack", tostring(pcall(msg.ack, msg)))
            end }
            assert(worker:wait(10))
            eventually("the handler", function() return worker.running == 1 end)
         end
         local ch = assert(conn:channel())
         assert(ch:publish("", %q, "x"))
         begin()
         local spawned = false
         mr.spawn(function() gate:get() spawned = true end)
         report("stopped", tostring(adapter.stop { drain = 0.2 }))
         adapter.start()
         conn = mr.connect()
         begin()
         for i = 1, 2 do gate:put(true) end -- those of the runtime before
         eventually("both", function() return ended == 1 and spawned end)
         report("body", tostring(body))
         for _ = 1, 5 do collectgarbage() fiber.sleep(0.01) end
         gate:put(true)
         eventually("the other", function() return ended == 2 end)
         report("body", tostring(body), "stopped", tostring(adapter.stop()))
         os.exit(0)
      ]]):format(q, q))
      ch:queue_delete { queue = q }
      assert.truthy(out:find("msg=abandoned", 1, true), out)
      assert.truthy(out:find("stopped false\n", 1, true), out)
      assert.truthy(out:find("body x stopped true\n", 1, true), out)
   end)

   it("may be ended by a handler, which says so by os.exit; a stop in one is refused", function()
      local q = broker.name "exit"
      local out, code = start(([[
         local worker = mr.consumer { queue = { queue = %q, auto_delete = true, durable = false }, connection = conn, handler = function()
            report(tostring(select(2, pcall(adapter.stop))))
            os.exit(5)
         end }
         assert(worker:wait(10))
         local ch = assert(conn:channel())
         assert(ch:publish("", %q, "x"))
         fiber.sleep(60)
      ]]):format(q, q)):wait()
      assert.equal(5, code, out)
      assert.truthy(out:find("stop waits for handlers and tasks, so not in one of them: call mr.stop() there", 1, true), out)
   end)

   it("lets other fibers go on while a handler waits by Tarantool's means, without the handler's time limit", function()
      local q = broker.name "yields"
      local out = run(([[
         local is_in, handled = false, false
         mr.log.configure "off"
         local worker = mr.consumer { queue = { queue = %q, auto_delete = true, durable = false }, connection = conn,
            time_limit = 0.05, handler = function()
               is_in = true
               fiber.sleep(0.3)
               handled = true
            end }
         assert(worker:wait(10))
         local ch = assert(conn:channel())
         assert(ch:publish("", %q, "x"))
         eventually("the handler", function() return is_in end)
         local began = mr.now()
         report("slept", tostring(pcall(mr.sleep, 0.1)), "after", tostring(mr.now() - began >= 0.1), "handled", tostring(handled))
         eventually("the handler's end", function() return handled end)
         os.exit(0)
      ]]):format(q, q))
      assert.truthy(out:find("slept true after true handled false", 1, true), out)
   end)

   it("stops beside the other fibers: handlers in fibers finish, and a fiber of 1 ms keeps beating", function()
      local q = broker.name "stop"
      local out = run(([[
         local is_in, has_ended = false, false
         local worker = mr.consumer { queue = { queue = %q, auto_delete = true, durable = false }, connection = conn,
            handler = adapter.in_fiber(function()
               is_in = true
               fiber.sleep(0.3)
               has_ended = true
            end) }
         assert(worker:wait(10))
         local ch = assert(conn:channel())
         assert(ch:publish("", %q, "x"))
         eventually("the handler", function() return is_in end)
         beat.gap, beat.count = 0, 0
         report("stopped", tostring(adapter.stop { drain = 10 }), "handled", tostring(has_ended), "beats", beat.count, "gap",
            math.floor(beat.gap * 1000))
         adapter.start() -- and again
         assert(mr.connect():connect())
         report("again", tostring(adapter.stop()))
         os.exit(0)
      ]]):format(q, q))
      local beats, gap = out:match "stopped true handled true beats (%d+) gap (%d+)\nagain true\n"
      assert.truthy(gap, out)
      assert.is_true(tonumber(beats) > 50 and tonumber(gap) < 250, out)
   end)

   it("goes on after a turn that failed", function()
      local out = run [[
         local poll, failures = mr.poll, 3
         function mr.poll(...)
            if failures == 0 then return poll(...) end
            failures = failures - 1
            error "deliberate"
         end
         assert((assert(conn:channel())):confirm_select())
         report("failures", failures)
         os.exit(0)
      ]]
      assert.truthy(out:find('error="[^\n]*deliberate'), out)
      assert.truthy(out:find("failures 0\n", 1, true), out)
   end)

   it("writes its lines to Tarantool's log", function()
      local folder = a_folder()
      local out = run(([[
         mr.spawn(function() error "first" end)
         fiber.sleep(0.05)
         box.cfg { work_dir = %q, wal_mode = "none" }
         mr.spawn(function() error "second" end)
         fiber.sleep(0.05)
         os.exit(0)
      ]]):format(folder))
      os.execute("rm -r " .. folder)
      assert.truthy(out:find('level=error msg="task failed" error="[^\n]*first'), out)
      assert.truthy(out:find(' E> msg="task failed" error="[^\n]*second'), out)
   end)

   it("ends clean by os.exit and by SIGTERM: what is in hand is settled, what was published is there", function()
      local ch, q = broker.confirming()
      for round, how in ipairs { "os.exit(3)", "report 'published' fiber.sleep(60)" } do
         local tarantool = start(([[
            local q, seen = %q, 0
            local ch = assert(conn:channel())
            local mine = assert(ch:queue_declare { exclusive = true }).queue
            mr.consumer { queue = { queue = %q, auto_delete = true, durable = false }, connection = conn,
               handler = function(msg)
                  mr.sleep(0.2)
                  ch:publish("", q, "in hand")
               end }:wait(10)
            assert(ch:publish("", %q, "x"))
            for i = 1, 99 do assert(ch:publish("", q, "message " .. i)) end
            fiber.sleep(0.05)
            %s
         ]]):format(q, q .. ".work", q .. ".work", how))
         if round == 2 then
            tarantool:says "published"
            tarantool:signal "TERM"
         end
         local out, code = tarantool:wait()
         assert.equal(round == 1 and 3 or 0, code, out)
         assert.is_nil(out:find("rror", 1, true), out)
         broker.eventually("the messages", function() return broker.count(ch, q) == 100 * round end)
      end
   end)

   it("shares no name of a library with the host, which has a libev of its own", function()
      local file = os.tmpname()
      run("assert(conn:connect())\nos.exit(0)", "LD_DEBUG=bindings LD_DEBUG_OUTPUT=" .. file)
      local found = {}
      local list = assert(io.popen("ls " .. file .. ".*"))
      for path in list:lines() do
         for line in lines_of(path) do
            local from, to, name = line:match "binding file (%S+) %[%d+%] to (%S+) %[%d+%]:.-symbol `([^']+)'"
            if from and from:find "moonrabbit" or from and from:find "libev" then
               if to:find "tarantool" then found[#found + 1] = name end
            end
         end
         os.remove(path)
      end
      list:close()
      os.remove(file)
      table.sort(found)
      assert.same({ "free", "realloc", "stderr" }, found) -- libc's, which a program passes on
   end)

   it("stores orders, by the example", function()
      local folder = a_folder()
      local ch, q = broker.confirming()
      assert(ch:queue_bind { queue = q, exchange = "amq.topic", routing_key = "orders.stored" })
      local tarantool = process.start("tarantool examples/hosts/tarantool/orders.lua " .. folder, "AMQP_URL=" .. broker.tcp_url)
      local function pieces() return (mr.rpc.call("orders.of", "tea", { connection = ch.connection, timeout = 1 })) end
      broker.eventually("the store", function() return pieces() == "0" end)
      assert(ch:publish("", "orders", '{"id":1,"item":"tea","pieces":2}'))
      assert(ch:publish("", "orders", '{"id":2,"item":"tea","pieces":3}'))
      local stored = {}
      for _ = 1, 2 do stored[#stored + 1] = broker.take(ch, q).body end
      table.sort(stored)
      assert.same({ "1", "2" }, stored)
      assert.equal("5", pieces())
      local out, code = tarantool:stop()
      os.execute("rm -r " .. folder)
      for _, name in ipairs { "orders", "orders.of", "orders.dead" } do ch:queue_delete { queue = name } end
      assert.equal(0, code, out)
   end)
end)
