--- figure_page: what the pictures need from docs/performance.md: its tables, and what they are of.
-- SPDX-License-Identifier: MIT
local page = {}

--- The text from a heading to the next of its level or above; the heading is named by its beginning: "### Publish".
function page.section(text, heading)
   local from = assert(text:find("\n" .. heading, 1, true), "no heading " .. heading)
   local level = #heading:match "^#+"
   local till = #text
   for depth = 2, level do
      local next_one = text:find("\n" .. ("#"):rep(depth) .. " ", from + 1, true)
      if next_one and next_one < till then till = next_one end
   end
   return text:sub(from, till)
end

--- The cells of each line of the tables in a text.
function page.rows(text)
   local rows = {}
   for line in text:gmatch "[^\n]+" do
      if line:sub(1, 2) == "| " then
         local cells = {}
         for cell in line:gmatch "| ([^|]*) %f[|]" do cells[#cells + 1] = cell end
         rows[#rows + 1] = cells
      end
   end
   return rows
end

--- The median in a cell "min / **median** / max", as it stands there.
function page.median(cell)
   return assert(cell:match "%*%*(.-)%*%*", cell)
end

--- The number that a figure stands for: of "4.31 M" 4310000, of "409 k" 409000.
function page.number(text)
   local digits, unit = text:match "^([%d.]+)%s*([kM]?)$"
   return tonumber(digits) * (unit == "M" and 1e6 or unit == "k" and 1e3 or 1)
end

--- The text between the markers of a block, or nil.
function page.block(text, name)
   return text:match(("<!%%-%%- %s:begin %%-%%->\n(.-)<!%%-%%- %s:end %%-%%->"):format(name, name))
end

--- What a block is of: "4ff11b9, 2026-11-21".
function page.origin(block)
   local line = assert(block:match "^[^\n]+", "no line after the marker")
   return assert(line:match "commit (%x+)", line) .. ", " .. assert(line:match "date ([%d-]+)", line)
end

return page
