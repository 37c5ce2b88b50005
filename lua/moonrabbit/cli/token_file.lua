--- cli.token_file: reads the token of --http-admin from a file that nobody else can read.
-- SPDX-License-Identifier: MIT
local errno = require "moonrabbit.cli.errno"
local ffi = require "ffi"
local file_status = require "moonrabbit.cli.file_status"

local token_file = {}

local LEAST, MOST = 16, 511 -- bytes of a token

ffi.cdef [[
int mr_token_open(const char *path, int flags, ...) __asm__("open");
long mr_token_read(int fd, void *buffer, size_t size) __asm__("read");
int mr_token_close(int fd) __asm__("close");
unsigned mr_token_user(void) __asm__("geteuid");
]]

local OPEN = 2048 + 524288 -- O_RDONLY, O_NONBLOCK (it may be a pipe), O_CLOEXEC
local ROOM = 1024

-- What is wrong with an open file; nil: nothing.
local function fault(fd)
   local status = file_status.of_descriptor(fd)
   if not status then return errno() end
   if status.kind ~= file_status.FILE then return "is not a file" end
   if status.uid ~= ffi.C.mr_token_user() and status.uid ~= 0 then return "belongs to another user" end
   if not status.is_private then
      return ("must be readable by its owner only (mode 0600, not %04o)"):format(status.mode)
   end
end

local function content(fd)
   local why = fault(fd)
   if why then return nil, why end
   local box = ffi.new("char[?]", ROOM)
   local n = tonumber(ffi.C.mr_token_read(fd, box, ROOM))
   if n < 0 then return nil, errno() end
   local token = ffi.string(box, n):match "^%s*(.-)%s*$"
   if #token < LEAST or #token > MOST or token:find "[^\33-\126]" then
      return nil, ("must have one token of %d to %d letters, digits and signs"):format(LEAST, MOST)
   end
   return token
end

--- Reads the token.
-- @tparam string path
-- @treturn[1] string
-- @treturn[2] nil, string what is wrong; does not show the token
function token_file.read(path)
   local fd = ffi.C.mr_token_open(path, OPEN)
   if fd < 0 then return nil, path .. ": " .. errno() end
   local token, why = content(fd)
   ffi.C.mr_token_close(fd)
   if not token then return nil, path .. ": " .. why end
   return token
end

return token_file
