--- cli.chunk: is what was typed a whole expression, or does it go on?
-- SPDX-License-Identifier: MIT
local chunk = {}

-- The error of a text that ends too early.
local function lacks_end(why) return why:find "near '<eof>'$" ~= nil end

--- True if more lines can make an expression, or statements, of the text.
-- @tparam string text
function chunk.is_incomplete(text)
   if text:byte() == 27 then return false end -- bytecode
   text = text .. "\n" -- ends a string that lacks its quote
   local as_expression, why = load("return " .. text, "=console", "t")
   if as_expression then return false end
   local as_statements, other = load(text, "=console", "t")
   if as_statements then return false end
   return lacks_end(why) or lacks_end(other)
end

return chunk
