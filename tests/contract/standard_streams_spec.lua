--- The command without standard input, output or error, and with a standard error that nobody reads.
-- SPDX-License-Identifier: MIT
local broker = require "broker"
local mr = require "moonrabbit"
local process = require "process"

local COMBINATIONS = { "" }
for _, closed in ipairs { "<&-", ">&-", "2>&-" } do
   for i = 1, #COMBINATIONS do COMBINATIONS[#COMBINATIONS + 1] = COMBINATIONS[i] .. " " .. closed end
end

-- A port that nobody uses just now.
local function free_port()
   local probe = assert(mr.testing.broker { name = broker.name "probe", listen = "127.0.0.1:0" })
   local port = probe.port
   probe:close()
   return port
end

local function read(path)
   local file = io.open(path)
   if not file then return nil end
   local text = file:read "*a"
   file:close()
   return text
end

describe("the standard streams of the command", function()
   local result

   before_each(function() result = os.tmpname() end)
   after_each(function()
      process.end_all()
      broker.close_all()
      os.remove(result)
   end)

   it("may be closed, in all eight combinations, for run and check (FIELD-H5)", function()
      assert.equal(8, #COMBINATIONS)
      local script = broker.script(([[
         local mr = require "moonrabbit"
         local ch = assert(assert(mr.connect()):channel())
         local queue = assert(ch:queue_declare { queue = "", exclusive = true }).queue
         assert(ch:confirm_select())
         assert(ch:publish("", queue, "whole"))
         local msg = assert(ch:get(queue))
         local file = assert(io.open(%q, "a"))
         file:write(msg.body, "\n")
         file:close()
         mr.log.warn("said")
         print "printed"
      ]]):format(result))
      for _, closed in ipairs(COMBINATIONS) do
         local command = ("AMQP_URL=%s %s run --log-level debug %s %s"):format(broker.tcp_url, broker.command, script, closed)
         assert.same({ 0, closed }, { select(2, broker.shell(command)), closed })
         assert.same({ 0, closed }, { select(2, broker.shell(("%s check %s %s"):format(broker.command, broker.tcp_url,
            closed))), closed })
      end
      assert.equal(("whole\n"):rep(8), read(result))
   end)

   it("may be closed for the broker, and for what only prints (FIELD-H5)", function()
      for _, closed in ipairs(COMBINATIONS) do
         local port = free_port()
         local running = process.start(("sh -c \"exec %s broker --listen 127.0.0.1:%d %s\""):format(broker.command, port,
            closed))
         local conn = mr.connect { hostname = "127.0.0.1", port = port,
            transport_options = { max_retries = 400, interval_start = 0.05, interval_step = 0 } }
         broker.quietly(function() assert(conn:connect()) end)
         assert.is_truthy(assert(conn:channel()):queue_declare { queue = "q" })
         conn:close()
         local _, code = running:stop()
         assert.same({ 0, closed }, { code, closed })
         for _, text in ipairs { "version", "--help" } do
            local _, printed = broker.shell(("%s %s %s"):format(broker.command, text, closed))
            assert.same({ 0, text, closed }, { printed, text, closed })
         end
      end
   end)

   it("stop neither the work nor the end when nobody reads what is logged (FIELD-R8)", function()
      local fifo = os.tmpname()
      os.remove(fifo)
      os.execute("mkfifo " .. fifo)
      local script = broker.script(([[
         local mr = require "moonrabbit"
         for i = 1, 3000 do mr.log.info(("a line that nobody reads "):rep(4), { n = i }) end
         mr.log.error "nor this one"
         mr.spawn(function()
            local ch = assert(assert(mr.connect()):channel())
            local queue = assert(ch:queue_declare { queue = "", exclusive = true }).queue
            assert(ch:consume(queue, function(msg)
               local file = assert(io.open(%q, "a"))
               file:write(msg.body, " ", tostring(mr.stats().log_dropped > 0), "\n")
               file:close()
            end))
            assert(ch:publish("", queue, "handled"))
         end)
      ]]):format(result))
      local running = process.start(("sh -c \"exec 3<>%s; exec %s run --log-level debug %s 2>&3\""):format(fifo,
         broker.command, script), ("AMQP_URL=%s"):format(broker.tcp_url))
      broker.eventually("the message", function() return read(result) == "handled true\n" end)
      local _, code = running:stop()
      assert.equal(0, code)
      os.remove(fifo)
   end)
end)
