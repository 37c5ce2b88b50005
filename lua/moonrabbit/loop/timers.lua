--- timers: a heap of timers, by time.
-- SPDX-License-Identifier: MIT
-- Pure: the caller passes the time.
local timers = {}

local Heap = {}
Heap.__index = Heap

--- An empty heap.
function timers.heap()
   return setmetatable({ count = 0, sequence = 0, live = 0 }, Heap)
end

local function before(a, b)
   if a.at ~= b.at then return a.at < b.at end
   return a.sequence < b.sequence
end

--- Adds `entry` (a table of the caller), due at `at`.
function Heap:add(entry, at)
   self.sequence = self.sequence + 1
   self.live = self.live + 1
   entry.at, entry.sequence, entry.cancelled = at, self.sequence, false
   local i = self.count + 1
   self.count = i
   while i > 1 do
      local parent = math.floor(i / 2)
      if not before(entry, self[parent]) then break end
      self[i] = self[parent]
      i = parent
   end
   self[i] = entry
   return entry
end

local function sink(self, entry)
   local i, n = 1, self.count
   while true do
      local child = i * 2
      if child > n then break end
      if child < n and before(self[child + 1], self[child]) then child = child + 1 end
      if not before(self[child], entry) then break end
      self[i] = self[child]
      i = child
   end
   self[i] = entry
end

local function pop(self)
   local top, last = self[1], self[self.count]
   self[self.count] = nil
   self.count = self.count - 1
   if self.count > 0 then sink(self, last) end
   return top
end

--- Cancels `entry`; it stays in the heap until its time, and is then ignored.
function Heap:cancel(entry)
   if entry.cancelled or not entry.at then return end
   entry.cancelled = true
   self.live = self.live - 1
   -- Timers that are always cancelled (timeouts of successful operations) must not accumulate.
   if self.count > 64 and self.live < self.count / 2 then self:sweep() end
end

--- Drops the cancelled entries.
function Heap:sweep()
   local kept = {}
   for i = 1, self.count do
      if not self[i].cancelled then kept[#kept + 1] = self[i] end
      self[i] = nil
   end
   table.sort(kept, before)
   for i = 1, #kept do self[i] = kept[i] end
   self.count = #kept
end

--- Removes and returns the next entry that is due at `now`; nil if there is none.
function Heap:take(now)
   while self.count > 0 do
      local top = self[1]
      if not top.cancelled and top.at > now then return nil end
      pop(self)
      if not top.cancelled then
         self.live = self.live - 1
         top.cancelled = true
         return top
      end
   end
end

--- Takes all entries back.
function Heap:clear()
   for i = 1, self.count do
      self[i].cancelled = true
      self[i] = nil
   end
   self.count, self.live = 0, 0
end

--- When the next entry is due, or nil.
function Heap:next_at()
   while self.count > 0 and self[1].cancelled do pop(self) end
   return self.count > 0 and self[1].at or nil
end

--- The heap that the loop works off. An entry with a `token` wakes who waits for that, with its `value`.
timers.agenda = timers.heap()

return timers
