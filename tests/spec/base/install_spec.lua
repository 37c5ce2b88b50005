--- install: a class has functions of another file, by their names.
-- SPDX-License-Identifier: MIT
local install = require "moonrabbit.base.install"

describe("installing", function()
   it("puts the functions that are named into a class, and no others", function()
      local Class, part = {}, { a = function() return 1 end, b = function() return 2 end, c = function() end }
      install(Class, part, "a", "b")
      assert.same({ a = part.a, b = part.b }, Class)
   end)

   it("is an error when there is no such function", function()
      assert.error_matches(function() install({}, {}, "a") end, "there is no a to install")
   end)
end)
