--- Message retries when the broker goes at the worst moments: between a copy and the ack of its original (FAULTS T28).
local mr = require "moonrabbit"
local broker = require "broker"
local copies = require "moonrabbit.redelivery.copy"
local recovering = require "recovering"

local eventually, name = broker.eventually, broker.name

local function server(what)
   return broker.shell(("sh %s %s %s"):format(os.getenv "MR_RABBITMQ_SH", what, os.getenv "MR_RABBITMQ_DIR"))
end

local ways = { ["every connection is closed"] = function() broker.close_connections "x" end }
if broker.is_rabbitmq then
   ways["the broker is killed"] = function()
      broker.shell(("kill -KILL $(cat %s/pid)"):format(os.getenv "MR_RABBITMQ_DIR"))
      server "stop"
      server "start"
   end
end

-- mr.consumer whose messages always fail, three times; lose() strikes once, right after `what` ("delay" or "bury") has
-- made its first copy and before the original is acked.
local function failing(what, lose)
   local original, struck, tries = copies[what], false, {}
   copies[what] = function(...)
      local ok, err = original(...)
      if ok and not struck then
         struck = true
         lose()
      end
      return ok, err
   end
   finally(function() copies[what] = original end)
   local w = mr.consumer { queue = name "failing", retry = mr.retry.fixed { delay = 1, attempts = 3 },
      connection = broker.connect { transport_options = recovering.at_once }, handler = function(msg)
         tries[#tries + 1] = { at = mr.now(), attempt = msg.attempt }
         error "no"
      end }
   assert(w:wait(10))
   return w, tries, function() return struck end
end

describe("a message that fails", function()
   before_each(recovering.quiet)
   after_each(recovering.clean)

   for how, lose in pairs(ways) do
      for _, what in ipairs { "delay", "bury" } do
         it(("comes at most once more when %s between its copy (%s) and its ack (T28)"):format(how, what), function()
            local w, tries, is_struck = failing(what, lose)
            local admin = broker.connect { transport_options = recovering.at_once }
            local ch = assert(admin:channel())
            assert(ch:confirm_select())
            assert(ch:publish("", w.queue, "x"))
            eventually("the blow", is_struck, 90)
            local function count(queue)
               local reply = ch:queue_declare { queue = queue, durable = true }
               return reply and reply.message_count
            end
            local dead
            eventually("the dead letters, and nothing else left", function()
               dead = count(w.dead_letter)
               return dead and dead > 0 and count(w.queue) == 0 and w.running == 0 and mr.now() - tries[#tries].at > 2.5
            end, 60)
            -- Without the blow it is three tries and one dead letter.
            assert.is_true(dead == 1 or dead == 2, dead .. " dead letters")
            assert.is_true(#tries >= 3 and #tries <= 6, #tries .. " tries")
            local of = { 0, 0, 0 }
            for _, try in ipairs(tries) do of[try.attempt] = of[try.attempt] + 1 end
            for attempt, n in ipairs(of) do assert.is_true(n == 1 or n == 2, n .. " times attempt " .. attempt) end
            local took = tries[#tries].at - tries[1].at
            assert.is_true(took >= 1.98, "spaced as the policy says: " .. took)
            assert(w:cancel())
            for _, queue in ipairs { w.queue, w.dead_letter, w.queue .. ".retry.1000" } do ch:queue_delete { queue = queue } end
         end)
      end
   end

   it("and is lost with its connection while it fails comes again by itself (T03, T41)", function()
      local lost, seen = false, {}
      local conn = broker.connect { transport_options = recovering.at_once, on_event = function(ev)
         if ev.type == "lost" then lost = true end
      end }
      local w = mr.consumer { queue = name "lost", connection = conn, handler = function(msg)
         seen[#seen + 1] = { msg.redelivered, msg.attempt }
         if #seen > 1 then return end
         broker.close_connections "x"
         eventually("the loss", function() return lost end)
         error "too late for this one"
      end }
      assert(w:wait(10))
      local ch = broker.channel { transport_options = recovering.at_once }
      assert(ch:publish("", w.queue, "x"))
      eventually("both", function() return #seen == 2 end, 30)
      assert.same({ { false, 1 }, { true, 1 } }, seen)
      assert(w:cancel())
      for _, queue in ipairs { w.queue, w.dead_letter } do ch:queue_delete { queue = queue } end
   end)
end)

describe("after retries and outages", function()
   it("no connection is left at the broker", broker.none_left)
end)
