--- stop: whether the program is to stop, and what else is known of its end.
-- SPDX-License-Identifier: MIT
local loop = require "moonrabbit.loop.loop"
local mr = require "moonrabbit"
local stop = require "moonrabbit.loop.stop"

describe("a stop", function()
   local stops_at_loss = stop.stops_at_loss

   after_each(function()
      stop.stops_at_loss = stops_at_loss
      loop.close(1)
   end)

   it("is asked for once: the first time counts, and says so", function()
      assert.same({ false, nil }, { stop.is_asked(), stop.asked_at() })
      local from = mr.now()
      assert.is_true(stop.ask())
      local at = stop.asked_at()
      assert.is_true(at >= from and at <= mr.now())
      assert.is_false(stop.ask())
      assert.same({ true, at }, { stop.is_asked(), stop.asked_at() })
   end)

   it("is told to all who want to hear of it, in their order", function()
      local heard, is_on = {}, true
      for i = 1, 3 do
         stop.on_ask(function() if is_on then heard[#heard + 1] = i end end)
      end
      stop.ask()
      assert.same({}, heard) -- to ask is not to tell
      stop.tell()
      is_on = false
      assert.same({ 1, 2, 3 }, heard)
   end)

   it("follows a loss only where that was chosen", function()
      assert.same({ false, nil }, { stop.is_at_loss(), stop.lost() })
      stop.note_loss "first"
      stop.note_loss "last"
      assert.same({ false, "last" }, { stop.is_at_loss(), stop.lost() })
      stop.stops_at_loss = true
      assert.is_true(stop.is_at_loss())
   end)

   it("and a loss are forgotten when the runtime ends", function()
      stop.stops_at_loss = true
      stop.ask()
      stop.note_loss "why"
      loop.close(1)
      assert.same({ false, nil, nil, false }, { stop.is_asked(), stop.asked_at(), stop.lost(), stop.is_at_loss() })
   end)

   it("does not wait for callbacks that were dropped with the runtime before", function()
      local told = 0
      local publisher = mr.publisher { connection = mr.connect "amqp://127.0.0.1:1", routing_key = "q",
         on_failed = function() told = told + 1 end }
      assert(publisher:publish_async "in line")
      loop.close(0)
      local from = mr.now()
      assert.is_true(mr.run())
      assert.is_true(mr.now() - from < 5)
      assert.equal(0, told)
   end)

   it("counts what all have still to send", function()
      local before, mine = stop.counted(), { 2, 3 }
      for i = 1, 2 do stop.count(function() return mine[i] end) end
      assert.equal(before + 5, stop.counted())
      mine = { 0, 0 }
      assert.equal(before, stop.counted())
   end)
end)
