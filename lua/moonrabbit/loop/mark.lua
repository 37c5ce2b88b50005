--- mark: what the program is at, marked where the I/O thread can see it.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local C = require("moonrabbit.base.ffi").C

local marks = {}

local nowhere = ffi.new "mr_mark" -- while there is no runtime

--- The runtime's mark: plain memory, no call. Whoever takes up something else adds 1 to `turn`.
marks.mark = nowhere

--- Seconds after which a script that does not wait is reported.
marks.stall = 10
--- The signal by which the I/O thread may ask where the script is; 0: nobody here would answer it.
marks.signal = 0

--- Time limits by the number of the consumer.
marks.limits = {}

local runtime
local ended = {}             -- consumers whose last handlers still run

local function tell() C.mr_runtime_watchdog(runtime, marks.stall, marks.signal) end

--- There is a runtime.
function marks.begin(rt)
   runtime = rt
   marks.mark = C.mr_runtime_mark(rt)
   marks.mark.busy = 1
   tell()
end

--- The runtime goes.
function marks.forget() runtime, marks.mark, marks.limits, ended = nil, nowhere, {}, {} end

--- Does the host sleep in a loop of its own when there is nothing?
function marks.lend(is_lent) marks.mark.busy = is_lent and 0 or 1 end

--- Sets what is not nil.
function marks.configure(stall, signal)
   marks.stall, marks.signal = stall or marks.stall, signal or marks.signal
   if runtime then tell() end
end

--- Does the I/O thread ask where the script is?
function marks.wants_trace() return runtime ~= nil and C.mr_runtime_wants_trace(runtime) end

--- Tells it.
function marks.give_trace(text) C.mr_runtime_trace(runtime, text, #text) end

--- Where a function was written: "script.lua:12".
-- @tparam function fn
-- @treturn string
function marks.origin(fn)
   local info = debug.getinfo(fn, "S")
   return info.what == "C" and "a C function" or ("%s:%d"):format(info.short_src, info.linedefined)
end

local function forget_ended()
   for i = #ended, 1, -1 do
      if ended[i].running == 0 then
         C.mr_consumer_describe(runtime, ended[i].number, nil, nil, 0, 0)
         marks.limits[ended[i].number] = nil
         table.remove(ended, i)
      end
   end
end

--- Tells the I/O thread of a consumer: `queue`, `origin`, `stall`, `time_limit`.
function marks.describe(consumer)
   if not runtime then return end
   forget_ended()
   marks.limits[consumer.number] = consumer.time_limit or nil
   C.mr_consumer_describe(runtime, consumer.number, consumer.queue, consumer.origin or "",
      consumer.stall == 0 and -1 or consumer.stall or 0, consumer.time_limit or 0)
end

--- It has ended, but for its running handlers.
function marks.undescribe(consumer)
   if not runtime then return end
   ended[#ended + 1] = consumer
   forget_ended()
end

return marks
