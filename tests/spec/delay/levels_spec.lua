--- levels: every delay is a sum of lengths that have a queue each.
-- SPDX-License-Identifier: MIT
local levels = require "moonrabbit.delay.levels"

local function sum_of(seconds)
   local ms, seen = 0, {}
   local last = math.huge
   for _, name in ipairs(levels.of(seconds)) do
      assert.is_nil(seen[name])
      assert.is_true(levels.length(name) <= last) -- the longest one first
      seen[name], last = true, levels.length(name)
      ms = ms + last
   end
   return ms
end

describe("the levels of a delay", function()
   it("add up to it, to the millisecond when it is short, never less and at most 0.4 percent more", function()
      for ms = 1, 1200 do
         local sum = sum_of(ms / 1000)
         assert.is_true(sum >= ms and sum - ms <= ms / 250, ms .. " ms waits " .. sum)
         if ms < 500 then assert.equal(ms, sum) end
      end
      local state = 7
      for _ = 1, 5000 do
         state = state * 16807 % 2147483647
         local seconds = math.exp(state / 2147483647 * math.log(levels.LONGEST))
         local sum = sum_of(seconds) / 1000
         assert.is_true(sum >= seconds - 1e-5 and sum - seconds <= math.min(seconds / 250 + 0.001, 1), seconds .. " s waits " .. sum)
      end
   end)

   it("are few for the delays that people write", function()
      assert.same({ "500ms" }, levels.of(0.5))
      assert.same({ "1s" }, levels.of(1))
      assert.same({ "16s", "8s", "4s", "2s" }, levels.of(30))
      assert.same({ "32s", "16s", "8s", "4s" }, levels.of(60))
      assert.same({ "2048s", "1024s", "512s", "16s" }, levels.of(3600))
      assert.same({}, levels.of(0))
      assert.same({ "1ms" }, levels.of(0.0001))
   end)

   it("reach over a year, though a queue keeps a message for 49 days at most", function()
      assert.is_true(levels.LONGEST > 2 * 365 * 86400)
      assert.equal(365 * 86400 * 1000, sum_of(365 * 86400))
      assert.equal(levels.LONGEST * 1000, sum_of(levels.LONGEST))
      for _, name in ipairs(levels.of(levels.LONGEST)) do assert.is_true(levels.length(name) < 2 ^ 32) end
   end)
end)
