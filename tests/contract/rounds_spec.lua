--- A message whose handler ends the process: it is not tried for ever.
-- Covers: lua/moonrabbit/cli/notes.lua by ended
-- Covers: lua/moonrabbit/consumer/rounds.lua by attempt
local broker = require "broker"
local process = require "process"

describe("a message that ends the process", function()
   local q, ch
   before_each(function()
      q, ch = broker.name "killer", broker.channel()
   end)
   after_each(function()
      process.end_all()
      for _, suffix in ipairs { "", ".dead", ".retry-exit" } do ch:queue_delete { queue = q .. suffix } end
   end)
   teardown(broker.none_left)

   -- Handlers of "good" messages wait for a moment, so that they are in hand when the process dies of another one.
   local SCRIPT = [[
      local mr = require "moonrabbit"
      io.stdout:setvbuf "line"
      mr.consumer { queue = { queue = "%s", arguments = %s },
         retry = mr.retry.fixed { delay = 0.1, attempts = ATTEMPTS }, handler = function(msg)
         print("begins " .. msg.body)
         if msg.body == "killer" then mr.sleep(0.05) %s end
         mr.sleep(0.1)
         print("ends " .. msg.body)
      end }
   ]]

   local function dead_letter()
      local dead
      broker.eventually("the dead letter", function()
         if not dead then dead = ch:get(q .. ".dead") end
         return dead
      end, 60)
      return dead
   end

   local function publish(...)
      for _, body in ipairs { ... } do assert(ch:publish("", q, body, { message_id = body })) end
   end

   local function count(out, text) return select(2, out:gsub(text, "")) end

   it("of a worker, by a signal or by an exit, goes to the dead letters when it was at it alone; those beside it do not (FIELD-W41)",
      function()
         local group = process.run("--workers 1", broker.script((SCRIPT:format(q, "nil", [[
            if not msg.redelivered then os.execute('kill -KILL ' .. io.open('/proc/self/stat'):read '*n') end
            os.exit(7)]]):gsub("ATTEMPTS", "2"))))
         group:says "msg=consuming"
         publish("good1", "killer", "good2", "good3")
         local dead = dead_letter()
         assert.same({ "killer", 3, "the retry policy stopped after 3 attempts" }, { dead.body, dead.headers["x-mr-attempt"],
            dead.headers["x-mr-reason"] })
         assert.truthy(dead.headers["x-mr-error"]:find("the process ended while it was handled", 1, true))
         dead:ack()
         for _, body in ipairs { "good1", "good2", "good3" } do group:says("ends " .. body) end
         local out = group:stop()
         assert.equal(3, count(out, "begins killer"), out)
         assert.is_nil(ch:get(q .. ".dead"))
      end)

   broker.it_rabbitmq(it, "of a program without a supervisor goes there by the x-delivery-count of its quorum queue (FIELD-W41)", function()
      local path = broker.script((SCRIPT:format(q, '{ ["x-queue-type"] = "quorum" }', "os.exit(7)"):gsub("ATTEMPTS", "3")))
      local outs = {}
      for round = 1, 3 do
         local one = process.run("", path)
         one:says "msg=consuming"
         if round == 1 then publish("killer", "good1", "good2") end
         outs[round] = one:wait()
         assert.equal(1, count(outs[round], "begins killer"), outs[round])
      end
      local one = process.run("", path)
      local dead = dead_letter()
      assert.same({ "killer", 3 }, { dead.body, dead.headers["x-mr-attempt"] })
      dead:ack()
      broker.eventually("the others", function() return broker.count(ch, q) == 0 end)
      one:stop()
      assert.is_nil(ch:get(q .. ".dead"))
   end)
end)
