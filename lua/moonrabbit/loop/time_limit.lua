--- time_limit: a handler's time limit: where it begins and ends, and what it raises.
-- SPDX-License-Identifier: MIT
-- The deadline of what runs is in the runtime's mark, where the I/O thread sees it, too. A wait takes it along
-- (time_limit.wait); a handler that does not wait is reached by a hook (watchdog), if at all.
local C = require("moonrabbit.base.ffi").C
local errors = require "moonrabbit.base.errors"
local marks = require "moonrabbit.loop.mark"
local options = require "moonrabbit.base.options"
local task = require "moonrabbit.loop.task"
local timers = require "moonrabbit.loop.timers"

local time_limit = {}

local agenda = timers.agenda
local OVER = {}                      -- wakes who waits beyond its time limit

local HERE = debug.getinfo(1, "S").source:match "^(.*/)loop/time_limit%.lua$"
-- Modules of ours around a handler that an error may leave at any point.
local PASSABLE = {
   ["consumer/middleware.lua"] = true, ["consumer/unsettled.lua"] = true, ["loop/time_limit.lua"] = true,
}

--- Calls a consumer's handler within its time limit. After an error, mark.deadline is for the caller to clear.
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

--- Is a deadline (0: none) over?
function time_limit.is_over(deadline) return deadline ~= 0 and C.mr_now() >= deadline end

--- What ends the handler: an error of kind timeout.
function time_limit.error()
   local seconds = marks.limits[marks.mark.consumer]
   local err = errors.new("timeout", "message", ("the handler was over its time limit%s"):format(
      seconds and (" of %g s"):format(seconds) or ""))
   err.hint = "what it waits for, or how long it computes, shows in the traceback"
   return err
end

-- ---- waits ----

local function ended(is_late, alarm, undo, timer, first, ...)
   agenda:cancel(alarm)
   if not is_late and first ~= OVER then return first, ... end
   if timer then agenda:cancel(timer) end
   if undo then undo(first) end
   error(time_limit.error(), 0)
end

--- As task.wait; but if a handler waits that has a time limit, the wait ends with an error when that is over. For
-- waits whose result nobody misses then.
-- @tparam number token
-- @tparam[opt] boolean soft as of task.wait
-- @tparam[opt] function undo called before the error is raised
-- @tparam[opt] table timer of the caller's, to be taken back then
function time_limit.wait(token, soft, undo, timer)
   local deadline = marks.mark.deadline
   if deadline == 0 then return task.wait(token, soft) end
   local is_late, alarm = time_limit.is_over(deadline), agenda:add({ token = token, value = OVER }, deadline)
   return ended(is_late, alarm, undo, timer, task.wait(token, soft))
end

--- Raises an error if the caller cannot wait; and that of the time limit of what runs if it is over, after a turn of
-- the others: a handler that catches it again and again keeps nobody from his work. For calls that ask for something,
-- before they do.
function time_limit.heed()
   task.check()
   if time_limit.is_over(marks.mark.deadline) then time_limit.wait(task.token(), true) end
end

--- A timeout that is kept elsewhere, no longer than the time limit leaves; negative: for ever.
function time_limit.within(seconds)
   local deadline = marks.mark.deadline
   if deadline == 0 then return seconds end
   local left = math.max(deadline - C.mr_now(), 0)
   return seconds < 0 and left or math.min(seconds, left)
end

local function back(deadline, ...)
   marks.mark.deadline = deadline
   return ...
end

--- fn(...) without the time limit of who calls: for what others rely on too, and must not be left half done. It waits.
function time_limit.apart(fn, ...)
   task.check()
   local deadline = marks.mark.deadline
   if deadline == 0 then return fn(...) end
   marks.mark.deadline = 0
   return back(deadline, fn(...))
end

-- ---- spinning ----

--- May an error be raised in what runs, `level` above the caller? Only within a handler, and not in the midst of
-- the library's own code, which could be left half done.
-- In a coroutine of the script's, whose task is a handler's, it ends what that has called there; what resumed it hears of it
-- as of any error.
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
