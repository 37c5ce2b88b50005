--- `moonrabbit run` as a worker: its stop and its report, its log lines, what it is told.
-- Covers: lua/moonrabbit/cli/losses.lua by unsettled
-- Covers: lua/moonrabbit/cli/signals.lua by SIGTERM
local broker = require "broker"
local mr = require "moonrabbit"
local build = require "build"

local shell, script = broker.shell, broker.script

local function run(options, text, more)
   return shell(("AMQP_URL='%s' %s run %s %s %s; code=$?; date '+ended %%s.%%N'; exit $code"):format(broker.tcp_url,
      broker.command, options, script(text), more or ""))
end

local function has(out, part) assert.truthy(out:find(part, 1, true), part .. " is missing in " .. out) end

-- How many messages of a queue are ready, once that is what it should be; the queue goes.
local function left(queue, wanted)
   local ch = broker.channel()
   broker.eventually(wanted .. " messages of " .. queue, function() return broker.count(ch, queue) == wanted end)
   local redelivered = wanted > 0 and broker.take(ch, queue).redelivered
   assert(ch:queue_delete { queue = queue })
   return redelivered
end

-- Publishes COUNT messages to itself and signals itself once all are at work; number 50 is stuck.
local HUNDRED = [[
   local mr = require "moonrabbit"
   local count, begun = 100, 0
   local ch = assert(mr.connect():channel())
   assert(ch:queue_declare { queue = "%s" })
   assert(ch:qos { prefetch_count = count })
   assert(ch:consume("%s", function(msg)
      begun = begun + 1
      if begun == count then os.execute("(sleep 0.1; date '+told %%s.%%N'; kill -%s $PPID) &") end
      %s
      mr.sleep(0.3)
   end))
   for i = 1, count do assert(ch:publish("", "%s", tostring(i))) end
]]

describe("a worker that is told to stop", function()
   teardown(broker.none_left)

   it("within 5 s, with one of 100 handlers stuck, acks 99, names the one, exits with 75, and it comes again (T29)", function()
      local q = broker.name "drain"
      local stuck = 'if msg.body == "50" then mr.sleep(60) end'
      local out, code = run("--drain 5", HUNDRED:format(q, q, "TERM", stuck, q))
      assert.equal(75, code, out)
      assert.is_true(out:match "ended ([%d.]+)" - out:match "told ([%d.]+)" <= 5, out)
      local _, lines = out:gsub("msg=abandoned", "")
      assert.equal(1, lines, out)
      local line = out:match "[^\n]*msg=abandoned[^\n]*"
      for _, part in ipairs { "queue=" .. q, " tag=50", "routing_key=" .. q, "redelivered=false", ":6 ", ":9 " } do has(line, part) end
      assert.is_true(tonumber(line:match " seconds=([%d.]+)") > 4, line)
      has(out, "msg=stopped code=75 handlers=1 publishes=0 text=\"unsettled messages come again\"")
      assert.is_true(left(q, 1))
   end)

   it("while its consumer still waits for a broker stops at once, also when the script waits for that (M9)", function()
      local out, code = run("--drain 20 --log-level warn", [[
         local mr = require "moonrabbit"
         local w = mr.consumer { queue = "q", handler = print, connection = mr.connect { url = "amqp://127.0.0.1:1",
            retry = function() return 3600 end } }
         mr.after(0.2, function()
            print("told " .. os.time())
            mr.stop()
         end)
         w:wait()]])
      assert.equal(0, code, out)
      assert.is_true(out:match "ended ([%d.]+)" - out:match "told ([%d.]+)" <= 5, out)
   end)

   it("by SIGINT or by SIGTERM stops consuming, finishes, closes and exits with 0 (M9, O8, O9)", function()
      for _, signal in ipairs { "INT", "TERM" } do
         local q = broker.name "drain"
         local out, code = run("--drain 5", HUNDRED:format(q, q, signal, "", q))
         assert.equal(0, code, out)
         has(out, "msg=stopping signal=SIG" .. signal)
         has(out, "msg=stopped code=0 handlers=0 publishes=0")
         assert.falsy(left(q, 0))
      end
   end)

   it("prints what goes wrong meanwhile, raises nothing, and stops all the same (M9)", function()
      local out, code = run("", [[
         local mr = require "moonrabbit"
         mr.on_stop(function() error "the hook is broken" end)
         mr.after(0, mr.stop)
         assert(mr.connect():connect())
      ]])
      assert.equal(0, code, out)
      has(out, "the hook is broken")
      has(out, "msg=stopped code=0")
   end)

   it("counts the publish that the script itself waits for, when it cannot go out", function()
      local out, code = run("--drain 0.3", [[
         local mr = require "moonrabbit"
         mr.after(0.1, function() os.execute "kill -TERM $PPID" end)
         mr.publisher { connection = mr.connect "amqp://127.0.0.1:1", routing_key = "q" }:publish "x"
      ]])
      assert.equal(74, code, out)
      has(out, "msg=stopped code=74 handlers=0 publishes=1")
   end)

   -- TSan holds signals back until the program calls something that it intercepts; a spinning script does not.
   local spinning = not build.is_tsan and it or pending
   spinning("is ended soon after --drain when its script spins, with 75 and the reason", function()
      local out, code = run("--drain 0", 'os.execute "kill -TERM $PPID" while true do end')
      assert.equal(75, code, out)
      has(out, "level=error msg=stopped at=")
      has(out, "code=75 handlers=0 publishes=0 text=\"the script did not let go within --drain\"")
   end)
end)

