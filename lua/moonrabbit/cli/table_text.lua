--- cli.table_text: rows as aligned columns.
-- SPDX-License-Identifier: MIT
local escaped = require "moonrabbit.cli.escaped"
local width = require("moonrabbit.cli.text_width").of

--- Lines of columns; numbers stand at the right of theirs.
-- @tparam table titles of the columns
-- @tparam table rows of values; nil or "": nothing
-- @tparam[opt] string indent before each line
-- @treturn table lines
return function(titles, rows, indent)
   local widths, is_number = {}, {}
   local texts = {}
   for i, title in ipairs(titles) do widths[i], is_number[i] = width(title), #rows > 0 end
   for r, row in ipairs(rows) do
      texts[r] = {}
      for i = 1, #titles do
         local v = row[i]
         local text = v == nil and "" or escaped(v)
         texts[r][i] = text
         widths[i] = math.max(widths[i], width(text))
         if text ~= "" and not text:find "^[%d.,]+%a*$" then is_number[i] = false end
      end
   end
   local function line_of(cells)
      local parts = {}
      for i, text in ipairs(cells) do
         local space = (" "):rep(widths[i] - width(text))
         parts[i] = is_number[i] and space .. text or text .. space
      end
      return ((indent or "") .. table.concat(parts, "  ")):gsub("%s+$", "")
   end
   local lines = { (line_of(titles)) }
   for _, cells in ipairs(texts) do lines[#lines + 1] = (line_of(cells)) end
   return lines
end
