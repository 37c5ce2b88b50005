--- attach: a look into a running process from the command line.
-- Covers: lua/moonrabbit/cli/attach.lua by attach
-- Covers: lua/moonrabbit/cli/status.lua by status
local broker = require "broker"
local cjson = require "cjson"
local mr = require "moonrabbit"
local build = require "build"
local place = require "place"
local process = require "process"
local shell = require "shell"
local eventually = require("waits").eventually

local spinning = not build.is_tsan and it or pending -- see command_spec.lua

describe("a running process", function()
   local folder, script, running

   setup(function()
      folder = place.make { ["looked_into.lua"] = [[
local mr = require "moonrabbit"
counter = 0
mr.inspect.answer = 42
mr.consumer { queue = "attach_spec", handler = function(msg)
   counter = counter + 1
   if msg.body == "spin" then
      local till, enough = mr.now() + 60, os.getenv "XDG_RUNTIME_DIR" .. "/enough"
      while mr.now() < till and not io.open(enough) do end
   end
end }
]] }
      script = folder .. "/looked_into.lua"
   end)
   teardown(function() place.remove(folder) end)
   before_each(function()
      running = process.start(("%s run --log-level info %s"):format(broker.command, script),
         ("AMQP_URL=%s XDG_RUNTIME_DIR=%s"):format(broker.tcp_url, folder))
      running:says "msg=consuming"
   end)
   after_each(function()
      process.end_all()
      local conn = mr.connect(broker.tcp_url)
      conn:channel():queue_delete { queue = "attach_spec" }
      conn:close()
   end)

   local function moonrabbit(arguments)
      return shell(("XDG_RUNTIME_DIR=%s %s %s"):format(folder, broker.command, arguments))
   end
   local function publish(body)
      local conn = mr.connect(broker.tcp_url)
      local ch = conn:channel()
      ch:confirm_select()
      assert(ch:publish("", "attach_spec", body))
      conn:close()
   end

   it("is found by itself, by pid, by name, and runs expressions within time and output limits (FAULTS-S6)", function()
      assert.same({ "0\n42\n", 0 }, { moonrabbit "attach -e counter -e answer" })
      publish "one"
      eventually("the message", function() return (moonrabbit "attach looked_into -e counter") == "1\n" end)
      assert.same({ "hello\n5\n", 0 }, { moonrabbit(("attach %d -e 'print[[hello]] return 5'"):format(running.pid)) })
      assert.same({ '{"a":[1,2]}\n', 0 }, { moonrabbit "attach --json -e '{ a = { 1, 2 } }'" })
      local out, code = moonrabbit "attach -e 'nothing.here' -e 'print[[not reached]]'"
      assert.equal(1, code)
      assert.truthy(out:find "console:1: .*nothing")
      assert.is_nil(out:find "not reached")
      running:stop()
   end)

   it("shows its status, also while it spins, and lets an expression wait and say why", function()
      publish "spin"
      eventually("the spinning", function() return (moonrabbit "status"):find "busy for" end)
      local status = moonrabbit "status"
      assert.truthy(status:find("looked_into.lua:4", 1, true), status)
      local recorded = shell(("curl -s --unix-socket %s/moonrabbit/*.sock 'http://x/recorder?filter=basic.deliver'"):format(folder))
      assert.equal("attach_spec", cjson.decode(recorded).events[1].queue)
      -- It spins until the one who waits has said why: a busy machine may take seconds for a command.
      local out = shell(([[cd %s && { %s attach -e counter >out 2>&1 & }
         for _ in $(seq 600); do grep -q busy out && break; sleep 0.1; done; touch enough; wait; cat out]]):format(folder,
         "XDG_RUNTIME_DIR=" .. folder .. " " .. broker.command))
      assert.truthy(out:find("the script is busy for", 1, true), out)
      assert.truthy(out:find "\n1\n$", out)
      local page = cjson.decode((moonrabbit "status --json looked_into.lua"))
      assert.same({ running.pid, "attach_spec", "open" }, { page.pid, page.consumers[1].queue, page.connections[1].state })
      running:stop()
   end)

   local function memory(field) return tonumber(shell(("cat /proc/%d/status"):format(running.pid)):match(field .. ":%s*(%d+)")) / 1024 end

   it("passes on 100 MiB as they come, and keeps little of them, read or not (FAULTS-S6)", function()
      local text = "'local s = (\"x\"):rep(2^20) for i = 1, 100 do print(s) end return 7'"
      local before = memory "VmRSS"
      local command = ("attach --output 110000000 --seconds %%s -e %s %%s"):format(text)
      assert.equal("104857702\n", (moonrabbit(command:format("60", "| wc -c"))))
      moonrabbit(command:format("0.5", "| sleep 1")) -- nobody reads
      assert.equal("0\n", (moonrabbit "attach -e counter"))
      assert.truthy(memory "VmHWM" < before + 40, memory "VmHWM")
   end)

   spinning("ends an endless expression at its time, and goes on", function()
      local out, code = moonrabbit "attach --seconds 0.3 -e 'while true do end'"
      assert.equal(1, code)
      assert.truthy(out:find "time limit", out)
      publish "after"
      eventually("the message", function() return (moonrabbit "attach -e counter") == "1\n" end)
      running:stop()
   end)

   it("is told apart: no such process, none at all, a file of a dead one, a socket that is none", function()
      local out, code = moonrabbit "attach nobody -e 1"
      assert.same({ 2, true }, { code, out:find 'no process "nobody"; there are:' ~= nil })
      assert.equal(2, select(2, moonrabbit "status nobody"))
      assert.equal(1, select(2, moonrabbit "status /nowhere/x.sock"))
      running:signal "KILL"
      running:wait()
      assert.truthy(shell("ls " .. folder .. "/moonrabbit"):find "looked_into")
      out, code = moonrabbit "status"
      assert.same({ 2, true }, { code, out:find "no process of this user has a console" ~= nil })
      assert.equal("", (shell("ls " .. folder .. "/moonrabbit"))) -- the dead one's file is gone
   end)
end)

