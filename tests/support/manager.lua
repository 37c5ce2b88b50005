--- manager: a service manager's end of NOTIFY_SOCKET: what it is told, in order.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local waits = require "waits"

local manager = {}

ffi.cdef [[
typedef struct { uint16_t family; char path[108]; } mr_test_address;
int mr_test_socket(int family, int type, int protocol) __asm__("socket");
int mr_test_bind(int fd, const void *address, unsigned size) __asm__("bind");
long mr_test_read(int fd, void *buffer, size_t size) __asm__("read");
int mr_test_close(int fd) __asm__("close");
]]

local UNIX, DATAGRAM = 1, 2 + 2048 + 524288 -- SOCK_DGRAM, SOCK_NONBLOCK, SOCK_CLOEXEC

local Manager = {}
Manager.__index = Manager

--- Opens one.
-- @tparam string name a path, or "@" and a name without a file
function manager.open(name)
   local address = ffi.new "mr_test_address"
   address.family = UNIX
   ffi.copy(address.path, name)
   if name:sub(1, 1) == "@" then address.path[0] = 0 end
   local fd = ffi.C.mr_test_socket(UNIX, DATAGRAM, 0)
   assert(ffi.C.mr_test_bind(fd, ffi.cast("void *", address), 2 + #name) == 0, name)
   return setmetatable({ name = name, fd = fd, heard = {}, from = 1 }, Manager)
end

--- Everything so far, one assignment in each entry.
function Manager:all()
   local box = ffi.new "char[4096]"
   while true do
      local n = tonumber(ffi.C.mr_test_read(self.fd, box, 4096))
      if n <= 0 then return self.heard end
      for line in ffi.string(box, n):gmatch "[^\n]+" do self.heard[#self.heard + 1] = line end
   end
end

--- Waits for one that matches, after what was waited for before; returns it.
function Manager:hears(pattern)
   local ok, why = pcall(waits.eventually, pattern, function()
      local all = self:all()
      for i = self.from, #all do
         if all[i]:find(pattern) then
            self.from = i + 1
            return all[i]
         end
      end
   end)
   if not ok then error(("%s; it heard:\n%s"):format(why, table.concat(self:all(), "\n")), 2) end
   return why
end

--- Closes it.
function Manager:close()
   ffi.C.mr_test_close(self.fd)
   if self.name:sub(1, 1) == "/" then os.remove(self.name) end
end

return manager
