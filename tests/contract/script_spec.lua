--- The script that the command runs: where its modules are, where it comes from, what mr.run does in it.
-- Covers: lua/moonrabbit/cli/beside.lua by cpath
-- Covers: lua/moonrabbit/cli/input.lua by standard
-- Covers: lua/moonrabbit/cli/script.lua by bytecode
-- Covers: runtime/main/command.c by SIGHUP
local broker = require "broker"
local process = require "process"

local shell, command = broker.shell, broker.command

local function has(out, part) assert.truthy(out:find(part, 1, true), ("%q is missing in:\n%s"):format(part, out)) end

-- A folder with files, to be removed with all that is in it.
local function folder(files)
   local name = os.tmpname()
   os.remove(name)
   for path, text in pairs(files) do
      assert(os.execute(("mkdir -p '%s'"):format((name .. "/" .. path):match "^(.*)/")) == 0)
      local f = assert(io.open(name .. "/" .. path, "w"))
      f:write(text)
      f:close()
   end
   return name
end

describe("a script's own modules", function()
   local at

   before_each(function()
      at = folder {
         ["one/script.lua"] = [[
            local part, whole = require "part", require "whole"
            print("found " .. part .. " " .. whole .. " " .. require "deep.er")
            require("moonrabbit").spawn(function() print("late " .. require "late") end)
         ]],
         ["one/part.lua"] = 'return "part"', ["one/whole/init.lua"] = 'return "whole"', ["one/deep/er.lua"] = 'return "deeper"',
         ["one/late.lua"] = 'return "module"', ["elsewhere/part.lua"] = 'return "the wrong one"',
      }
   end)

   after_each(function() os.execute(("rm -rf '%s'"):format(at)) end)

   local function found(text)
      local out, code = shell(text)
      assert.equal(0, code, out)
      has(out, "found part whole deeper")
      has(out, "late module")
   end

   it("are beside it, wherever the command is started (FIELD-W20)", function()
      found(("cd / && %s run %s/one/script.lua"):format(command, at))
      found(("cd %s/elsewhere && %s run ../one/script.lua"):format(at, command))
      found(("cd %s/one && %s run script.lua"):format(at, command))
      found(("cd %s && %s run ./one/../one/script.lua"):format(at, command))
   end)

   it("come before those of the current folder and of LUA_PATH (FIELD-W20)", function()
      found(("cd %s/elsewhere && LUA_PATH=\"%s/elsewhere/?.lua;$LUA_PATH\" %s run %s/one/script.lua"):format(at, at, command, at))
   end)

   it("are where a symbolic link leads (FIELD-W20)", function()
      os.execute(("ln -s ../one/script.lua %s/elsewhere/link.lua && ln -s one %s/current"):format(at, at))
      found(("cd / && %s run %s/elsewhere/link.lua"):format(command, at))
      found(("cd / && %s run %s/current/script.lua"):format(command, at))
   end)

   it("are those of the current folder for a script from standard input (FIELD-W20)", function()
      found(("cd %s/one && %s run - < script.lua"):format(at, command))
   end)

   it("may be in C: the folder comes first in package.cpath, too (FIELD-W20)", function()
      local f = assert(io.open(at .. "/one/paths.lua", "w"))
      f:write "print(package.path) print(package.cpath)"
      f:close()
      local out = shell(("cd / && %s run %s/one/paths.lua"):format(command, at))
      local real = shell(("realpath %s/one"):format(at)):match "^[^\n]+"
      assert.equal(1, (out:find(("%s/?.lua;%s/?/init.lua;"):format(real, real), 1, true)))
      has(out, ("\n%s/?.so;"):format(real))
   end)

   it("are the new release's when a link is set to it and the script is reloaded (FIELD-W20)", function()
      local text = 'local mr = require "moonrabbit" mr.every(60, print) print("release " .. require "part")'
      for _, name in ipairs { "a", "b" } do
         os.execute(("mkdir %s/%s"):format(at, name))
         local f = assert(io.open(("%s/%s/service.lua"):format(at, name), "w"))
         f:write(text)
         f:close()
         f = assert(io.open(("%s/%s/part.lua"):format(at, name), "w"))
         f:write(('return "%s"'):format(name))
         f:close()
      end
      os.execute(("ln -s a %s/now"):format(at))
      local worker = process.run("", at .. "/now/service.lua")
      worker:says "release a"
      os.execute(("rm %s/now && ln -s b %s/now"):format(at, at))
      worker:signal "HUP"
      worker:says "release b"
      worker:says "msg=reloaded"
      local _, code = worker:stop()
      assert.equal(0, code)
   end)
end)

