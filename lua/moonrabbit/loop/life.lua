--- life: the life of the runtime: its first use, an orderly stop, a fork, the end of the Lua state.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local C = require("moonrabbit.base.ffi").C
local errors = require "moonrabbit.base.errors"
local marks = require "moonrabbit.loop.mark"
local task = require "moonrabbit.loop.task"

local life = {}

local rt                             -- the runtime, made at first use
local parked                         -- the one before it, after an orderly stop: its descriptor stays until the next one is made
local era = 1                        -- the number of the runtime
local openers, closers = {}, {}      -- called after a runtime is made, and before one ends
local before_end, at_end             -- of the loop: called before the closers, and after them
local is_forgetting = false          -- the parent's things are being dropped, in a forked child
local has_ended = false

-- If the Lua state, or this module, ends without loop.close, consumers would stay at the broker without handlers.
-- Finalizers run youngest first: objects that refer to the runtime were made later, and are finalized before.
-- The seconds for publishes and settles to reach the broker: a connection that is closed at once may lose them.
local FAREWELL = 0.8
life.sentinel = newproxy(true) -- lives as long as the module
getmetatable(life.sentinel).__gc = function()
   local old, older = rt, parked
   has_ended, rt, parked = true, nil, nil
   marks.forget()
   if old then C.mr_runtime_free(old, FAREWELL) end
   if older then C.mr_runtime_free(older, 0) end
end

local function free_parked()
   local old = parked
   parked = nil
   if old then C.mr_runtime_free(old, 0) end -- all of it is closed
end

--- The runtime; made at first use, after an orderly stop, and in a forked child anew.
function life.runtime()
   life.heal()
   if rt then return rt end
   if has_ended then errors.blame("moonrabbit: the Lua state, or the module, has ended") end
   local box = ffi.new "mr_runtime *[1]"
   local status = C.mr_runtime_new(box)
   if status ~= 0 then errors.blame(tostring(errors.of_status(status, "connection"))) end
   rt = box[0]
   free_parked()
   marks.begin(rt)
   for _, fn in ipairs(openers) do fn() end
   return rt
end

--- The runtime for calls on what it has made: such a call fails in a forked child, and begins nothing there.
function life.current() return rt or life.runtime() end

--- The runtime for what begins nothing, such as a log line; it may be that of a stop that has ended.
function life.witness()
   life.heal()
   return rt or parked or life.runtime()
end

--- True after an orderly stop, until something begins anew.
function life.is_parked() return not rt and parked ~= nil end

--- True if the runtime was made and is not closed.
function life.is_running() return rt ~= nil end

--- The number of the runtime, of all that there were.
function life.era() return era end

--- Calls fn after each later runtime is made. It must not wait.
function life.on_open(fn) openers[#openers + 1] = fn end
--- Calls fn before the runtime is freed: it must drop all references to the runtime's memory. In a forked child it gets the
-- error of kind forked, for the objects that stay the parent's.
function life.on_close(fn) closers[#closers + 1] = fn end

--- For the loop, which has what was not dispatched yet.
-- @tparam function before called before a runtime ends
-- @tparam function at called when all that belonged to it has ended
function life.set_owner(before, at) before_end, at_end = before, at end

-- Drops the runtime and all that belongs to it; returns it.
local function forget(why, err)
   before_end()
   for _, fn in ipairs(closers) do fn(err) end
   local old = rt
   marks.forget()
   rt, era = nil, era + 1
   at_end()
   task.reset(why)
   return old
end

local IN_TASK = "this process was forked within a task of Moonrabbit's (a handler, a timer, mr.spawn...), and can use nothing of it "
   .. "there: fork in the main chunk"

--- In a forked child: drops what is the parent's and makes a runtime of the child's own.
function life.heal()
   if parked and C.mr_runtime_is_forked(parked) then parked = nil end
   if not rt or is_forgetting or not C.mr_runtime_is_forked(rt) then return end
   if task.is_inside() then error(IN_TASK, 0) end
   is_forgetting = true
   local ok, why = pcall(forget, "this waits in the parent process, of which this one is a fork",
      errors.of_status(errors.numbers.forked, "connection"))
   is_forgetting = false
   if not ok then error(why, 0) end
   life.runtime()
end

--- The same, and makes a new runtime after an orderly stop. Called wherever something begins.
function life.begin()
   life.heal()
   if parked and not rt then life.runtime() end
end

--- Ends the runtime, and all waits, with this reason.
-- @tparam string why
-- @tparam number timeout seconds
function life.close(why, timeout)
   local old = forget(why)
   if old then C.mr_runtime_free(old, timeout) end
   free_parked()
end

--- The same after an orderly stop, when all is closed: the runtime stays, idle, until the next one is made.
function life.park(why)
   parked = forget(why)
   C.mr_runtime_wake_at(parked, 0)
end

return life