describe("a worker's log", function()
   teardown(broker.none_left)

   it("has a line for connecting, connected, lost, recovered, processing and stopped (O11)", function()
      local q = broker.name "log"
      local text = ([[
         local mr = require "moonrabbit"
         local conn = mr.connect { name = "billing", on_event = function(ev) if ev.type == "recovered" then mr.stop() end end }
         local ch = assert(conn:channel())
         assert(ch:queue_declare { queue = "%s", auto_delete = true })
         assert(ch:consume("%s", function() mr.after(0.01, function() print "now" io.flush() end) end))
         assert(ch:publish("", "%s", "x"))
      ]]):format(q, q, q)
      local out, code
      broker.quietly(function()
         mr.spawn(function()
            broker.eventually("the worker", function() return broker.connection_with "billing" end)
            mr.sleep(0.3)
            broker.close_connections "maintenance"
         end)
         out, code = run("--log-level debug", text)
      end)
      assert.equal(0, code, out)
      local host = "connection=billing host=127.0.0.1:" .. broker.port
      has(out, "level=info msg=connecting " .. host .. " attempt=1")
      has(out, "level=info msg=connected " .. host)
      has(out, "level=debug msg=processing ")
      has(out, "level=error msg=lost " .. host .. " kind=connection_forced code=320")
      has(out, "level=debug msg=connecting " .. host .. " attempt=1")
      has(out, "level=info msg=recovered " .. host .. " gap=")
      has(out, "level=info msg=stopped code=0")
      assert.falsy(out:find("guest:guest", 1, true))
   end)
end)

describe("a worker is told", function()
   it("settings by --set and arguments, which it finds in mr.args", function()
      local out, code = run("--set queue=invoices --set 'greeting=hello world'", [[
         local args = require("moonrabbit").args
         print(args.queue, args.greeting, args[1], args[2], args.missing, #args, args[0] == arg[0])
      ]], "one --two")
      assert.equal(0, code, out)
      has(out, "invoices\thello world\tone\t--two\tnil\t2\ttrue")
   end)

   it("what there is by --help, within 100 columns", function()
      local out, code = shell(broker.command .. " run --help")
      assert.equal(0, code)
      for line in out:gmatch "[^\n]+" do assert.is_true(#line <= 100, line) end
      for _, word in ipairs { "--url", "--http", "--set", "--workers", "--watch", "--drain", "--log-level", "--log-format",
         "SIGHUP", "SIGTERM", "75", "MOONRABBIT_LOG_FORMAT", "docs/worker.md" } do has(out, word) end
   end)

   it("its options by the environment; the command line wins", function()
      local path = script 'local mr = require "moonrabbit" mr.log.info "told" mr.log.debug "more"'
      local out, code = shell(("MOONRABBIT_LOG_FORMAT=json MOONRABBIT_LOG_LEVEL=error %s run --log-level info %s"):format(
         broker.command, path))
      assert.equal(0, code, out)
      has(out, '"level":"info","msg":"told"}')
      assert.falsy(out:find("more", 1, true))
      out, code = shell(("MOONRABBIT_DRAIN=soon %s run %s"):format(broker.command, path))
      assert.equal(2, code)
      has(out, 'MOONRABBIT_DRAIN takes a number of seconds, not "soon"')
   end)

   it("long texts of any language as they are, and what is no text as its bytes", function()
      local kinds = { "\195\169", "\226\130\172", "\240\159\144\135" }
      for _, format in ipairs { "logfmt", "json" } do
         for shift = 0, 3 do
            for _, kind in ipairs(kinds) do
               local text = ("x"):rep(shift) .. kind:rep(200)
               local path = script(("require('moonrabbit').log.info %q"):format(text .. "\255" .. kind))
               local out = shell(("%s run --log-level info --log-format %s %s"):format(broker.command, format, path))
               has(out, text .. (format == "json" and "\\u00ff" or "\\xff") .. kind)
            end
         end
      end
   end)
end)
