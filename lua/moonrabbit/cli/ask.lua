--- cli.ask: requests a page from a worker, by its Unix socket.
-- SPDX-License-Identifier: MIT
local errno = require "moonrabbit.cli.errno"
local ffi = require "ffi"
local wait = require "moonrabbit.loop.wait"

local ask = {}

ffi.cdef [[
typedef struct { uint16_t family; char path[108]; } mr_sockaddr_un;
int mr_socket(int family, int type, int protocol) __asm__("socket");
int mr_connect(int fd, const void *address, unsigned size) __asm__("connect");
long mr_send(int fd, const void *data, size_t size, int flags) __asm__("send");
long mr_ask_read(int fd, void *buffer, size_t size) __asm__("read");
int mr_close(int fd) __asm__("close");
int mr_open(const char *path, int flags, ...) __asm__("open");
]]

local UNIX, STREAM = 1, 1 + 2048 + 524288 -- SOCK_STREAM, SOCK_NONBLOCK, SOCK_CLOEXEC
local FOLDER = 2097152 + 65536 + 524288   -- O_PATH, O_DIRECTORY, O_CLOEXEC
local NOSIGNAL, AGAIN, INTERRUPTED = 0x4000, 11, 4
local PIECE = 16384
local ANSWER_MAX = 16 * 2 ^ 20            -- bytes

local function failed(what)
   return nil, what .. ": " .. errno()
end

-- A path that is too long for an address is reached by its folder's descriptor, which the caller must close: as in
-- runtime/net/listen.c.
local function address_of(path)
   local address, folder, text = ffi.new "mr_sockaddr_un", nil, path
   local room = ffi.sizeof(address.path)
   if #path >= room then
      local parent, file = path:match "^(.*/)([^/]*)$"
      folder = ffi.C.mr_open(parent, FOLDER)
      if folder < 0 then return failed(path) end
      text = ("/proc/self/fd/%d/%s"):format(folder, file)
   end
   if #text >= room then
      ffi.C.mr_close(folder)
      return nil, path .. ": its last part is too long for a socket"
   end
   address.family = UNIX
   ffi.copy(address.path, text)
   return address, folder
end

local function connect(path)
   local address, folder = address_of(path)
   if not address then return nil, folder end
   local fd, why = ffi.C.mr_socket(UNIX, STREAM, 0), nil
   if fd < 0 then
      fd, why = failed "socket"
   elseif ffi.C.mr_connect(fd, ffi.cast("void *", address), ffi.sizeof(address)) ~= 0 then -- others may have declared it
      local _
      _, why = failed(path)
      ffi.C.mr_close(fd)
      fd = nil
   end
   if folder then ffi.C.mr_close(folder) end
   return fd, why
end

-- Calls fn until it neither blocks nor is interrupted; returns its result, or nil and the error.
local function patiently(fd, way, timeout, fn)
   while true do
      local n = tonumber(fn())
      if n >= 0 then return n end
      local code = ffi.errno()
      if code ~= AGAIN and code ~= INTERRUPTED then return failed(way == "r" and "read" or "write") end
      if code == AGAIN and not wait.fd(fd, way, timeout) then return nil, "it did not answer in time" end
   end
end

local function write(fd, text, timeout)
   while #text > 0 do
      local n, why = patiently(fd, "w", timeout, function() return ffi.C.mr_send(fd, text, #text, NOSIGNAL) end)
      if not n then return nil, why end
      text = text:sub(n + 1)
   end
   return true
end

local function read_all(fd, timeout)
   local parts, size, box = {}, 0, ffi.new("char[?]", PIECE)
   while size < ANSWER_MAX do
      local n, why = patiently(fd, "r", timeout, function() return ffi.C.mr_ask_read(fd, box, PIECE) end)
      if not n then return nil, why end
      if n == 0 then break end
      parts[#parts + 1], size = ffi.string(box, n), size + n
   end
   return table.concat(parts)
end

--- Requests a page.
-- @tparam string socket its path
-- @tparam string path of the page, with its query
-- @tparam number timeout maximum seconds without data from the worker
-- @treturn[1] number status code
-- @treturn[1] string body
-- @treturn[2] nil, string what is wrong
function ask.page(socket, path, timeout)
   local fd, why = connect(socket)
   if not fd then return nil, why end
   local text
   text, why = write(fd, ("GET %s HTTP/1.1\r\nHost: worker\r\nConnection: close\r\n\r\n"):format(path), timeout)
   if text then text, why = read_all(fd, timeout) end
   ffi.C.mr_close(fd)
   local code, body = (text or ""):match "^HTTP/1%.%d (%d%d%d)[^\n]*\r\n.-\r\n\r\n(.*)$"
   if not code then return nil, why or "it did not answer" end
   return tonumber(code), body
end

return ask
