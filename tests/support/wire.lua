--- wire: a raw AMQP client on a blocking socket: says what no good client says, and sees every byte.
-- SPDX-License-Identifier: MIT
-- Everything blocks this process, for as long as the broker is patient and no longer than a deadline.
local bit = require "bit"
local ffi = require "ffi"
local broker = require "broker"
local mr = require "moonrabbit"
local peer = require "peer"          -- declares the socket calls, and knows how frames are made

local wire = {}

ffi.cdef [[
struct wire_timeval { long seconds; long microseconds; };
int connect(int fd, const struct peer_address *address, unsigned size);
]]
local C = ffi.C

local AF_INET, SOCK_STREAM, SOCK_CLOEXEC = 2, 1, 0x80000
local SOL_SOCKET, SO_RCVTIMEO, SO_SNDTIMEO, MSG_NOSIGNAL = 1, 20, 21, 0x4000
local EINTR, EAGAIN = 4, 11
local PATIENCE = 10                  -- seconds for any wait

local u16, u32, long, short = peer.u16, peer.u32, peer.long, peer.short
wire.u16, wire.u32, wire.long, wire.short = u16, u32, long, short
wire.frame, wire.method = peer.frame, peer.method

-- What brokers say, by class and method.
local NAMES = {
   [10] = { [10] = "start", [20] = "secure", [30] = "tune", [41] = "open-ok", [50] = "close", [51] = "close-ok", [60] = "blocked" },
   [20] = { [11] = "open-ok", [20] = "flow", [21] = "flow-ok", [40] = "close", [41] = "close-ok" },
   [40] = { [11] = "declare-ok", [21] = "delete-ok", [31] = "bind-ok", [51] = "unbind-ok" },
   [50] = { [11] = "declare-ok", [21] = "bind-ok", [31] = "purge-ok", [41] = "delete-ok", [51] = "unbind-ok" },
   [60] = { [11] = "qos-ok", [21] = "consume-ok", [30] = "cancel", [31] = "cancel-ok", [50] = "return", [60] = "deliver",
      [71] = "get-ok", [72] = "get-empty", [80] = "ack", [111] = "recover-ok", [120] = "nack" },
   [85] = { [11] = "select-ok" },
   [90] = { [11] = "select-ok", [21] = "commit-ok", [31] = "rollback-ok" },
}
local CLASSES = { [10] = "connection", [20] = "channel", [40] = "exchange", [50] = "queue", [60] = "basic", [85] = "confirm",
   [90] = "tx" }

local function name_of(class, id)
   local name = NAMES[class] and NAMES[class][id]
   return name and CLASSES[class] .. "." .. name or ("method %d.%d"):format(class, id)
end

-- ---- values ----

--- 64 bits, of a number below 2^53.
function wire.u64(n)
   return u32(math.floor(n / 2 ^ 32)) .. u32(n % 2 ^ 32)
end

