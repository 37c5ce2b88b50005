--- merged: a new table of two.
-- SPDX-License-Identifier: MIT
local merged = require "moonrabbit.base.merged"

describe("a merged table", function()
   it("has what both have, the second one's where they differ", function()
      local first, second, inner = { a = 1, b = 2 }, { b = 3, c = false }, {}
      first.inner = inner
      local all = merged(first, second)
      assert.same({ a = 1, b = 3, c = false, inner = {} }, all)
      assert.equal(inner, all.inner)
      assert.same({ a = 1, b = 2, inner = {} }, first)
      assert.same({ b = 3, c = false }, second)
   end)

   it("is a copy of one alone, and empty of none", function()
      local one = { "x" }
      local copy = merged(one)
      assert.same({ "x" }, copy)
      assert.are_not.equal(one, copy)
      assert.same({ "x" }, merged(nil, one))
      assert.same({}, merged())
   end)
end)
