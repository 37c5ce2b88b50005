--- The command: run, check, version; signals and exit codes.
-- Covers: lua/moonrabbit/cli/hurry.lua by second
-- Covers: lua/moonrabbit/cli/run.lua by drain
-- Covers: lua/moonrabbit/cli/version.lua by version
local broker = require "broker"
local build = require "build"

local shell, script = broker.shell, broker.script

local function run(text, more)
   return shell(("AMQP_URL='%s' %s run %s %s"):format(broker.tcp_url, broker.command, script(text), more or ""))
end

describe("moonrabbit run", function()
   it("runs a script to its end and exits with 0", function()
      local out, code = run('print("arguments", ..., arg[2])', "--one two")
      assert.equal(0, code)
      assert.truthy(out:find("arguments\t--one\ttwo", 1, true))
   end)

   it("logs a script that fails in the format that is asked for (FIELD-W34)", function()
      local path = script "local function f() error 'broken' end f()"
      for _, more in ipairs { "", "--watch " } do
         local out, code = shell(("AMQP_URL=memory:// %s run --log-format json %s%s"):format(broker.command, more, path))
         assert.equal(1, code)
         for line in out:gmatch "[^\n]+" do
            local fields = require("cjson").decode(line)
            if fields.msg == "the script failed" then
               assert.truthy(fields.error:find "broken\nstack traceback:\n")
               path = fields.script == path and path
            end
         end
         assert.truthy(path, out)
      end
   end)

   it("shows the traceback of a script that fails, and exits with 1", function()
      local out, code = run('local function f() error "broken" end f()')
      assert.equal(1, code)
      assert.truthy(out:find("broken", 1, true))
      assert.truthy(out:find("traceback", 1, true))
   end)

   it("says what is wrong with a script that does not load", function()
      local out, code = run "local x = = 1"
      assert.equal(1, code)
      assert.truthy(out:find("unexpected symbol", 1, true))
      out, code = shell(broker.command .. " run /nowhere.lua")
      assert.equal(1, code)
      assert.truthy(out:find("/nowhere.lua", 1, true))
   end)

   it("wipes the password of --url from the process list (S4)", function()
      local path = script [[
         local mr = require "moonrabbit"
         assert(mr.connect():connect())
         print((io.open("/proc/self/cmdline"):read("*a"):gsub("%z", " ")))
      ]]
      local out, code = shell(("%s run --url '%s' %s"):format(broker.command, broker.tcp_url, path))
      assert.equal(0, code, out)
      assert.truthy(out:find("guest:*****@", 1, true), out)
      assert.falsy(out:find("guest:guest", 1, true))
   end)

   it("refuses bytecode (S7)", function()
      local out, code = run(string.dump(function() print "never" end))
      assert.equal(1, code)
      assert.falsy(out:find("never", 1, true))
   end)

   local CONSUMER = [[
      local mr = require "moonrabbit"
      local ch = assert(mr.connect():channel())
      assert(ch:queue_declare { queue = "%s", auto_delete = false })
      assert(ch:consume("%s", function(msg)
         print("began " .. msg.body) io.flush()
         %s
         print("ended " .. msg.body)
      end))
      assert(ch:publish("", "%s", "a"))
   ]]

   it("lets a handler finish when it is told to stop, and acks its message", function()
      local q = broker.name "drain"
      local text = CONSUMER:format(q, q, 'os.execute("kill -TERM $PPID") mr.sleep(0.5)', q)
      local out, code = run(text)
      assert.equal(0, code, out)
      assert.truthy(out:find("ended a", 1, true))
      local ch = broker.channel()
      assert.equal(0, assert(ch:queue_delete { queue = q }))
      broker.close_all()
   end)

   it("exits with 75 when a handler does not finish within --drain", function()
      local q = broker.name "drain"
      local text = CONSUMER:format(q, q, 'os.execute("kill -TERM $PPID") mr.sleep(30)', q)
      local out, code = shell(("AMQP_URL='%s' %s run --drain 0.3 %s"):format(broker.tcp_url, broker.command, script(text)))
      assert.equal(75, code, out)
      local ch = broker.channel()
      broker.eventually("the message's return", function()
         return ch:queue_declare { queue = q, passive = true }.message_count == 1
      end)
      assert.equal(1, assert(ch:queue_delete { queue = q }))
      broker.close_all()
   end)

   -- TSan holds signals back until the program calls something that it intercepts; a spinning script does not.
   local spinning = not build.is_tsan and it or pending
   spinning("ends at once on a second signal", function()
      local out, code = run [[os.execute("kill -TERM $PPID; sleep 0.3; kill -TERM $PPID") while true do end]]
      assert.equal(143, code, out)
   end)

   broker.it_rabbitmq(it, "exits with 1 when the connection is lost, and says why", function()
      local out, code = run [[
         local mr = require "moonrabbit"
         local ch = assert(mr.connect { connect_timeout = 2, recover = false }:channel())
         assert(ch:consume(assert(ch:queue_declare { exclusive = true }).queue, function() end))
         os.execute(("sh %s ctl %s close_all_connections maintenance >/dev/null &"):format(
            os.getenv "MR_RABBITMQ_SH", os.getenv "MR_RABBITMQ_DIR"))
      ]]
      assert.equal(1, code, out)
      assert.truthy(out:find("connection_forced", 1, true))
      assert.truthy(out:find("code=320", 1, true))
      assert.truthy(out:find("hint=", 1, true))
   end)
end)

