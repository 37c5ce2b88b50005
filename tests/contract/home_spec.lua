--- Where a program connects that does not say where, and how it says that this may not be meant.
-- Covers: lua/moonrabbit/connection/misspelt.lua by AMQP_URL
local broker = require "broker"
local http = require "http"
local process = require "process"

local shell, command, script = broker.shell, broker.command, broker.script
local WITHOUT = "-u AMQP_URL -u MOONRABBIT_URL -u MR_RABBITMQ_URL -u MR_RABBITMQ_TLS_URL -u MR_BROKER_URL"
local WARNING = "no broker is named"

local function has(out, part) assert.truthy(out:find(part, 1, true), ("%q is missing in:\n%s"):format(part, out)) end
local function lacks(out, part) assert.falsy(out:find(part, 1, true), ("%q is in:\n%s"):format(part, out)) end

local CONNECT = 'local mr = require "moonrabbit" local conn = mr.connect() assert(conn:connect()) print(conn:info().url)'

-- Runs a script without any of the usual variables, but for those given; its output.
local function run(text, variables, options, program)
   local out, code = shell(("env %s %s %s %s %s"):format(WITHOUT, variables or "", program or command .. " run", options or "",
      script((text or CONNECT) .. (program and " mr.run()" or ""))))
   assert.equal(0, code, out)
   return out
end

-- The same in plain LuaJIT.
local LUAJIT = command:match "^(.*)/" .. "/test_luajit" -- with the sanitizers of the build

describe("a program that does not say where its broker is", function()
   after_each(process.end_all)

   it("is told once, at warn, that it has a broker of its own (FIELD-W21)", function()
      local ways = { CONNECT, 'local mr = require "moonrabbit" assert(mr.connect { heartbeat = 5 }:connect())',
         'local mr = require "moonrabbit" mr.publisher { routing_key = "q", topology = mr.topology { queues = { "q" } } }:publish "x"',
         'local mr = require "moonrabbit" mr.consumer { queue = "q", handler = print }:wait() mr.stop()',
         'local mr = require "moonrabbit" assert(mr.pool { max_connections = 2 }:with(function() return true end))',
         'local mr = require "moonrabbit" assert(mr.pool():with(function() return true end))',
         'local mr = require "moonrabbit" assert(mr.rpc.serve { queue = "q", handler = print }) mr.stop()' }
      for _, text in ipairs(ways) do
         local out = run(text .. ' mr.connect() mr.connect()')
         assert.equal(1, select(2, out:gsub(WARNING, "")), text .. "\n" .. out)
         has(out, "level=warn")
         has(out, "AMQP_URL")
      end
   end)

   it("is told in a program of its own, too (FIELD-W21)", function()
      local out = run(CONNECT .. ' print "end"', nil, nil, LUAJIT)
      has(out, WARNING)
      has(out, "end")
   end)

   it("has an empty AMQP_URL count as none (FIELD-W21)", function()
      for _, variables in ipairs { "AMQP_URL=", "AMQP_URL='  '", "MOONRABBIT_URL=" } do
         local out = run(nil, variables)
         has(out, WARNING)
         has(out, "memory://")
      end
      has(run(nil, nil, "--url ''"), WARNING)
      local out = run(nil, "AMQP_URL=memory://given", "--url ''")
      has(out, "memory://given")
      lacks(out, WARNING)
   end)

   it("is told what looks like AMQP_URL and is not read, but not what it says (FIELD-W21)", function()
      for _, name in ipairs { "AMQP_URI", "AMQPURL", "AMQP_URLS", "AMPQ_URL", "amqp_url", "RABBITMQ_URL", "RABBITMQ_URI",
         "CLOUDAMQP_URL", "BROKER_URL", "MOONRABBIT_URI", "ANY_NAME_AT_ALL" } do
         local out = run(nil, name .. "=amqp://guest:s3cret@there")
         has(out, "not_read=" .. name)
         lacks(out, "s3cret")
      end
      local out = run(nil, "AMQP_HOST=there RABBITMQ_URL=there APP_URL=https://there DATABASE_URL=postgres://there")
      has(out, 'not_read="AMQP_HOST, RABBITMQ_URL"')
      lacks(run(), "not_read")
      has(run(nil, "MOONRABBIT_URL=memory://given", nil, LUAJIT), "not_read=MOONRABBIT_URL") -- of the command alone
      lacks(run(nil, "MOONRABBIT_URL=memory://given"), WARNING)
   end)

   it("is not warned when memory:// is what it asks for (FIELD-W21)", function()
      lacks(run(nil, "AMQP_URL=memory://"), "level=warn")
      lacks(run(nil, nil, "--url memory://"), "level=warn")
      lacks(run('assert(require("moonrabbit").connect("memory://"):connect())'), "level=warn")
      lacks(run('assert(require("moonrabbit").pool("memory://"):with(function() return true end))'), "level=warn")
      lacks(run 'print "no connection at all"', "level=warn")
   end)

   it("shows in the page and in the metrics (FIELD-W21)", function()
      local text = [[
         local mr = require "moonrabbit"
         print("port " .. assert(mr.health.listen "127.0.0.1:0") .. ".")
         mr.consumer { queue = { queue = "page", exclusive = true }, handler = print }:wait()
         print "ready"
      ]]
      local function pages(url)
         local worker = process.start(("%s run %s"):format(command, script(text)), "AMQP_URL=" .. url)
         worker:says "ready"
         local port = tonumber(worker:output():match "port (%d+)%.")
         local _, plain = http.ask(port, "/health")
         local _, verbose = http.ask(port, "/health?verbose")
         local _, metrics = http.ask(port, "/metrics")
         worker:stop()
         assert.equal('{"status":"healthy"}', plain)
         return verbose, metrics
      end
      local verbose, metrics = pages ""
      has(verbose, '"broker":"embedded"')
      has(metrics, "\nmoonrabbit_connections_embedded 1\n")
      verbose, metrics = pages(broker.tcp_url)
      has(verbose, '"broker":"connected"')
      has(metrics, "\nmoonrabbit_connections_embedded 0\n")
   end)

   it("is warned in each worker, and no less (FIELD-W21)", function()
      local out = run('require("moonrabbit").connect() print "worker"', nil, "--workers 2")
      assert.equal(2, select(2, out:gsub(WARNING, "")), out)
   end)
end)