describe("a console's options", function()
   local folder
   setup(function()
      folder = place.make { ["idle.lua"] = 'local mr = require "moonrabbit"\nmr.every(3600, function() end)\nprint "up"\n' }
   end)
   teardown(function()
      process.end_all()
      place.remove(folder)
   end)

   local function run(options)
      local one = process.start(("%s run %s %s/idle.lua"):format(broker.command, options, folder), "XDG_RUNTIME_DIR=" .. folder)
      one:says "up"
      return one
   end

   it("are a path, none, and read-only", function()
      local one = run(("--console %s/c.sock --console-read-only"):format(folder))
      local out, code = shell(("%s attach %s/c.sock -e 1"):format(broker.command, folder))
      assert.same({ 1, true }, { code, out:find "read%-only" ~= nil })
      assert.equal(0, select(2, shell(("%s status %s/c.sock"):format(broker.command, folder))))
      one:stop()
      one = run "--no-console"
      assert.is_nil(io.open(folder .. "/c.sock"))
      assert.equal("", (shell(("ls %s/moonrabbit 2>/dev/null || true"):format(folder))))
      one:stop()
   end)

   local AS = "setpriv --reuid=%d --regid=%d --clear-groups %s"
   -- Root can be another user, who must be able to run the command.
   local as_root = select(2, shell(AS:format(65534, 65534, broker.command .. " --version"))) == 0 and it or pending

   as_root("let nobody in but the own user and root, whatever the modes of the files are", function()
      os.execute(("chmod -R 755 %s && chmod 777 %s"):format(folder, folder))
      local of_root = run(("--console %s/root.sock"):format(folder))
      local other = process.start(AS:format(65534, 65534,
         ("%s run --console %s/other.sock %s/idle.lua"):format(broker.command, folder, folder)))
      other:says "up"
      local function attach(uid, arguments)
         local who = uid == 0 and "" or AS:format(uid, uid, "")
         return shell(("XDG_RUNTIME_DIR=/nowhere %s %s attach %s -e '6 * 7' 2>&1"):format(who, broker.command, arguments))
      end
      local function is_refused(uid, arguments, why)
         local out, code = attach(uid, arguments)
         assert.same({ 2, true }, { code, out:find(why, 1, true) ~= nil }, out)
         assert.equal("moonrabbit: ", out:sub(1, 12))
         assert.equal(2, select(2, out:gsub("\n", "\n")), out) -- the reason, and where the help is
      end
      is_refused(65534, folder .. "/root.sock", "Permission denied: only its user and root may attach")
      is_refused(1, folder .. "/other.sock", "Permission denied")
      is_refused(65534, tostring(of_root.pid), "no process of this user has a console")
      os.execute(("chmod 777 %s/*.sock"):format(folder))
      is_refused(65534, folder .. "/root.sock", "belongs to another user")
      is_refused(1, folder .. "/other.sock", "belongs to another user")
      for _, case in ipairs { { 0, "root" }, { 0, "other" }, { 65534, "other" } } do
         assert.same({ "42\n", 0 }, { attach(case[1], ("%s/%s.sock"):format(folder, case[2])) })
      end
      other:stop()
      of_root:stop()
   end)

   it("take an absolute path alone", function()
      local out, code = shell(("%s run --console c.sock %s/idle.lua"):format(broker.command, folder))
      assert.same({ 2, true }, { code, out:find("absolute path", 1, true) ~= nil })
   end)

   it("leave the script alone where no console can be", function()
      local one = run "--console /nowhere/at/all.sock"
      local out, code = one:stop()
      assert.equal(0, code)
      assert.truthy(out:find 'msg="no console"', out)
   end)
end)
