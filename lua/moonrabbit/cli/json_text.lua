--- cli.json_text: JSON that a terminal may show: UTF-8, and no control characters of 8 bits either.
-- SPDX-License-Identifier: MIT
local utf8_text = require "moonrabbit.base.utf8_text"

local function code(byte) return ("\\u%04x"):format(byte:byte()) end

--- Makes a text of JSON printable; its strings stay what they are, but for bytes that are no UTF-8: they become the characters
-- of their number.
-- @tparam string text JSON, in which all bytes over 127 are in strings
-- @treturn string
return function(text)
   if not text:find "[\128-\255]" then return text end
   if not utf8_text.is_valid(text) then return (text:gsub("[\128-\255]", code)) end
   return (text:gsub("\194([\128-\159])", code))
end
