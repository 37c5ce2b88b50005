--- unheard: the publishes that were lost without anybody having been told.
-- SPDX-License-Identifier: MIT
local unheard = require "moonrabbit.channel.unheard"

describe("unheard publishes", function()
   before_each(unheard.begin_anew)
   after_each(unheard.begin_anew)

   local function names()
      local list = {}
      unheard.each(function(t) list[#list + 1] = t.name end)
      return table.concat(list, " ")
   end

   it("count until the program asks for each, once", function()
      local owner, a, b = {}, { name = "a" }, { name = "b" }
      unheard.note(a, owner)
      unheard.note(b, nil)
      assert.same({ 2, "a b" }, { unheard.count(), names() })
      for _ = 1, 2 do
         unheard.tell(a)
         assert.same({ 1, "b" }, { unheard.count(), names() })
      end
      unheard.tell(b)
      assert.same({ 0, "" }, { unheard.count(), names() })
   end)

   it("count until the program asks for all of an owner; a ticket of them then tells nothing more", function()
      local owner, other, list = {}, {}, {}
      for i = 1, 3 do
         list[i] = { name = i }
         unheard.note(list[i], owner)
      end
      unheard.note({ name = "other" }, other)
      unheard.tell(list[1])
      unheard.tell_all(owner)
      assert.same({ 1, "other" }, { unheard.count(), names() })
      for i = 1, 3 do unheard.tell(list[i]) end
      unheard.tell_all(owner)
      assert.equal(1, unheard.count())
      unheard.note({ name = 4 }, owner)
      assert.same({ 2, "other 4" }, { unheard.count(), names() })
   end)

   it("of an earlier runtime count no more, though they are asked later", function()
      local owner, t = {}, { name = "t" }
      unheard.note(t, owner)
      unheard.begin_anew()
      assert.same({ 0, "" }, { unheard.count(), names() })
      unheard.note({ name = "u" }, owner)
      unheard.tell(t)
      assert.equal(1, unheard.count())
      unheard.tell_all(owner)
      assert.equal(0, unheard.count())
   end)

   it("are all counted, but only the first hundred are kept", function()
      for i = 1, 150 do unheard.note({ name = i }, nil) end
      local kept = 0
      unheard.each(function() kept = kept + 1 end)
      assert.same({ 150, 100 }, { unheard.count(), kept })
   end)
end)
