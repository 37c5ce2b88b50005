--- watchdog: takes the trace of a script that does not wait, and ends a handler that exceeds its time limit.
-- SPDX-License-Identifier: MIT
-- The I/O thread watches and reports, in any program. To interrupt a script that computes, a signal is needed: the command
-- provides it (runtime/main/watchdog.c), because the library uses no signals.
local errors = require "moonrabbit.base.errors"
local generation = require "moonrabbit.loop.generation"
local marks = require "moonrabbit.loop.mark"
local options = require "moonrabbit.base.options"
local time_limit = require "moonrabbit.loop.time_limit"

local watchdog = {}

local process                        -- the command's C part; nil: another program
local hasten                         -- see watchdog.install
local is_compiled, is_profiled = false, false

-- Called within whatever runs. The first result: call me again at the next instruction? The second: an error to raise.
local function on_signal()
   local is_due, why = hasten(debug.getinfo(2, "S").source)
   if is_due then return true end
   if marks.wants_trace() then marks.give_trace(errors.stack(2)) end
   if not time_limit.is_over(marks.mark.deadline) then return false end
   local may = time_limit.may_raise(2)
   return may == false, may and (why or time_limit.error()) or nil
end

local function watch_compiled() process.watch_compiled(is_compiled and not is_profiled) end

-- LuaJIT has one profiler: while the script uses it, compiled loops cannot be interrupted.
local function make_way()
   local profile = require "jit.profile"
   local start, stop = profile.start, profile.stop
   function profile.start(...)
      is_profiled = true
      watch_compiled()
      return start(...)
   end
   function profile.stop()
      stop()
      is_profiled = false
      watch_compiled()
   end
end

--- For the command: has the script be reached by its signal.
-- @tparam table by what C gave
-- @tparam function on_haste called first, with the source of what runs: ends the process if that is to be now; true: it is
-- to be called again at the next instruction. Its second result is the error of what is over its deadline, if not the usual one
function watchdog.install(by, on_haste)
   process, hasten, is_compiled = by, on_haste, true
   marks.configure(nil, process.watch(on_signal))
   make_way()
   watch_compiled()
end

--- mr.watchdog.
function watchdog.configure(opts)
   opts = options.check(opts, { stall = "number", waiting = "number", compiled = "boolean" })
   options.seconds("stall", opts.stall)
   options.seconds("waiting", opts.waiting)
   generation.later(function()
      if opts.stall then marks.configure(opts.stall) end
      marks.waiting = opts.waiting or marks.waiting
      if opts.compiled ~= nil and process then
         is_compiled = opts.compiled
         watch_compiled()
      end
   end)
end

return watchdog
