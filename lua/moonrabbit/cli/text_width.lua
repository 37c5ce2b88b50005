--- cli.text_width: how many columns of a terminal a text takes: wide characters take two, combining ones none.
-- SPDX-License-Identifier: MIT
-- By wcwidth, which asks the locale: here one of UTF-8, whatever the process's is. Bytes that are no character, and characters that
-- wcwidth does not know, count as one column.
local ffi = require "ffi"

local text_width = {}

ffi.cdef [[
int mr_width_of(int character) __asm__("wcwidth");
void *mr_width_locale(int mask, const char *name, void *base) __asm__("newlocale");
void *mr_width_use(void *locale) __asm__("uselocale");
void mr_width_free(void *locale) __asm__("freelocale");
]]

local CTYPE_MASK = 1
local CHARACTER = "[%z\1-\127\192-\255][\128-\191]*"

local locale -- nil: not made yet; false: there is none

local function make_locale()
   local made = ffi.C.mr_width_locale(CTYPE_MASK, "C.UTF-8", nil)
   return made ~= nil and ffi.gc(made, ffi.C.mr_width_free)
end

local function code_of(char)
   local first = char:byte()
   if first < 0x80 then return first end
   local code = first % 2 ^ (7 - #char)
   for i = 2, #char do code = code * 64 + char:byte(i) % 64 end
   return code
end

local function of_character(char)
   local n = #char <= 4 and ffi.C.mr_width_of(code_of(char)) or 1
   return n < 0 and 1 or n
end

-- Calls fn while characters are those of UTF-8.
local function within(fn, text, n)
   if locale == nil then locale = make_locale() end
   if not locale then return fn(text, n) end
   local before = ffi.C.mr_width_use(locale)
   local result = fn(text, n)
   ffi.C.mr_width_use(before)
   return result
end

local function sum(text)
   local n = 0
   for char in text:gmatch(CHARACTER) do n = n + of_character(char) end
   return n
end

local function is_plain(text) return not text:find "[\128-\255]" end

--- The columns that a text takes.
-- @tparam string text UTF-8 without control characters
-- @treturn number
function text_width.of(text)
   if is_plain(text) then return #text end
   return within(sum, text)
end

local function first(text, n)
   local used, at = 0, 1
   for char in text:gmatch(CHARACTER) do
      used = used + of_character(char)
      if used > n then break end
      at = at + #char
   end
   return text:sub(1, at - 1)
end

--- The beginning of a text that fits into n columns.
function text_width.first(text, n)
   if is_plain(text) then return text:sub(1, math.max(n, 0)) end
   return within(first, text, n)
end

local function last(text, n)
   local left, at = sum(text), 1
   for char in text:gmatch(CHARACTER) do
      if left <= n then break end
      left, at = left - of_character(char), at + #char
   end
   return text:sub(at)
end

--- The end of a text that fits into n columns.
function text_width.last(text, n)
   if is_plain(text) then return n > 0 and text:sub(-n) or "" end
   return within(last, text, n)
end

return text_width