--- A table: a list of { name, type, the value's bytes }.
function wire.table(fields)
   local all = {}
   for i, field in ipairs(fields or {}) do all[i] = short(field[1]) .. field[2] .. field[3] end
   return long(table.concat(all))
end

--- Reads what a method carries.
local Reader = {}
Reader.__index = Reader

function wire.reader(bytes)
   return setmetatable({ bytes = bytes, at = 1 }, Reader)
end

function Reader:take(count)
   assert(self.at + count - 1 <= #self.bytes, "the broker's method is too short")
   local bytes = self.bytes:sub(self.at, self.at + count - 1)
   self.at = self.at + count
   return bytes
end

function Reader:number(count)
   local n = 0
   for _, byte in ipairs { self:take(count):byte(1, count) } do n = n * 256 + byte end
   return n
end

function Reader:u8() return self:number(1) end
function Reader:u16() return self:number(2) end
function Reader:u32() return self:number(4) end
function Reader:u64() return self:number(8) end
function Reader:short() return self:take(self:number(1)) end
function Reader:long() return self:take(self:number(4)) end

--- A table, by name; what is neither text, boolean, whole number nor table is an error.
function Reader:table()
   local fields, inner = {}, wire.reader(self:long())
   while inner.at <= #inner.bytes do
      local name, kind = inner:short(), inner:take(1)
      if kind == "S" then
         fields[name] = inner:long()
      elseif kind == "t" then
         fields[name] = inner:u8() ~= 0
      elseif kind == "I" then
         fields[name] = inner:u32()
      elseif kind == "l" or kind == "T" then
         fields[name] = inner:u64()
      elseif kind == "F" then
         fields[name] = inner:table()
      else
         error("the type of a table field that is not known here: " .. kind)
      end
   end
   return fields
end

-- ---- a connection ----

local Wire = {}
Wire.__index = Wire

local opened = {}                    -- those that wire.close_all closes

local function patience(fd, option, seconds)
   local whole = math.floor(seconds)
   local value = ffi.new("struct wire_timeval", whole, (seconds - whole) * 1e6)
   assert(C.setsockopt(fd, SOL_SOCKET, option, value, ffi.sizeof(value)) == 0, "setsockopt failed")
end

--- Connects, and says nothing.
function wire.connect()
   local fd = C.socket(AF_INET, SOCK_STREAM + SOCK_CLOEXEC, 0)
   assert(fd >= 0, "no socket")
   local self = setmetatable({ fd = fd, input = "" }, Wire)
   opened[self] = true
   patience(fd, SO_SNDTIMEO, PATIENCE)
   local port = bit.bor(bit.lshift(bit.band(broker.port, 255), 8), bit.rshift(broker.port, 8))
   local address = ffi.new("struct peer_address", AF_INET, port, 0x0100007f) -- 127.0.0.1
   assert(C.connect(fd, address, ffi.sizeof(address)) == 0, "the broker does not listen")
   return self
end

--- Hangs up.
function Wire:close()
   if opened[self] then C.close(self.fd) end
   opened[self] = nil
end

--- Hangs up on everything that wire.connect opened.
function wire.close_all()
   for self in pairs(opened) do self:close() end
end

--- Sends bytes. False when the broker has hung up.
function Wire:send(bytes)
   while #bytes > 0 do
      local n = tonumber(C.send(self.fd, bytes, #bytes, MSG_NOSIGNAL))
      if n > 0 then
         bytes = bytes:sub(n + 1)
      elseif ffi.errno() == EAGAIN then
         error("the broker does not read", 2)
      elseif ffi.errno() ~= EINTR then
         return false
      end
   end
   return true
end

--- Sends a method.
function Wire:say(channel, class, id, arguments)
   return self:send(peer.method(channel, class, id, arguments))
end

local buffer = ffi.new "char[65536]"

--- Reads `count` bytes. Returns them; or nil and "closed" or "timeout".
function Wire:read(count, seconds)
   local deadline = mr.now() + (seconds or PATIENCE)
   while #self.input < count do
      local left = deadline - mr.now()
      if left <= 0 then return nil, "timeout" end
      patience(self.fd, SO_RCVTIMEO, math.max(left, 0.001))
      local n = tonumber(C.recv(self.fd, buffer, 65536, 0))
      if n > 0 then
         self.input = self.input .. ffi.string(buffer, n)
      elseif n == 0 or (ffi.errno() ~= EAGAIN and ffi.errno() ~= EINTR) then
         return nil, "closed"
      end
   end
   local bytes = self.input:sub(1, count)
   self.input = self.input:sub(count + 1)
   return bytes
end

--- Reads a frame: fields type, channel, payload, and of a method class, id, name and arguments (a reader).
-- @treturn[1] table
-- @treturn[2] nil, "closed" or "timeout"
function Wire:frame(seconds)
   local head, why = self:read(7, seconds)
   if not head then return nil, why end
   local reader = wire.reader(head)
   local frame = { type = reader:u8(), channel = reader:u16() }
   frame.payload = assert(self:read(reader:u32(), seconds))
   assert(self:read(1, seconds) == "\206", "the broker's frame does not end as frames do")
   if frame.type == 1 then
      local payload = wire.reader(frame.payload)
      frame.class, frame.id = payload:u16(), payload:u16()
      frame.name = name_of(frame.class, frame.id)
      frame.arguments = payload
   else
      frame.name = ({ [2] = "header", [3] = "body", [8] = "heartbeat" })[frame.type] or "frame " .. frame.type
   end
   return frame
end

--- Reads the next frame that is no heartbeat, which must be this one.
-- @tparam string name such as "queue.declare-ok" or "body"
-- @treturn table the frame
function Wire:expect(name, channel, seconds)
   local frame, why
   repeat
      frame, why = self:frame(seconds)
   until not frame or frame.type ~= 8
   if not frame then error(("waited for %s: %s"):format(name, why), 2) end
   if frame.name ~= name then
      local more = ""
      if frame.name:find "%.close$" then
         more = (" (%d %s)"):format(frame.arguments:u16(), frame.arguments:short())
      end
      error(("waited for %s: there came %s%s"):format(name, frame.name, more), 2)
   end
   if channel and frame.channel ~= channel then
      error(("%s came on channel %d"):format(name, frame.channel), 2)
   end
   return frame
end

--- Reads a close of the connection (channel 0) or of a channel, and answers it.
-- @treturn number code
-- @treturn string text
-- @treturn number class of the method at fault
-- @treturn number its id
function Wire:expect_close(channel)
   local frame = self:expect(channel == 0 and "connection.close" or "channel.close", channel)
   local args = frame.arguments
   local code, text, class, id = args:u16(), args:short(), args:u16(), args:u16()
   if channel == 0 then self:say(0, 10, 51) else self:say(channel, 20, 41) end
   return code, text, class, id
end

--- Waits until the broker hangs up; fails when it says anything.
function Wire:expect_end(seconds)
   local frame, why = self:frame(seconds)
   if frame then error(("waited for the end: there came %s"):format(frame.name), 2) end
   if why ~= "closed" then error("the broker does not hang up", 2) end
end

--- The answer of mechanism PLAIN.
function wire.plain(user, password)
   return ("\0%s\0%s"):format(user, password)
end

--- connection.start-ok.
function wire.start_ok(options)
   local capabilities = {}
   for i, name in ipairs(options.capabilities or { "authentication_failure_close" }) do capabilities[i] = { name, "t", "\1" } end
   local properties = wire.table { { "product", "S", long "wire" }, { "capabilities", "F", wire.table(capabilities) } }
   return peer.method(0, 10, 11, properties .. short(options.mechanism or "PLAIN")
      .. long(options.response or wire.plain("guest", "guest")) .. short "en_US")
end

--- Connects and goes on to connection.tune.
-- @tparam[opt] table options capabilities, mechanism, response
-- @treturn table the connection; fields server (properties), and of the tune channel_max, frame_max, heartbeat
function wire.login(options)
   local self = wire.connect()
   self:send "AMQP\0\0\9\1"
   local start = self:expect("connection.start", 0).arguments
   start:u16()
   self.server = start:table()
   self:send(wire.start_ok(options or {}))
   local tune = self:expect("connection.tune", 0).arguments
   self.channel_max, self.frame_max, self.heartbeat = tune:u16(), tune:u32(), tune:u16()
   return self
end

--- connection.tune-ok and connection.open.
function Wire:tune(options)
   self:say(0, 10, 31, u16(options.channel_max or self.channel_max) .. u32(options.frame_max or self.frame_max)
      .. u16(options.heartbeat or 0))
   self:say(0, 10, 40, short(options.vhost or "/") .. short "" .. "\0")
end

--- Connects up to an open connection.
-- @tparam[opt] table options as of wire.login and Wire:tune
function wire.open(options)
   local self = wire.login(options)
   self:tune(options or {})
   self:expect("connection.open-ok", 0)
   return self
end

--- Connects and opens channel 1.
function wire.channel(options)
   local self = wire.open(options)
   self:open_channel(1)
   return self
end

function Wire:open_channel(number)
   self:say(number, 20, 10, short "")
   self:expect("channel.open-ok", number)
end

--- Is the connection still served? Declares on channel `number` what is always there.
function Wire:check(number)
   self:say(number, 40, 10, u16(0) .. short "amq.direct" .. short "direct" .. "\1" .. wire.table {})
   self:expect("exchange.declare-ok", number)
end

--- The three parts of a publish, as frames. A part given in `parts` takes the place of the usual one.
function wire.publish(channel, exchange, key, body, parts)
   parts = parts or {}
   return (parts.method or peer.method(channel, 60, 40, u16(0) .. short(exchange) .. short(key) .. string.char(parts.bits or 0)))
      .. (parts.header or wire.header(channel, parts.size or #body, parts.properties))
      .. (parts.body or #body > 0 and peer.frame(3, channel, body) or "")
end

--- A content header.
function wire.header(channel, size, properties, class, weight)
   return peer.frame(2, channel, u16(class or 60) .. u16(weight or 0) .. wire.u64(size) .. (properties or u16(0)))
end

--- Declares an exclusive queue and returns its name.
function Wire:queue(channel)
   self:say(channel, 50, 10, u16(0) .. short "" .. "\4" .. wire.table {})
   return self:expect("queue.declare-ok", channel).arguments:short()
end

--- Takes a message by basic.get without acks.
-- @treturn ?string its body, joined; nil when the queue is empty
-- @treturn table the sizes of the body's frames
-- @treturn string the properties, as they came
function Wire:get(channel, queue)
   self:say(channel, 60, 70, u16(0) .. short(queue) .. "\1")
   local answer = assert(self:frame())
   if answer.name == "basic.get-empty" then return nil end
   assert(answer.name == "basic.get-ok", answer.name)
   local header = wire.reader(self:expect("header", channel).payload)
   header:u32()
   local size, properties = header:u64(), header:take(#header.bytes - header.at + 1)
   local body, sizes = {}, {}
   while size > 0 do
      local part = self:expect("body", channel).payload
      body[#body + 1], sizes[#sizes + 1] = part, #part
      size = size - #part
   end
   return table.concat(body), sizes, properties
end

return wire
