--- stop: the state of a stop: whether it was requested, and what was lost; program/shutdown stops the program.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.base.ffi").C
local loop = require "moonrabbit.loop.loop"

local stop = {}

--- Seconds for handlers to finish after a stop was requested.
stop.patience = 30
--- True if the final loss of a connection stops the program, as under the command.
stop.stops_at_loss = false

local askers, enders, counters = {}, {}, {}
local asked_at -- when a stop was asked for
local drain    -- the seconds of this stop, if it named them
local lost     -- the reason of the last lost connection

--- Calls fn when a stop is requested. It must not wait.
function stop.on_ask(fn) askers[#askers + 1] = fn end

--- Calls fn at a stop when the handlers have ended, before the connections close. It may wait.
function stop.at_end(fn) enders[#enders + 1] = fn end
--- These functions.
function stop.enders() return enders end

--- Records that a stop was requested.
-- @tparam[opt] number seconds for handlers to finish, instead of stop.patience
-- @treturn boolean true the first time: then call `tell`.
function stop.ask(seconds)
   if asked_at then return false end
   asked_at, drain = C.mr_now(), seconds
   return true
end

--- Calls the functions of on_ask.
function stop.tell()
   for _, fn in ipairs(askers) do fn() end
end

--- The seconds for handlers to finish.
function stop.seconds() return drain or stop.patience end
--- True if a stop was requested.
function stop.is_asked() return asked_at ~= nil end
--- When it was requested; nil: it was not.
function stop.asked_at() return asked_at end
--- Records that a connection was lost for good.
function stop.note_loss(err) lost = err end
--- The error of the last lost connection; nil if none was lost.
function stop.lost() return lost end
--- True if a connection was lost and that stops the program.
function stop.is_at_loss() return lost ~= nil and stop.stops_at_loss end

--- Adds a function that returns a number of publishes that were not sent yet.
function stop.count(fn) counters[#counters + 1] = fn end

--- The number of publishes that were not sent yet.
function stop.counted()
   local count = 0
   for _, fn in ipairs(counters) do count = count + fn() end
   return count
end

loop.on_close(function() asked_at, drain, lost = nil, nil, nil end)

return stop
