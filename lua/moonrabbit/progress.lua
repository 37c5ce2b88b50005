--- progress: what the program is at, marked where the I/O thread can see it.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local C = require("moonrabbit.ffi").C

local progress = {}

local nowhere = ffi.new "mr_mark" -- while there is no runtime

--- The runtime's mark: plain memory, no call. Whoever takes up something else adds 1 to `turn`.
progress.mark = nowhere

--- Seconds after which a script that does not wait is reported.
progress.stall = 10
--- The signal by which the I/O thread may ask where the script is; 0: nobody here would answer it.
progress.signal = 0

--- Time limits by the number of the consumer.
progress.limits = {}

local runtime
local ended = {}             -- consumers whose last handlers still run

local function tell() C.mr_runtime_watchdog(runtime, progress.stall, progress.signal) end

--- There is a runtime.
function progress.begin(rt)
   runtime = rt
   progress.mark = C.mr_runtime_mark(rt)
   progress.mark.busy = 1
   tell()
end

--- The runtime goes.
function progress.forget() runtime, progress.mark, progress.limits, ended = nil, nowhere, {}, {} end

--- Does the host sleep in a loop of its own when there is nothing?
function progress.lend(is_lent) progress.mark.busy = is_lent and 0 or 1 end

--- Sets what is not nil.
function progress.configure(stall, signal)
   progress.stall, progress.signal = stall or progress.stall, signal or progress.signal
   if runtime then tell() end
end

--- Does the I/O thread ask where the script is?
function progress.wants_trace() return runtime ~= nil and C.mr_runtime_wants_trace(runtime) end

--- Tells it.
function progress.give_trace(text) C.mr_runtime_trace(runtime, text, #text) end

--- Where a function was written: "script.lua:12".
-- @tparam function fn
-- @treturn string
function progress.origin(fn)
   local info = debug.getinfo(fn, "S")
   return info.what == "C" and "a C function" or ("%s:%d"):format(info.short_src, info.linedefined)
end

local function forget_ended()
   for i = #ended, 1, -1 do
      if ended[i].running == 0 then
         C.mr_consumer_describe(runtime, ended[i].number, nil, nil, 0, 0)
         progress.limits[ended[i].number] = nil
         table.remove(ended, i)
      end
   end
end

--- Tells the I/O thread of a consumer: `queue`, `origin`, `stall`, `time_limit`.
function progress.describe(consumer)
   if not runtime then return end
   forget_ended()
   progress.limits[consumer.number] = consumer.time_limit or nil
   C.mr_consumer_describe(runtime, consumer.number, consumer.queue, consumer.origin or "",
      consumer.stall == 0 and -1 or consumer.stall or 0, consumer.time_limit or 0)
end

--- It has ended, but for its running handlers.
function progress.undescribe(consumer)
   if not runtime then return end
   ended[#ended + 1] = consumer
   forget_ended()
end

return progress
