--- unconfirmed: tickets by their numbers, against a plain table.
-- SPDX-License-Identifier: MIT
local unconfirmed = require "moonrabbit.channel.unconfirmed"

local function numbers(of)
   local list = {}
   for i, t in ipairs(unconfirmed.list(of)) do list[i] = t.number end
   return list
end

describe("the tickets that wait", function()
   local of

   before_each(function() of = unconfirmed.new() end)

   it("are found by their numbers, taken out once, and listed in order", function()
      for n = 3, 1, -1 do unconfirmed.put(of, { number = n }) end
      assert.equal(2, unconfirmed.get(of, 2).number)
      assert.same({ 1, 2, 3 }, numbers(of))
      assert.equal(2, unconfirmed.take(of, 2).number)
      assert.is_nil(unconfirmed.take(of, 2))
      assert.is_nil(unconfirmed.get(of, 2))
      assert.is_nil(unconfirmed.get(of, 4))
      assert.same({ 1, 3 }, numbers(of))
   end)

   it("may be more than the ring holds", function()
      for n = 1, 10000 do unconfirmed.put(of, { number = n }) end
      assert.equal(10000, #numbers(of))
      for n = 1, 10000 do assert.equal(n, unconfirmed.take(of, n).number) end
      assert.same({}, numbers(of))
      assert.is_nil(next(of.rest))
   end)

   it("keep one that waits for ever, and take no more room for it than 4096 places", function()
      unconfirmed.put(of, { number = 1 })
      for n = 2, 100000 do
         unconfirmed.put(of, { number = n })
         unconfirmed.take(of, n)
      end
      assert.same({ 1 }, numbers(of))
      assert.is_true(of.mask < 4096)
      assert.equal(1, unconfirmed.take(of, 1).number)
   end)

   it("have numbers beyond 2^32", function()
      local far = 2 ^ 32 + 1
      unconfirmed.put(of, { number = 1 })
      unconfirmed.put(of, { number = far })
      assert.same({ 1, far }, numbers(of))
      assert.equal(far, unconfirmed.take(of, far).number)
      assert.equal(1, unconfirmed.take(of, 1).number)
   end)

   it("are those of a plain table, whatever the order of puts and takes", function()
      local seed = os.time()
      math.randomseed(seed)
      local model, last, out = {}, 0, {}
      for _ = 1, 50000 do
         if #out == 0 or math.random() < 0.505 then
            last = last + math.random(3)
            model[last] = { number = last }
            out[#out + 1] = last
            unconfirmed.put(of, model[last])
         else -- mostly one of the oldest
            local n = table.remove(out, math.random(math.random() < 0.9 and math.min(#out, 5) or #out))
            assert(unconfirmed.take(of, n) == model[n], "seed " .. seed)
            model[n] = nil
         end
      end
      assert.same(out, numbers(of), "seed " .. seed)
   end)
end)
