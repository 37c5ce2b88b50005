--- errors: the structured error that every failing call returns as its second result.
-- SPDX-License-Identifier: MIT
-- Fields: kind, code (AMQP reply code or nil), text, scope, recoverable, hint, errno (or nil).
-- tostring(err) is one line.
local ffi = require "ffi"
local C = require("moonrabbit.base.ffi").C
local show = require "moonrabbit.base.show"

local errors = {}

local Error = { __name = "moonrabbit.error" }
Error.__index = Error

function Error.__tostring(e)
   local code = e.code and (" (%d)"):format(e.code) or ""
   local hint = e.hint ~= "" and (" [%s]"):format(e.hint) or ""
   return ("%s%s: %s%s"):format(e.kind, code, e.text, hint)
end

function Error.__concat(a, b) return tostring(a) .. tostring(b) end

local kinds, numbers = {}, {}        -- number -> name, name -> number
for n = 0, C.mr_status_count() - 1 do
   kinds[n] = ffi.string(C.mr_status_name(n))
   numbers[kinds[n]] = n
end
errors.kinds, errors.numbers = kinds, numbers

local SAID = "the text says which argument it is, and what it may be"

local function build(number, scope, text, hint)
   if text and number == numbers.bad_argument then hint = hint or SAID end
   return setmetatable({
      kind = kinds[number], text = text or ffi.string(C.mr_status_text(number)), scope = scope,
      recoverable = C.mr_status_recoverable(number), hint = hint or ffi.string(C.mr_status_hint(number)),
   }, Error)
end

--- An error of a kind, with the kind's own text unless one is given.
-- @tparam string kind one of API.md's kinds
-- @tparam string scope "connection", "channel", "publish", "message", "config"
-- @tparam[opt] string text
-- @tparam[opt] string hint what to check, if the kind's own hint does not fit this cause
-- @treturn table
function errors.new(kind, scope, text, hint)
   local number = numbers[kind]
   if not number then error(('there is no error kind "%s"'):format(tostring(kind)), 2) end
   return build(number, scope, text, hint)
end

--- An error of a C status.
-- @tparam number number an `enum mr_status`, not 0
-- @tparam string scope
-- @tparam[opt] string text
-- @treturn table
function errors.of_status(number, scope, text)
   return build(number, scope, text)
end

--- A copy of an `mr_error`.
-- @tparam cdata e
-- @treturn ?table nil if its kind is ok
function errors.of_c(e)
   if e.kind == 0 then return nil end
   local text = ffi.string(e.text)
   local err = build(e.kind, ffi.string(C.mr_scope_name(e.scope)), text ~= "" and text or nil)
   err.recoverable, err.hint = e.recoverable, ffi.string(C.mr_error_hint(e))
   if e.code ~= 0 then err.code = e.code end
   if e.system ~= 0 then err.errno = e.system end
   return err
end

--- An error that was received from another program: its kind may be any word.
-- @tparam string kind
-- @tparam string text
-- @tparam[opt] number code
-- @treturn table with scope "remote"
function errors.remote(kind, text, code)
   return setmetatable({ kind = kind, text = text, code = code, scope = "remote", recoverable = false, hint = "" }, Error)
end

--- True if the value is an error object of this library.
-- @treturn boolean
function errors.is(value)
   return getmetatable(value) == Error
end

-- The folder of the library's files, as in their sources. (A script's folder may also be called "moonrabbit".) If the library
-- was not loaded from a folder, every file counts as the script's: no source begins with NUL.
local LIBRARY = debug.getinfo(1, "S").source:match "^(@.*/)base/[^/]*$" or "\0"

--- True for a file of the library.
-- @tparam string source as in debug.getinfo
-- @treturn boolean
function errors.is_library(source) return source:sub(1, #LIBRARY) == LIBRARY end

-- The library's files on the running stack, by the short names that a traceback uses.
local function library_files()
   local files, level, info = {}, 2, debug.getinfo(2, "S")
   while info do
      files[info.short_src] = errors.is_library(info.source) or nil
      level = level + 1
      info = debug.getinfo(level, "S")
   end
   return files
end

-- The script's part of a stack: without the frames below the library's own xpcall, and without the library's frames around a
-- handler.
local function of_script(stack)
   local files, lines = library_files(), {}
   local function is_ours(line) return files[line:match "^%s+(.-):%d+: in " or false] end
   for line in (stack .. "\n"):gmatch "([^\n]*)\n" do
      if #lines > 0 and is_ours(line) and lines[#lines]:find "%[C%]: in function 'xpcall'$" then
         lines[#lines] = nil
         while #lines > 1 and is_ours(lines[#lines]) do lines[#lines] = nil end
         break
      end
      lines[#lines + 1] = line
   end
   return table.concat(lines, "\n")
end

--- Where the caller's caller is: the script's part of the stack.
-- @tparam number level as of debug.traceback, seen from the caller
-- @treturn string
function errors.stack(level) return of_script(debug.traceback("", level + 1):sub(2)) end

-- A frame of the script: "script.lua:12"; nil for a frame of the library or of C.
local function place_of(info)
   if info.currentline <= 0 or errors.is_library(info.source) then return nil end
   return ("%s:%d"):format(info.short_src, info.currentline)
end

--- Where the script is: the innermost frame outside of the library.
-- @treturn ?string such as "script.lua:12"
function errors.place()
   local level, info = 2, debug.getinfo(2, "Sl")
   while info do
      local place = place_of(info)
      if place then return place end
      level = level + 1
      info = debug.getinfo(level, "Sl")
   end
end

--- The same for a suspended coroutine, in its frames above level `below`.
-- @treturn ?string
function errors.place_in(co, below)
   for level = 0, below - 1 do
      local place = place_of(debug.getinfo(co, level, "Sl"))
      if place then return place end
   end
end

-- As a traceback names functions.
local function name_of(info)
   if info.name then return ("in function '%s'"):format(info.name) end
   if info.what == "main" then return "in main chunk" end
   return ("in function <%s:%d>"):format(info.short_src, info.linedefined)
end

--- The script's part of the stack of a suspended coroutine, in its frames above level `below`.
-- @treturn string lines as of a traceback
function errors.stack_in(co, below)
   local lines = { "stack traceback:" }
   for level = 0, below - 1 do
      local info = debug.getinfo(co, level, "Snl")
      local place = place_of(info)
      if place then lines[#lines + 1] = ("\t%s: %s"):format(place, name_of(info)) end
   end
   return table.concat(lines, "\n")
end

--- Raises an error with the line of the script that called the library: the first frame outside of it, whatever frames, tail
-- calls and callbacks of the library are in between. Without such a frame there is no position.
-- @tparam string text
function errors.blame(text)
   local place = errors.place()
   error(place and place .. ": " .. text or text, 0)
end

--- Any raised or returned error as text; the fields of a table.
-- @treturn string
function errors.words(why)
   return (show(why, true))
end

--- For xpcall: the error of a script's function, with the script's part of the stack.
-- @param why the raised value
-- @tparam[opt=1] number level the level of the handler that xpcall calls
-- @treturn string
function errors.trace(why, level)
   return of_script(debug.traceback(errors.words(why), (level or 1) + 1))
end

return errors
