--- put_off: how many messages wait for a later try.
local put_off = require "moonrabbit.redelivery.put_off"

describe("what a process has put off", function()
   before_each(put_off.clear)
   teardown(put_off.clear)

   it("counts by queue until its time has come", function()
      for _ = 1, 3 do put_off.note("a", 5, 100) end
      put_off.note("a", 60, 100)
      put_off.note("b", 2, 100)
      put_off.note("b", 0, 100) -- at once
      assert.same({ { queue = "a", count = 4, next = 5 }, { queue = "b", count = 1, next = 2 } }, put_off.list(100))
      assert.same({ { queue = "a", count = 4, next = 2 } }, put_off.list(103))
      local later = put_off.list(106)
      assert.same({ "a", 1, true }, { later[1].queue, later[1].count, later[1].next >= 54 and later[1].next < 60 })
      assert.same({}, put_off.list(100000))
   end)

   it("needs a bounded number of steps, and of queues", function()
      for i = 1, 20000 do put_off.note("a", i % 86400, 0) end
      for i = 1, 300 do put_off.note("q" .. i, 5, 0) end
      local list, count = put_off.list(0), 0
      for _, one in ipairs(list) do count = count + one.count end
      assert.same({ 100 + 1, 20000 + 300 }, { #list, count })
   end)
end)
