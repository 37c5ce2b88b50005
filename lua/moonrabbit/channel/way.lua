--- way: those who wait until a connection can be used again: it is away, or its broker blocks publishers.
-- SPDX-License-Identifier: MIT
local loop = require "moonrabbit.loop.loop"
local task = require "moonrabbit.loop.task"

local way = {}

--- Waits until something has changed, then the caller looks again; for at most `timeout` seconds.
-- @treturn ?boolean nil: nothing has
function way.wait(conn, timeout)
   return (loop.wait_in(conn.waiters, timeout))
end

--- Something has changed: all who wait go on.
function way.wake(conn)
   local waiters = conn.waiters
   conn.waiters = {}
   for _, token in ipairs(waiters) do task.wake(token, true) end
end

return way
