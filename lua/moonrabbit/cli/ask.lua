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
int mr_ask_shutdown(int fd, int how) __asm__("shutdown");
int mr_open(const char *path, int flags, ...) __asm__("open");
typedef struct { int pid; unsigned uid, gid; } mr_peer;
int mr_getsockopt(int fd, int level, int option, void *value, unsigned *size) __asm__("getsockopt");
unsigned mr_geteuid(void) __asm__("geteuid");
]]

local UNIX, STREAM = 1, 1 + 2048 + 524288 -- SOCK_STREAM, SOCK_NONBLOCK, SOCK_CLOEXEC
local DATAGRAM, REFUSED = 2 + 2048 + 524288, 111 -- SOCK_DGRAM with the same; ECONNREFUSED
local FOLDER = 2097152 + 65536 + 524288   -- O_PATH, O_DIRECTORY, O_CLOEXEC
local BOTH_WAYS = 2                       -- SHUT_RDWR
local NOSIGNAL, AGAIN, INTERRUPTED = 0x4000, 11, 4
local DENIED = 13   -- EACCES
local PATIENCE = 2  -- seconds for an answer of the I/O thread
local SOCKET, PEERCRED = 1, 17 -- SOL_SOCKET, SO_PEERCRED
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
   local fd, why, code = ffi.C.mr_socket(UNIX, STREAM, 0), nil, nil
   if fd < 0 then
      fd, why = failed "socket"
   elseif ffi.C.mr_connect(fd, ffi.cast("void *", address), ffi.sizeof(address)) ~= 0 then -- others may have declared it
      local _
      code = ffi.errno()
      _, why = failed(path)
      ffi.C.mr_close(fd)
      fd = nil
   end
   if folder then ffi.C.mr_close(folder) end
   return fd, why, code
end

--- True if nobody listens at a socket any more. A socket of another type finds that out without connecting, and also if the
-- process is in another namespace of processes: the kernel says EPROTOTYPE then.
function ask.is_dead(path)
   local address, folder = address_of(path)
   if not address then return false end
   local fd, is_dead = ffi.C.mr_socket(UNIX, DATAGRAM, 0), false
   if fd >= 0 then
      is_dead = ffi.C.mr_connect(fd, ffi.cast("void *", address), ffi.sizeof(address)) ~= 0 and ffi.errno() == REFUSED
      ffi.C.mr_close(fd)
   end
   if folder then ffi.C.mr_close(folder) end
   return is_dead
end

-- The user of what listens there; nil: unknown.
local function owner_of(fd)
   local peer, size = ffi.new "mr_peer", ffi.new("unsigned[1]", ffi.sizeof "mr_peer")
   return ffi.C.mr_getsockopt(fd, SOCKET, PEERCRED, peer, size) == 0 and peer.uid or nil
end

