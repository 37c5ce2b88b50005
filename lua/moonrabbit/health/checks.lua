--- checks: a program's own checks: calls them periodically, passes their results to the I/O thread.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.base.ffi").C
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"
local show = require "moonrabbit.base.show"
local task = require "moonrabbit.loop.task"

local checks = {}

local FAILING, PASSING, PENDING = C.MR_NOTE_FAILING, C.MR_NOTE_PASSING, C.MR_NOTE_PENDING

local by_name = {}

--- The number of checks.
checks.count = 0

-- A timer that does not keep the program going.
local function soft_after(seconds, fn)
   loop.soft = loop.soft + 1
   return loop.after(seconds, function()
      loop.soft = loop.soft - 1
      fn()
   end)
end

local function soft_cancel(entry)
   if not entry or entry.cancelled then return end
   loop.soft = loop.soft - 1
   loop.cancel(entry)
end

local function note(check, state, detail)
   C.mr_health_note(loop.runtime(), check.name, #check.name, state, detail, #detail)
   if state == check.state then return end
   if state == FAILING then log.warn("health check failed", { check = check.name, detail = detail })
   elseif check.state == FAILING then log.info("health check passed", { check = check.name }) end
   check.state = state
end

-- The result of a check, as state and text.
local function judge(ok, a, b)
   if not ok then return FAILING, "it raised an error: " .. show(a, true) end
   if a ~= nil and type(a) ~= "boolean" then
      return FAILING, ("it returned a %s where true or false was expected"):format(type(a))
   end
   local detail, why = show(b)
   if not detail then return FAILING, "its detail cannot be shown: " .. why end
   if not a and b == nil then detail = a == nil and "it returned nothing; true would mean that all is well" or "" end
   return a and PASSING or FAILING, b == nil and a and "" or detail
end

local function is_current(check) return by_name[check.name] == check end

local function run(check)
   local ok, a, b = xpcall(check.fn, function(why) return why end)
   soft_cancel(check.late)
   check.began, check.late = nil, nil
   if is_current(check) then note(check, judge(ok, a, b)) end
end

local function round(check)
   if not is_current(check) then return end
   check.timer = soft_after(check.every, function() round(check) end)
   if check.began then                  -- does not start a second one during a hanging one
      local since = C.mr_now() - check.began
      if since >= check.timeout then note(check, FAILING, ("it has not answered for %.0f s"):format(since)) end
      return
   end
   check.began = C.mr_now()
   check.late = soft_after(check.timeout, function()
      if is_current(check) then note(check, FAILING, ("it did not answer within %g s"):format(check.timeout)) end
   end)
   task.background(run, check)
end

--- Adds a check, or replaces the one of this name; see mr.health.check.
-- @treturn table
function checks.add(name, fn, every, timeout)
   checks.forget(name)
   checks.count = checks.count + 1
   local check = { name = name, fn = fn, every = every, timeout = timeout }
   by_name[name] = check
   note(check, PENDING, "")
   check.timer = soft_after(0, function() round(check) end)
   return check
end

--- Removes a check, unless another one has its name now.
-- @tparam ?table check the result of add
function checks.drop(check)
   if not check or not is_current(check) then return end
   soft_cancel(check.timer)
   soft_cancel(check.late)
   by_name[check.name], checks.count = nil, checks.count - 1
   C.mr_health_note(loop.runtime(), check.name, #check.name, C.MR_NOTE_FORGET, "", 0)
end

--- Removes the check of this name, if there is one.
function checks.forget(name) checks.drop(by_name[name]) end

--- True if there is a check of this name.
function checks.has(name) return by_name[name] ~= nil end

loop.on_close(function() by_name, checks.count = {}, 0 end)

return checks
