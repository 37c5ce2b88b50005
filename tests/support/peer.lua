--- peer: scripted TCP peers on the loopback interface, served by tasks of this process.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local bit = require "bit"
local mr = require "moonrabbit"

local peer = {}

ffi.cdef [[
struct peer_address { uint16_t family; uint16_t port; uint32_t host; char zero[8]; };
int socket(int domain, int type, int protocol);
int bind(int fd, const struct peer_address *address, unsigned size);
int connect(int fd, const struct peer_address *address, unsigned size);
int listen(int fd, int backlog);
int accept4(int fd, void *address, void *size, int flags);
int getsockname(int fd, struct peer_address *address, unsigned *size);
int setsockopt(int fd, int level, int name, const void *value, unsigned size);
long recv(int fd, void *buffer, size_t size, int flags);
long send(int fd, const void *buffer, size_t size, int flags);
int shutdown(int fd, int how);
int close(int fd);
]]
local C = ffi.C

local AF_INET, SOCK_STREAM, SOCK_NONBLOCK, SOCK_CLOEXEC = 2, 1, 0x800, 0x80000
local SOL_SOCKET, SO_LINGER, MSG_NOSIGNAL, EAGAIN, EINPROGRESS = 1, 13, 0x4000, 11, 115
local PATIENCE = 30                  -- seconds for any wait of a peer

local sockets = {}                   -- the open ones: an object with `fd` -> true

local function swap(n) return bit.bor(bit.lshift(bit.band(n, 255), 8), bit.rshift(n, 8)) end

local function sure(result, what)
   if result < 0 then error(("%s failed: errno %d"):format(what, ffi.errno()), 3) end
   return result
end

-- A socket is closed by the task that may wait for it, and by no one else.
local function opened(socket)
   sockets[socket] = true
   return socket
end

local function shut(socket)
   if sockets[socket] then C.close(socket.fd) end
   sockets[socket] = nil
end

local function listen_on(port)
   local fd = sure(C.socket(AF_INET, SOCK_STREAM + SOCK_NONBLOCK + SOCK_CLOEXEC, 0), "socket")
   local address = ffi.new("struct peer_address", AF_INET, swap(port), 0x0100007f) -- 127.0.0.1
   local size = ffi.new("unsigned[1]", ffi.sizeof(address))
   sure(C.bind(fd, address, size[0]), "bind")
   sure(C.listen(fd, 16), "listen")
   sure(C.getsockname(fd, address, size), "getsockname")
   return opened { fd = fd }, swap(address.port)
end

-- ---- one connection ----

local Session = {}
Session.__index = Session

--- Reads until `count` bytes are there. Returns them; nil when the client hung up.
function Session:read(count)
   local buffer = ffi.new "char[65536]"
   while #self.input < count do
      local n = C.recv(self.fd, buffer, 65536, 0)
      if n > 0 then
         self.input = self.input .. ffi.string(buffer, n)
      elseif n == 0 or ffi.errno() ~= EAGAIN or not mr.wait_fd(self.fd, "r", PATIENCE) then
         return nil
      end
   end
   local bytes = self.input:sub(1, count)
   self.input = self.input:sub(count + 1)
   return bytes
end

