--- cli.input: a script that comes from standard input.
-- SPDX-License-Identifier: MIT
local errno = require "moonrabbit.cli.errno"
local ffi = require "ffi"
local wait = require "moonrabbit.loop.wait"

local input = {}

ffi.cdef [[
long mr_read(int fd, void *buffer, size_t size) __asm__("read");
]]

local PIECE, AGAIN, INTERRUPTED = 65536, 11, 4

local function read_all()
   local box, pieces = ffi.new("char[?]", PIECE), {}
   while true do
      wait.fd(0, "r")
      local n = tonumber(ffi.C.mr_read(0, box, PIECE))
      if n == 0 then return table.concat(pieces) end
      if n > 0 then
         pieces[#pieces + 1] = ffi.string(box, n)
      elseif ffi.errno() ~= AGAIN and ffi.errno() ~= INTERRUPTED then
         return nil, "standard input: " .. errno()
      end
   end
end

--- Reads all of it. Signals are handled during the wait for more input.
-- @treturn[1] string
-- @treturn[2] nil, string what is wrong; or task.STOPPED: the program must stop
function input.read()
   local ok, text, why = pcall(read_all)
   if not ok then return nil, text end
   return text, why
end

return input
