--- utf8_text: whether bytes are UTF-8, as JSON needs it.
-- SPDX-License-Identifier: MIT
local utf8_text = {}

-- The bytes that may follow a first byte: number, least and greatest second byte.
local function lead(byte)
   if byte >= 0xC2 and byte <= 0xDF then return 1, 0x80, 0xBF end
   if byte == 0xE0 then return 2, 0xA0, 0xBF end
   if byte == 0xED then return 2, 0x80, 0x9F end -- no surrogates
   if byte >= 0xE1 and byte <= 0xEF then return 2, 0x80, 0xBF end
   if byte == 0xF0 then return 3, 0x90, 0xBF end
   if byte >= 0xF1 and byte <= 0xF3 then return 3, 0x80, 0xBF end
   if byte == 0xF4 then return 3, 0x80, 0x8F end
end

-- The end of the character that begins there; nil: none does.
local function character_end(s, at)
   local more, least, most = lead(s:byte(at))
   local second = more and s:byte(at + 1)
   if not second or second < least or second > most then return nil end
   for i = at + 2, at + more do
      local byte = s:byte(i)
      if not byte or byte < 0x80 or byte > 0xBF then return nil end
   end
   return at + more
end

--- True for UTF-8 by RFC 3629.
-- @tparam string s
-- @treturn boolean
function utf8_text.is_valid(s)
   local at = s:find "[\128-\255]"
   while at do
      local last = character_end(s, at)
      if not last then return false end
      at = s:find("[\128-\255]", last + 1)
   end
   return true
end

--- The text with U+FFFD for each byte that belongs to no character, as the C library's pages have it.
-- @tparam string s
-- @treturn string
function utf8_text.repaired(s)
   if utf8_text.is_valid(s) then return s end
   local parts, from, at = {}, 1, s:find "[\128-\255]"
   while at do
      local last = character_end(s, at)
      if not last then
         parts[#parts + 1] = s:sub(from, at - 1)
         parts[#parts + 1] = "\239\191\189"
         from = at + 1
      end
      at = s:find("[\128-\255]", (last or at) + 1)
   end
   parts[#parts + 1] = s:sub(from)
   return table.concat(parts)
end

return utf8_text
