--- buffer: a publisher's open publishes: limited in bytes, and queued while they cannot be sent.
-- SPDX-License-Identifier: MIT
-- A publish takes room at its start and frees it at its end. Publishes without room wait in order.
local C = require("moonrabbit.base.ffi").C
local errors = require "moonrabbit.base.errors"
local loop = require "moonrabbit.loop.loop"
local task = require "moonrabbit.loop.task"

local outbox = {}

local Outbox = {}
Outbox.__index = Outbox

--- Makes an empty buffer.
-- @tparam number max_bytes of bodies
-- @tparam string when_full "block", "drop_oldest" or "error"
-- @tparam function drop(ticket) ends a ticket of the line, which gives its room back
function outbox.new(max_bytes, when_full, drop)
   return setmetatable({ max_bytes = max_bytes, when_full = when_full, drop = drop, bytes = 0, waiters = {}, first = 1,
      last = 0, back = {} }, Outbox)
end

-- ---- room ----

-- The oldest ticket that has not been sent, or nil.
local function oldest(self)
   local t = self:head()
   return t
end

local function fits(self, size) return self.bytes + size <= self.max_bytes end

-- Waits for room, first come, first served.
local function wait_for_room(self, size, deadline)
   local waiter = { token = task.token(), size = size }
   table.insert(self.waiters, waiter)
   local function leave()
      for i, w in ipairs(self.waiters) do
         if w == waiter then table.remove(self.waiters, i) end
      end
   end
   local function undo() -- the waiting handler has exceeded its time limit
      leave()
      if waiter.room then self:give(size) end
   end
   if not loop.wait(waiter.token, deadline and math.max(deadline - C.mr_now(), 0), nil, undo) then leave() end
   return waiter.room
end

--- Takes room for a number of bytes, according to when_full.
-- @treturn[1] true
-- @treturn[2] nil, error of kind backpressure or content_too_large
function Outbox:take(size, deadline)
   if size > self.max_bytes then
      return nil, errors.new("content_too_large", "publish", ("%d bytes never fit into a buffer of %d"):format(size, self.max_bytes))
   end
   if self.when_full == "drop_oldest" then
      while not fits(self, size) do
         local t = oldest(self)
         if not t then break end -- all of it has been sent: it will end soon
         self.drop(t)
      end
   end
   if self.waiters[1] == nil and fits(self, size) then
      self.bytes = self.bytes + size
      return true
   end
   if self.when_full ~= "error" and wait_for_room(self, size, deadline) then return true end
   return nil, errors.new("backpressure", "publish", ("the publisher holds %d bytes of the %d it may"):format(self.bytes,
      self.max_bytes))
end

--- Frees room: waiting publishes take it, in order.
function Outbox:give(size)
   self.bytes = self.bytes - size
   while self.waiters[1] and fits(self, self.waiters[1].size) do
      local waiter = table.remove(self.waiters, 1)
      self.bytes, waiter.room = self.bytes + waiter.size, true
      task.wake(waiter.token, true)
   end
end

--- Ends all waits: there is no room any more.
function Outbox:close()
   local waiters = self.waiters
   self.waiters = {}
   for _, waiter in ipairs(waiters) do task.wake(waiter.token, true) end
end

-- ---- the line ----

--- Appends a ticket.
function Outbox:push(t)
   self.last = self.last + 1
   self[self.last] = t
end

--- Puts a ticket back to its place by job.number: before later ones.
function Outbox:put_back(t) table.insert(self.back, t) end

-- Merges the tickets that were put back with the line, in order.
local function merge(self)
   local back, merged = self.back, {}
   self.back = {}
   table.sort(back, function(a, b) return a.job.number < b.job.number end)
   local i = 1
   for at = self.first, self.last do
      local t = self[at]
      self[at] = nil
      while back[i] and back[i].job.number < t.job.number do
         merged[#merged + 1] = back[i]
         i = i + 1
      end
      merged[#merged + 1] = t
   end
   for j = i, #back do merged[#merged + 1] = back[j] end
   for j, t in ipairs(merged) do self[j] = t end
   self.first, self.last = 1, #merged
end

--- The next ticket, or nil. Skips tickets that ended while they waited.
function Outbox:head()
   if self.back[1] then merge(self) end
   while self.first <= self.last do
      local t = self[self.first]
      if t.state == "waiting" then return t end
      self:pop()
   end
end

--- Puts the first ticket that may_go(t) to the head, before those that may not.
-- @treturn boolean was there one?
function Outbox:bring(may_go)
   if self.back[1] then merge(self) end
   for i = self.first, self.last do
      local t = self[i]
      if t.state == "waiting" and may_go(t) then
         for j = i, self.first + 1, -1 do self[j] = self[j - 1] end
         self[self.first] = t
         return true
      end
   end
   return false
end

--- Removes the head.
function Outbox:pop()
   self[self.first] = nil
   self.first = self.first + 1
   if self.first > self.last then self.first, self.last = 1, 0 end
end

return outbox
