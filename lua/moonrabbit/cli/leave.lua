--- cli.leave: os.exit under `moonrabbit run`: first waits a bounded time for publishes.
-- SPDX-License-Identifier: MIT
-- The library itself sends the acks and publishes that it has accepted, and closes connections (runtime/bridge/ending.h).
-- This module waits for publishes that it has not accepted yet, or that are not confirmed yet.
local C = require("moonrabbit.base.ffi").C
local farewell = require "moonrabbit.connection.farewell"
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"
local shutdown = require "moonrabbit.program.shutdown"
local task = require "moonrabbit.loop.task"
local time_limit = require "moonrabbit.loop.time_limit"

local leave = {}

local MOMENT = 1 -- seconds
local TELLING = 0.5 -- additional seconds for on_failed

local POLL = 0.005   -- seconds between two checks of a task

--- The requested exit code while a task waits: the command may end before the task does.
leave.code = nil

-- In the main chunk, pumps the loop; in a task, waits while other code pumps it.
local function let_others_work(seconds)
   if task.is_inside() then loop.sleep(math.min(seconds, POLL)) else loop.pump(seconds) end
end

local function work_while(is_needed, seconds)
   local deadline = C.mr_now() + seconds
   while is_needed() and C.mr_now() < deadline do let_others_work(math.max(0, deadline - C.mr_now())) end
end

local function flush()
   shutdown.ask() -- no more messages
   work_while(function() return shutdown.outstanding() > 0 end, MOMENT)
   local left = shutdown.outstanding()
   if left > 0 then log.error("left by os.exit", { publishes = left, text = "not confirmed within a second: may be lost" }) end
   farewell.end_now()
   work_while(farewell.is_telling, TELLING)
   farewell.report()
end

-- Called again during the wait, for example by on_failed: does not wait any more, but still reports everything.
local function tell_rest()
   farewell.end_now()
   farewell.tell_now()
   farewell.report()
end

-- The argument, as LuaJIT's os.exit interprets it.
local function code_of(code)
   if code == nil or code == true then return 0 end
   if code == false then return 1 end
   local number = tonumber(code)
   if not number then error(("bad argument #1 to 'exit' (number expected, got %s)"):format(type(code)), 3) end
   return number
end

--- Replaces Lua's os.exit.
-- @tparam table process the command's C part
function leave.install(process)
   function os.exit(code, close) -- luacheck: ignore 122
      local number = code_of(code)
      if loop.is_running() and not leave.code then
         leave.code = number
         -- This never returns, even after an error. Where waiting is impossible, such as in a sort, it does not wait.
         local ok, why = pcall(time_limit.apart, flush)
         if not ok then log.warn("os.exit waits for no publishes", { error = tostring(why) }) end
      elseif loop.is_running() then
         pcall(tell_rest)
      end
      process.leave(number, close and true or false)
   end
end

return leave
