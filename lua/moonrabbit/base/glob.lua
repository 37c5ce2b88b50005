--- glob: the patterns of the command line: * any bytes, ? one.
-- SPDX-License-Identifier: MIT

-- What stands between two stars.
local function part_of(text)
   local pattern = text:gsub("[%^%$%(%)%%%.%[%]%+%-]", "%%%0"):gsub("%?", ".")
   local is_plain = not text:find("?", 1, true)
   return { size = #text, text = is_plain and text or pattern, is_plain = is_plain, here = "^" .. pattern }
end

--- A shell pattern as a function. What it looks at may be a stranger's: each part is taken where it comes first, and never looked
-- for again, as a pattern of Lua would do for each star.
-- @tparam string glob
-- @treturn function fn(text) -> boolean
return function(glob)
   local parts = {}
   for text in (glob .. "*"):gmatch "([^*]*)%*" do parts[#parts + 1] = part_of(text) end
   local first, last = parts[1], parts[#parts]
   return function(text)
      if not text:find(first.here) then return false end
      if first == last then return #text == first.size end
      local at = first.size + 1
      for i = 2, #parts - 1 do
         local _, stop = text:find(parts[i].text, at, parts[i].is_plain)
         if not stop then return false end
         at = stop + 1
      end
      local from = #text - last.size + 1
      return from >= at and text:find(last.here, from) ~= nil
   end
end
