--- globals: the globals that a chunk reads and sets.
-- SPDX-License-Identifier: MIT
local globals = require "moonrabbit.cli.globals"

local function mistakes(text, known)
   local list = {}
   for i, one in ipairs(globals.mistakes(globals.of(assert(load(text))), known or _G)) do list[i] = one.line .. ": " .. one.text end
   return list
end

describe("the globals of a chunk", function()
   it("are found in all its functions, with their lines", function()
      local list = {}
      for i, use in ipairs(globals.of(load "a = b\nlocal function f()\n  return function() c = d end\nend")) do
         list[i] = { use.name, use.line, use.is_set }
      end
      table.sort(list, function(x, y) return x[1] < y[1] end)
      assert.same({ { "a", 1, true }, { "b", 1, false }, { "c", 3, true }, { "d", 3, false } }, list)
   end)

   it("are a mistake if nothing sets them", function()
      assert.same({ "2: nothing sets the global prin: did you mean print?" }, mistakes "local x = 1\nprin(x)\nprin(x)")
      assert.same({ "1: nothing sets the global countr: did you mean counter?" }, mistakes "return countr, function() counter = 1 end")
      assert.same({ "1: nothing sets the global qqqqqqqqq" }, mistakes("return qqqqqqqqq", {}))
      assert.same({}, mistakes "local t = { prin = 1 }\nprint(t.prin, string.format, ...)")
   end)
end)
