--- short: names that are too long are cut between characters, and stay different.
-- SPDX-License-Identifier: MIT
local short = require "moonrabbit.base.short"

describe("a name", function()
   it("stays as it is where it fits", function()
      assert.equal("a.orders.b", short.name("a.", "orders", ".b"))
      assert.equal(255, #short.name("", ("x"):rep(253), ".b"))
      assert.equal(("x"):rep(253) .. ".b", short.name("", ("x"):rep(253), ".b"))
   end)

   it("is cut with a checksum where it does not", function()
      local one, two = short.name("p.", ("x"):rep(254) .. "1", ".b"), short.name("p.", ("x"):rep(254) .. "2", ".b")
      assert.equal(255, #one)
      assert.matches("^p%.x+~%x%x%x%x%x%x%x%x%.b$", one)
      assert.not_equal(one, two)
   end)

   it("is cut between characters", function()
      assert.equal("a", short.head("a\226\130\172", 3))
      assert.equal("a\226\130\172", short.head("a\226\130\172b", 4))
   end)
end)
