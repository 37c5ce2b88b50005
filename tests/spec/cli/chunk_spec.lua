--- chunk: what goes on in the next line.
local chunk = require "moonrabbit.cli.chunk"

describe("a typed text", function()
   it("goes on if more lines can make it whole", function()
      for _, text in ipairs { "for i = 1, 2 do", "f(", "{", "1 +", "x =", "local function f()", "[[text", "if x then\nprint(1)", "x.",
         "return function()", "--[[ a comment", "not" } do
         assert.is_true(chunk.is_incomplete(text), text)
      end
   end)

   it("is whole if it can be run, or if nothing can mend it", function()
      for _, text in ipairs { "1 + 1", "x = 1", "f()", "x", "for i = 1, 2 do print(i) end", "foo bar", "x = = 1", "'open", ")", "end",
         "-- a comment", "\27LJ", "return 1", "1, 2" } do
         assert.is_false(chunk.is_incomplete(text), text)
      end
   end)
end)