describe("a script from standard input", function()
   it("runs, with its arguments (FIELD-H7)", function()
      local out, code = shell(("echo 'print(\"input\", ..., arg[0], arg[1])' | %s run - one"):format(command))
      assert.equal(0, code, out)
      has(out, "input\tone\t-\tone")
      out, code = shell(("%s run - </dev/null"):format(command))
      assert.equal(0, code, out)
   end)

   it("says what is wrong with it (FIELD-H7)", function()
      local out, code = shell(("echo 'local x = = 1' | %s run -"):format(command))
      assert.equal(1, code)
      has(out, "standard input:1: unexpected symbol")
      out, code = shell(("echo 'error \"broken\"' | %s run -"):format(command))
      assert.equal(1, code)
      has(out, "standard input:1: broken")
   end)

   it("is no bytecode (FIELD-H7)", function()
      local path = broker.script(string.dump(function() print "never" end))
      local out, code = shell(("%s run - <%s"):format(command, path))
      assert.equal(1, code)
      assert.falsy(out:find("never", 1, true))
      has(out, "bytecode")
   end)

   it("goes neither to several processes nor with --watch, and cannot be reloaded (FIELD-H7)", function()
      for _, option in ipairs { "--workers 2", "--watch" } do
         local out, code = shell(("echo 'print \"never\"' | %s run %s -"):format(command, option))
         assert.equal(2, code, out)
         has(out, "standard input")
         assert.falsy(out:find("never", 1, true))
      end
      local path = broker.script 'require("moonrabbit").every(60, print) print "runs"'
      local worker = process.start(("%s run - <%s"):format(command, path))
      worker:says "runs"
      worker:signal "HUP"
      worker:says "reload failed"
      worker:says "standard input"
      local _, code = worker:stop()
      assert.equal(0, code)
   end)

   it("does not keep the command from being stopped while it is waited for (FIELD-H7)", function()
      local fifo = os.tmpname()
      os.execute(("rm %s; mkfifo %s"):format(fifo, fifo))
      local worker = process.start(("%s run - <>%s"):format(command, fifo))
      broker.eventually("its handling of signals", function() -- bit 14: SIGTERM
         local f = io.open(("/proc/%d/status"):format(worker.pid))
         local mask = f and f:read("*a"):match "SigCgt:%s*(%x+)"
         if f then f:close() end
         return mask and math.floor(tonumber(mask:sub(-8), 16) / 2 ^ 14) % 2 == 1
      end)
      local out, code = worker:stop()
      assert.equal(0, code, out)
      has(out, "SIGTERM")
      os.remove(fifo)
   end)
end)

