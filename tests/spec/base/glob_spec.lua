--- glob: the patterns of the command line.
-- SPDX-License-Identifier: MIT
local glob = require "moonrabbit.base.glob"

-- The same by a pattern of Lua.
local function plainly(text)
   return "^" .. text:gsub("[%^%$%(%)%%%.%[%]%+%-]", "%%%0"):gsub("%*", ".*"):gsub("%?", ".") .. "$"
end

local function any_of(list, most)
   local parts = {}
   for i = 1, math.random(0, most) do parts[i] = list[math.random(#list)] end
   return table.concat(parts)
end

describe("a pattern of the command line", function()
   it("has stars for any bytes, ? for one, and else itself", function()
      for pattern, texts in pairs {
         ["order.*"] = { ["order."] = true, ["order.new"] = true, orders = false, ["my.order.x"] = false },
         ["*.eu"] = { [".eu"] = true, ["a.eu.eu"] = true, eu = false },
         ["a?c"] = { abc = true, ["a\nc"] = true, ac = false, abcd = false },
         ["*"] = { [""] = true, ["\0\255\n"] = true },
         ["**"] = { [""] = true, x = true },
         [""] = { [""] = true, x = false },
         ["ab*ba"] = { abba = true, aba = false, abxba = true },
         ["[a]%.+-^$"] = { ["[a]%.+-^$"] = true, a = false },
      } do
         for text, expected in pairs(texts) do assert.equal(expected, glob(pattern)(text), pattern .. " " .. text) end
      end
   end)

   it("is what a pattern of Lua would be", function()
      for _ = 1, 20000 do
         local pattern, text = any_of({ "a", "b", ".", "*", "*", "?", "%" }, 7), any_of({ "a", "b", ".", "%", "\0" }, 9)
         assert.equal(text:find(plainly(pattern)) ~= nil, glob(pattern)(text), pattern .. " " .. text)
      end
   end)

   it("is no work for long, whatever a stranger's text is", function()
      local began = os.clock()
      assert.is_false(glob "*.*.*.*.*.x"(("."):rep(255))) -- a pattern of Lua took a minute
      assert.is_false(glob "*a*b*c*"(("ab"):rep(2 ^ 19)))
      assert.is_true(os.clock() - began < 1)
   end)
end)
