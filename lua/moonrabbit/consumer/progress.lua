--- progress: which messages of a stream are handled: the lowest offset that is not, and those handled beyond it.
-- SPDX-License-Identifier: MIT
-- Every offset below `next` has begun; those of them that are not handled are in `open`. So all other offsets below `next` are
-- handled, however many they are while one message waits for its next attempt.
local new_table = require "table.new"
local each = require "moonrabbit.base.each"

local progress = {}

local Progress = { __name = "moonrabbit.progress" }
Progress.__index = Progress

local ROOM = 128 -- entries for which the table does not grow: in one that is full each new key costs a rehash
local RUNNING = true -- in `open`: its first handler runs. Else a table: is_running, failed (failures so far), on_end (functions).

--- Makes the progress of a consumer.
-- @tparam ?number next the first offset to handle, if it is known: what comes before it counts as handled
function progress.new(next)
   return setmetatable({ next = next or 0, is_known = next ~= nil, open = new_table(0, ROOM) }, Progress)
end

--- A message has arrived.
-- @tparam number offset
-- @treturn[1] string "begin": handle it; then call handled or left
-- @treturn[1] number its failures so far
-- @treturn[2] string "handled"
-- @treturn[3] string "running": a handler has it, on another connection; call wait
function Progress:begin(offset)
   if offset >= self.next then
      self.next, self.is_known, self.open[offset] = offset + 1, true, RUNNING
      return "begin", 0
   end
   local entry = self.open[offset]
   if not entry then return "handled" end
   if entry == RUNNING or entry.is_running then return "running" end
   entry.is_running = true
   return "begin", entry.failed
end

--- The first message since the broker cancelled the consumer. If it is the first of all again, the stream is another one: nothing
-- is handled yet. (Another one that came before was only not acked yet when the broker cancelled.)
function Progress:look(offset)
   self.is_suspect = false
   if offset == 0 and (self:position() or 0) > 0 then self.next, self.open = 0, {} end
end

local function tell(entry)
   if not entry then return end
   local waiting = entry.on_end
   entry.on_end = nil
   for _, fn in ipairs(waiting or {}) do fn() end
end

--- Calls fn when the handler of a running message has ended.
function Progress:wait(offset, fn)
   local entry = self.open[offset]
   if entry == RUNNING then
      entry = { is_running = true, failed = 0 }
      self.open[offset] = entry
   end
   entry.on_end = entry.on_end or {}
   table.insert(entry.on_end, fn)
end

--- A message is handled, or given up for good.
function Progress:handled(offset)
   local entry = self.open[offset]
   self.open[offset] = nil
   if entry ~= RUNNING then tell(entry) end
end

--- All messages up to this one are handled.
function Progress:handled_up_to(offset)
   local list = {}
   for open in each(self.open) do
      if open <= offset then list[#list + 1] = open end
   end
   for _, open in ipairs(list) do self:handled(open) end
end

--- A handler has ended without success, or has lost its message: it will come again.
-- @tparam number offset
-- @tparam number failed
function Progress:left(offset, failed)
   local entry = self.open[offset]
   if not entry then return end
   self.open[offset] = { is_running = false, failed = failed }
   if entry ~= RUNNING then tell(entry) end
end

--- True if a message has begun and is not handled.
function Progress:is_open(offset) return self.open[offset] ~= nil end

--- The offset to go on at: all below it are handled. Nil: nothing has begun.
function Progress:position()
   if not self.is_known then return nil end
   local low = self.next
   for offset in each(self.open) do
      if offset < low then low = offset end
   end
   return low
end

return progress
