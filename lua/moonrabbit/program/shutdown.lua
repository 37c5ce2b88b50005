--- shutdown: stops a program: cancels consumers, lets handlers finish, flushes, closes.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.base.ffi").C
local channel = require "moonrabbit.channel.channel"
local connection = require "moonrabbit.connection.connection"
local each = require "moonrabbit.base.each"
local farewell = require "moonrabbit.connection.farewell"
local handling = require "moonrabbit.channel.delivery"
local in_flight = require "moonrabbit.channel.in_flight"
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"
local messages = require "moonrabbit.channel.iterator"
local recorder = require "moonrabbit.loop.recorder"
local subscription = require "moonrabbit.channel.subscription"
local stop = require "moonrabbit.loop.stop"
local task = require "moonrabbit.loop.task"

local shutdown = {}

--- The default drain of mr.run.
shutdown.usual = 30
local is_last = function() return false end -- see set_last

local MOST_LINES = 100 -- the maximum number of log lines about abandoned messages
local POLL = 0.01      -- seconds between two looks of a task
local CLOSING = 0.5 -- seconds of the timeout kept for closing; at most a tenth of it

--- What the last stop has abandoned: handlers, publishes (numbers).
shutdown.left = { handlers = 0, publishes = 0 }

local hooks = {}
local own -- of a host that polls: the stop that goes on between its polls, { is_over }
local is_led = false -- by mr.run, or by a host's adapter
local cancelling = 0 -- consumers that are being cancelled

