--- wait: waits for descriptors, and for any event.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.base.ffi").C
local errors = require "moonrabbit.base.errors"
local loop = require "moonrabbit.loop.loop"
local task = require "moonrabbit.loop.task"

local wait = {}

local MODES = { r = 1, w = 2, rw = 3 }

--- Waits until `fd` can be read ("r"), written ("w") or either ("rw").
-- @treturn[1] string what it is ready for
-- @treturn[2] nil and the error `timeout`
function wait.fd(fd, mode, timeout)
   local wanted = MODES[mode] or errors.blame('mode must be "r", "w" or "rw"')
   local token = task.token()
   local status = C.mr_watch_fd(loop.runtime(), token, fd, wanted)
   if status ~= 0 then return nil, errors.of_status(status, "connection") end
   local function forget() C.mr_unwatch_fd(loop.current(), token) end
   local detail = loop.wait(token, timeout, true, forget)
   if not detail then
      forget()
      return nil, errors.new("timeout", "connection", ("descriptor %d was not ready in time"):format(fd),
         "what it belongs to is slow, or the timeout too short")
   end
   return (detail % 2 == 1 and "r" or "") .. (detail >= 2 and "w" or "")
end

local waiters = {} -- tokens of tasks that wait for the next event

local function wake_all()
   local tokens = waiters
   waiters = {}
   for _, token in ipairs(tokens) do task.wake(token, true) end
end

--- Waits until an event was dispatched; in the main chunk dispatches exactly one.
-- @treturn ?boolean nil: none within `timeout` seconds
function wait.event(timeout)
   task.check()
   local deadline = timeout and C.mr_now() + timeout
   if not task.is_pumper() then
      loop.after_event(wake_all)
      return (loop.wait_in(waiters, timeout))
   end
   local has_come = false
   loop.after_event(function()
      has_come = true
      wake_all()
   end)
   while not has_come do
      local left = deadline and deadline - C.mr_now()
      if left and left <= 0 then
         loop.after_event(#waiters > 0 and wake_all or nil)
         return nil
      end
      loop.pump(left, 1)
   end
   return true
end

return wait
