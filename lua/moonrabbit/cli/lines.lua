--- cli.lines: the lines of a descriptor, while the loop goes on.
-- SPDX-License-Identifier: MIT
local errno = require "moonrabbit.cli.errno"
local ffi = require "ffi"
local wait = require "moonrabbit.loop.wait"

local lines = {}

ffi.cdef 'long mr_lines_read(int fd, void *buffer, size_t size) __asm__("read");'

local PIECE, AGAIN, INTERRUPTED, NO_POLL = 65536, 11, 4, 1
local PATIENCE = 0.2 -- seconds between two looks at whether the reader was interrupted

-- A regular file is always readable, and cannot be polled.
local function is_ready(self)
   if self.is_file then return true end
   local ok, err = wait.fd(self.fd, "r", PATIENCE)
   if ok then return true end
   if err.kind ~= "timeout" then self.is_file = true end
   return self.is_file
end

-- Reads a piece; true, or nil at the end, and an error.
local function fill(self, is_over)
   while true do
      if is_over and is_over() then return nil end
      if is_ready(self) then
         local n = tonumber(ffi.C.mr_lines_read(self.fd, self.box, PIECE))
         if n > 0 then
            self.parts[#self.parts + 1] = ffi.string(self.box, n)
            return true
         end
         if n == 0 then return nil end
         local code = ffi.errno()
         if code ~= AGAIN and code ~= INTERRUPTED and code ~= NO_POLL then return nil, errno() end
      end
   end
end

local function take(self, is_over)
   while true do
      local newline = self.text:find("\n", self.at, true)
      if newline then
         local line = self.text:sub(self.at, newline - 1)
         self.at = newline + 1
         return line
      end
      self.parts = { self.text:sub(self.at) }
      local ok, err
      repeat
         ok, err = fill(self, is_over)
      until not ok or self.parts[#self.parts]:find("\n", 1, true)
      self.text, self.at = table.concat(self.parts), 1
      if not ok then
         local rest = self.text
         self.text = ""
         if err or is_over and is_over() or rest == "" then return nil, err end
         return rest
      end
   end
end

--- Reads lines.
-- @tparam number fd
-- @treturn function next(is_over) -> the next line without its end; nil: no more, and perhaps an error. It gives up as soon as
-- is_over() is true
function lines.read(fd)
   local self = { fd = fd, text = "", at = 1, parts = {}, box = ffi.new("char[?]", PIECE), is_file = false }
   return function(is_over) return take(self, is_over) end
end

return lines
