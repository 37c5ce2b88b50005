--- http: asks a port of the loopback interface, as clients good and bad do, within tasks of this process.
-- SPDX-License-Identifier: MIT
local bit = require "bit"
local ffi = require "ffi"
local mr = require "moonrabbit"
require "peer" -- its declarations of the socket calls

ffi.cdef "int connect(int fd, const struct peer_address *address, unsigned size);"
local C = ffi.C

local http = {}

local AF_INET, SOCK_STREAM, SOCK_NONBLOCK, SOCK_CLOEXEC, MSG_NOSIGNAL, EAGAIN = 2, 1, 0x800, 0x80000, 0x4000, 11
local PATIENCE = 15

local Client = {}
Client.__index = Client

local function swap(n) return bit.bor(bit.lshift(bit.band(n, 255), 8), bit.rshift(n, 8)) end

--- A connection.
function http.connect(port)
   local fd = C.socket(AF_INET, SOCK_STREAM + SOCK_NONBLOCK + SOCK_CLOEXEC, 0)
   local address = ffi.new("struct peer_address", AF_INET, swap(port), 0x0100007f)
   C.connect(fd, address, ffi.sizeof(address))
   assert(mr.wait_fd(fd, "w", PATIENCE))
   return setmetatable({ fd = fd }, Client)
end

--- Sends bytes; nil when the server hung up.
function Client:send(bytes)
   while #bytes > 0 do
      local n = C.send(self.fd, bytes, #bytes, MSG_NOSIGNAL)
      if n > 0 then bytes = bytes:sub(tonumber(n) + 1)
      elseif ffi.errno() ~= EAGAIN or not mr.wait_fd(self.fd, "w", PATIENCE) then return nil end
   end
   return true
end

--- All that comes until the server hangs up; nil when it does not within `seconds`.
-- @tparam[opt] number seconds
-- @tparam[opt] function is_enough fn(text): true ends it before
function Client:read(seconds, is_enough)
   local parts, buffer, deadline = {}, ffi.new "char[65536]", mr.now() + (seconds or PATIENCE)
   while true do
      local n = C.recv(self.fd, buffer, 65536, 0)
      if n > 0 then
         parts[#parts + 1] = ffi.string(buffer, n)
         if is_enough and is_enough(table.concat(parts)) then return table.concat(parts) end
      elseif n == 0 or ffi.errno() ~= EAGAIN then return table.concat(parts)
      elseif not mr.wait_fd(self.fd, "r", math.max(deadline - mr.now(), 0)) then return nil end
   end
end

--- Sends no more, and goes on reading.
function Client:finish() C.shutdown(self.fd, 1) end

function Client:close() C.close(self.fd) end

--- Sends bytes on a connection of their own and returns all that comes.
function http.raw(port, bytes)
   local client = http.connect(port)
   client:send(bytes)
   local answer = client:read()
   client:close()
   return answer
end

--- A request: status, body, headers by small name.
function http.ask(port, path, method)
   local answer = http.raw(port, ("%s %s HTTP/1.1\r\nHost: localhost\r\n\r\n"):format(method or "GET", path))
   local head, body = (answer or ""):match "^(.-)\r\n\r\n(.*)$"
   if not head then return nil, answer end
   local headers = {}
   for name, value in head:gmatch "\r\n([^:\r\n]+):%s*([^\r\n]*)" do headers[name:lower()] = value end
   return tonumber(head:match "^HTTP/1%.1 (%d+)"), body, headers
end

return http
