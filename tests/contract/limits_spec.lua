--- What a program is told at the limits of its system: no descriptors left, a long TMPDIR, errors that are tables.
-- Covers: lua/moonrabbit/cli/folder.lua by TMPDIR
local broker = require "broker"
local http = require "http"
local process = require "process"

local shell, command, script = broker.shell, broker.command, broker.script
local LUAJIT = command:match "^(.*)/" .. "/test_luajit" -- plain LuaJIT, with the sanitizers of the build

local function has(out, part) assert.truthy(out:find(part, 1, true), ("%q is missing in:\n%s"):format(part, out)) end
local function lacks(out, part) assert.falsy(out:find(part, 1, true), ("%q is in:\n%s"):format(part, out)) end

-- Runs a script, by the command and in plain LuaJIT, with few descriptors; its output.
local function run_short(text, check)
   local path = script(text)
   for _, program in ipairs { command .. " run", LUAJIT } do
      check((shell(("ulimit -n 40; AMQP_URL=%s %s %s"):format(broker.tcp_url, program, path))))
   end
end

describe("a program without a descriptor left", function()
   local TAKE_ALL = [[
      local mr = require "moonrabbit"
      local files = {}
      local function take_all()
         local f = io.open "/dev/null"
         while f do
            files[#files + 1] = f
            f = io.open "/dev/null"
         end
      end
      local function give_back()
         for _, f in ipairs(files) do f:close() end
         files = {}
      end
   ]]

   it("is told so by whatever needs one, and goes on when there is one again (FIELD-H7)", function()
      run_short(TAKE_ALL .. [[
         mr.log.configure "off"
         assert(mr.connect():connect()) -- the resolver has read its files
         local function show(name, ok, err)
            print(name .. ": " .. (ok and "well" or err.kind .. " " .. tostring(err.errno) .. " " .. err.text .. " " .. err.hint))
         end
         take_all()
         show("tcp", mr.connect { url = os.getenv "AMQP_URL", heartbeat = 7 }:connect())
         show("named", mr.connect { hostname = "no-such-host.invalid" }:connect())
         show("tls", mr.connect { url = "amqps://127.0.0.1:1" }:connect())
         show("embedded", mr.connect "memory://":connect())
         show("pages", mr.health.listen "127.0.0.1:0")
         show("pages at a path", mr.health.listen(os.tmpname and "/tmp/limits-" .. tostring({}):sub(8)))
         show("broker", mr.testing.broker())
         give_back()
         show("again", mr.connect { url = os.getenv "AMQP_URL", heartbeat = 8 }:connect())
         mr.run()
      ]], function(out)
         for _, what in ipairs { "tcp", "named", "tls", "embedded", "pages", "pages at a path", "broker" } do
            has("\n" .. out, "\n" .. what .. ": no_descriptors 24 ")
         end
         has(out, "again: well")
         has(out, "Too many open files")
         has(out, "ulimit -n")
         lacks(out, "out of memory")
      end)
   end)

   it("is told so when there is none for the runtime (FIELD-H7)", function()
      local out = shell(("ulimit -n 40; %s %s"):format(LUAJIT, script(TAKE_ALL .. [[
         take_all()
         local ok, why = pcall(mr.sleep, 0)
         give_back()
         print(ok, why)
         mr.sleep(0)
         print "goes on"
         mr.run()
      ]])))
      has(out, "no_descriptors: no file descriptor is left")
      has(out, "goes on")
   end)

   it("recovers a connection when there are some again (FIELD-H7)", function()
      local out = shell(("ulimit -n 60; AMQP_URL=%s %s run %s"):format(broker.tcp_url, command, script(TAKE_ALL .. [[
         local b = assert(mr.testing.broker { listen = "127.0.0.1:0" })
         local failed, recovered = mr.event(), mr.event()
         local conn = mr.connect { url = ("amqp://guest:guest@127.0.0.1:%d"):format(b.port), on_event = function(ev)
            if ev.type == "retrying" and ev.err.kind == "no_descriptors" then failed:set() end
            if ev.type == "recovered" then recovered:set() end
         end, retry = function(ctx) return ctx.attempt == 1 and 1 or 0.05 end }
         assert(conn:connect())
         b:drop()
         take_all()
         local taking = mr.every(0.005, take_all) -- what the lost connection had is free a moment later
         print("failed", failed:wait(20))
         taking:cancel()
         give_back()
         print("recovered", recovered:wait(20))
         conn:close()
         b:close()
         mr.stop()
      ]])))
      has(out, "failed\ttrue")
      has(out, "recovered\ttrue")
   end)
end)

describe("the workers of a program", function()
   after_each(process.end_all)

   it("run where TMPDIR is long, relative or empty, and say what is wrong with it (FIELD-H7)", function()
      local base = os.tmpname()
      os.remove(base)
      local long = base .. ("/" .. ("x"):rep(60)):rep(4)
      os.execute("mkdir -p " .. long)
      local path = script 'require("moonrabbit").every(60, print) print "ready"'
      for _, place in ipairs { long, long:sub(2), "" } do
         local group = process.start(("sh -c \"cd / && exec %s run --workers 2 --http 127.0.0.1:0 %s\""):format(command, path),
            ("TMPDIR=%s"):format(place == "" and '""' or place))
         group:says("ready", 2)
         group:says '"health pages" address=127.0.0.1 port='
         local port = tonumber(group:output():match '"health pages" address=127.0.0.1 port=(%d+)')
         broker.eventually("an answer of both", function()
            local status, body = http.ask(port, "/live")
            return status == 200 and select(2, body:gsub('"alive"', "")) == 2
         end)
         local out, code = group:stop()
         assert.equal(0, code, out)
         lacks(out, "worker died")
      end
      local left = shell("ls " .. long)
      assert.equal("", left)
      local out, code = shell(("TMPDIR=%s/nowhere %s run --workers 2 --http 127.0.0.1:0 %s"):format(long, command, path))
      assert.equal(1, code)
      has(out, "No such file or directory")
      os.execute("rm -r " .. base)
   end)
end)

describe("an error that is a table", function()
   local RAISE = [[
      local mr = require "moonrabbit"
      local reason = { code = 42, message = "no stock", of = { item = "lamp" } }
      reason.me = reason
   ]]
   local SHOWN = { "code=42", "message=no stock", "item=lamp" }

   local function shows(text, wanted_code)
      local out, code = shell(("AMQP_URL=%s %s run --drain 5 %s"):format(broker.tcp_url, command, script(RAISE .. text)))
      for _, part in ipairs(SHOWN) do has(out, part) end
      lacks(out, "table: 0x")
      if wanted_code then assert.equal(wanted_code, code, out) end
      return out
   end

   local CONSUMER = [[
      local conn = mr.connect()
      local ch = assert(conn:channel())
      local q = assert(ch:queue_declare { queue = "%s.rpc", exclusive = true }).queue
      local function stop() mr.after(0.05, mr.stop) end
      local function start(handler, more)
         local opts = { queue = { queue = "%s", exclusive = true }, connection = conn, dead_letter = false,
            retry = mr.retry.never, handler = handler }
         for k, v in pairs(more or {}) do opts[k] = v end
         assert(mr.consumer(opts):wait())
         assert(ch:publish("", "%s", "x"))
      end
   ]]

   local function consumer(text)
      local name = broker.name "shown"
      return CONSUMER:gsub("%%s", name) .. text
   end

   it("is shown with its values, wherever it is raised (FIELD-H7)", function()
      shows('error(reason)', 1)
      shows('mr.spawn(function() error(reason) end)', 0)
      shows('mr.after(0, function() error(reason) end)', 0)
      shows('local t t = mr.every(0.001, function() t:cancel() error(reason) end)', 0)
      shows('mr.on_stop(function() error(reason) end)', 0)
      shows('mr.spawn(function() coroutine.wrap(function() error(reason) end)() end)', 0)
      shows('mr.health.check("x", function() error(reason) end) mr.sleep(0.2)')
   end)

   it("is shown when a handler raises or returns it (FIELD-H7)", function()
      shows(consumer 'start(function() stop() error(reason) end)')
      shows(consumer 'start(function() stop() return nil, reason end)')
      shows(consumer 'start(print, { middleware = { function() stop() error(reason) end } })')
      shows(consumer 'start(print, { decode = function() stop() error(reason) end })')
      shows(consumer 'start(print, { decode = function() stop() return nil, reason end })')
      shows(consumer 'assert(ch:consume(q, function() stop() error(reason) end)) ch:publish("", q, "x")')
      shows(consumer 'start(function() stop() error "first" end, { retry = function() error(reason) end })')
      shows(consumer [[
         assert(mr.rpc.serve { queue = q, connection = conn, queue_opts = { durable = false, exclusive = true },
            handler = function() error(reason) end })
         print(mr.rpc.call(q, "x", { connection = conn }))
         mr.stop()
      ]])
      shows(consumer [[
         assert(mr.rpc.serve { queue = q, connection = conn, queue_opts = { durable = false, exclusive = true },
            handler = function() return nil, reason end })
         print(mr.rpc.call(q, "x", { connection = conn }))
         mr.stop()
      ]])
   end)

   it("is any value: nil, one of C, one whose __tostring works or fails (FIELD-H7)", function()
      for value, part in pairs { ["nil"] = "nil", ["require('ffi').new('int64_t', 77)"] = "77LL", ["42"] = "42", ["false"] = "false",
         ["setmetatable({}, { __tostring = function() return 'in words' end })"] = "in words",
         ["setmetatable({}, { __tostring = function() error 'no' end })"] = "a table whose __tostring fails" } do
         for _, text in ipairs { "error(%s)", "mr.spawn(function() error(%s) end)" } do
            local out = shell(("%s run %s"):format(command, script('local mr = require "moonrabbit" ' .. text:format(value))))
            has(out, part)
         end
      end
   end)
end)
