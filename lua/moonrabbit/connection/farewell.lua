--- farewell: the publishes that a stop gives up: each is ended, reported and counted before the process ends.
-- SPDX-License-Identifier: MIT
-- A message that is not settled comes again; a publish that is not confirmed does not. So the two are never one number.
local channel = require "moonrabbit.channel.channel"
local connection = require "moonrabbit.connection.connection"
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"
local task = require "moonrabbit.loop.task"
local ticket = require "moonrabbit.channel.confirm"
local unheard = require "moonrabbit.channel.unheard"

local farewell = {}

local MOST_KEYS = 10           -- routing keys that the log line names
local WHY = "the program stopped"

local givers = {}              -- functions that end the publishes that no channel has
local telling = 0              -- the number of callbacks that run or will run
local due, calls = {}, 0       -- callbacks that have not started; the number of all callbacks
local count, reported, keys, seen = 0, 0, {}, {}
local is_over = false

--- Adds a function that ends all publishes that were not sent.
-- @tparam function fn fn(why)
function farewell.on_give_up(fn) givers[#givers + 1] = fn end

local function told(call)
   if not due[call] then return end -- see tell_now
   due[call] = nil
   local ok, why = pcall(call.fn, call.err, call.message)
   telling = telling - 1
   if not ok then error(why, 0) end
end

--- Calls fn(err, message) in its own task. A stop waits for it.
function farewell.tell(fn, err, message)
   telling, calls = telling + 1, calls + 1
   local call = { fn = fn, err = err, message = message, number = calls }
   due[call] = true
   task.later(told, call)
end

--- Makes all pending calls now, without a turn of the loop, because there may be no turn any more. Each runs up to its first
-- wait.
function farewell.tell_now()
   local list = {}
   for call in each(due) do list[#list + 1] = call end
   table.sort(list, function(a, b) return a.number < b.number end)
   for _, call in ipairs(list) do task.background(told, call) end
end

--- True while a call is running or pending.
function farewell.is_telling() return telling > 0 end

-- The destination of a publish: its queue, or its exchange and key.
local function address(t)
   local of = t.job or t
   local exchange, key = of.exchange, of.routing_key
   if not key then return nil end
   return exchange and exchange ~= "" and exchange .. "/" .. key or key
end

local function name(t)
   local where = address(t)
   if not where or seen[where] then return end
   seen[where] = true
   keys[#keys + 1] = where
end

local function witness(t, state)
   if state == "returned" or t.is_copy or state == "nacked" and t.call then return end
   count = count + 1
   name(t)
end

--- From now on publishes that end as lost, timeout or nacked count as given up by the stop.
function farewell.begin() ticket.set_witness(witness) end

--- True if nothing is sent any more: a new publish would end without a report.
function farewell.is_over() return is_over end

--- Ends publishes that were not sent: nothing is sent any more.
function farewell.give_up()
   is_over = true
   for _, fn in ipairs(givers) do fn(WHY) end
end

--- Ends publishes whose outcome did not arrive in time.
function farewell.end_all()
   local err = errors.new("closed", "connection", WHY)
   connection.each(function(conn)
      for _, ch in each(conn.channels) do
         if ch.on_away then ch.on_away(err) end
         local again = ch.again
         ch.again = {}
         for _, t in ipairs(again) do ticket.lose(t, WHY, ch.book and ch.book.tally) end
         if ch.book then
            ch.book.reason, ch.lost = WHY, {}
            ticket.lose_all(ch.book)
         end
      end
   end)
   channel.lose_books()
end

--- Both at once, if there is no time to wait in between.
function farewell.end_now()
   farewell.give_up()
   farewell.end_all()
end

--- The number of publishes that the stop gave up, or that were lost before it and nobody heard of; logs those that were not
-- logged yet.
-- @treturn number
function farewell.report()
   local all = count + unheard.count()
   if all == reported then return all end
   reported = all
   unheard.each(name)
   local names = { unpack(keys, 1, MOST_KEYS) }
   log.error("publishes lost", { publishes = all, routing_keys = table.concat(names, ", "),
      more = #keys > MOST_KEYS and #keys - MOST_KEYS or nil,
      text = "they were not confirmed before the program stopped, and do not come again" })
   return all
end

local function begin_anew()
   telling, due, count, reported, keys, seen, is_over = 0, {}, 0, 0, {}, {}, false
   ticket.set_witness(nil)
   unheard.begin_anew()
end

loop.on_close(begin_anew)
loop.on_open(begin_anew) -- what ended at the close itself is told to nobody

return farewell