describe("moonrabbit check", function()
   local function check(url) return shell(("%s check '%s'"):format(broker.command, url)) end

   it("says OK (F1, F2)", function()
      local out, code = check(broker.tcp_url)
      assert.equal(0, code)
      assert.truthy(out:find("^Connection OK"))
   end)

   it("tells people which broker it is, whatever name it bears for clients (FIELD-F1)", function()
      local out = check(broker.tcp_url)
      assert.truthy(out:find("RabbitMQ %d+%.%d+%.%d+"))
      assert.equal(not broker.is_rabbitmq, out:find("(embedded: Moonrabbit " .. require("moonrabbit").version .. ")", 1, true) ~= nil)
   end)

   it("gives each failure its kind and hint, and never the password (F1, F2, S4)", function()
      local host = "127.0.0.1:" .. broker.port
      local tls = os.getenv "MR_RABBITMQ_TLS_URL"
      local cases = {
         { "amqp://127.0.0.1:1", "connection_refused", "is RabbitMQ running" },
         { "amqp://guest:sEcReT@" .. host, "authentication_failed", "check user and password" },
         { "amqp://guest:guest@" .. host .. "/no-such", "vhost_access_refused", "list_vhosts" },
         { "amqps://" .. host, "protocol_mismatch", "5671" },
         { (tls:gsub("^amqps", "amqp")), "protocol_mismatch", "5671" },
         { tls, "tls_failed", "ca_certs" },
         { "amqp://guest:sEcReT@h:x", "bad_uri", "port" },
         { "amqp://" .. host .. "?heartbeet=1", "bad_option", "heartbeat" },
      }
      for _, case in ipairs(cases) do
         local out, code = check(case[1])
         assert.equal(1, code)
         assert.truthy(out:find("Connection failed: " .. case[2], 1, true), out)
         assert.truthy(out:find(case[3], 1, true), out)
         assert.falsy(out:find("sEcReT", 1, true), out)
      end
   end)

   it("verifies TLS with the CA it is given; shows user, vhost, TLS, the certificate's days, heartbeat, time (FIELD-W36)", function()
      local out, code = check(os.getenv "MR_RABBITMQ_TLS_URL" .. "?heartbeat=37&ssl_options.ca_certs="
         .. os.getenv "MR_RABBITMQ_CERTS" .. "/ca.pem")
      assert.equal(0, code, out)
      assert.truthy(out:find("\nuser guest, virtual host /, TLSv1%.3, certificate valid for %d+ days, heartbeat 37 s, %d+ ms\n"), out)
      out = check(broker.tcp_url)
      assert.truthy(out:find("\nuser guest, virtual host /, no TLS, heartbeat %d+ s, %d+ ms\n"), out)
   end)

   it("looks where run does: an argument, MOONRABBIT_URL, AMQP_URL, memory://; failures go to standard error (FIELD-W36)", function()
      local function look(environment, argument)
         return (shell(("env -u AMQP_URL -u MOONRABBIT_URL %s %s check %s 2>/dev/null"):format(environment, broker.command,
            argument or "")))
      end
      local path = script 'local c = require("moonrabbit").connect() c:connect() print("Connection OK: at " .. c.host)'
      local function place(out) return out:match "^Connection OK[^\n]* at ([^\n]*)\n" end
      local other = "AMQP_URL=amqp://127.0.0.1:1"
      for _, case in ipairs { { other .. " MOONRABBIT_URL=" .. broker.tcp_url, broker.port },
         { "AMQP_URL=" .. broker.tcp_url, broker.port }, { "MOONRABBIT_URL= AMQP_URL=" .. broker.tcp_url, broker.port },
         { "", "memory" } } do
         local mine = place(look(case[1]))
         assert.truthy(mine and mine:find(case[2], 1, true), case[1])
         assert.equal(place((shell(("env -u AMQP_URL -u MOONRABBIT_URL %s %s run --log-level error %s"):format(case[1], broker.command,
            path)))), mine)
      end
      assert.truthy(place(look("MOONRABBIT_URL=amqp://127.0.0.1:1", broker.tcp_url)):find(broker.port, 1, true))
      assert.equal("", look(other))
      local out, code = shell(("env -u MOONRABBIT_URL %s %s check 2>&1"):format(other, broker.command))
      assert.equal(1, code)
      assert.truthy(out:find("Connection failed: connection_refused", 1, true))
      out = shell(("env -u AMQP_URL -u MOONRABBIT_URL %s check 2>&1"):format(broker.command))
      assert.truthy(out:find("Warning: no broker is named", 1, true), out)
   end)
end)

