--- sampling: looks now and then at what the metrics say of this thread: its oldest handlers, its memory.
-- SPDX-License-Identifier: MIT
-- Noting each handler when it begins would cost too much (see in_flight): so once a second, while handlers wait, their stacks
-- are read. A handler that keeps this thread busy is seen by the I/O thread itself.
local ffi = require "ffi"
local C = require("moonrabbit.base.ffi").C
local each = require "moonrabbit.base.each"
local handling = require "moonrabbit.channel.delivery"
local in_flight = require "moonrabbit.channel.in_flight"
local loop = require "moonrabbit.loop.loop"
local marks = require "moonrabbit.loop.mark"
local overdue = require "moonrabbit.channel.overdue"

local sampling = {}

local EVERY = 1        -- seconds
local SHARE = 0.01     -- of the thread's time, at most: with thousands of waiting handlers it looks less often

local timer            -- while handlers run
local seen = {}        -- address -> meter: those that have an oldest handler
local due = 0          -- when memory is to be measured again

local function address(meter) return tonumber(ffi.cast("intptr_t", meter)) end

local start

local function sample()
   timer = nil
   loop.soft = loop.soft - 1
   local began, oldest, meters, first = C.mr_now(), {}, {}, math.huge
   in_flight.each(function(consumer, _, since)
      first = math.min(first, since or first)
      if not consumer.meter or not since then return end
      local key = address(consumer.meter)
      oldest[key], meters[key] = math.min(oldest[key] or since, since), consumer.meter
   end)
   for key, meter in each(seen) do
      if not meters[key] then C.mr_meter_oldest(meter, 0) end
   end
   for key, meter in each(meters) do C.mr_meter_oldest(meter, oldest[key]) end
   seen = meters
   overdue.look(first)
   if handling.running > 0 then start(math.max(EVERY, (C.mr_now() - began) / SHARE)) end
end

function start(seconds)
   loop.soft = loop.soft + 1
   timer = loop.after(seconds, sample)
end

local function measure()
   due = loop.now + EVERY
   marks.mark.memory = collectgarbage "count" * 1024
end

--- Begins: from now on it looks at each runtime.
function sampling.begin()
   loop.after_batch(function()
      if handling.running > 0 and not timer then start(EVERY) end
      if loop.now >= due then measure() end
   end)
   loop.on_open(function() marks.mark.memory = collectgarbage "count" * 1024 end)
   loop.on_close(function() timer, seen, due = nil, {}, 0 end)
end

return sampling
