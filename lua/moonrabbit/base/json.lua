--- json: encodes and decodes JSON bodies; numbers are exact, independent of the locale and of the script's cjson settings.
-- SPDX-License-Identifier: MIT
-- lua-cjson writes at most 14 digits, so the encoder is written here; it escapes and refuses the same values as lua-cjson.
-- The decoder uses its own instance of lua-cjson, which reads numbers by the C library, as doubles and by the locale. Numbers
-- that need more are replaced by marked strings, and decoded here. json_grammar finds text that lua-cjson accepts although
-- it is not JSON.
local ffi = require "ffi"
local each = require "moonrabbit.base.each"
local grammar = require "moonrabbit.base.json_grammar"
local value = require "moonrabbit.base.value"

local json = {}

ffi.cdef 'const char **mr_localeconv(void) __asm__("localeconv");' -- a struct; first field: the point

local DEPTH = 1000                       -- like lua-cjson
local SPARSE, SAFE = 2, 10               -- a larger array may have at most this many places per element
local EXACT = 2 ^ 53                     -- below this, doubles represent every whole number exactly
local INT64, UINT64 = 2 ^ 63, 2 ^ 64
local DOT = ("."):byte()
local int64, uint64 = ffi.typeof "int64_t", ffi.typeof "uint64_t"
local Typed = getmetatable(value.int(0)) -- the type of objects of mr.int, mr.timestamp, mr.array...
local concat, floor, format = table.concat, math.floor, string.format
local huge = math.huge

-- lua-cjson is loaded at its first use.
local function library() return require "cjson" end

--- True for cjson.null.
function json.is_null(v) return type(v) == "userdata" and v == library().null end

-- ---- out ----

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["/"] = "\\/", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n",
   ["\r"] = "\\r", ["\t"] = "\\t", ["\127"] = "\\u007f" }
for code = 0, 31 do
   local c = string.char(code)
   ESCAPES[c] = ESCAPES[c] or ("\\u%04x"):format(code)
end

local function quoted(s)
   if s:find '[%c"\\/\127]' then s = s:gsub('[%z\1-\31"\\/\127]', ESCAPES) end
   return '"' .. s .. '"'
end

-- The shortest text that reads back as this number; whole numbers within 64 bits as integers.
local function number_text(n)
   if n == floor(n) and n < UINT64 and n >= -INT64 then
      if n == 0 then return 1 / n < 0 and "-0" or "0" end
      return format("%.0f", n)
   end
   if n ~= n or n == huge or n == -huge then error("a number is NaN or infinite, which JSON does not have", 0) end
   for digits = 14, 16 do
      local text = format("%." .. digits .. "g", n)
      if tonumber(text) == n then return text end
   end
   return format("%.17g", n)
end

local write -- function(out, v, depth)

-- The size of an array; nil if the table is not an array.
local function places(t)
   local most, count = 0, 0
   for k in each(t) do
      if type(k) ~= "number" or k < 1 or k > EXACT or k ~= floor(k) then return nil end
      count = count + 1
      if k > most then most = k end
   end
   if most > SAFE and most > count * SPARSE then error("an array has too many holes", 0) end
   return most
end

