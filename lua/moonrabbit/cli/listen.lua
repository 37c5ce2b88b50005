--- cli.listen: what the workers tell their supervisor: it is their service manager (cli.notify), by a socket for each.
-- SPDX-License-Identifier: MIT
local errno = require "moonrabbit.cli.errno"
local ffi = require "ffi"
local task = require "moonrabbit.loop.task"
local wait = require "moonrabbit.loop.wait"

local listen = {}

ffi.cdef [[
typedef struct { uint16_t family; char path[108]; } mr_listen_address;
int mr_listen_socket(int family, int type, int protocol) __asm__("socket");
int mr_listen_bind(int fd, const void *address, unsigned size) __asm__("bind");
long mr_listen_read(int fd, void *buffer, size_t size) __asm__("read");
int mr_listen_close(int fd) __asm__("close");
]]

local UNIX, DATAGRAM = 1, 2 + 2048 + 524288 -- SOCK_DGRAM, SOCK_NONBLOCK, SOCK_CLOEXEC
local PIECE = 4096

--- Opens a socket and calls told(name, value) for each assignment that comes, such as "READY", "1". The folder decides who may
-- write to it.
-- @tparam string path
-- @tparam function told must not wait
-- @treturn[1] function closes it
-- @treturn[2] nil, string what is wrong
function listen.open(path, told)
   local address = ffi.new "mr_listen_address"
   if #path >= ffi.sizeof(address.path) then return nil, path .. ": too long for a socket" end
   address.family = UNIX
   ffi.copy(address.path, path)
   local fd = ffi.C.mr_listen_socket(UNIX, DATAGRAM, 0)
   if fd < 0 then return nil, "socket: " .. errno() end
   if ffi.C.mr_listen_bind(fd, ffi.cast("void *", address), ffi.sizeof(address)) ~= 0 then
      local why = path .. ": " .. errno()
      ffi.C.mr_listen_close(fd)
      return nil, why
   end
   local box, is_closed = ffi.new("char[?]", PIECE), false
   task.background(function()
      while wait.fd(fd, "r") and not is_closed do
         local n = tonumber(ffi.C.mr_listen_read(fd, box, PIECE))
         for name, value in (n > 0 and ffi.string(box, n) or ""):gmatch "([%u_]+)=([^\n]*)" do told(name, value) end
      end
   end)
   return function()
      is_closed = true
      ffi.C.mr_listen_close(fd)
      os.remove(path)
   end
end

return listen
