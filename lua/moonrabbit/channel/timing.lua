--- timing: measures handlers for /metrics without reading the clock for each message.
-- SPDX-License-Identifier: MIT
-- While handlers take some microseconds each and messages come in large batches, the batch is measured and its time divided:
-- all of these handlers are in the first bucket anyway. If a batch took long, it is assumed that one handler was slow.
-- Handlers that wait, or fail, are measured one by one.
local C = require("moonrabbit.base.ffi").C
local loop = require "moonrabbit.loop.loop"

local timing = {}

local LEAST = 32          -- the minimum number of messages of a batch that is measured as a whole
local QUICK = 5e-6        -- seconds assumed for a handler in such a batch: half of the first bucket
local SLOW = 1e-3         -- seconds: a longer batch may have a slow handler

--- True if the current batch is measured as a whole.
timing.is_quick = false
--- True: somebody wants the time of each handler.
timing.is_exact = false

local list, count = {}, 0 -- consumers with messages in this batch
local share = QUICK       -- of the last batch

--- Counts a handler of the consumer that ended in the batch in which it began.
function timing.count(consumer)
   if consumer.quick == 0 then
      count = count + 1
      list[count] = consumer
   end
   consumer.quick = consumer.quick + 1
end

-- Divides the time of the batch.
local function share_out(took)
   local total, most = 0, list[1]
   for i = 1, count do
      total = total + list[i].quick
      if list[i].quick > most.quick then most = list[i] end
   end
   local is_slow = took > SLOW and took > 2 * total * share
   if not is_slow then share = took / total end
   for i = 1, count do
      local consumer = list[i]
      local quick = consumer.quick
      if is_slow and consumer == most then
         quick = quick - 1
         C.mr_meter_handled_many(consumer.meter, 1, took - (total - 1) * share)
      end
      C.mr_meter_handled_many(consumer.meter, quick, share)
      list[i], consumer.quick = nil, 0
   end
   count = 0
end

local next_is_quick = false
local began = 0           -- when this batch had come

loop.before_batch(function()
   began = loop.now
   timing.is_quick = next_is_quick and not timing.is_exact
end)

loop.after_batch(function(n)
   timing.is_quick = false
   local took = C.mr_now() - began
   if count > 0 then share_out(took) end
   next_is_quick = n >= LEAST and took < n * QUICK
end)

loop.on_close(function() list, count, timing.is_quick, next_is_quick = {}, 0, false, false end)

return timing
