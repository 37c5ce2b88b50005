--- cli.escaped: no control character reaches a terminal.
local escaped = require "moonrabbit.cli.escaped"

describe("text for a terminal", function()
   it("has its control characters shown, of seven and of eight bits", function()
      assert.equal("a\\x1b[31m\\x07\\n\\t\\x7f\\u009b", escaped "a\27[31m\7\n\t\127\194\155")
      assert.equal("grün 7", escaped("grün " .. 7))
      assert.equal("nil", escaped(nil))
   end)
end)