describe("moonrabbit", function()
   it("prints its version and helps (FIELD-W39)", function()
      for _, way in ipairs { "version", "--version", "-V" } do
         assert.truthy(shell(broker.command .. " " .. way):find("^moonrabbit %d+%.%d+%.%d+"))
      end
      local out, code = shell(broker.command .. " --help")
      assert.equal(0, code)
      for _, word in ipairs { "run", "check", "version" } do assert.truthy(out:find(word, 1, true)) end
      for _, name in ipairs { "", "run", "check", "broker", "version" } do
         local other
         out, code = shell(("%s help %s"):format(broker.command, name))
         other = shell(("%s %s --help"):format(broker.command, name))
         assert.same({ other, 0 }, { out, code })
      end
   end)

   it("names the help of the command that is used wrongly (FIELD-W35)", function()
      for arguments, wanted in pairs { ["nonsense"] = "moonrabbit --help", ["run"] = "moonrabbit run --help",
         ["run --drain -1 x.lua"] = "moonrabbit run --help", ["broker --lisen 1"] = "moonrabbit broker --help" } do
         local out, code = shell(broker.command .. " " .. arguments)
         assert.equal(2, code)
         assert.truthy(out:find("Try: " .. wanted, 1, true), out)
         assert.falsy(out:find("-h'", 1, true), out)
      end
   end)

   it("refuses an option that it does not know", function()
      local out, code = shell(broker.command .. " run --wokers 2 x.lua")
      assert.not_equal(0, code)
      assert.truthy(out:find("wokers", 1, true))
   end)
end)
