--- What hosts do wrong: a clear line, the host lives, and nothing is lost that was confirmed.
-- Feature: bad input of hosts
-- SPDX-License-Identifier: MIT
local loop = require "moonrabbit.loop.loop"
local mr = require "moonrabbit"

describe("a host that", function()
   local broker, conn, ch, queue

   before_each(function()
      broker = assert(mr.testing.broker { listen = "127.0.0.1:0" })
      conn = mr.connect { url = ("amqp://127.0.0.1:%d/"):format(broker.port), heartbeat = 1 }
      ch = assert(conn:channel())
      queue = assert(ch:queue_declare { queue = "q" }).queue
      assert(ch:confirm_select())
   end)

   after_each(function()
      loop.close(1)
      broker:close()
      loop.close(1)
   end)

   local function poll_until(condition)
      local deadline = mr.now() + 20
      while not condition() do
         assert(mr.now() < deadline, "it never came")
         mr.poll(0.001)
         mr.sleep(0.001)
      end
   end

   it("polls within a handler, a timer or a task is told so, and the loop lives (D9)", function()
      local depth, deepest, said = 0, 0, {}
      local function nested()
         depth = depth + 1
         deepest = math.max(deepest, depth)
         for _, call in ipairs { function() mr.poll(0.01) end, mr.run, function() loop.pump(0) end } do
            local ok, why = pcall(call)
            said[#said + 1] = ok and "nothing" or tostring(why)
         end
         depth = depth - 1
      end
      assert(ch:consume(queue, nested))
      mr.after(0.001, nested)
      mr.spawn(nested)
      for _ = 1, 20 do assert(ch:publish("", queue, "x")) end
      poll_until(function() return #said == 3 * 22 end)
      assert.equal(1, deepest)
      for i, why in ipairs(said) do
         assert.is_truthy(why:find("mr.poll is for the host's own loop: within a task mr.sleep waits", 1, true)
            or why:find("mr.run must be called in the main chunk", 1, true)
            or why:find("the loop cannot be driven from within a task: mr.sleep waits there", 1, true), i .. ": " .. why)
      end
      poll_until(function() return broker:queue(queue).messages_unacknowledged == 0 end)
      assert.equal(0, broker:queue(queue).messages_ready)
   end)

   it("never polls again keeps its connection, and the broker keeps what it does not take", function()
      local count = 30000 -- more than the ring of events holds
      local seen = 0
      for _ = 1, count do assert(ch:publish_async("", queue, "x", { persistent = false })) end
      assert(ch:wait_for_confirms(30))
      assert(ch:consume(queue, function() seen = seen + 1 end))
      local until_, before = mr.now() + 3.5, seen -- more than three heartbeats of the broker's patience
      while mr.now() < until_ do os.execute "sleep 0.5" end
      assert.equal(before, seen)
      assert.equal(1, #broker:report().connections)
      local q = broker:queue(queue)
      assert.equal(count - before, q.messages_ready + q.messages_unacknowledged)
      poll_until(function() return seen == count end)
      assert.equal(1, conn.epoch)
   end)
end)
