--- stop: whether the program is to stop, and what else is known of its end; program/shutdown does the stopping.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.base.ffi").C
local loop = require "moonrabbit.loop.loop"

local stop = {}

--- Seconds that handlers have to finish once a stop was asked for.
stop.patience = 30
--- Shall the loss of a connection stop the program? (The command's way, until connections recover.)
stop.stops_at_loss = false

local askers, counters = {}, {}
local asked_at -- when a stop was asked for
local lost     -- why the last lost connection was lost

--- Calls fn when a stop is asked for. It must not wait.
function stop.on_ask(fn) askers[#askers + 1] = fn end

--- Notes that a stop was asked for.
-- @treturn boolean is it the first time? Then `tell` is to be called.
function stop.ask()
   if asked_at then return false end
   asked_at = C.mr_now()
   return true
end

--- Tells those of on_ask.
function stop.tell()
   for _, fn in ipairs(askers) do fn() end
end

--- Was a stop asked for?
function stop.is_asked() return asked_at ~= nil end
--- When it was; nil: it was not.
function stop.asked_at() return asked_at end
--- Notes that a connection was lost.
function stop.note_loss(err) lost = err end
--- Why the last lost connection was lost; nil when none was.
function stop.lost() return lost end
--- Was one lost, and does that stop the program?
function stop.is_at_loss() return lost ~= nil and stop.stops_at_loss end

--- Adds a function that gives a number of publishes that are still to be sent.
function stop.count(fn) counters[#counters + 1] = fn end

--- Publishes that are still to be sent.
function stop.counted()
   local count = 0
   for _, fn in ipairs(counters) do count = count + fn() end
   return count
end

loop.on_close(function() asked_at, lost = nil, nil end)

return stop