-- It must be a process of this user, or root's: anybody may have made the folder. Root may ask all.
local function is_mine(fd)
   local owner, own = owner_of(fd), ffi.C.mr_geteuid()
   return owner ~= nil and (owner == own or owner == 0 or own == 0)
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
   while size <= ANSWER_MAX do
      local n, why = patiently(fd, "r", timeout, function() return ffi.C.mr_ask_read(fd, box, PIECE) end)
      if not n then return nil, why end
      if n == 0 then return table.concat(parts) end
      parts[#parts + 1], size = ffi.string(box, n), size + n
   end
   return nil, ("the answer is over %d MiB"):format(ANSWER_MAX / 2 ^ 20)
end

-- By HTTP/1.0 an answer without a length has no frames of its own.
local function head(path, body, version)
   return ("%s %s HTTP/%s\r\nHost: worker\r\nConnection: close\r\n%s\r\n"):format(body and "POST" or "GET", path, version or "1.1",
      body and ("Content-Length: %d\r\n"):format(#body) or "")
end

local function foreign(socket) return socket .. ": belongs to another user" end

-- A connection to a process of this user's.
local function open(socket, hold)
   local fd, why = connect(socket)
   if not fd then return nil, why end
   if not is_mine(fd) then
      ffi.C.mr_close(fd)
      return nil, foreign(socket)
   end
   if hold then hold.give_up = function() ffi.C.mr_ask_shutdown(fd, BOTH_WAYS) end end
   return fd
end

local function close(fd, hold)
   if hold then hold.give_up = nil end
   ffi.C.mr_close(fd)
end

local HEAD = "^HTTP/1%.%d (%d%d%d)[^\n]*\r\n.-\r\n\r\n(.*)$"

--- Requests a page of a process of this user's.
-- @tparam string socket its path
-- @tparam string path of the page, with its query
-- @tparam ?number timeout maximum seconds without data from the process; nil: no limit
-- @tparam[opt] string body of a POST request; nil: GET
-- @tparam[opt] table hold gets a function give_up, by which the wait for the answer ends at once
-- @treturn[1] number status code
-- @treturn[1] string body
-- @treturn[2] nil, string what is wrong
function ask.page(socket, path, timeout, body, hold)
   local fd, why = open(socket, hold)
   if not fd then return nil, why end
   local text
   text, why = write(fd, head(path, body) .. (body or ""), timeout)
   if text then text, why = read_all(fd, timeout) end
   close(fd, hold)
   local code, content = (text or ""):match(HEAD)
   if not code then return nil, why or "it did not answer" end
   return tonumber(code), content
end

--- Why a process refuses this user; nil: it does not, or it cannot be reached at all.
-- @tparam string socket its path
-- @treturn ?string
function ask.refusal(socket)
   local fd, why, code = connect(socket)
   if not fd then return code == DENIED and why .. ": only its user and root may attach" or nil end
   local owner, may = owner_of(fd), is_mine(fd)
   ffi.C.mr_close(fd)
   if not may then return foreign(socket) end
   local own = ffi.C.mr_geteuid()
   -- Root's, or one that was root's when its console was opened: the process itself knows.
   if owner ~= own and own ~= 0 and not ask.page(socket, "/live", PATIENCE) then return foreign(socket) end
end

-- Reads an answer as it comes, and gives its whole lines to on_lines. The status code and what came after the last line; nil: no head.
local function read_lines(fd, on_lines)
   local box, rest, code = ffi.new("char[?]", PIECE), "", nil
   while true do
      local n, why = patiently(fd, "r", nil, function() return ffi.C.mr_ask_read(fd, box, PIECE) end)
      if not n or n == 0 then return code, code and rest or why end
      rest = rest .. ffi.string(box, n)
      if not code then
         local first, content = rest:match(HEAD)
         if first then code, rest = tonumber(first), content end
         if code == 200 then on_lines "" end
      end
      local whole, part = rest:match "^(.*\n)([^\n]*)$"
      if code == 200 and whole then
         rest = part
         on_lines(whole)
      end
      if #rest > ANSWER_MAX then return code, rest end
   end
end

--- Requests a page that comes bit by bit, until its end.
-- @tparam string socket its path
-- @tparam string path of the page, with its query
-- @tparam function on_lines fn(text) is called with "" when the answer has begun, then with one or several whole lines
-- @tparam[opt] table hold gets a function give_up
-- @tparam[opt] string body of a POST request; nil: GET
-- @treturn[1] number status code
-- @treturn[1] string the body, if the status code is not 200
-- @treturn[2] nil, string what is wrong
function ask.lines(socket, path, on_lines, hold, body)
   local fd, why = open(socket, hold)
   if not fd then return nil, why end
   local ok, code, rest
   ok, why = write(fd, head(path, body, "1.0") .. (body or ""), nil)
   if ok then code, rest = read_lines(fd, on_lines) end
   close(fd, hold)
   if not code then return nil, why or rest or "it did not answer" end
   return code, rest
end

return ask
