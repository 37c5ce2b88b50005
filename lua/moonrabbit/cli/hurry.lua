--- cli.hurry: ends the process at once and logs what is lost: after a second signal, or if a script cannot be stopped.
-- SPDX-License-Identifier: MIT
-- It runs in a turn of the loop, or, if the script spins, by the watchdog's hook within the script's code. The C part ends
-- the process a second later in any case.
local C = require("moonrabbit.base.ffi").C
local errors = require "moonrabbit.base.errors"
local farewell = require "moonrabbit.connection.farewell"
local handling = require "moonrabbit.channel.delivery"
local in_flight = require "moonrabbit.channel.in_flight"
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"
local losses = require "moonrabbit.cli.losses"
local shutdown = require "moonrabbit.program.shutdown"

local hurry = {}

local MOMENT = 0.5 -- seconds for on_failed to wait

local process
local is_telling = false

-- The losses: handlers, publishes.
local function count_losses()
   farewell.begin()
   shutdown.log_abandoned(in_flight.list())
   farewell.end_now()
   return handling.running, farewell.report()
end

-- If the script spins, there is no turn of the loop.
local function tell_failed(may_wait)
   farewell.tell_now()
   local deadline = C.mr_now() + MOMENT
   while may_wait and farewell.is_telling() and C.mr_now() < deadline do loop.sleep(0.005) end
end

local function tell(number, place)
   local handlers, publishes = count_losses()
   tell_failed(not place)
   local code = number > 0 and 128 + number or publishes > 0 and losses.UNSENT or losses.ABANDONED
   local why = number > 0 and "ended at once by a second signal" or "the script did not let go within --drain"
   log.error("stopped", { code = code, handlers = handlers, publishes = publishes, at = place,
      text = losses.text(handlers, publishes, why) })
   process.end_now(code)
end

--- Ends the process, if that was requested.
-- @tparam[opt] string place where the script is
function hurry.now(place)
   local number = process.haste()
   if not number or is_telling then return end
   is_telling = true
   pcall(tell, number, place) -- after an error the C part ends the process
end

--- For the watchdog: in the midst of the library's own code, which may have called a function of C, things may be half done:
-- at one of the next instructions, then. Where the script is nowhere, the loop's turn comes.
-- @tparam string source of what runs
-- @treturn boolean is it to be called again?
function hurry.hasten(source)
   if not process.haste() or is_telling then return false end
   local place = errors.place()
   if not place or source == "=[C]" or errors.is_library(source) then return true end
   hurry.now(place)
   return false
end

--- For the command.
-- @tparam table by its C part
function hurry.install(by) process = by end

return hurry
