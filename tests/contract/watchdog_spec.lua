--- T13: a script that spins keeps its connection; it is reported while it spins, and may be ended.
local broker = require "broker"

local spinning = os.getenv "MR_BUILD_NAME" ~= "tsan" and it or pending -- see command_spec.lua

describe("a script that spins for 5 s with heartbeats of 2 s", function()
   after_each(broker.close_all)

   spinning("keeps its connection, is reported with its place, and goes on with the next message (T13)", function()
      local q = broker.name "spin"
      local path = broker.script(([[
         local mr = require "moonrabbit"
         mr.watchdog { stall = 1 }
         local conn = mr.connect { url = os.getenv "AMQP_URL", heartbeat = 2 }
         local ch = assert(conn:channel())
         assert(ch:queue_declare { queue = "%s", durable = true })
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
      ]]):format(q, q, q, q))
      local out, code = broker.shell(("AMQP_URL='%s' %s run %s"):format(broker.tcp_url, broker.command, path))
      assert.equal(0, code, out)
      assert.truthy(out:find('msg="the script is stalled" seconds=[%d.]+ queue=' .. q:gsub("%p", "%%%0") .. " origin="
         .. path:gsub("%p", "%%%0") .. ":8 doing=running"), out)
      assert.truthy(out:find(":11: in function", 1, true), out)
      assert.truthy(out:find("aborted\ttimeout", 1, true), out)
      assert.truthy(out:find("handled\tnext\t2\tepoch\t1", 1, true), out)
      assert.falsy(out:find("msg=lost", 1, true), out)
      local ch = broker.channel()
      assert.equal(0, assert(ch:queue_delete { queue = q }))
   end)
end)
