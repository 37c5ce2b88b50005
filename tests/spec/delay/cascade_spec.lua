--- cascade: delays that take longer than a queue keeps a message, and more lengths than there are queues for.
-- SPDX-License-Identifier: MIT
local cascade = require "moonrabbit.delay.cascade"
local embedded = require "embedded"
local mr = require "moonrabbit"
local waits = require "waits"
local working = require "working"

local DAY = 86400
local b, conn

describe("a delay", function()
   before_each(function()
      b = working.setup()
      conn = embedded.connect { url = b.url, heartbeat = 0 } -- days pass at once
   end)
   after_each(working.clean)

   -- Days until there is something, in steps of an hour.
   local function days_until(is_there)
      local days = 0
      while not is_there() and days < 900 do
         mr.testing.advance(DAY, 3600)
         days = days + 1
      end
      return days
   end

   it("of a publish may be a year, and what is shorter comes before it (FIELD-C2)", function()
      local got = {}
      mr.consumer { connection = conn, queue = "q", handler = function(msg) got[#got + 1] = msg.body end }
      local pub = mr.publisher { connection = conn, routing_key = "q", topology = mr.topology { queues = { "q" } } }
      assert(pub:publish("a year", { delay = 365 * DAY }))
      assert(pub:publish("ten days", { delay = 10 * DAY }))
      assert.equal(11, days_until(function() return got[1] end))
      assert.equal(355, days_until(function() return got[2] end))
      assert.same({ "ten days", "a year" }, got)
   end)

   it("of a retry may be a year (FIELD-C2)", function()
      local attempts = {}
      mr.consumer { connection = conn, queue = "q", handler = function(msg)
         attempts[#attempts + 1] = msg.attempt
         if msg.attempt == 1 then return { retry = 400 * DAY } end
      end }
      assert(mr.publisher({ connection = conn, routing_key = "q", topology = mr.topology { queues = { "q" } } }):publish "x")
      waits.eventually("the first try", function() return attempts[1] and b:queue "mr.delay.4194304s.16" end)
      waits.eventually("the copy", function() return b:queue("q").messages_unacknowledged == 0 end)
      assert.is_true(days_until(function() return attempts[2] end) >= 400)
      assert.same({ 1, 2 }, { attempts[1], attempts[2] }) -- an hour is longer than a confirm may take: the copy may be repeated
   end)

   it("of a retry has a queue of its own for the first 32 lengths only, and comes in time all the same (FIELD-C2)", function()
      local again, n = {}, 0
      mr.consumer { connection = conn, queue = "q", handler = function(msg)
         if msg.attempt == 2 then
            again[#again + 1] = tonumber(msg.body)
            return
         end
         return { retry = tonumber(msg.body) }
      end }
      local pub = mr.publisher { connection = conn, routing_key = "q", topology = mr.topology { queues = { "q" } } }
      for i = 40, 1, -1 do assert(pub:publish(tostring(100 + i))) end
      waits.eventually("all copies", function() return b:queue("q").messages_ready + b:queue("q").messages_unacknowledged == 0 end)
      for _, queue in ipairs(b:report().queues) do
         if queue.name:find "^q%.retry%.%d" then n = n + 1 end
      end
      assert.equal(32, n)
      for s = 1, 150 do
         mr.testing.advance(1)
         for _, delay in ipairs(again) do assert.is_true(s >= delay - 1 or delay <= s + 1) end
      end
      waits.eventually("all", function() return #again == 40 end)
      for i, delay in ipairs(again) do assert.equal(100 + i, delay) end
   end)

   it("is nothing to wait for when it is zero", function()
      assert.is_false(cascade.plan("", "q", 0))
   end)
end)
