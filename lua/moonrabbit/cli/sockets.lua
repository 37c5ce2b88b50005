--- cli.sockets: listening and connecting without blocking, for the supervisor's few pages.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"
local wait = require "moonrabbit.loop.wait"

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
int mr_open(const char *path, int flags, ...) __asm__("open");
char *mkdtemp(char *name);
]]

local UNIX, INET, INET6 = 1, 2, 10
local STREAM = 1 + 2048 + 524288 -- SOCK_STREAM, SOCK_NONBLOCK, SOCK_CLOEXEC
local ACCEPTED = 2048 + 524288
local SOL_SOCKET, REUSEADDR, NOSIGNAL = 1, 2, 0x4000
local AGAIN, INTERRUPTED, IN_PROGRESS = 11, 4, 115
local PIECE = 16384
local OURS_ALONE = 384 -- 0600
local FOLDER = 2097152 + 65536 + 524288 -- O_PATH, O_DIRECTORY, O_CLOEXEC
local TOO_MANY, TOO_MANY_OF_ALL, EXHAUSTED_PAUSE = 24, 23, 1 -- EMFILE, ENFILE; seconds

local function failed(what)
   return nil, what .. ": " .. ffi.string(ffi.C.strerror(ffi.errno()))
end

-- A path that is too long for an address goes by its folder's descriptor, which is then the caller's to close: as in
-- runtime/net/listen.c.
local function file_address(path)
   local address, folder = ffi.new "mr_sockaddr_un", nil
   local room, text = ffi.sizeof(address.path), path
   if #path >= room then
      local parent, file = path:match "^(.*/)([^/]*)$"
      folder = ffi.C.mr_open(parent, FOLDER)
      if folder < 0 then return failed(path) end
      text = ("/proc/self/fd/%d/%s"):format(folder, file)
   end
   if #text >= room then
      ffi.C.close(folder)
      return nil, path .. ": its last part is too long for a socket"
   end
   address.family = UNIX
   ffi.copy(address.path, text)
   return address, folder
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

-- Calls fn(fd, address) with a socket for the address; fd, or nil and what is wrong.
local function with_socket(where, address, folder, fn)
   local fd, why = ffi.C.socket(address.family, STREAM, 0), nil
   if fd < 0 then
      fd, why = failed "socket"
   elseif not fn(fd, ffi.cast("void *", address)) then -- whatever type others have declared these functions with
      local _
      _, why = failed(where)
      ffi.C.close(fd)
      fd = nil
   end
   if folder then ffi.C.close(folder) end
   return fd, why
end

--- Listens on "ADDRESS:PORT", or on a path.
-- @treturn[1] number descriptor
-- @treturn[1] number the port
-- @treturn[2] nil, string what is wrong
function sockets.listen(where)
   local address, folder = address_of(where)
   if not address then return nil, folder or ('"%s" is not ADDRESS:PORT, such as 127.0.0.1:8080'):format(where) end
   local on, size = ffi.new("int[1]", 1), ffi.new("unsigned[1]", ffi.sizeof(address))
   local fd, why = with_socket("cannot listen on " .. where, address, folder, function(fd, any)
      ffi.C.setsockopt(fd, SOL_SOCKET, REUSEADDR, on, 4)
      if address.family == UNIX then ffi.C.fchmod(fd, OURS_ALONE) end -- as runtime/net/listen.c: the file that bind makes
      return ffi.C.bind(fd, any, size[0]) == 0 and ffi.C.listen(fd, 64) == 0 and ffi.C.getsockname(fd, any, size) == 0
   end)
   if not fd then return nil, why end
   return fd, address.family ~= UNIX and ffi.C.ntohs(address.port) or 0
end

--- The next one that connects; nil: it has gone again.
function sockets.accept(fd)
   wait.fd(fd, "r")
   local peer = ffi.C.accept4(fd, nil, nil, ACCEPTED)
   if peer >= 0 then return peer end
   local code = ffi.errno()
   if code == TOO_MANY or code == TOO_MANY_OF_ALL then -- who waits would have us spin
      log.warn("no connection can be taken", { error = ffi.string(ffi.C.strerror(code)) })
      loop.sleep(EXHAUSTED_PAUSE)
   end
end

--- Connects to a path, or to "ADDRESS:PORT".
-- @treturn[1] number descriptor
-- @treturn[2] nil, string what is wrong
function sockets.connect(where)
   local address, folder = address_of(where)
   if not address then return nil, folder or where .. ": is no address" end
   return with_socket(where, address, folder, function(fd, any)
      return ffi.C.connect(fd, any, ffi.sizeof(address)) == 0 or ffi.errno() == IN_PROGRESS
   end)
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
      if code == AGAIN and not wait.fd(fd, "r", timeout) then return nil, "nothing came in time" end
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
         if code == AGAIN and not wait.fd(fd, "w", timeout) then return nil, "it was not taken in time" end
      end
   end
   return true
end

--- Closes a descriptor.
function sockets.close(fd) ffi.C.close(fd) end

local function working_folder() return require("moonrabbit.cli.beside").folder "-" or "" end

--- Makes a folder that is ours alone; its path is absolute.
-- @treturn[1] string
-- @treturn[2] nil, string what is wrong
function sockets.folder()
   local place = os.getenv "TMPDIR" or ""
   if place == "" then place = "/tmp" end
   local name = (place:sub(1, 1) == "/" and place or working_folder() .. "/" .. place) .. "/moonrabbit-XXXXXX"
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
