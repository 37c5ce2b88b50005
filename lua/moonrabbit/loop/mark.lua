--- mark: the program's current work, in memory that the I/O thread reads.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local C = require("moonrabbit.base.ffi").C

local marks = {}

local nowhere = ffi.new "mr_mark" -- while there is no runtime

--- The runtime's mark: plain memory, no call. Code that starts other work adds 1 to `turn`; so does what ends work, or the
-- time that a consumer may take would be held against what comes after it.
marks.mark = nowhere

--- Seconds after which a script that does not wait is reported.
marks.stall = 10
--- Seconds after which a handler that waits is reported; 0: never.
marks.waiting = 300
--- The signal by which the I/O thread may request a trace; 0: the process has no handler for it.
marks.signal = 0

--- Time limits by the number of the consumer.
marks.limits = {}

local runtime
local ended = {}             -- consumers whose last handlers still run

local function tell() C.mr_runtime_watchdog(runtime, marks.stall, marks.signal) end

--- A runtime was made.
function marks.begin(rt)
   runtime = rt
   marks.mark = C.mr_runtime_mark(rt)
   marks.mark.busy = 1
   tell()
end

--- The runtime will be freed.
function marks.forget() runtime, marks.mark, marks.limits, ended = nil, nowhere, {}, {} end

--- Sets whether the host sleeps in its own loop when there is nothing to do.
function marks.lend(is_lent) marks.mark.busy = is_lent and 0 or 1 end

--- Sets the options that are not nil.
function marks.configure(stall, signal)
   marks.stall, marks.signal = stall or marks.stall, signal or marks.signal
   if runtime then tell() end
end

--- True if the I/O thread has requested a trace.
function marks.wants_trace() return runtime ~= nil and C.mr_runtime_wants_trace(runtime) end

--- Gives the trace to the I/O thread.
function marks.give_trace(text) C.mr_runtime_trace(runtime, text, #text) end

--- Where a function is defined: "script.lua:12".
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

--- Describes a consumer for the I/O thread: `queue`, `origin`, `stall`, `time_limit`.
function marks.describe(consumer)
   if not runtime then return end
   forget_ended()
   marks.limits[consumer.number] = consumer.time_limit or nil
   C.mr_consumer_describe(runtime, consumer.number, consumer.queue, consumer.origin or "",
      consumer.stall == 0 and -1 or consumer.stall or 0, consumer.time_limit or 0)
end

--- The consumer has ended, except its running handlers.
function marks.undescribe(consumer)
   if not runtime then return end
   ended[#ended + 1] = consumer
   forget_ended()
end

return marks
