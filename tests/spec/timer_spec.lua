local timer = require "moonrabbit.timer"

describe("timer", function()
   it("gives entries in the order of their times, and of adding when times are equal", function()
      local heap, order = timer.heap(), {}
      for _, at in ipairs { 5, 1, 3, 3, 2, 9 } do heap:add({ name = at .. (at == 3 and #order or "") }, at) end
      assert.equal(1, heap:next_at())
      local entry = heap:take(5)
      while entry do
         order[#order + 1] = entry.at
         entry = heap:take(5)
      end
      assert.same({ 1, 2, 3, 3, 5 }, order)
      assert.equal(9, heap:next_at())
   end)

   it("never gives a cancelled entry, and does not keep masses of them", function()
      local heap = timer.heap()
      for i = 1, 10000 do heap:cancel(heap:add({}, i)) end
      assert.is_nil(heap:take(1e9))
      assert.is_nil(heap:next_at())
      assert.equal(0, heap.live)
      for i = 1, 1000 do heap:add({ keep = true }, i) end
      for i = 1, 10000 do heap:cancel(heap:add({}, i)) end
      assert.is_true(heap.count < 5000)
      assert.equal(1000, heap.live)
   end)
end)
