--- terminal: colours, and text of others.
local terminal = require "moonrabbit.cli.terminal"

describe("a terminal", function()
   it("gets painted strings, numbers and words", function()
      local paint = terminal.painter(true)
      assert.equal("\27[31mno\27[0m", paint("red", "no"))
      local seen = {}
      local function marked(name, text)
         seen[#seen + 1] = name .. " " .. text
         return text
      end
      local text = [[{ 1, -2.5e3, "a \"b\" {1}", x1 = true, y = nil, f = function: 0x12, it's "open]]
      assert.equal(text, terminal.value(marked, text))
      assert.same({ "cyan 1", "cyan 2.5e3", [[green "a \"b\" {1}"]], "cyan true", "cyan nil", "cyan 0x12" }, seen)
   end)

   it("is none: there are no colours, and text is as it is", function()
      assert.equal("x", terminal.painter(false)("red", "x"))
      assert.is_false(terminal.is_terminal(100))
      assert.is_false(terminal.wanted(100))
      assert.equal("a\27[2J", terminal.fit(100, "a\27[2J"))
   end)
end)
