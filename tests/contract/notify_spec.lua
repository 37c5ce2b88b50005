--- notify: `moonrabbit run` as a systemd unit of Type=notify: what it tells by a real socket, and when.
-- Covers: lua/moonrabbit/cli/notify.lua by NOTIFY_SOCKET
-- Covers: lua/moonrabbit/cli/doing.lua by consumer
-- Covers: lua/moonrabbit/cli/muster.lua by workers
-- Covers: lua/moonrabbit/cli/listen.lua by open
local broker = require "broker"
local mr = require "moonrabbit"
local build = require "build"
local manager = require "manager"
local process = require "process"

local spinning = not build.is_tsan and it or pending -- see command_spec.lua

describe("a service manager", function()
   local systemd, file, q

   local function start(name, options, text, environment)
      systemd = manager.open(name)
      file = broker.script(text)
      return process.start(("%s run %s %s"):format(broker.command, options, file), ("AMQP_URL=%s NOTIFY_SOCKET=%s %s"):format(
         broker.tcp_url, name, environment or ""))
   end
   local function consumer(handler)
      q = broker.name "notify"
      return ([[
         local mr = require "moonrabbit"
         mr.consumer { queue = "%s", connection = mr.connect { name = "told" }, dead_letter = false, retry = false,
            handler = function(msg) %s end }
      ]]):format(q, handler or "")
   end
   local function publish() assert(broker.channel():publish("", q, "m")) end
   local function count(pattern)
      local n = 0
      for _, line in ipairs(systemd:all()) do
         if line:find(pattern) then n = n + 1 end
      end
      return n
   end

   after_each(function()
      process.end_all()
      if q then broker.channel():queue_delete { queue = q } end
      systemd:close()
      q = nil
   end)
   teardown(broker.none_left)

   it("is told ready when consumers consume, of a reload and its end, of the stop, and each half of the watchdog's time", function()
      local path = os.tmpname()
      os.remove(path)
      local run = start(path, "", consumer "", "WATCHDOG_USEC=1000000")
      systemd:hears "^READY=1$"
      assert.truthy(count "^EXTEND_TIMEOUT_USEC=30000000$" > 0)
      run:says "msg=consuming"
      systemd:hears "^STATUS=1 consumer, 1 connection$"
      for _ = 1, 4 do systemd:hears "^WATCHDOG=1$" end
      run:signal "HUP"
      systemd:hears "^RELOADING=1$"
      systemd:hears "^MONOTONIC_USEC=%d+$"
      systemd:hears "^READY=1$"
      os.execute(("echo 'error(\"broken\")' >%s"):format(file))
      run:signal "HUP"
      systemd:hears "^RELOADING=1$"
      systemd:hears "^READY=1$"
      systemd:hears "^STATUS=reload failed, the old script goes on: .*broken"
      run:signal "TERM"
      systemd:hears "^STOPPING=1$"
      assert.equal("EXTEND_TIMEOUT_USEC=38000000", systemd:hears "^EXTEND_TIMEOUT_USEC")
      local out, code = run:wait()
      assert.equal(0, code, out)
      assert.equal(3, count "^READY=1$")
   end)

   it("may have an abstract socket; it is asked for time, and told why, while there is no broker", function()
      local run = start("@moonrabbit.test." .. broker.name "n", "--url amqp://127.0.0.1:1", [[
         local mr = require "moonrabbit"
         mr.consumer { queue = "q", handler = function() end }
      ]])
      systemd:hears "^EXTEND_TIMEOUT_USEC=30000000$"
      systemd:hears "^STATUS=0 of 1 connection open: .*nothing listens"
      assert.equal(0, count "^READY")
      assert.equal(0, count "^WATCHDOG") -- nobody has asked for it
      run:signal "TERM"
      systemd:hears "^STOPPING=1$"
      run:wait()
   end)

   spinning("misses a script that never comes back to its loop", function()
      local run = start("@moonrabbit.test." .. broker.name "n", "--drain 1", consumer "while true do end", "WATCHDOG_USEC=400000")
      systemd:hears "^READY=1$"
      systemd:hears "^WATCHDOG=1$"
      publish()
      broker.eventually("silence for four times the watchdog's time", function()
         local before = count "^WATCHDOG"
         mr.sleep(1.6)
         return count "^WATCHDOG" == before
      end)
      run:signal "TERM"
      run:signal "TERM"
      run:wait()
   end)

   it("hears of workers by their supervisor alone, which ends one that is stuck", function()
      local run = start("@moonrabbit.test." .. broker.name "n", "--workers 2 --drain 2",
         consumer "if msg.redelivered then return end while true do end", "WATCHDOG_USEC=1000000")
      systemd:hears "^READY=1$"
      run:says("msg=consuming", 2)
      systemd:hears "^STATUS=2 of 2 workers ready$"
      run:signal "HUP"
      systemd:hears "^RELOADING=1$"
      run:says("msg=reloaded", 2)
      systemd:hears "^READY=1$"
      publish()
      run:says 'msg="worker stuck"'
      run:says('signal=6', 1)
      systemd:hears "^STATUS=1 of 2 workers ready"
      systemd:hears "^STATUS=2 of 2 workers ready$"
      run:signal "TERM"
      systemd:hears "^STOPPING=1$"
      local out, code = run:wait()
      assert.equal(0, code, out)
      assert.equal(1, count "^STOPPING")
      for _, line in ipairs(systemd:all()) do assert.falsy(line:find "^STATUS=%d+ consumer", line) end
   end)

   it("may end before the program, which goes on", function()
      local run = start("@moonrabbit.test." .. broker.name "n", "", consumer "")
      systemd:hears "^READY=1$"
      systemd:close()
      run:signal "HUP"
      run:says "msg=reloaded"
      run:signal "TERM"
      local _, code = run:wait()
      assert.equal(0, code)
      systemd = manager.open("@moonrabbit.test." .. broker.name "n")
   end)
end)
