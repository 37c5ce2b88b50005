--- sink: passes the log's lines to a function of the script.
-- SPDX-License-Identifier: MIT
-- The lines come as events, in the order of their time, so that the function never runs within who logs.
local ffi = require "ffi"
local C = require("moonrabbit.base.ffi").C
local errors = require "moonrabbit.base.errors"
local loop = require "moonrabbit.loop.loop"
local task = require "moonrabbit.loop.task"

local sink = {}

local MOST = 1000 -- lines that wait for a function that waits
local NAMES = { [C.MR_LOG_ERROR] = "error", [C.MR_LOG_WARN] = "warn", [C.MR_LOG_INFO] = "info", [C.MR_LOG_DEBUG] = "debug" }
local AS_IT_IS = C.MR_LOG_STDERR + C.MR_LOG_LINE

local current                       -- fn(level, line); nil: none
local on_failure                    -- called once for each function that fails, with a traceback
local on_loss                       -- called with a number of lines
local lines, first, last = {}, 1, 0 -- { level, text }
local worker                        -- the task that passes lines on
local lost = 0

local function to_stderr(line) C.mr_log_write(loop.runtime(), line[1] + AS_IT_IS, line[2], #line[2], nil) end

local function pass_on(line)
   local fn = current
   if not fn then return to_stderr(line) end
   local ok, why = xpcall(fn, errors.trace, NAMES[line[1]], line[2])
   if ok then return end
   to_stderr(line)
   local tell = on_failure
   on_failure = nil
   if tell then tell(why) end
end

local function take_first()
   local line = lines[first]
   lines[first] = nil
   first = first + 1
   return line
end

local function deliver()
   worker = task.current()
   while first <= last do pass_on(take_first()) end
   worker = nil
   if lost == 0 then return end
   local n = lost
   lost = 0
   on_loss(n)
end

local function on_line(ev)
   local log = ev.as.log
   if last - first >= MOST then
      lost = lost + 1
      return
   end
   last = last + 1
   lines[last] = { tonumber(log.level), ffi.string(log.line, log.size) }
   if not worker then task.background(deliver) end
end

--- Sets the function; nil: lines go to standard error.
-- @tparam ?function fn called with the level's name and the line
-- @tparam ?function failed called once if fn fails, with a traceback
-- @tparam ?function dropped called with the number of lines that were dropped, when there is room again
function sink.set(fn, failed, dropped)
   current, on_failure, on_loss = fn, failed, dropped or on_loss
   if fn or loop.is_running() then C.mr_runtime_log_events(loop.runtime(), fn ~= nil) end
end

--- Tells a new runtime.
function sink.again()
   if current then C.mr_runtime_log_events(loop.runtime(), true) end
end

--- True if the function runs in the calling task: what it logs goes to standard error.
function sink.is_inside() return worker ~= nil and task.current() == worker end

loop.on(C.MR_EV_LOG, on_line)
loop.on_close(function(err)
   while first <= last do
      local line = take_first()
      if not err then to_stderr(line) end -- else it is the parent's
   end
   worker, first, last, lost = nil, 1, 0, 0
end)

return sink
