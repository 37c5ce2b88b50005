--- cli.text_width: columns of wide and combining characters.
local text_width = require "moonrabbit.cli.text_width"

describe("the width of a text", function()
   local WIDE, EMOJI, COMBINED = "\230\156\136\229\133\142", "\240\159\144\135", "e\204\129" -- a moon rabbit in Chinese; a rabbit; e, acute

   it("is that on a terminal, in any locale", function()
      local before = os.setlocale(nil, "ctype")
      for _, locale in ipairs { "C", "C.UTF-8" } do
         assert(os.setlocale(locale, "ctype"))
         for text, columns in pairs { [""] = 0, abc = 3, ["\195\169"] = 1, [WIDE] = 4, [EMOJI] = 2, [COMBINED] = 1,
            ["a" .. WIDE .. COMBINED] = 6,
            ["\226\128\139"] = 0, ["\255\254"] = 2, ["\195"] = 1, ["\252\128\128\128\128\128"] = 1 } do
            assert.equal(columns, text_width.of(text), text)
         end
         assert.equal(locale, os.setlocale(nil, "ctype"))
      end
      os.setlocale(before, "ctype")
   end)

   it("bounds the beginning and the end of it, without splitting a character", function()
      for n, fits in pairs { [0] = "", [1] = "a", [2] = "a", [3] = "a\230\156\136", [5] = "a" .. WIDE, [9] = "a" .. WIDE .. COMBINED } do
         assert.equal(fits, text_width.first("a" .. WIDE .. COMBINED, n))
      end
      assert.equal(COMBINED, text_width.first(COMBINED .. "x", 1))
      for n, fits in pairs { [0] = "", [1] = "z", [2] = "z", [3] = "\229\133\142z", [5] = WIDE .. "z", [9] = WIDE .. "z" } do
         assert.equal(fits, text_width.last(WIDE .. "z", n))
      end
      assert.same({ "ab", "", "bc", "" }, { text_width.first("abc", 2), text_width.first("abc", -1), text_width.last("abc", 2),
         text_width.last("abc", 0) })
   end)
end)
