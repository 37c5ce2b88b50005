--- proxy: stands between a client and a broker on the loopback interface and damages what passes, as a test says.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local mr = require "moonrabbit"
local peer = require "peer"

local proxy = {}

local C = ffi.C
local EAGAIN = 11
local PATIENCE = 60

-- What has come; nil at the end.
local function receive(from, buffer, size)
   while true do
      local n = C.recv(from.fd, buffer, size, 0)
      if n > 0 then return ffi.string(buffer, n) end
      if n == 0 or ffi.errno() ~= EAGAIN or not mr.wait_fd(from.fd, "r", PATIENCE) then return nil end
   end
end

-- Carries bytes one way until either side ends or the limit is reached: then both end, or nothing passes any more.
local function carry(self, from, to, way, cut)
   local buffer, passed = ffi.new "char[65536]", 0
   while true do
      local bytes = receive(from, buffer, self.is_trickling and 1 or 65536)
      if not bytes then break end
      if self.rate then mr.sleep(#bytes / self.rate) end
      local limit = cut or self["cut_" .. way]
      local part = limit and bytes:sub(1, math.max(limit - passed, 0)) or bytes
      if #part > 0 and not to:write(part) then break end
      passed = passed + #part
      self[way] = self[way] + #part
      if self.record and way == "up" then self.record = self.record .. part end
      if limit and passed >= limit then
         while self.holds and receive(from, buffer, 65536) do end -- taken, never given
         if self.resets then C.setsockopt(to.fd, 1, 13, ffi.new("int[2]", 1, 0), 8) end
         break
      end
   end
   C.shutdown(from.fd, 2)
   C.shutdown(to.fd, 2)
end

--- A proxy before the port of a broker. What it does may be changed while it runs: cut_down and cut_up (bytes of each
-- connection towards the client or the broker after which both sides end; nil: none), holds (then nothing passes any more
-- instead), resets (the end is a reset), is_trickling (one byte at a time), rate (so many bytes a second), record (a string,
-- to which is added what goes to the broker), cuts_up (a list: the next connections end each after so many bytes; false: not).
-- @treturn table port, count (connections), down and up (bytes that passed)
function proxy.start(port)
   local self
   self = peer.start(function(session)
      local upstream = peer.connect(port)
      if not upstream then return end
      local done, cut = false, table.remove(self.cuts_up, 1)
      mr.spawn(function()
         carry(self, upstream, session, "down")
         done = true
      end)
      carry(self, session, upstream, "up", cut or nil)
      while not done do mr.sleep(0.001) end
      upstream:close()
   end)
   self.down, self.up, self.cuts_up = 0, 0, {}
   return self
end

return proxy
