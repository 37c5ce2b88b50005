--- T13: a script that spins keeps its connection; it is reported while it spins, and may be ended.
local cjson = require "cjson"
local build = require "build"
local http = require "http"
local mr = require "moonrabbit"
local broker = require "broker"

-- What the health page at the port that the file names says, once it speaks of a stall with a traceback.
local function stalled_page(file)
   local page
   broker.eventually("the page", function()
      local f = io.open(file)
      local port = f and tonumber(f:read "*a")
      if f then f:close() end
      local body = port and select(2, http.ask(port, "/health"))
      page = body and body:find("traceback", 1, true) and cjson.decode(body)
      return page
   end, 20)
   return page
end

local spinning = not build.is_tsan and it or pending -- see command_spec.lua

describe("a script that spins for 5 s with heartbeats of 2 s (T13)", function()
   after_each(broker.close_all)

   spinning("keeps its connection, is reported with its place, and goes on with the next message", function()
      local q, port_file = broker.name "spin", os.tmpname()
      local path = broker.script(([[
         local mr = require "moonrabbit"
         mr.watchdog { stall = 1 }
         local conn = mr.connect { url = os.getenv "AMQP_URL", heartbeat = 2 }
         local ch = assert(conn:channel())
         assert(ch:queue_declare { queue = "%s", durable = true })
         local file = io.open("%s", "w")
         file:write(assert(mr.health.listen "127.0.0.1:0"))
         file:close()
         local count = 0
         local worker = mr.consumer { queue = "%s", connection = conn, time_limit = 5, concurrency = 1, dead_letter = false,
            handler = function(msg)
               count = count + 1
               if msg.body == "spin" then
                  while true do end
               end
               print("handled", msg.body, count, "epoch", conn.epoch)
               mr.stop()
            end,
            retry = function(ctx)
               print("aborted", ctx.err.kind)
               return "drop"
            end }
         assert(worker:wait(10))
         assert(ch:publish("", "%s", "spin"))
         assert(ch:publish("", "%s", "next"))
      ]]):format(q, port_file, q, q, q))
      local page
      mr.spawn(function() page = stalled_page(port_file) end)
      local out, code = broker.shell(("AMQP_URL='%s' %s run %s"):format(broker.tcp_url, broker.command, path))
      assert.equal(0, code, out)
      assert.truthy(out:find('msg="the script is stalled" seconds=[%d.]+ queue=' .. q:gsub("%p", "%%%0") .. " origin="
         .. path:gsub("%p", "%%%0") .. ":11 doing=running"), out)
      assert.truthy(out:find(":14: in function", 1, true), out)
      assert.truthy(out:find("aborted\ttimeout", 1, true), out)
      assert.truthy(out:find("handled\tnext\t2\tepoch\t1", 1, true), out)
      assert.falsy(out:find("msg=lost", 1, true), out)
      os.remove(port_file)
      assert.equal("unhealthy", page.status)
      assert.is_true(page.checks.stalled.seconds >= 1)
      assert.truthy(page.checks.stalled.traceback:find(":14: in function", 1, true))
      local ch = broker.channel()
      assert.equal(0, assert(ch:queue_delete { queue = q }))
   end)
end)
