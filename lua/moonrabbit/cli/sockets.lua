--- cli.sockets: listening and connecting without blocking, for the supervisor's few pages.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local waits = require "moonrabbit.waits"

local sockets = {}

ffi.cdef [[
long read(int fd, void *buffer, size_t size);
char *strerror(int);
typedef struct { uint16_t family; char path[108]; } mr_sockaddr_un;
typedef struct { uint16_t family, port; uint8_t address[4]; uint8_t zero[8]; } mr_sockaddr_in;
typedef struct { uint16_t family, port; uint32_t flow; uint8_t address[16]; uint32_t scope; } mr_sockaddr_in6;
int socket(int family, int type, int protocol);
int fchmod(int fd, unsigned mode);
int bind(int fd, const void *address, unsigned size);
int listen(int fd, int backlog);
int connect(int fd, const void *address, unsigned size);
int accept4(int fd, void *address, unsigned *size, int flags);
int getsockname(int fd, void *address, unsigned *size);
int setsockopt(int fd, int level, int name, const void *value, unsigned size);
int inet_pton(int family, const char *text, void *out);
uint16_t htons(uint16_t);
uint16_t ntohs(uint16_t);
long send(int fd, const void *data, size_t size, int flags);
int close(int fd);
char *mkdtemp(char *name);
]]

local UNIX, INET, INET6 = 1, 2, 10
local STREAM = 1 + 2048 + 524288 -- SOCK_STREAM, SOCK_NONBLOCK, SOCK_CLOEXEC
local ACCEPTED = 2048 + 524288
local SOL_SOCKET, REUSEADDR, NOSIGNAL = 1, 2, 0x4000
local AGAIN, INTERRUPTED, IN_PROGRESS = 11, 4, 115
local PIECE = 16384
local OURS_ALONE = 384 -- 0600

local function failed(what)
   return nil, what .. ": " .. ffi.string(ffi.C.strerror(ffi.errno()))
end

local function file_address(path)
   local address = ffi.new "mr_sockaddr_un"
   if #path >= ffi.sizeof(address.path) then return nil end
   address.family = UNIX
   ffi.copy(address.path, path)
   return address
end

-- "ADDRESS:PORT", "[::1]:PORT", "*:PORT", a port alone, or the path of a socket: an address of C.
local function address_of(where)
   if where:sub(1, 1) == "/" then return file_address(where) end
   local host, port = where:match "^%[(.+)%]:(%d+)$"
   if not host then host, port = where:match "^([^:]*):(%d+)$" end
   if not port then host, port = "127.0.0.1", where:match "^%d+$" end
   port = tonumber(port)
   if not port or port > 65535 then return nil end
   if host == "*" or host == "" then host = "0.0.0.0" end
   if host == "localhost" then host = "127.0.0.1" end
   local v4, v6 = ffi.new "mr_sockaddr_in", ffi.new "mr_sockaddr_in6"
   v4.family, v4.port, v6.family, v6.port = INET, ffi.C.htons(port), INET6, ffi.C.htons(port)
   if ffi.C.inet_pton(INET, host, v4.address) == 1 then return v4 end
   if ffi.C.inet_pton(INET6, host, v6.address) == 1 then return v6 end
end

--- Listens on "ADDRESS:PORT", or on a path.
-- @treturn[1] number descriptor
-- @treturn[1] number the port
-- @treturn[2] nil, string what is wrong
function sockets.listen(where)
   local address = address_of(where)
   if not address then return nil, ('"%s" is not ADDRESS:PORT, such as 127.0.0.1:8080'):format(where) end
   local fd, on, size = ffi.C.socket(address.family, STREAM, 0), ffi.new("int[1]", 1), ffi.new "unsigned[1]"
   if fd < 0 then return failed "socket" end
   ffi.C.setsockopt(fd, SOL_SOCKET, REUSEADDR, on, 4)
   if address.family == UNIX then ffi.C.fchmod(fd, OURS_ALONE) end -- as runtime/net/listen.c: the file that bind makes
   size[0] = ffi.sizeof(address)
   local any = ffi.cast("void *", address) -- whatever type others have declared these functions with
   if ffi.C.bind(fd, any, size[0]) ~= 0 or ffi.C.listen(fd, 64) ~= 0 or ffi.C.getsockname(fd, any, size) ~= 0 then
      local _, why = failed("cannot listen on " .. where)
      ffi.C.close(fd)
      return nil, why
   end
   return fd, address.family ~= UNIX and ffi.C.ntohs(address.port) or 0
end

--- The next one that connects; nil: it has gone again.
function sockets.accept(fd)
   waits.fd(fd, "r")
   local peer = ffi.C.accept4(fd, nil, nil, ACCEPTED)
   return peer >= 0 and peer or nil
end

--- Connects to a path, or to "ADDRESS:PORT".
-- @treturn[1] number descriptor
-- @treturn[2] nil, string what is wrong
function sockets.connect(where)
   local address = address_of(where)
   if not address then return nil, where .. ": is no address, or too long a path" end
   local fd = ffi.C.socket(address.family, STREAM, 0)
   if fd < 0 then return failed "socket" end
   if ffi.C.connect(fd, ffi.cast("void *", address), ffi.sizeof(address)) ~= 0 and ffi.errno() ~= IN_PROGRESS then
      local _, why = failed(where)
      ffi.C.close(fd)
      return nil, why
   end
   return fd
end

--- Reads a piece.
-- @treturn[1] string "" at the end
-- @treturn[2] nil, string what is wrong, such as that nothing came within `timeout` seconds
function sockets.read(fd, timeout)
   local box = ffi.new("char[?]", PIECE)
   while true do
      local n = tonumber(ffi.C.read(fd, box, PIECE))
      if n >= 0 then return ffi.string(box, n) end
      local code = ffi.errno()
      if code ~= AGAIN and code ~= INTERRUPTED then return failed "read" end
      if code == AGAIN and not waits.fd(fd, "r", timeout) then return nil, "nothing came in time" end
   end
end

--- Writes all of it.
-- @treturn[1] true
-- @treturn[2] nil, string what is wrong
function sockets.write(fd, text, timeout)
   while #text > 0 do
      local n = tonumber(ffi.C.send(fd, text, #text, NOSIGNAL))
      if n >= 0 then
         text = text:sub(n + 1)
      else
         local code = ffi.errno()
         if code ~= AGAIN and code ~= INTERRUPTED then return failed "write" end
         if code == AGAIN and not waits.fd(fd, "w", timeout) then return nil, "it was not taken in time" end
      end
   end
   return true
end

--- Closes a descriptor.
function sockets.close(fd) ffi.C.close(fd) end

--- Makes a folder that is ours alone.
-- @treturn[1] string
-- @treturn[2] nil, string what is wrong
function sockets.folder()
   local name = (os.getenv "TMPDIR" or "/tmp") .. "/moonrabbit-XXXXXX"
   local box = ffi.new("char[?]", #name + 1, name)
   if ffi.C.mkdtemp(box) == nil then return failed(name) end
   return ffi.string(box)
end

--- Removes a folder with the files named.
function sockets.remove(folder, files)
   for _, path in ipairs(files) do os.remove(path) end
   os.remove(folder)
end

return sockets
