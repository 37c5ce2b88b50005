--- base64: bytes as text, and back.
-- SPDX-License-Identifier: MIT
local bit = require "bit"

local base64 = {}

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local PIECE = 3 * 1024 -- bytes per call of table.concat
local chars, values = {}, {}
for i = 1, 64 do chars[i - 1], values[ALPHABET:byte(i)] = ALPHABET:sub(i, i), i - 1 end

local function encode_piece(s)
   local out = {}
   for i = 1, #s, 3 do
      local a, b, c = s:byte(i, i + 2)
      local n = a * 65536 + (b or 0) * 256 + (c or 0)
      out[#out + 1] = chars[bit.rshift(n, 18)] .. chars[bit.band(bit.rshift(n, 12), 63)] ..
         (b and chars[bit.band(bit.rshift(n, 6), 63)] or "=") .. (c and chars[bit.band(n, 63)] or "=")
   end
   return table.concat(out)
end

--- Encodes bytes (RFC 4648, with padding).
-- @treturn string
function base64.encode(s)
   local pieces = {}
   for i = 1, #s, PIECE do pieces[#pieces + 1] = encode_piece(s:sub(i, i + PIECE - 1)) end
   return table.concat(pieces)
end

--- Decodes text; white space is skipped.
-- @treturn[1] string
-- @treturn[2] nil it is not base64
function base64.decode(text)
   text = text:gsub("%s+", "")
   local content = text:match "^[%w+/]*"
   local padding = text:sub(#content + 1)
   if #text % 4 ~= 0 or padding ~= "" and padding ~= "=" and padding ~= "==" then return nil end
   local out = {}
   for i = 1, #content, 4 do
      local a, b, c, d = content:byte(i, i + 3)
      local n = values[a] * 262144 + (values[b] or 0) * 4096 + (values[c] or 0) * 64 + (values[d] or 0)
      local three = string.char(bit.rshift(n, 16), bit.band(bit.rshift(n, 8), 255), bit.band(n, 255))
      out[#out + 1] = d and three or three:sub(1, c and 2 or 1)
   end
   return table.concat(out)
end

return base64
