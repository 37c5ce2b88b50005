--- in_flight: the handlers at work, as their stacks tell.
local embedded = require "embedded"
local in_flight = require "moonrabbit.channel.in_flight"
local mr = require "moonrabbit"
local waits = require "waits"

describe("the handlers at work", function()
   local ch
   before_each(function()
      ch = assert(embedded.connect { url = embedded.broker {}.url }:channel())
      assert(ch:queue_declare { queue = "q" })
   end)
   after_each(embedded.close_all)

   it("are none when nothing is at work", function() assert.same({}, in_flight.list()) end)

   it("are told with their queue, tag, place and time, the longest first; what was settled and waits on, too", function()
      local go = false
      local function wait() waits.eventually("the go", function() return go end) end
      local handler = function(msg)
         if msg.body == "b" then msg:ack() end
         wait()
      end
      assert(ch:consume("q", handler, { consumer_tag = "tag" }))
      assert(ch:publish("", "q", "a"))
      waits.eventually("the first", function() return #in_flight.list() == 1 end)
      mr.sleep(0.01)
      assert(ch:publish("", "q", "b"))
      waits.eventually("the second", function() return #in_flight.list() == 2 end)
      local list = in_flight.list()
      local line = debug.getinfo(handler, "S").linedefined
      for i, entry in ipairs(list) do
         assert.same({ "q", "tag", i, "q", false }, { entry.queue, entry.consumer, entry.tag, entry.routing_key, entry.redelivered })
         assert.truthy(entry.origin:find("in_flight_spec.lua:" .. line .. "$"))
         assert.truthy(entry.at:find "waits.lua:%d+$")
      end
      assert.is_true(list[1].seconds > list[2].seconds)
      go = true
      waits.eventually("their end", function() return #in_flight.list() == 0 end)
   end)

   it("are told with their place when the script's own folder is called moonrabbit, too", function()
      local go = false
      local source = "local sleep, ready = ... return function() while not ready() do sleep(0.001) end end"
      local wait = assert(loadstring(source, "@/opt/moonrabbit/consumer.lua"))(mr.sleep, function() return go end)
      assert(ch:consume("q", function() wait() return nil end))
      assert(ch:publish("", "q", "a"))
      waits.eventually("the handler", function() return #in_flight.list() == 1 end)
      local at = in_flight.list()[1].at
      go = true
      waits.eventually("its end", function() return #in_flight.list() == 0 end)
      assert.equal("/opt/moonrabbit/consumer.lua:1", at)
   end)

   it("are neither tasks that a handler has begun nor handlers that have ended", function()
      local go, spawned = false, 0
      local function wait() waits.eventually("the go", function() return go end) end
      assert(ch:consume("q", function(msg)
         if msg.body == "wait" then return wait() end
         mr.spawn(function()
            spawned = spawned + 1
            wait()
            spawned = spawned - 1
         end)
         if msg.body == "spawn and wait" then wait() end
      end))
      for round = 0, 2 do
         go = false
         for _, body in ipairs { "spawn", "wait", "spawn and wait" } do assert(ch:publish("", "q", body)) end
         waits.eventually("the handlers", function() return spawned == 2 and #in_flight.list() == 2 end)
         local tags = {}
         for i, entry in ipairs(in_flight.list()) do tags[i] = entry.tag end
         table.sort(tags)
         assert.same({ round * 3 + 2, round * 3 + 3 }, tags)
         go = true
         waits.eventually("their end", function() return spawned == 0 end)
         assert.same({}, in_flight.list())
      end
   end)

   it("are those that wait again and again while others come and go", function()
      local go, passed = false, 0
      assert(ch:consume("q", function(msg)
         while msg.body == "wait" and not go do mr.sleep(0.001) end
         if msg.body == "pass" then passed = passed + 1 end
      end))
      assert(ch:publish("", "q", "wait"))
      for n = 1, 20 do
         assert(ch:publish("", "q", "pass"))
         waits.eventually("the one that passes", function() return passed == n and #in_flight.list() == 1 end)
         assert.equal(1, in_flight.list()[1].tag)
      end
      go = true
      waits.eventually("its end", function() return #in_flight.list() == 0 end)
   end)

   it("are those that give way, too", function()
      local go = false
      assert(ch:consume("q", function() while not go do coroutine.yield() end end))
      assert(ch:publish("", "q", "a"))
      waits.eventually("the handler", function() return #in_flight.list() == 1 end)
      go = true
      waits.eventually("its end", function() return #in_flight.list() == 0 end)
   end)

   it("are loops over messages, too", function()
      assert(ch:publish("", "q", "a"))
      local next_message = assert(ch:messages "q")
      local msg = next_message()
      assert.same({ { queue = "q", consumer = msg.consumer_tag, tag = 1, routing_key = "q", redelivered = false } },
         in_flight.list())
      msg:ack()
      assert.same({}, in_flight.list())
   end)
end)
