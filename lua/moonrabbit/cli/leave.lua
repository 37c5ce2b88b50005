--- cli.leave: os.exit under `moonrabbit run`: what is on its way goes out first, for a bounded moment.
-- SPDX-License-Identifier: MIT
-- The library itself sees to what was handed to it (runtime/bridge/ending.h): acks and publishes leave, connections
-- close. Here the publishes that are still on their way there, or not confirmed yet, are waited for.
local C = require("moonrabbit.ffi").C
local drain = require "moonrabbit.drain"
local log = require "moonrabbit.log"
local loop = require "moonrabbit.loop"

local leave = {}

local MOMENT = 1 -- seconds

local is_leaving = false

local function flush()
   drain.ask() -- no more messages
   local deadline = C.mr_now() + MOMENT
   while drain.outstanding() > 0 and C.mr_now() < deadline do loop.pump(math.max(0, deadline - C.mr_now())) end
   local left = drain.outstanding()
   if left > 0 then log.error("left by os.exit", { publishes = left, text = "not confirmed within a second: may be lost" }) end
end

-- As LuaJIT's own takes it.
local function code_of(code)
   if code == nil or code == true then return 0 end
   if code == false then return 1 end
   local number = tonumber(code)
   if not number then error(("bad argument #1 to 'exit' (number expected, got %s)"):format(type(code)), 3) end
   return number
end

--- Puts our exit in the place of Lua's.
-- @tparam table process the command's C part
function leave.install(process)
   function os.exit(code, close) -- luacheck: ignore 122
      local number = code_of(code)
      if loop.is_running() and not is_leaving then
         is_leaving = true
         local ok, why = pcall(flush) -- whatever becomes of it: this never returns
         if not ok then io.stderr:write("moonrabbit: os.exit: ", tostring(why), "\n") end
      end
      process.leave(number, close and true or false)
   end
end

return leave
