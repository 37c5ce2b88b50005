--- unconfirmed: the open tickets of a channel, by their numbers.
-- SPDX-License-Identifier: MIT
-- Pure. Numbers are added in order and removed in nearly the same order, so a ring holds them. A Lua table with such use is
-- rehashed again and again, up to once every 24 publishes with 1000 open ones, which costs a third of the time of a publish.
local band = require "bit".band
local each = require "moonrabbit.base.each"

local unconfirmed = {}

local FIRST, MOST = 64, 4096 -- slots; powers of two

local function ring_of(size)
   local ring = {}
   for i = 0, size - 1 do ring[i] = false end
   return ring
end

--- `ring` has the ticket of number n at n % (mask + 1), or false; `rest` has tickets whose place is used by a later one.
function unconfirmed.new()
   return { ring = ring_of(FIRST), mask = FIRST - 1, rest = {} }
end

local function double(self)
   local old, size = self.ring, (self.mask + 1) * 2
   self.ring, self.mask = ring_of(size), size - 1
   for i = 0, size / 2 - 1 do
      local t = old[i]
      if t then self.ring[band(t.number, self.mask)] = t end
   end
end

-- Makes the place of number n free.
local function make_way(self, n)
   while self.ring[band(n, self.mask)] and self.mask + 1 < MOST do double(self) end
   local straggler = self.ring[band(n, self.mask)]
   if straggler then self.rest[straggler.number] = straggler end
end

--- Adds a ticket under t.number, which must not change until it is removed.
function unconfirmed.put(self, t)
   local n = t.number
   if self.ring[band(n, self.mask)] then make_way(self, n) end
   self.ring[band(n, self.mask)] = t
end

--- The ticket of number n, or nil.
function unconfirmed.get(self, n)
   local t = self.ring[band(n, self.mask)]
   if t and t.number == n then return t end
   return self.rest[n]
end

--- Removes and returns the ticket of number n, or nil.
function unconfirmed.take(self, n)
   local at = band(n, self.mask)
   local t = self.ring[at]
   if t and t.number == n then
      self.ring[at] = false
      return t
   end
   t = self.rest[n]
   self.rest[n] = nil
   return t
end

--- All tickets, by number.
function unconfirmed.list(self)
   local list = {}
   for _, t in each(self.rest) do list[#list + 1] = t end
   for i = 0, self.mask do
      local t = self.ring[i]
      if t then list[#list + 1] = t end
   end
   table.sort(list, function(a, b) return a.number < b.number end)
   return list
end

return unconfirmed