--- Writes all of it; nil when the client hung up.
function Session:write(bytes)
   while #bytes > 0 do
      local n = C.send(self.fd, bytes, #bytes, MSG_NOSIGNAL)
      if n > 0 then
         bytes = bytes:sub(tonumber(n) + 1)
      elseif ffi.errno() ~= EAGAIN or not mr.wait_fd(self.fd, "w", PATIENCE) then
         return nil
      end
   end
   return true
end

--- Waits until the client hangs up.
function Session:drain()
   while self:read(1) do self.input = "" end
end

--- Ends the connection by a reset instead of a farewell.
function Session:reset()
   C.setsockopt(self.fd, SOL_SOCKET, SO_LINGER, ffi.new("int[2]", 1, 0), 8)
   self.is_reset = true
   self:close()
end

function Session:close() shut(self) end

-- ---- peers ----

local function accept(listener, serve, state)
   while mr.wait_fd(listener.fd, "r", PATIENCE) do
      local fd = C.accept4(listener.fd, nil, nil, SOCK_NONBLOCK + SOCK_CLOEXEC)
      if fd < 0 then break end -- it was shut down
      state.count = state.count + 1
      local session = opened(setmetatable({ fd = fd, input = "" }, Session))
      mr.spawn(function()
         serve(session)
         session:close()
      end)
   end
   shut(listener)
end

--- A peer: serve(session) is called in a task for each connection, which ends when it returns.
-- @treturn table port, and count: how many connected
function peer.start(serve)
   local listener, port = listen_on(0)
   local state = { port = port, count = 0 }
   mr.spawn(function() accept(listener, serve, state) end)
   return state
end

--- Connects to a port of the loopback interface: a session; nil when nobody is there.
function peer.connect(port)
   local fd = sure(C.socket(AF_INET, SOCK_STREAM + SOCK_NONBLOCK + SOCK_CLOEXEC, 0), "socket")
   local session = opened(setmetatable({ fd = fd, input = "" }, Session))
   local address = ffi.new("struct peer_address", AF_INET, swap(port), 0x0100007f)
   if C.connect(fd, address, ffi.sizeof(address)) < 0 and (ffi.errno() ~= EINPROGRESS or not mr.wait_fd(fd, "w", PATIENCE)) then
      shut(session)
      return nil
   end
   return session
end

--- A port of the loopback interface on which nobody listens.
function peer.closed_port()
   local fd, port = listen_on(0)
   shut(fd)
   return port
end

--- Ends all peers, and waits until they have.
function peer.stop_all()
   for socket in pairs(sockets) do C.shutdown(socket.fd, 2) end
   local deadline = mr.now() + PATIENCE
   while next(sockets) do
      if mr.now() > deadline then error("a peer does not end", 2) end
      mr.sleep(0.001)
   end
end

-- ---- AMQP, as far as peers speak it ----

local function u16(n) return string.char(bit.rshift(n, 8), bit.band(n, 255)) end
local function u32(n) return u16(bit.rshift(n, 16)) .. u16(bit.band(n, 0xffff)) end
local function long(s) return u32(#s) .. s end
local function short(s) return string.char(#s) .. s end
peer.u16, peer.u32, peer.long, peer.short = u16, u32, long, short

--- A frame.
function peer.frame(type_, channel, payload)
   return string.char(type_) .. u16(channel) .. u32(#payload) .. payload .. "\206"
end

--- A method frame.
function peer.method(channel, class, id, arguments)
   return peer.frame(1, channel, u16(class) .. u16(id) .. (arguments or ""))
end

--- connection.start as RabbitMQ says it, with these mechanisms.
function peer.start_method(mechanisms)
   return peer.method(0, 10, 10, "\0\9" .. long "" .. long(mechanisms or "PLAIN AMQPLAIN") .. long "en_US")
end

--- connection.tune.
function peer.tune_method(channel_max, frame_max, heartbeat)
   return peer.method(0, 10, 30, u16(channel_max or 2047) .. u32(frame_max or 131072) .. u16(heartbeat or 0))
end

--- Reads a frame: type, channel, payload; nil when the client hung up.
function Session:frame()
   local head = self:read(7)
   if not head then return nil end
   local type_, c1, c2, a, b, c, d = head:byte(1, 7)
   local rest = self:read(((a * 256 + b) * 256 + c) * 256 + d + 1)
   if not rest then return nil end
   return type_, c1 * 256 + c2, rest:sub(1, -2)
end

--- Reads frames up to a method; returns its channel and arguments.
function Session:expect(class, id)
   while true do
      local type_, channel, payload = self:frame()
      if not type_ then return nil end
      if type_ == 1 and payload:sub(1, 4) == u16(class) .. u16(id) then return channel, payload:sub(5) end
   end
end

--- The handshake of a broker, up to connection.open-ok; nil when the client hung up.
function Session:handshake(tune)
   if not self:read(8) then return nil end
   self:write(peer.start_method())
   if not self:expect(10, 11) then return nil end
   self:write(peer.tune_method(unpack(tune or {}, 1, 3)))
   if not self:expect(10, 40) then return nil end
   return self:write(peer.method(0, 10, 41, "\0"))
end

--- Answers channel.open.
function Session:open_channel()
   local channel = self:expect(20, 10)
   if channel then self:write(peer.method(channel, 20, 11, long "")) end
   return channel
end

--- Answers basic.consume, with the tag that it asks for.
function Session:take_consumer()
   local channel, payload = self:expect(60, 20)
   if not channel then return nil end
   local at = 4 + payload:byte(3) -- behind the ticket and the queue
   self:write(peer.method(channel, 60, 21, payload:sub(at, at + payload:byte(at))))
   return channel
end

--- Starts one: the options of a connection to it.
function peer.options(serve) return { url = ("amqp://localhost:%d"):format(peer.start(serve).port) } end

return peer
