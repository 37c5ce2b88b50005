--- Confirm mode that is asked for while the channel is away (FIELD R23).
local mr = require "moonrabbit"
local broker = require "broker"
local recovering = require "recovering"

local eventually, name = broker.eventually, broker.name

describe("confirm mode that is asked for while the channel is away", function()
   before_each(recovering.quiet)
   after_each(recovering.clean)

   local function away()
      local ch, seen, conn = recovering.open { transport_options = { interval_start = 60, interval_max = 60 } }
      local q = assert(ch:queue_declare { queue = name "modes", exclusive = true }).queue
      broker.close_connections "x"
      eventually("the loss", function() return seen.lost end)
      return ch, q, conn
   end

   it("gives no ticket that never ends to a publish that goes out before it (FIELD-R23)", function()
      local ch, q, conn = away()
      local results, selected = {}, nil
      for i = 1, 3 do mr.spawn(function() results[i] = { ch:publish_async("", q, "early") } end) end
      mr.spawn(function() selected = { ch:confirm_select { timeout = 20 } } end)
      for i = 4, 6 do mr.spawn(function() results[i] = { ch:publish_async("", q, "early") } end) end
      mr.spawn(function() conn:connect() end)
      eventually("the mode", function() return selected and #results == 6 end)
      assert.is_true(selected[1])
      for i = 1, 6 do
         local t = results[i][1]
         assert.is_true(t == true or t.number > 0, tostring(t)) -- plainly sent, or to be confirmed
      end
      assert.is_true(ch:wait_for_confirms(10))
      assert.is_true(ch:publish("", q, "late"))
      assert.equal(7, assert(ch:queue_purge { queue = q }))
   end)

   it("and that is given up leaves a channel whose publishes end (FIELD-R23)", function()
      local ch, q, conn = away()
      assert.is_nil((ch:confirm_select { timeout = 0.05 }))
      mr.spawn(function() conn:connect() end)
      eventually("the channel", function() return ch.is_open end)
      assert.is_true(ch:publish("", q, "plain"))
      assert.is_true(ch:publish_async("", q, "plain"))
      assert.is_true(ch:wait_for_confirms(5))
      assert.is_true(ch:confirm_select())
      assert.equal("acked", (function(t) t:wait() return t.state end)(ch:publish_async("", q, "confirmed")))
   end)

   it("comes back after a loss though the answer to it came too late to count (FIELD-R11)", function()
      local ch, seen = recovering.open()
      local q = assert(ch:queue_declare { queue = name "modes", exclusive = true }).queue
      assert(ch:confirm_select())
      recovering.force(seen)
      local t = assert(ch:publish_async("", q, "after"))
      assert.is_true(t.number > 0)
      assert.is_true(t:wait(10))
   end)
end)
