--- time_limit: a handler's time limit: its begin, its end, and its error.
-- SPDX-License-Identifier: MIT
-- The deadline of the current work is in the runtime's mark, which the I/O thread also reads. A wait preserves it
-- (time_limit.wait); a handler that does not wait can only be interrupted by a hook (watchdog).
local C = require("moonrabbit.base.ffi").C
local errors = require "moonrabbit.base.errors"
local host = require "moonrabbit.loop.host"
local marks = require "moonrabbit.loop.mark"
local options = require "moonrabbit.base.options"
local task = require "moonrabbit.loop.task"
local timers = require "moonrabbit.loop.timers"

local time_limit = {}

local agenda = timers.agenda
local OVER = {}                      -- wakes who waits beyond its time limit

local HERE = debug.getinfo(1, "S").source:match "^(.*/)loop/time_limit%.lua$"
-- Library modules around a handler that an error may leave at any point.
local PASSABLE = {
   ["consumer/middleware.lua"] = true, ["consumer/unsettled.lua"] = true, ["loop/time_limit.lua"] = true,
   ["console/evaluate.lua"] = true, ["console/printing.lua"] = true, ["base/show.lua"] = true,
}

--- Calls a consumer's handler within its time limit. After an error the caller must clear mark.deadline.
function time_limit.run(consumer, msg)
   marks.mark.deadline = C.mr_now() + consumer.time_limit
   local a, b = consumer.handler(msg)
   marks.mark.deadline = 0
   return a, b
end
local run = time_limit.run

--- Checks the options stall and time_limit.
function time_limit.check(opts)
   options.seconds("stall", opts.stall)
   options.seconds("time_limit", opts.time_limit)
   if opts.time_limit == 0 then options.blame('option "time_limit" must be more than 0') end
end

--- True if a deadline (0: none) has passed.
function time_limit.is_over(deadline) return deadline ~= 0 and C.mr_now() >= deadline end

--- The error that ends the handler, of kind timeout.
function time_limit.error()
   local seconds = marks.limits[marks.mark.consumer]
   local err = errors.new("timeout", "message", ("the handler was over its time limit%s"):format(
      seconds and (" of %g s"):format(seconds) or ""))
   err.hint = "what it waits for, or how long it computes, shows in the traceback"
   return err
end

-- ---- waits ----

-- The deadline of the caller; 0: none. The mark's may be of a handler that a fiber of the host has interrupted.
local function deadline_here()
   local deadline = marks.mark.deadline
   if deadline == 0 then return host.apart and task.deadline_apart() or 0 end
   return not task.is_of_host() and deadline or 0
end

local function ended(is_late, alarm, undo, timer, first, ...)
   agenda:cancel(alarm)
   if not is_late and first ~= OVER then return first, ... end
   if timer then agenda:cancel(timer) end
   if undo then undo(first) end
   error(time_limit.error(), 0)
end

--- The same as task.wait, but if the waiting handler exceeds its time limit, the wait ends with an error. For waits whose
-- result is not needed then.
-- @tparam number token
-- @tparam[opt] boolean soft as of task.wait
-- @tparam[opt] function undo called before the error is raised
-- @tparam[opt] table timer of the caller, which is cancelled then
function time_limit.wait(token, soft, undo, timer)
   local deadline = deadline_here()
   if deadline == 0 then return task.wait(token, soft) end
   local is_late, alarm = time_limit.is_over(deadline), agenda:add({ token = token, value = OVER }, deadline)
   return ended(is_late, alarm, undo, timer, task.wait(token, soft))
end

--- Raises an error if the caller cannot wait. If the current handler has exceeded its time limit, lets other tasks run, then
-- raises that error, so that a handler that catches it again and again does not block them. Call it before a request is sent.
function time_limit.heed()
   task.check()
   if time_limit.is_over(deadline_here()) then time_limit.wait(task.token(), true) end
end

--- A timeout for use elsewhere, limited by the remaining time limit; negative: no limit.
function time_limit.within(seconds)
   local deadline = deadline_here()
   if deadline == 0 then return seconds end
   local left = math.max(deadline - C.mr_now(), 0)
   return seconds < 0 and left or math.min(seconds, left)
end

local function back(deadline, ...)
   marks.mark.deadline = deadline
   return ...
end

--- Calls fn(...) without the caller's time limit: for work that others rely on, and that must be completed. It waits.
function time_limit.apart(fn, ...)
   task.check()
   local deadline = deadline_here()
   if deadline == 0 then return fn(...) end
   marks.mark.deadline = 0
   return back(deadline, fn(...))
end

-- ---- spinning ----

--- True if an error may be raised in the running code, `level` above the caller: only within a handler, and not in the
-- library's own code, which would be left in an inconsistent state.
-- In a coroutine of the script that belongs to a handler, the error ends that coroutine; its resumer gets it like any error.
-- @treturn ?boolean true: yes; false: not at this instruction; nil: there is no handler in this coroutine
function time_limit.may_raise(level)
   local is_ours = false
   level = level + 1
   while true do
      local info = debug.getinfo(level, "fS")
      if not info then
         if task.is_aside() then return not is_ours end
         return nil
      end
      if info.func == run then return not is_ours end
      local file = info.func == require or info.source:sub(1, #HERE) == HERE and info.source:sub(#HERE + 1)
      if file and not PASSABLE[file] then is_ours = true end
      level = level + 1
   end
end

return time_limit
