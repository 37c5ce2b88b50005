--- cli.above: what a script writes to standard output or error stands above the line that is being typed.
-- SPDX-License-Identifier: MIT
-- io.write and the method write of files are replaced, in a process that is a prompt's alone.
local escaped = require "moonrabbit.cli.escaped"
local loop = require "moonrabbit.loop.loop"
local redact = require "moonrabbit.base.redact"

local SOON = 0.1 -- seconds that a line waits for its end

local function is_text(v) return type(v) == "string" or type(v) == "number" end

--- Begins.
-- @tparam function say fn(lines): shows whole lines; it may write to standard output
-- @tparam boolean has_line false: no line is typed, so files are left alone
-- @treturn function take(text): shows a text, whole lines at once
-- @treturn function flush(): shows the line that has no end yet
return function(say, has_line)
   local held, is_showing, timer = "", false, nil

   local function show(lines)
      is_showing = true
      say((redact(lines):gsub("[^\n\t]+", escaped)))
      is_showing = false
   end
   local function flush()
      local text = held
      held = ""
      if text ~= "" then show(text .. "\n") end
   end
   local function wait()
      loop.soft = loop.soft + 1
      timer = loop.after(SOON, function()
         loop.soft, timer = loop.soft - 1, nil
         flush()
      end)
   end
   local function take(text)
      local whole, rest = text:match "^(.*\n)([^\n]*)$"
      if whole then
         whole, held = held .. whole, rest
         show(whole)
      else
         held = held .. text
      end
      if held ~= "" and not timer then wait() end
   end
   loop.on_close(function()
      timer = nil
      flush()
   end)
   if not has_line then return take, flush end

   local methods = debug.getmetatable(io.stdout).__index
   local write = methods.write
   function methods.write(file, ...)
      if is_showing or file ~= io.stdout and file ~= io.stderr then return write(file, ...) end
      for i = 1, select("#", ...) do
         local v = select(i, ...)
         if not is_text(v) then error(("bad argument #%d to 'write' (string expected, got %s)"):format(i, type(v)), 2) end
         take(tostring(v))
      end
      return write(file)
   end
   io.write = function(...) return io.output():write(...) end -- luacheck: ignore 122
   return take, flush
end
