--- recorder: files of the flight recorder of a running process.
-- Covers: lua/moonrabbit/cli/recorder_text.lua by QUEUE
local broker = require "broker"
local cjson = require "cjson"
local mr = require "moonrabbit"
local place = require "place"
local process = require "process"
local shell = require "shell"
local eventually = require("waits").eventually

describe("the flight recorder of a process", function()
   local folder, script

   setup(function()
      folder = place.make { ["recorded.lua"] = [[
local mr = require "moonrabbit"
mr.consumer { queue = "recorder_contract", handler = function(msg)
   if msg.body == "for ever" then mr.sleep(1000) end
end }
]] }
      script = folder .. "/recorded.lua"
   end)
   teardown(function() place.remove(folder) end)
   after_each(function()
      process.end_all()
      os.execute(("rm -rf %s/state"):format(folder))
      local conn = mr.connect(broker.tcp_url)
      conn:channel():queue_delete { queue = "recorder_contract" }
      conn:close()
   end)

   local function start(options, more)
      local running = process.start(("%s run %s %s"):format(broker.command, options or "", script),
         ("AMQP_URL=%s XDG_RUNTIME_DIR=%s XDG_STATE_HOME=%s/state %s"):format(broker.tcp_url, folder, folder, more or ""))
      running:says "msg=consuming"
      return running
   end
   local function publish(body)
      local conn = mr.connect(broker.tcp_url)
      local ch = conn:channel()
      ch:confirm_select()
      assert(ch:publish("", "recorder_contract", body))
      conn:close()
   end
   local function files(where)
      local list = {}
      for name in (shell(("ls %s 2>/dev/null"):format(where))):gmatch "recorder%-[^\n]+" do list[#list + 1] = name end
      return list
   end
   local function events(path)
      local list = {}
      for line in io.lines(path) do list[#list + 1] = cjson.decode(line) end
      return list
   end

   it("is written at SIGUSR1, for its user alone, and the log says where", function()
      local running = start()
      publish "hello"
      os.execute("kill -USR1 " .. running.pid)
      running:says "recording written"
      local list = files(folder .. "/state/moonrabbit")
      assert.equal(1, #list)
      assert.truthy(list[1]:find(("-%d-0001.jsonl"):format(running.pid), 1, true))
      local path = folder .. "/state/moonrabbit/" .. list[1]
      assert.equal("600\n", (shell("stat -c %a " .. path)))
      assert.equal("700\n", (shell(("stat -c %%a %s/state/moonrabbit"):format(folder))))
      local seen = {}
      for _, e in ipairs(events(path)) do seen[e.name] = true end
      assert.truthy(seen["basic.consume"] and seen["connection.open-ok"])
      running:stop()
   end)

   it("is in the folder of state that systemd gives a unit, whose home nobody may write to", function()
      local running = start("", ("HOME=%s/no/home STATE_DIRECTORY=%s/state/unit"):format(folder, folder))
      os.execute("kill -USR1 " .. running.pid)
      running:says "recording written"
      assert.equal(1, #files(folder .. "/state/unit"))
      running:stop()
   end)

   it("is written when a handler is abandoned, and has it", function()
      local running = start(("--drain 0.2 --recorder-dir %s/state/named"):format(folder))
      publish "for ever"
      eventually("the message", function()
         return (shell(("XDG_RUNTIME_DIR=%s %s attach recorded -e 'mr.stats().in_flight'"):format(folder, broker.command))) == "1\n"
      end)
      running:signal "TERM"
      running:says "recording written"
      local list = files(folder .. "/state/named")
      assert.equal(1, #list)
      local all = events(folder .. "/state/named/" .. list[1])
      local found
      for _, e in ipairs(all) do found = found or e.kind == "handler" and e end
      assert.equal("abandoned", found.name)
      assert.equal(1, found.number)
      assert.truthy(found.text:find("recorder_contract", 1, true))
      running:wait()
   end)

   it("is written when a connection is given up", function()
      local giving_up = folder .. "/giving_up.lua"
      local file = assert(io.open(giving_up, "w"))
      file:write [[
local mr = require "moonrabbit"
local b = assert(mr.testing.broker { listen = "127.0.0.1:0" })
local conn = mr.connect { url = "amqp://127.0.0.1:" .. b.port, recover = false }
assert(conn:channel())
b:drop()
mr.sleep(1000)
]]
      file:close()
      local running = process.start(("%s run --no-console --recorder-dir %s/state/named %s"):format(broker.command, folder, giving_up))
      running:says 'reason="a connection was given up"'
      local list = files(folder .. "/state/named")
      assert.equal(1, #list)
      local all = events(folder .. "/state/named/" .. list[1])
      assert.truthy(#all > 5)
      running:wait() -- it ends by its loss
   end)

   it("keeps ten files, the newest ones", function()
      local where = folder .. "/state/moonrabbit"
      os.execute("mkdir -p " .. where)
      for i = 1, 12 do
         local file = assert(io.open(("%s/recorder-20200101T0000%02dZ-1-0001.jsonl"):format(where, i), "w"))
         file:close()
      end
      assert(io.open(where .. "/history", "w")):close()
      local running = start()
      os.execute("kill -USR1 " .. running.pid)
      running:says "recording written"
      local list = files(where)
      assert.equal(10, #list)
      assert.equal("recorder-20200101T000004Z-1-0001.jsonl", list[1])
      assert.truthy(io.open(where .. "/history"))
      running:stop()
   end)

   it("is shown at the prompt, and refuses a wrong filter", function()
      local running = start()
      publish "hello"
      local function prompt(line)
         return shell(("echo '%s' | XDG_RUNTIME_DIR=%s %s attach recorded 2>&1"):format(line, folder, broker.command))
      end
      eventually("the settle", function() return (prompt ".recorder \"settle ack\""):find "settle +ack" end)
      local out = prompt ".recorder basic.deliver"
      assert.truthy(out:find "TIME +KIND +WHAT +AT +NUMBER +QUEUE +TEXT", out)
      assert.truthy(out:find "in +basic.deliver +1/1 +1 +recorder_contract +recorder_contract", out)
      local why, code = prompt ".recorder channel=x"
      assert.equal(1, code)
      assert.truthy(why:find("take a whole number", 1, true), why)
      running:stop()
   end)

   it("shows events in a row as one line, with their numbers or their count", function()
      local lines = require("moonrabbit.cli.recorder_text").lines { events = {
         { time = 1, kind = "settle", name = "ack", connection = 1, channel = 1, number = 5, count = 3 },
         { time = 1, kind = "out", name = "basic.publish", connection = 1, channel = 1, count = 2, text = "orders" },
         { time = 1, kind = "settle", name = "ack", connection = 1, channel = 1, number = 9 },
      } }
      assert.truthy(lines[2]:find("ack +1/1 +5..7 *$"), lines[2])
      assert.truthy(lines[3]:find("basic.publish +1/1 +x2 +orders"), lines[3])
      assert.truthy(lines[4]:find("ack +1/1 +9 *$"), lines[4])
   end)

   it("has the size that is asked for, and a wrong one is refused", function()
      local running = start "--recorder 0"
      local function attach(text) return (shell(("XDG_RUNTIME_DIR=%s %s attach recorded -e '%s'"):format(folder, broker.command, text))) end
      assert.equal("0\n", attach "#mr.recorder.last(100)")
      running:stop()
      local out, code = shell(("%s run --recorder many %s 2>&1"):format(broker.command, script))
      assert.equal(2, code)
      assert.truthy(out:find("--recorder takes a whole number from 0 to", 1, true), out)
   end)
end)
