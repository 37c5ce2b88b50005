--- cli.table_text: aligned columns.
local table_text = require "moonrabbit.cli.table_text"

describe("rows as columns", function()
   it("are aligned: words at the left, numbers at the right, nothing after the last", function()
      assert.same({ "NAME     N", "a       10", "longer   9" }, table_text({ "NAME", "N" }, { { "a", 10 }, { "longer", 9 } }))
      assert.same({ " A  B", " é  x", " b" }, table_text({ "A", "B" }, { { "é", "x" }, { "b" } }, " "))
   end)
   it("stand straight below wide and combining characters", function()
      assert.same({ "A     B", "\230\156\136\229\133\142  x", "e\204\129     y" }, table_text({ "A", "B" },
         { { "\230\156\136\229\133\142", "x" }, { "e\204\129", "y" } }))
   end)
   it("have no control characters", function()
      local text = table.concat(table_text({ "A" }, { { "x\27[2J\n\tz\194\155" } }), "|")
      assert.equal("A|x\\x1b[2J\\n\\tz\\u009b", text)
   end)
end)
