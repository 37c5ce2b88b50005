--- json_grammar: checks a text against RFC 8259, and finds the mistake and its byte.
-- SPDX-License-Identifier: MIT
-- lua-cjson is faster, but accepts some invalid JSON, and counts the bytes of the text that we pass, not of the original. So
-- this module checks texts that lua-cjson refuses, and texts with constructs that it may have accepted wrongly. Bytes over
-- 127 are not checked: Lua strings may contain any bytes.
local grammar = {}

local DEPTH = 1000 -- like lua-cjson

local byte, find = string.byte, string.find
local QUOTE, BACKSLASH, OPEN_ARRAY, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT, COMMA, COLON, MINUS, POINT, ZERO, NINE =
   byte('"\\[]{},:-.09', 1, 12)
local LITERALS = { [byte "t"] = "true", [byte "f"] = "false", [byte "n"] = "null" }

-- All of these take the text and a place, and return the place after what they have read; or nil, the place and the fault.

local function skip(text, at) return find(text, "[^ \t\r\n]", at) or #text + 1 end

-- The failure at an unexpected character.
local function instead(text, at, wanted)
   local c = byte(text, at)
   if not c then return nil, at, "it ends where " .. wanted .. " must be" end
   local shown = c < 127 and c >= 33 and "'" .. text:sub(at, at) .. "'" or ("byte 0x%02x"):format(c)
   return nil, at, shown .. " where " .. wanted .. " must be"
end

local function escape(text, at)
   local c = text:sub(at + 1, at + 1)
   if c == "u" then
      if find(text, "^%x%x%x%x", at + 2) then return at + 6 end
      return nil, at, "\\u without four hexadecimal digits"
   end
   if c ~= "" and find('"\\/bfnrt', c, 1, true) then return at + 2 end
   return nil, at, "an escape that JSON does not have"
end

local function string_of(text, at)
   local next_one = at + 1
   while true do
      local found = find(text, '["\\%z\1-\31]', next_one)
      if not found then return nil, at, "a string that does not end" end
      local c = byte(text, found)
      if c == QUOTE then return found + 1 end
      if c ~= BACKSLASH then return nil, found, ("a control character (0x%02x) within a string"):format(c) end
      local behind, place, what = escape(text, found)
      if not behind then return nil, place, what end
      next_one = behind
   end
end

local function number_of(text, at)
   local from = byte(text, at) == MINUS and at + 1 or at
   local _, last = find(text, "^%d+", from)
   if not last then return instead(text, from, "a digit") end
   if last > from and byte(text, from) == ZERO then return nil, at, "a number that begins with 0" end
   if find(text, "^%.", last + 1) then
      local _, digits = find(text, "^%d+", last + 2)
      if not digits then return instead(text, last + 2, "a digit") end
      last = digits
   end
   local _, exponent = find(text, "^[eE][+-]?", last + 1)
   if not exponent then return last + 1 end
   local _, digits = find(text, "^%d+", exponent + 1)
   if not digits then return instead(text, exponent + 1, "a digit") end
   return digits + 1
end

local value_of -- function(text, at, depth)

-- The common part of arrays and objects: members, commas, an end.
local function members(text, at, close, member, depth)
   if depth > DEPTH then return nil, at, "it is nested deeper than " .. DEPTH end
   at = skip(text, at + 1)
   if byte(text, at) == close then return at + 1 end
   while true do
      local why, what
      at, why, what = member(text, at, depth)
      if not at then return nil, why, what end
      at = skip(text, at)
      local c = byte(text, at)
      if c == close then return at + 1 end
      if c ~= COMMA then return instead(text, at, "',' or '" .. string.char(close) .. "'") end
      at = skip(text, at + 1)
   end
end

local function pair_of(text, at, depth)
   if byte(text, at) ~= QUOTE then return instead(text, at, "a name in quotes") end
   local behind, why, what = string_of(text, at)
   if not behind then return nil, why, what end
   at = skip(text, behind)
   if byte(text, at) ~= COLON then return instead(text, at, "':'") end
   return value_of(text, skip(text, at + 1), depth)
end

function value_of(text, at, depth)
   local c = byte(text, at)
   if c == QUOTE then return string_of(text, at) end
   if c == OPEN_OBJECT then return members(text, at, CLOSE_OBJECT, pair_of, depth + 1) end
   if c == OPEN_ARRAY then return members(text, at, CLOSE_ARRAY, value_of, depth + 1) end
   if c and (c == MINUS or c >= ZERO and c <= NINE) then return number_of(text, at) end
   local word = LITERALS[c]
   if word and text:sub(at, at + #word - 1) == word then return at + #word end
   return instead(text, at, "a value")
end

--- Checks a text.
-- @treturn ?string the mistake and its byte, counted from 1; nil: none
function grammar.fault(text)
   local at, place, what = value_of(text, skip(text, 1), 0)
   if at then
      at = skip(text, at)
      if at > #text then return nil end
      place, what = at, "more behind the end"
   end
   return ("%s, at byte %d of %d"):format(what, place, #text)
end

local function is_digit(c) return c ~= nil and c >= ZERO and c <= NINE end

--- Looks for invalid JSON that lua-cjson accepts, except invalid numbers: control characters within strings, NUL, points
-- without digits on both sides. It reads byte by byte, which is much faster when compiled than a pattern.
-- @treturn boolean true if something was found
-- @treturn boolean true if there is a number of 16 digits or more
function grammar.scan(text)
   local in_string, has_long, digits, i = false, false, 0, 1
   while i <= #text do
      local c = byte(text, i)
      if in_string then
         if c == QUOTE then in_string = false
         elseif c < 32 then return true, has_long
         elseif c == BACKSLASH then i = i + 1 end
      elseif c >= ZERO and c <= NINE then
         digits = digits + 1
         has_long = has_long or digits == 16
      else
         digits = 0
         if c == QUOTE then in_string = true
         elseif c == 0 or c == POINT and not (is_digit(byte(text, i - 1)) and is_digit(byte(text, i + 1))) then
            return true, has_long
         end
      end
      i = i + 1
   end
   return false, has_long
end

return grammar
