--- ledger: the failures of messages that cannot count them in their headers.
local ledger = require "moonrabbit.channel.ledger"

describe("the ledger of failures", function()
   local noted

   local function note(key, ...)
      ledger.note(key, ...)
      noted[#noted + 1] = key
   end

   before_each(function() noted = {} end)
   after_each(function()
      for _, key in ipairs(noted) do ledger.forget(key) end
   end)

   it("has the last count and the error that were noted for a message", function()
      note("a", 1)
      note("a", 2, "why")
      assert.same({ key = "a", count = 2, err = "why" }, ledger.find "a")
      assert.is_nil(ledger.find "b")
      assert.equal(1, ledger.count)
   end)

   it("forgets a message once, however often it is told", function()
      note("a", 1)
      note("b", 1)
      ledger.forget "a"
      ledger.forget "a"
      assert.is_nil(ledger.find "a")
      assert.equal(1, ledger.count)
   end)

   it("lets the oldest of more than a thousand messages go, and no other", function()
      for n = 1, 1001 do note(("k%d"):format(n), n) end
      assert.equal(1000, ledger.count)
      assert.is_nil(ledger.find "k1")
      assert.equal(2, ledger.find("k2").count)
      assert.equal(1001, ledger.find("k1001").count)
   end)

   it("begins anew when it was empty: what was forgotten takes no place", function()
      for n = 1, 1000 do note(("k%d"):format(n), n) end
      for n = 1, 1000 do ledger.forget(("k%d"):format(n)) end
      assert.equal(0, ledger.count)
      for n = 1, 1000 do note(("n%d"):format(n), n) end
      assert.equal(1000, ledger.count)
      assert.equal(1, ledger.find("n1").count)
   end)
end)