--- Calls fn when the program stops, before the connections close.
function shutdown.on_stop(fn)
   loop.begin()
   hooks[#hooks + 1] = fn
end
--- Removes such a function.
function shutdown.not_on_stop(fn)
   for i, other in ipairs(hooks) do
      if other == fn then return table.remove(hooks, i) end
   end
end

--- For the command: fn(left) is told what an mr.run has abandoned, and says whether that was the end of the process, whose
-- runtime stays until then.
function shutdown.set_last(fn) is_last = fn end

--- An mr.run has ended: is the runtime to stay?
-- @tparam table left of shutdown.run
function shutdown.is_last(left) return is_last(left) end

local function cancel(consumer)
   consumer:cancel()
   cancelling = cancelling - 1
end

--- Requests a stop: no more messages from now on. The loop does the rest.
-- @tparam[opt] number drain seconds for handlers to finish
function shutdown.ask(drain)
   loop.begin()
   if not stop.ask(drain) then return end
   farewell.begin()
   C.mr_health_stopping(loop.runtime())
   stop.tell()
   subscription.each(function(consumer)
      if consumer.is_service then return end -- finishing handlers may need its answers
      cancelling = cancelling + 1
      task.background(cancel, consumer)
   end)
   loop.ask_for_turn()
end

-- The main chunk may finish the current message of its `messages()` loop. After that soft waits end at once, answers of the
-- broker are awaited, and nothing new is started.
task.set_must_stop(function(soft, is_new)
   local is_lost, asked_at = stop.is_at_loss(), stop.asked_at()
   if not asked_at and not is_lost then return false end
   if asked_at and C.mr_now() > asked_at + stop.seconds() then return true end
   return (soft or is_new and not is_lost) and not messages.is_in_hand()
end)

--- The number of publishes that have not ended.
function shutdown.outstanding()
   local count = stop.counted()
   connection.each(function(conn)
      for _, ch in each(conn.channels) do
         if ch.book then count = count + ch.book.outstanding + #ch.again end
      end
   end)
   for _, book in each(channel.books) do count = count + book.outstanding end
   return count
end

-- In the main chunk it runs the loop; in a task of a host that has its own, it looks again and again.
local function pump_until(is_done, deadline)
   while not is_done() do
      local left = deadline - C.mr_now()
      if left <= 0 then return end
      if task.is_pumper() then loop.pump(math.min(left, 0.1)) else loop.sleep(math.min(left, POLL)) end
   end
end

-- Runs the functions as tasks and pumps until all have ended.
local function run_all(list, deadline)
   local left = #list
   for _, fn in ipairs(list) do
      task.background(function()
         local ok, why = pcall(fn)
         left = left - 1
         if not ok then error(why, 0) end
      end)
   end
   pump_until(function() return left == 0 end, deadline)
end

-- By force after the timeout: waiting requests end without an answer.
local function close_all(deadline)
   local list, patience = {}, math.max(deadline - C.mr_now(), 0.1) * 0.8
   connection.each(function(conn)
      if conn.state == "idle" then return end
      list[#list + 1] = function() conn:close { timeout = math.min(patience, conn.options.close_timeout or patience) } end
   end)
   run_all(list, deadline)
end

--- Logs each handler that still runs, with its place.
-- @tparam table list of in_flight
function shutdown.log_abandoned(list)
   if #list == 0 then return end
   for i = 1, math.min(#list, MOST_LINES) do
      recorder.note("handler", { tag = list[i].tag }, ("%s of %s"):format(list[i].consumer, list[i].queue))
   end
   recorder.trouble "handlers were abandoned"
   for i, entry in ipairs(list) do
      if i > MOST_LINES then
         return log.warn("abandoned", { more = #list - MOST_LINES, text = "as many more are not listed" })
      end
      log.warn("abandoned", entry)
   end
end

-- What comes before connections are closed. What was abandoned, and when the rest must be over.
local function settle()
   local seconds = stop.seconds()
   local deadline = stop.asked_at() + seconds - math.min(CLOSING, seconds / 10)
   pump_until(function() return cancelling == 0 and handling.running == 0 and not messages.is_in_hand() end, deadline)
   local registered = hooks
   hooks = {} -- a second run has its own hooks
   run_all(registered, math.max(deadline, C.mr_now() + 1))
   run_all(stop.enders(), math.max(deadline, C.mr_now() + 1))
   pump_until(function() return shutdown.outstanding() == 0 end, deadline)
   local left = { handlers = handling.running, abandoned = in_flight.list(), publishes = shutdown.outstanding() }
   shutdown.log_abandoned(left.abandoned)
   return left, deadline
end

local function close(left, deadline)
   farewell.give_up()
   close_all(math.max(deadline, C.mr_now() + 1))
   farewell.end_all()
   pump_until(function() return not farewell.is_telling() and not task.has_ready() end, math.max(deadline, C.mr_now() + 1))
   farewell.end_all() -- the publishes of the callbacks
   left.publishes = farewell.report()
   shutdown.left = left
   return left
end

--- The first part of a stop: what `run` does before it closes connections.
-- @tparam number seconds in total, unless the stop named its own
-- @treturn table what was abandoned: as of run
-- @treturn number when the rest must be over
function shutdown.settle(seconds)
   shutdown.lead()
   stop.patience = seconds
   shutdown.ask()
   return settle()
end

--- Stops everything: cancels consumers (messages that no handler has seen go back), lets running handlers finish, runs the
-- functions of on_stop, waits for confirms, closes connections. Abandoned handlers are logged, and the broker delivers their
-- messages again.
-- @tparam number seconds in total, unless the stop named its own; hooks and closing have one more second if necessary
-- Publishes that are not confirmed by then are lost, and reported; they are not sent again.
-- @treturn table what was abandoned: {handlers = n, publishes = n, abandoned = the list of in_flight}
function shutdown.run(seconds)
   if not own then return close(shutdown.settle(seconds)) end
   local begun = own -- a host has polled before
   pump_until(function() return begun.is_over end, math.huge)
   return shutdown.left
end

--- An adapter does what follows a request to stop: polls do nothing for it.
function shutdown.lead()
   loop.begin()
   is_led = true
end

--- For a host that polls: a stop that was asked for goes on from poll to poll.
function shutdown.go_on()
   if own or is_led or not stop.is_asked() then return end
   local begun = { is_over = false }
   own, stop.patience = begun, shutdown.usual
   task.background(function()
      close(settle())
      begun.is_over = true
   end)
end

--- True when that stop has ended.
function shutdown.has_ended() return own ~= nil and own.is_over end

local function goes_on() return not stop.is_asked() and not loop.is_idle() and not stop.is_at_loss() end

--- Pumps until nothing can happen any more, or a stop was requested.
function shutdown.until_idle()
   loop.begin()
   while goes_on() do
      loop.pump(nil, nil, nil, goes_on)
      loop.begin() -- a child that a handler has forked has nothing to wait for
   end
end

loop.on_close(function() cancelling, hooks, own, is_led = 0, {}, nil, false end)

return shutdown
