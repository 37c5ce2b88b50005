--- busy_poll: how long the program looks for an answer before it sleeps.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.base.ffi").C
local generation = require "moonrabbit.loop.generation"
local loop = require "moonrabbit.loop.loop"
local options = require "moonrabbit.base.options"

local busy_poll = {}

local LONGEST = 0.0005 -- seconds; as in C
local AS_IT_PAYS = -1
local wanted = AS_IT_PAYS

local function tell() C.mr_runtime_busy_poll(loop.runtime(), wanted) end

loop.on_open(function()
   if wanted ~= AS_IT_PAYS then tell() end
end)

--- mr.busy_poll.
function busy_poll.set(seconds)
   if seconds ~= nil then
      options.argument(1, "s", seconds, "number")
      if not (seconds >= 0 and seconds <= LONGEST) then options.blame '"s" must be from 0 to 0.0005 seconds' end
   end
   generation.later(function()
      wanted = seconds or AS_IT_PAYS
      if loop.is_running() then tell() end
   end)
end

return busy_poll
