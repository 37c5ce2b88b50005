--- cli.terminal: what a terminal is given: colours if it is to have them, no control characters of others.
-- SPDX-License-Identifier: MIT
local escaped = require "moonrabbit.cli.escaped"
local ffi = require "ffi"

local terminal = {}

ffi.cdef [[
int mr_isatty(int fd) __asm__("isatty");
char *mr_terminal_langinfo(int item) __asm__("nl_langinfo");
]]

local CODESET = 14 -- of nl_langinfo

local CODES = { bold = "1", red = "31", green = "32", yellow = "33", cyan = "36" }

--- True if a descriptor is a terminal.
function terminal.is_terminal(fd) return ffi.C.mr_isatty(fd) == 1 end

--- For libraries that know characters by the locale only: the user's, or one of UTF-8.
function terminal.set_locale()
   os.setlocale("", "ctype")
   if ffi.string(ffi.C.mr_terminal_langinfo(CODESET)) ~= "UTF-8" then os.setlocale("C.UTF-8", "ctype") end
end

--- True if text for a descriptor may have colours: https://no-color.org
function terminal.wanted(fd)
   local refused = os.getenv "NO_COLOR"
   return terminal.is_terminal(fd) and (refused == nil or refused == "") and os.getenv "TERM" ~= "dumb"
end

--- Text of another process for a descriptor: a terminal gets no control characters but line ends and tabs.
-- @tparam number fd
-- @tparam string text
-- @treturn string
function terminal.fit(fd, text)
   if not terminal.is_terminal(fd) then return text end
   return (text:gsub("[^\n\t]+", escaped))
end

--- A function that paints text.
-- @tparam boolean is_wanted false: it leaves the text as it is
-- @treturn function paint(name, text)
function terminal.painter(is_wanted)
   if not is_wanted then return function(_, text) return text end end
   return function(name, text) return ("\27[%sm%s\27[0m"):format(CODES[name], text) end
end

-- The end of a text in quotes; nil: it has none.
local function closing(text, at)
   local quote, i = text:sub(at, at), at + 1
   while i <= #text do
      local c = text:sub(i, i)
      if c == quote then return i end
      i = i + (c == "\\" and 2 or 1)
   end
end

local WORDS = { ["true"] = true, ["false"] = true, ["nil"] = true }

--- A printed value, with its strings, numbers and words painted.
-- @tparam function paint
-- @tparam string text of console/printing
function terminal.value(paint, text)
   local out, at = {}, 1
   while at <= #text do
      local finish = text:find("^[\"']", at) and closing(text, at)
      local word = not finish and text:match("^[%w_.]+", at)
      local name = finish and "green" or word and (word:find "^%d" or WORDS[word]) and "cyan"
      local piece = finish and text:sub(at, finish) or word or text:sub(at, at)
      out[#out + 1] = name and paint(name, piece) or piece
      at = at + #piece
   end
   return table.concat(out)
end

return terminal
