--- Tests moonrabbit.uv in LuaJIT with lua-luv: coroutines that wait, errors in them, idleness, and the end.
-- SPDX-License-Identifier: MIT
-- Covers: lua/moonrabbit/uv.lua by start
local broker = require "broker"
local page = require "page"
local process = require "process"

-- What each script begins with.
local PRELUDE = [[
io.stdout:setvbuf "no"
local uv, mr = require "luv", require "moonrabbit"
local adapter = require "moonrabbit.uv"
local function report(...) print(table.concat({ ... }, " ")) end
]]

local function run(text)
   local out, code = process.start("luajit " .. broker.script(PRELUDE .. text), "AMQP_URL=" .. broker.tcp_url):wait()
   assert.equal(0, code, out)
   return out
end

describe("libuv from Lua", function()
   after_each(function()
      process.end_all()
      broker.close_all()
   end)

   it("runs the program of the page, which prints what the page shows", function()
      local path = broker.script(page.program "luv.lua")
      local out, code = process.start("luajit " .. path, "AMQP_URL=" .. broker.tcp_url):wait()
      assert.same({ page.output "luajit luv.lua", 0 }, { out, code })
   end)

   it("suspends only the coroutine that waits; uv.run ends after stop", function()
      local out = run [[
         adapter.start(uv)
         local conn, beats, alive = mr.connect(), 0, 3
         local timer = uv.new_timer()
         timer:start(0, 2, function() beats = beats + 1 end)
         local served = mr.rpc.serve { queue = "luv", connection = conn, handler = function(text)
            mr.sleep(0.1)
            return text .. text
         end }
         local began, beats_before = mr.now(), beats
         for i = 1, 3 do
            coroutine.wrap(function()
               assert(conn:connect())
               local ch = assert(conn:channel())
               assert(ch:confirm_select())
               assert(ch:publish("amq.topic", "luv", "confirmed"))
               report("answer", assert(mr.rpc.call("luv", "n" .. i, { connection = conn })))
               alive = alive - 1
               if alive > 0 then return end
               report("took", mr.now() - began, "beats", beats - beats_before)
               served:close()
               timer:close()
               uv.new_timer():start(0, 0, function(t) report("stopped", tostring(adapter.stop())) end)
            end)()
         end
         uv.run()
         local open = 0
         uv.walk(function(h) if not h:is_closing() and h:is_active() then open = open + 1 end end)
         report("open handles", open)
      ]]
      for i = 1, 3 do assert.truthy(out:find(("answer n%dn%d"):format(i, i), 1, true), out) end
      local took, beats = out:match "took ([%d.]+) beats (%d+)"
      assert.is_true(tonumber(beats) >= 20, ("%s beats in %s s"):format(beats, took))
      assert.truthy(out:find("stopped true\nopen handles 0\n", 1, true), out)
   end)

   it("logs the error of a coroutine that has waited, with its place, and goes on", function()
      local out = run [[
         adapter.start(uv)
         coroutine.wrap(function()
            mr.sleep(0.01)
            error "deliberate"
         end)()
         coroutine.wrap(function()
            mr.sleep(0.05)
            report "goes on"
            uv.stop()
         end)()
         uv.run()
         adapter.stop()
      ]]
      assert.truthy(out:find('level=error msg="coroutine failed" error="[^"]*:%d+: deliberate\\nstack traceback:'), out)
      assert.truthy(out:find("goes on", 1, true), out)
   end)

   it("may be idle: nothing is reported as stalled, and nothing runs", function()
      local out = run [[
         mr.watchdog { stall = 0.1 }
         adapter.start(uv)
         local t = uv.new_timer()
         local before
         t:start(100, 0, function()
            before = os.clock()
            t:start(600, 0, function()
               report(("idle %.3f"):format(os.clock() - before))
               t:close()
               adapter.stop()
            end)
         end)
         uv.run()
      ]]
      assert.is_nil(out:find("stalled", 1, true), out)
      assert.is_true(tonumber(out:match "idle ([%d.]+)") < 0.05, out)
   end)

   it("ends coroutines that wait at the stop without a line, and can be started again", function()
      local out = run [[
         local function once(round)
            adapter.start(uv)
            adapter.start(uv)
            coroutine.wrap(function()
               assert(mr.connect():connect())
               report("round", round)
               uv.stop()
               report("ended", tostring(pcall(mr.sleep, 3600)))
               mr.sleep(3600)
            end)()
            uv.run()
            report("stopped", tostring(adapter.stop()), tostring(adapter.stop()))
         end
         once(1)
         once(2)
      ]]
      assert.equal("round 1\nended false\nstopped true true\nround 2\nended false\nstopped true true\n", out)
   end)

   it("stops beside the host's callbacks: handlers finish, and the loop never waits", function()
      local out = run [[
         adapter.start(uv)
         local conn, gap, last = mr.connect(), 0, uv.hrtime()
         local timer = uv.new_timer()
         timer:start(0, 1, function() gap, last = math.max(gap, uv.hrtime() - last), uv.hrtime() end)
         coroutine.wrap(function()
            local ch = assert(conn:channel())
            local q = assert(ch:queue_declare { exclusive = true }).queue
            assert(ch:consume(q, function()
               report "begins"
               mr.sleep(0.3)
               report "ends"
            end))
            assert(ch:publish("", q, "x"))
            mr.sleep(0.1)
            gap = 0
            report("stopped", tostring(adapter.stop { drain = 5 }), "gap", math.floor(gap / 1e6))
            timer:close()
         end)()
         uv.run()
         report "uv.run has ended"
      ]]
      local gap = out:match "^begins\nends\nstopped true gap (%d+)\nuv.run has ended\n$"
      assert.truthy(gap, out)
      assert.is_true(tonumber(gap) < 280, out) -- the handler takes 300
   end)

   it("keeps its budget: the callbacks of the host have their turn between slow handlers", function()
      local out = run [[
         adapter.start(uv, { budget = 0.002 })
         local conn, handled = mr.connect(), 0
         local gap, last, beats = 0, uv.hrtime(), 0
         local timer = uv.new_timer()
         timer:start(0, 1, function()
            gap, last, beats = math.max(gap, uv.hrtime() - last), uv.hrtime(), beats + 1
         end)
         coroutine.wrap(function()
            local ch = assert(conn:channel())
            assert(ch:confirm_select())
            local q = assert(ch:queue_declare { exclusive = true }).queue
            assert(ch:consume(q, function()
               local till = mr.now() + 0.0005
               while mr.now() < till do end
               handled = handled + 1
               if handled < 1000 then return end
               report("beats", beats, "gap", math.floor(gap / 1e5) / 10)
               uv.stop()
            end))
            for i = 1, 1000 do assert(ch:publish("", q, "message " .. i, nil, { wait = false })) end
         end)()
         uv.run()
         adapter.stop()
      ]]
      local beats, gap = out:match "beats (%d+) gap ([%d.]+)"
      print(("note: lua-luv: 1000 messages of 0.5 ms, budget 2 ms, longest gap of a 1 ms timer %s ms"):format(gap))
      assert.is_true(tonumber(beats) > 50, out) -- whole batches would leave some 5
   end)
end)
