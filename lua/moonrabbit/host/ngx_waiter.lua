--- host.ngx_waiter: how a request, or another light thread of ngx_lua, waits: on a semaphore of ngx_lua.
-- SPDX-License-Identifier: MIT
-- While a worker lives, its driver polls (host.ngx_driver). A worker that leaves has none any more once its consumers have
-- ended: then each request that still waits polls by itself, so that nothing but requests keeps the worker.
local each = require "moonrabbit.base.each"
local phase = require "moonrabbit.host.ngx_phase"
local semaphore = require "ngx.semaphore"
local task = require "moonrabbit.loop.task"

local ngx_waiter = {}

local LONG = 86400      -- seconds for one wait on a semaphore, which needs a limit
local BETWEEN = 0.005   -- seconds between two polls of a request in a worker that leaves
local SPARE_MAX = 256   -- the maximum number of idle semaphores kept

local is_ended, is_let = false, false                -- the script's thread must end; it may go on after mr.run
local poll                                           -- function; nil: the driver polls
local waiting = setmetatable({}, { __mode = "k" })   -- those that wait; a request may have died meanwhile
local spare, spare_count = {}, 0

local Waiter = {}
Waiter.__index = Waiter

--- True in the light thread of the script.
function ngx_waiter.is_script() return ngx.get_phase() == "timer" and ngx.ctx.is_moonrabbit_script == true end
--- The running light thread is the script's.
function ngx_waiter.begin_script() ngx.ctx.is_moonrabbit_script = true end
--- Its mr.run has returned: it may wait for more.
function ngx_waiter.let_script() is_let = true end

--- The waiter of mr.host: an object for one wait of the running light thread.
function ngx_waiter.new()
   local why = phase.obstacle()
   if why then error(why, 0) end
   if is_ended and not is_let and ngx_waiter.is_script() then error(task.STOPPED, 0) end
   if spare_count > 0 then
      local w = spare[spare_count]
      spare[spare_count] = nil
      spare_count = spare_count - 1
      return w
   end
   local sem, err = semaphore.new()
   if not sem then error(err, 0) end
   return setmetatable({ sem = sem, is_posted = false }, Waiter)
end

local function sleep(self, seconds)
   local ok, err = self.sem:wait(seconds)
   if not ok and err ~= "timeout" then error("ngx.semaphore: " .. tostring(err), 0) end
end

--- Suspends the light thread until it is posted.
function Waiter:wait()
   waiting[self] = true
   self.is_script = ngx_waiter.is_script()
   while not self.is_posted do
      if is_ended and not is_let and self.is_script then error(task.STOPPED, 0) end
      if poll then
         poll()
         if not self.is_posted then sleep(self, BETWEEN) end
      else
         sleep(self, LONG)
      end
   end
   waiting[self] = nil
   if self.sem:count() == 0 and spare_count < SPARE_MAX then
      self.is_posted = false
      spare_count = spare_count + 1
      spare[spare_count] = self
   end
end

--- Has the light thread resumed.
function Waiter:post()
   self.is_posted = true
   self.sem:post(1)
end

--- Ends the waits of the script's thread, by the error of a program that stops.
function ngx_waiter.end_script()
   is_ended = true
   for w in each(waiting) do
      if w.is_script then w.sem:post(1) end
   end
end

--- The driver ends: from now on, those that wait poll by themselves.
function ngx_waiter.drive(fn)
   poll = fn
   for w in each(waiting) do w.sem:post(1) end
end

return ngx_waiter
