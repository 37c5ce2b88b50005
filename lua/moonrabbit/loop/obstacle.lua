--- obstacle: why code that is not directly in a task cannot wait there, and what to do about it.
-- SPDX-License-Identifier: MIT
local coroutines = require "moonrabbit.loop.coroutines"
local host = require "moonrabbit.loop.host"

local obstacle = {}

local running, can_yield = coroutine.running, coroutines.can_yield

local IN_C = "this cannot wait within a function of C, such as table.sort, string.gsub, require, load or a __gc: wait "
   .. "before or after it, or in a task of its own (mr.spawn)"
local ASIDE = "this cannot wait in a coroutine that Moonrabbit does not know of: it was resumed by a coroutine.resume or "
   .. 'coroutine.wrap that was taken before require "moonrabbit"; load moonrabbit first, or use a task (mr.spawn)'

local STRANGE = "this yields a task of Moonrabbit's to the host, which does not know of it: the host's own functions wait only in "
   .. "the host's coroutines; to wait for a callback of the host, use mr.event()"

--- True for a coroutine of the host (nil: the main chunk) in which nothing of ours is: what waits there asks the host.
function obstacle.is_of_host(co)
   if not host.waiter then return false end
   if not co then return host.has_main end
   return not coroutines.ours[co] and not coroutines.host(co)
end

--- The obstacle of the caller, which a task runs, but not directly; nil: none.
function obstacle.in_task()
   local co = running()
   if obstacle.is_of_host(co) then return nil end
   if not co or not can_yield() then return IN_C end
   local worker, is_cut = coroutines.host(co)
   return not worker and ASIDE or is_cut and IN_C or nil
end

--- Resumes a worker that the host's own way to wait has suspended: an error is raised where it yielded.
-- @tparam thread worker
-- @tparam function run resumes it
function obstacle.raise_in(worker, run)
   local hook, mask, every = debug.gethook()
   local function restore() debug.sethook(hook, mask, every) end
   debug.sethook(function()
      if running() ~= worker then return end
      restore()
      error(STRANGE, 2)
   end, "", 1)
   run(worker)
   restore()
end

--- The obstacle of the caller, which no task runs, while a turn is believed to be under way: the garbage collector has called it
-- in the middle of that; nil: there is no turn.
-- @tparam function pump that of the turn
function obstacle.in_turn(pump)
   local level, info = 3, debug.getinfo(3, "f")
   while info do
      if info.func == pump then return IN_C end
      level = level + 1
      info = debug.getinfo(level, "f")
   end
end

return obstacle
