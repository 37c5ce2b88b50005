--- put_off: how many messages this process has put off for a later try, until their time has come.
-- SPDX-License-Identifier: MIT
-- For the page for browsers: the messages themselves wait in queues of the broker, or are held here. It counts in steps of time, which are
-- the longer the later, so that it has some hundred entries a queue at most.
local each = require "moonrabbit.base.each"

local put_off = {}

local QUEUES = 100
local OTHERS = "(other)"
local FINE = 16   -- a step is at most this part of the time that a message waits, but a second at least
local SWEEP = 256 -- messages after which what is over is forgotten

local queues, queue_count, added = {}, 0, 0 -- queue -> time -> number of messages

local function sweep(now)
   for _, steps in each(queues) do
      for at in each(steps) do
         if at <= now then steps[at] = nil end -- allowed while going through it
      end
   end
end

--- Notes a message that is tried again later.
-- @tparam string queue
-- @tparam number seconds until then
-- @tparam number now any clock, the same for all
function put_off.note(queue, seconds, now)
   if seconds <= 0 then return end
   added = added + 1
   if added % SWEEP == 0 then sweep(now) end
   if not queues[queue] then
      if queue_count >= QUEUES then queue = OTHERS end
      if not queues[queue] then queues[queue], queue_count = {}, queue_count + 1 end
   end
   local step = math.max(1, 2 ^ math.floor(math.log(seconds / FINE) / math.log(2)))
   local at = math.ceil((now + seconds) / step) * step
   queues[queue][at] = (queues[queue][at] or 0) + 1
end

--- What is put off now.
-- @tparam number now
-- @treturn table list of {queue, count, next (seconds)}, the queue with most first
function put_off.list(now)
   local list = {}
   sweep(now)
   for queue, steps in each(queues) do
      local count, first = 0, math.huge
      for at, n in each(steps) do count, first = count + n, math.min(first, at) end
      if count > 0 then list[#list + 1] = { queue = queue, count = count, next = math.floor((first - now) * 10) / 10 } end
   end
   table.sort(list, function(a, b)
      if a.count ~= b.count then return a.count > b.count end
      return a.queue < b.queue
   end)
   return list
end

--- Forgets all.
function put_off.clear() queues, queue_count, added = {}, 0, 0 end

return put_off