local function write_array(out, t, count, depth)
   if count == 0 then out[#out + 1] = "[]" return end
   for i = 1, count do
      out[#out + 1] = i == 1 and "[" or ","
      write(out, t[i], depth)
   end
   out[#out + 1] = "]"
end

local function key_text(k)
   if type(k) == "string" then return quoted(k) end
   if type(k) == "number" then return '"' .. number_text(k) .. '"' end
   error("a table's key must be a string or a number, not a " .. type(k), 0)
end

local function write_table(out, t, depth)
   if depth > DEPTH then error("it is nested too deep, or holds itself", 0) end
   local count = places(t)
   if count and count > 0 then return write_array(out, t, count, depth) end
   local before = "{"
   for k, v in each(t) do
      out[#out + 1] = before
      out[#out + 1] = key_text(k)
      out[#out + 1] = ":"
      write(out, v, depth)
      before = ","
   end
   out[#out + 1] = before == "{" and "{}" or "}"
end

-- The value of an object of mr.int and similar functions.
local function write_typed(out, v, depth)
   if v.type == "A" then return write_array(out, v.value, #v.value, depth + 1) end
   if v.type == "D" then out[#out + 1] = tostring(v) return end
   write(out, v.value, depth)
end

local function cdata_text(v)
   if ffi.istype(int64, v) or ffi.istype(uint64, v) then return (tostring(v):match "^-?%d+") end
   error("a cdata that is no 64-bit integer cannot be JSON", 0)
end

function write(out, v, depth)
   local kind = type(v)
   if kind == "string" then out[#out + 1] = quoted(v)
   elseif kind == "number" then out[#out + 1] = number_text(v)
   elseif kind == "boolean" then out[#out + 1] = v and "true" or "false"
   elseif v == nil or v == value.null or json.is_null(v) then out[#out + 1] = "null" -- also a NULL of the FFI
   elseif kind == "cdata" then out[#out + 1] = cdata_text(v)
   elseif kind ~= "table" then error("a " .. kind .. " cannot be JSON", 0)
   elseif getmetatable(v) == Typed then write_typed(out, v, depth)
   else write_table(out, v, depth + 1) end
end

--- Encodes a value. 64-bit integers (cdata) are written as integers; objects of mr.int, mr.timestamp and similar functions as
-- their values; mr.null and cjson.null as null. An empty table is an object; mr.array{} is [].
-- @treturn string
-- Raises a text for values that JSON cannot represent: NaN and infinities, functions, tables that contain themselves.
function json.encode(v)
   local out = {}
   write(out, v, 0)
   return concat(out)
end

-- ---- in ----

local reader                             -- our own instance
local was_foreign = false                -- true if the decimal point was not "." at the last check

-- True if the C library's decimal point differs from JSON's. lua-cjson reads it when an instance is made.
local function is_foreign()
   local point = ffi.C.mr_localeconv()[0]
   local foreign = point[0] ~= DOT or point[1] ~= 0
   if not reader or was_foreign and not foreign then
      reader = library().new()
      reader.decode_invalid_numbers(false) -- hexadecimal ones, leading zeros, NaN, infinities
   end
   was_foreign = foreign
   return foreign
end

-- Decodes a number: an integer beyond 2^53 that a double cannot hold becomes int64_t or uint64_t.
local function read_number(text)
   local n = tonumber(text)
   local sign, digits = text:match "^(%-?)([1-9]%d*)$"
   if not digits or #digits > 20 or n > -EXACT and n < EXACT or format("%.0f", n) == text then return n end
   local whole = uint64(0)
   for i = 1, #digits do whole = whole * 10 + (digits:byte(i) - 48) end
   if tostring(whole) ~= digits .. "ULL" then return n end -- more than 64 bits
   if sign == "" then return whole < 0x8000000000000000ULL and ffi.cast(int64, whole) or whole end
   return whole <= 0x8000000000000000ULL and -ffi.cast(int64, whole) or n
end

-- True if this number must be decoded here. All numbers must if the C library's point is a comma, because lua-cjson would
-- read the comma of a list as a point.
local function is_ours(token, foreign)
   if foreign then return tonumber(token) ~= nil end
   return #token >= 16 and token:find "^%-?[1-9]%d*$" ~= nil
end

-- The end of the string that begins at `at`.
local function string_end(text, at)
   local found = text:find('["\\]', at + 1)
   while found and text:byte(found) ~= 34 do found = text:find('["\\]', found + 2) end
   return found or #text
end

-- The text with our numbers replaced by strings that begin with a mark.
local function marked(text, mark, foreign)
   local out, from, at = {}, 1, text:find '["%-%d]'
   while at do
      local token, last = text:match("^%-?%d[%d.eE+-]*", at), at
      if text:byte(at) == 34 then
         last = string_end(text, at)
      elseif token then
         last = at + #token - 1
         if is_ours(token, foreign) then
            out[#out + 1] = text:sub(from, at - 1) .. '"' .. mark .. token .. '"'
            from = last + 1
         end
      end
      at = text:find('["%-%d]', last + 1)
   end
   return concat(out) .. text:sub(from)
end

-- Replaces the marked strings by numbers.
local function restored(v, mark)
   if type(v) == "string" and v:sub(1, #mark) == mark then return read_number(v:sub(#mark + 1)) end
   if type(v) ~= "table" then return v end
   for k, inner in each(v) do
      if type(k) == "string" and k:sub(1, #mark) == mark then error("a number where a name must be", 0) end
      local kind = type(inner)
      if kind == "string" or kind == "table" then v[k] = restored(inner, mark) end
   end
   return v
end

-- Decodes `source`, which is `text` or made of it. Errors refer to `text`; without a fault in it lua-cjson's reason is used.
local function read(text, source)
   local ok, v = pcall(reader.decode, source)
   if not ok then error(grammar.fault(text) or v, 0) end
   return v
end

--- Decodes a text, which must be JSON by RFC 8259. Integers beyond 2^53 that a Lua number cannot hold become int64_t or
-- uint64_t (cdata), null becomes cjson.null. Raises a text for invalid JSON: the mistake and its byte.
-- @tparam string text
function json.decode(text)
   local foreign, is_doubtful, has_long = is_foreign(), grammar.scan(text)
   local fault = (foreign or is_doubtful) and grammar.fault(text)
   if fault then error(fault, 0) end
   if not foreign and not has_long then return read(text, text) end
   local mark = "\255" -- a byte that no escape sequence produces
   while text:find(mark, 1, true) do mark = mark .. "#" end
   return restored(read(text, marked(text, mark, foreign)), mark)
end

return json
