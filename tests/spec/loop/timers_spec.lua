--- timers: what is due when.
-- SPDX-License-Identifier: MIT
local timers = require "moonrabbit.loop.timers"

local function taken(heap, now)
   local names = {}
   local entry = heap:take(now)
   while entry do
      names[#names + 1] = entry.name
      entry = heap:take(now)
   end
   return names
end

describe("timer", function()
   it("gives what is due in the order of time, then of adding", function()
      local heap = timers.heap()
      for _, case in ipairs { { "c", 3 }, { "a1", 1 }, { "b", 2 }, { "a2", 1 }, { "d", 9 } } do
         heap:add({ name = case[1] }, case[2])
      end
      assert.equal(1, heap:next_at())
      assert.same({ "a1", "a2", "b", "c" }, taken(heap, 3))
      assert.equal(9, heap:next_at())
      assert.same({}, taken(heap, 8.999))
      assert.same({ "d" }, taken(heap, 9))
      assert.is_nil(heap:next_at())
   end)

   it("never gives what was cancelled", function()
      local heap = timers.heap()
      local a = heap:add({ name = "a" }, 1)
      heap:add({ name = "b" }, 2)
      heap:cancel(a)
      heap:cancel(a)
      assert.equal(1, heap.live)
      assert.equal(2, heap:next_at())
      assert.same({ "b" }, taken(heap, 5))
      heap:cancel(a)
      assert.equal(0, heap.live)
   end)

   it("takes an entry again that has been given", function()
      local heap = timers.heap()
      local a = heap:add({ name = "a" }, 1)
      assert.equal(a, heap:take(1))
      heap:add(a, 2)
      assert.equal(1, heap.live)
      assert.same({ "a" }, taken(heap, 2))
      assert.equal(0, heap.live)
   end)

   it("gives nothing of what it had before it was cleared, and does not count it", function()
      local heap = timers.heap()
      local a = heap:add({ name = "a" }, 1)
      heap:add({ name = "b" }, 2)
      heap:clear()
      assert.is_nil(heap:next_at())
      heap:add({ name = "c" }, 3)
      heap:cancel(a)
      assert.equal(1, heap.live)
      assert.same({ "c" }, taken(heap, 5))
   end)

   it("does not grow with timers that are always cancelled", function()
      local heap = timers.heap()
      for i = 1, 10000 do heap:cancel(heap:add({}, i)) end
      assert.is_true(heap.count <= 130)
      assert.equal(0, heap.live)
   end)

   it("keeps its order through any mix of adding, cancelling and taking", function()
      local heap, live, seed = timers.heap(), {}, 7
      local function random(n)
         seed = (seed * 16807) % 2147483647
         return seed % n + 1
      end
      for _ = 1, 5000 do
         local what = random(3)
         if what <= 2 then
            local entry = heap:add({}, random(1000))
            live[entry] = true
            if random(3) == 1 then
               heap:cancel(entry)
               live[entry] = nil
            end
         else
            local entry, least = heap:take(1000), math.huge
            for other in pairs(live) do least = math.min(least, other.at) end
            if entry then
               assert.equal(least, entry.at)
               live[entry] = nil
            else
               assert.is_nil(next(live))
            end
         end
      end
   end)
end)