describe("a script that calls mr.run itself", function()
   after_each(process.end_all)

   it("hears SIGTERM during it, and ends once (FIELD-H7)", function()
      local worker = process.run("", broker.script [[
         local mr = require "moonrabbit"
         mr.on_stop(function() print "hook" end)
         mr.every(60, print)
         print "ready"
         print("run", mr.run())
         mr.sleep(600)
         print "never"
      ]])
      worker:says "ready"
      local out, code = worker:stop()
      assert.equal(0, code, out)
      has(out, "run\ttrue")
      assert.equal(1, select(2, out:gsub("hook", "")))
      assert.falsy(out:find("never", 1, true))
   end)

   it("hears SIGTERM afterwards (FIELD-H7)", function()
      local text = [[
         local mr = require "moonrabbit"
         mr.spawn(function() mr.sleep(0.01) end)
         print("run", mr.run())
         %s
      ]]
      for _, rest in ipairs { 'mr.every(60, print) print "ready"', 'print "ready" mr.sleep(600)',
         'mr.every(60, print) print "ready" mr.run()', 'mr.after(0, mr.stop) mr.run() print "ready" mr.sleep(600)',
         'mr.consumer { queue = { queue = "again", exclusive = true }, handler = print }:wait() print "ready" mr.run()' } do
         local worker = process.run("", broker.script(text:format(rest)))
         worker:says "ready"
         local out, code = worker:stop()
         assert.equal(0, code, rest .. "\n" .. out)
         has(out, "SIGTERM")
      end
   end)

   it("keeps its level of logging, its pages and its ears for SIGHUP (FIELD-H7)", function()
      local path = broker.script [[
         local mr = require "moonrabbit"
         mr.spawn(function() mr.sleep(0.01) end)
         mr.run()
         mr.every(60, print)
         mr.log.debug "still debug"
         print "ready"
      ]]
      local worker = process.run("--log-level debug --http 127.0.0.1:0", path)
      worker:says "ready"
      worker:says "still debug"
      worker:says("health pages", 2)
      worker:signal "HUP"
      worker:says "mr.run must be called in the main chunk" -- of a script that is loaded anew, that is not
      local _, code = worker:stop()
      assert.equal(0, code)
   end)

   it("has what it abandons count (FIELD-H7)", function()
      local worker = process.run("--drain 0.2", broker.script [[
         local mr = require "moonrabbit"
         local ch = assert(mr.connect():channel())
         local q = assert(ch:queue_declare { exclusive = true }).queue
         assert(ch:consume(q, function() print "stuck" mr.event():wait() end))
         assert(ch:publish("", q, "x"))
         print("run", mr.run())
      ]])
      worker:says "stuck"
      local out, code = worker:stop()
      has(out, "run\tfalse")
      assert.equal(75, code, out)
   end)
end)

-- Eight values that change places keep the registers of the compiler of Debian 12's LuaJIT busy: it then cuts a pointer that
-- `next` gives, and the process crashes, each time.
local CRASHES = [[
   local function run(t)
      local a, b = "1", "2"
      local c, d, e, f, g, h = {}, {}, {}, {}, {}, {}
      local n
      for _ = 1, 300 do
         n = 0
         for k, v in %s do
            n = n + 1
            a, b = b, k
            c, d, e, f, g, h = d, e, f, g, h, c
         end
      end
      return n, a, b, c, d, e, f, g, h
   end
   print("counted " .. run { aa = "x1", bb = "x2", cc = "x3" })
]]

describe("a script's loops over tables", function()
   local at

   before_each(function()
      at = folder {
         ["pairs.lua"] = CRASHES:format "pairs(t)", ["next.lua"] = CRASHES:format "next, t",
         ["modules.lua"] = 'require "pairs" require "next"',
         ["handler.lua"] = [[
            local mr = require "moonrabbit"
            local ch = assert(assert(mr.connect()):channel())
            assert(ch:queue_declare { queue = "loops", exclusive = true })
            assert(ch:consume("loops", function()
               dofile(mr.args.folder .. "/pairs.lua")
               mr.stop()
            end))
            assert(ch:publish("", "loops", "x"))
         ]],
         ["host.lua"] = 'require "moonrabbit" dofile(arg[1] .. "/pairs.lua") dofile(arg[1] .. "/next.lua")',
      }
   end)

   after_each(function() os.execute(("rm -rf '%s'"):format(at)) end)

   local function counted(times, text)
      local out, code = shell(text)
      assert.equal(0, code, out)
      local _, count = out:gsub("counted 3", "")
      assert.equal(times, count, out)
   end

   it("are kept from a compiler that cuts pointers in them", function()
      counted(1, ("%s run %s/pairs.lua"):format(command, at))
      counted(1, ("%s run %s/next.lua"):format(command, at))
   end)

   it("are so in its modules, and in its handlers", function()
      counted(2, ("%s run %s/modules.lua"):format(command, at))
      counted(1, ("AMQP_URL=%s %s run --set folder=%s %s/handler.lua"):format(broker.tcp_url, command, at, at))
   end)

   it("are so in a host of its own, from require on", function()
      counted(2, ("%s %s/host.lua %s"):format(command:match "^(.*)/" .. "/test_luajit", at, at))
   end)
end)
