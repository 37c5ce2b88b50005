--- The three resilience tests that a user can watch (examples/resilience/), with short times.
local mr = require "moonrabbit"
local broker = require "broker"

-- Without AMQP_URL, so that each makes its own broker.
local function run(script)
   return broker.shell(("env -u AMQP_URL %s run --log-level error examples/resilience/%s"):format(broker.command, script))
end

local function says(out, text)
   assert.truthy(out:find(text), ("%q is missing in:\n%s"):format(text, out))
end

describe("the resilience scripts show that", function()
   it("a network that is gone is noticed by the heartbeat, and nothing is missing when it is back", function()
      local out, code = run "network_drop.lua 3 1"
      says(out, "the network goes, for 3 s; the heartbeat is 1 s")
      says(out, "lost: heartbeat_timeout: ")
      says(out, "recovered: away for [%d.]+ s, brought back: 2")
      says(out, "missing 0, ")
      says(out, "lost the connection 1 times")
      says(out, "passed")
      assert.equal(0, code, out)
   end)

   it("a broker that restarts gets its queue and its consumer again, and messages flow on (P2)", function()
      local out, code = run "broker_restart.lua 2"
      says(out, "the broker stops")
      says(out, "lost: connection_forced: .*shutdown")
      says(out, "connection_refused")
      says(out, "the broker is back")
      says(out, "recovered: away for [%d.]+ s, brought back: 2")
      says(out, "passed")
      local sent, confirmed = out:match "sent (%d+), confirmed (%d+),"
      assert.equal(sent, confirmed, out)
      assert.equal(0, code, out)
   end)

   it("a slow handler costs the connection only where it blocks and heartbeat_mode is loop (P3)", function()
      local out, code = run "slow_handler.lua 3 1"
      for _, case in ipairs { "thread/wait", "thread/block", "loop/wait" } do
         says(out, "result " .. case .. ": connection lost 0 times, delivered 1 times")
      end
      says(out, "result loop/block: connection lost 1 times, delivered 2 times")
      says(out, "again: redelivered")
      says(out, "passed")
      assert.equal(0, code, out)
   end)
end)

describe("a program that waits in the loop", function()
   after_each(function()
      broker.close_all()
      mr.log.configure "warn"
   end)

   it("keeps its idle connection, in either heartbeat mode", function()
      mr.log.configure "off"
      for _, mode in ipairs { "thread", "loop" } do
         local conn = broker.connect { heartbeat = 1, heartbeat_mode = mode }
         assert(conn:connect())
         mr.sleep(4)
         assert.same({ true, 1 }, { conn.is_open, conn.epoch }, mode)
      end
   end)
end)
