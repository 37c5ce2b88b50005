--- drain: the one way a program stops: cancel, let handlers finish, flush, close.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.ffi").C
local connection = require "moonrabbit.connection"
local consume = require "moonrabbit.consume"
local loop = require "moonrabbit.loop"
local task = require "moonrabbit.task"

local drain = {}

local hooks = {}
local asked = false

--- Calls fn when the program stops, before the connections close.
function drain.on_stop(fn) hooks[#hooks + 1] = fn end

--- Asks the program to stop; the loop does it.
function drain.ask() asked = true end
function drain.is_asked() return asked end

local function outstanding()
   local count = 0
   connection.each(function(conn)
      for _, ch in pairs(conn.channels) do
         if ch.book then count = count + ch.book.outstanding end
      end
   end)
   for _, book in pairs(connection.books) do count = count + book.outstanding end
   return count
end

local function pump_until(done, deadline)
   while not done() do
      local left = deadline - C.mr_now()
      if left <= 0 then return false end
      loop.pump(math.min(left, 0.1))
   end
   return true
end

-- Runs fn in a task and pumps until it has ended.
local function in_task(fn, deadline)
   local ended = false
   task.spawn(function()
      local ok, why = xpcall(fn, debug.traceback)
      ended = true
      if not ok then error(why, 0) end
   end)
   return pump_until(function() return ended end, deadline)
end

--- Stops everything within `seconds`: consumers are cancelled (what no handler has seen goes back),
-- running handlers finish, confirms come in, connections close.
-- @tparam number seconds
-- @treturn table handlers and publishes that were abandoned: {handlers = n, publishes = n}
function drain.run(seconds)
   local deadline = C.mr_now() + seconds
   consume.each(function(consumer)
      if consumer.state == "consuming" then task.spawn(function() consumer:cancel() end) end
   end)
   pump_until(function() return consume.running == 0 and task.alive == 0 end, deadline)
   for _, hook in ipairs(hooks) do in_task(hook, deadline) end
   pump_until(function() return outstanding() == 0 end, deadline)
   local left = { handlers = consume.running, publishes = outstanding() }
   connection.each(function(conn)
      if conn.is_open then in_task(function() conn:close() end, math.max(deadline, C.mr_now() + 1)) end
   end)
   return left
end

--- Pumps until nothing can happen any more, or a stop was asked for.
function drain.until_idle()
   while not asked and not loop.is_idle() do loop.pump() end
end

return drain
