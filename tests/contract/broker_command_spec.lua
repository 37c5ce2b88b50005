--- `moonrabbit broker`: served as a program. (What it serves is what the other specs are about.)
-- Covers: lua/moonrabbit/cli/broker.lua by vhost
local mr = require "moonrabbit"
local broker = require "broker"

local started = {}

-- Starts the command; returns its port, a function that gives what it printed, and one that sends SIGTERM.
local function serve(arguments, environment)
   local out = os.tmpname()
   os.execute(("{ sh -c 'echo $$ >%s.pid; exec env %s %s broker %s' >%s 2>&1 </dev/null; echo \"exit $?\" >>%s; } >/dev/null 2>&1 &")
      :format(out, environment or "", broker.command, arguments, out, out))
   started[#started + 1] = out
   local function said()
      local f = assert(io.open(out))
      local text = f:read "*a"
      f:close()
      return text
   end
   local text = broker.eventually("its first words", function()
      local t = said()
      return (t:find("Serving", 1, true) or t:find("exit", 1, true)) and t
   end)
   return tonumber(text:match ":(%d+);"), said, function() os.execute(("kill -TERM $(cat %s.pid)"):format(out)) end
end

local function clean()
   broker.close_all()
   for _, file in ipairs(started) do
      os.execute(("kill -KILL $(cat %s.pid) 2>/dev/null"):format(file))
      os.remove(file)
      os.remove(file .. ".pid")
   end
   started = {}
end

describe("moonrabbit broker", function()
   after_each(clean)

   it("says where it serves, and on SIGTERM closes every connection with 320 and ends with 0", function()
      local port, said, stop = serve "--listen 127.0.0.1:0 --vhost shop"
      assert.truthy(said():find(("amqp://guest:guest@127.0.0.1:%d;"):format(port), 1, true), said())
      local losses = {}
      for i, vhost in ipairs { "/", "shop" } do
         assert(broker.connect { url = ("amqp://127.0.0.1:%d"):format(port), virtual_host = vhost, recover = false,
            on_event = function(ev) if ev.type == "lost" then losses[i] = ev.err end end }:connect())
      end
      broker.quietly(function()
         stop()
         broker.eventually("both losses", function() return losses[1] and losses[2] end)
      end)
      for i = 1, 2 do
         assert.same({ "connection_forced", 320 }, { losses[i].kind, losses[i].code })
         assert.truthy(losses[i].text:find("broker forced connection closure with reason 'shutdown'", 1, true))
      end
      broker.eventually("its end", function() return said():find("exit 0", 1, true) end)
   end)

   it("listens on the loopback interface where it is told a port alone, and logs who comes and goes (FIELD-W39)", function()
      local port, said, stop = serve "--listen 0 --log-format json"
      local name = broker.name "client"
      local conn = broker.connect { url = ("amqp://127.0.0.1:%d"):format(port), name = name }
      assert(conn:connect())
      broker.eventually("its line", function() return said():find('"msg":"client connected"[^\n]*' .. name:gsub("%-", "%%-")) end)
      conn:close()
      broker.eventually("the other one", function() return said():find('"msg":"client gone"', 1, true) end)
      assert.truthy(said():find(('"msg":"serving clients","address":"127.0.0.1","port":%d,'):format(port), 1, true), said())
      stop()
      broker.eventually("the end", function() return said():find('"msg":"stopped"', 1, true) end)
   end)

   it("lets a user in whose password the environment has", function()
      local port, _, stop = serve("--listen 127.0.0.1:0 --user dev", "MOONRABBIT_BROKER_PASSWORD=s3cret")
      assert(broker.connect { url = ("amqp://dev:s3cret@127.0.0.1:%d"):format(port) }:connect())
      stop()
   end)

   it("blocks publishers at its memory limit", function()
      local port, _, stop = serve "--listen 127.0.0.1:0 --memory-limit 1"
      local conn = broker.connect { url = ("amqp://127.0.0.1:%d"):format(port) }
      local ch = assert(conn:channel())
      assert(ch:queue_declare { queue = "q" })
      for _ = 1, 20 do ch:publish("", "q", ("x"):rep(100000), { timeout = 0.05 }) end
      broker.eventually("the block", function() return conn.is_blocked end)
      stop()
   end)

   it("says what is wrong and ends with 1 or 2", function()
      local port, _, stop = serve "--listen 127.0.0.1:0"
      for _, case in ipairs {
         { ("--listen 127.0.0.1:%d"):format(port), "Address already in use", 1 },
         { ("--listen %d"):format(port), "another program listens there", 1 },
         { "--listen nonsense", "is not", 1 },
         { "--listen 0.0.0.0:0", "needs a user other than guest", 1 },
         { "--listen 127.0.0.1:0 --tls-cert /nowhere.pem", "/nowhere.pem", 1 },
         { "--tls-key /nowhere.key", "--tls-key needs --tls-cert", 2 },
         { "--user dev", "MOONRABBIT_BROKER_PASSWORD", 2 },
         { "--memory-limit lots", "--memory-limit", 2 }, { "--memory-limit -1", "Try: moonrabbit broker --help", 2 },
         { "--lisen 127.0.0.1:0", "--listen", 2 },
      } do
         local out, code = broker.shell(broker.command .. " broker " .. case[1])
         assert.equal(case[3], code, out)
         assert.truthy(out:find(case[2], 1, true), out)
      end
      stop()
   end)

   it("explains itself", function()
      local out, code = broker.shell(broker.command .. " broker --help")
      assert.equal(0, code)
      for _, word in ipairs { "--listen", "--tls-cert", "--user", "--memory-limit", "Production is RabbitMQ", "320" } do
         assert.truthy(out:find(word, 1, true), word)
      end
      assert.is_true(mr.now() > 0)
   end)
end)
