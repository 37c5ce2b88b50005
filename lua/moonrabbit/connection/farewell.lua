--- farewell: the publishes that a stop gives up: each ends, is told of, and is counted, before the process goes.
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

local farewell = {}

local MOST_KEYS = 10           -- routing keys that the log line names
local WHY = "the program stopped"

local givers = {}              -- what ends the publishes that no channel knows of
local telling = 0              -- functions that are being told, or will be
local due, calls = {}, 0       -- those that have not begun; all that there ever were
local count, reported, keys, seen = 0, 0, {}, {}
local is_over = false

--- Adds a function that ends all publishes that are not on their way.
-- @tparam function fn fn(why)
function farewell.on_give_up(fn) givers[#givers + 1] = fn end

local function told(call)
   if not due[call] then return end -- see tell_now
   due[call] = nil
   local ok, why = pcall(call.fn, call.err, call.message)
   telling = telling - 1
   if not ok then error(why, 0) end
end

--- Calls fn(err, message) as a task of its own. A stop waits for it.
function farewell.tell(fn, err, message)
   telling, calls = telling + 1, calls + 1
   local call = { fn = fn, err = err, message = message, number = calls }
   due[call] = true
   task.later(told, call)
end

--- Tells all at once who are still to be told, without a turn of the loop: there may be none any more. Each gets as far as
-- its first wait.
function farewell.tell_now()
   local list = {}
   for call in each(due) do list[#list + 1] = call end
   table.sort(list, function(a, b) return a.number < b.number end)
   for _, call in ipairs(list) do task.background(told, call) end
end

--- Is somebody still being told?
function farewell.is_telling() return telling > 0 end

-- Where a publish was to go: its queue, or its exchange and key.
local function address(t)
   local of = t.job or t
   local exchange, key = of.exchange, of.routing_key
   if not key then return nil end
   return exchange and exchange ~= "" and exchange .. "/" .. key or key
end

local function witness(t, state)
   if state ~= "lost" and state ~= "timeout" or t.is_copy then return end
   count = count + 1
   local where = address(t)
   if not where or seen[where] then return end
   seen[where] = true
   keys[#keys + 1] = where
end

--- From here on publishes that end as lost or in no time are the stop's.
function farewell.begin() ticket.set_witness(witness) end

--- Is nothing sent any more? A publish that a stop took would end untold.
function farewell.is_over() return is_over end

--- Ends what is not on its way: nothing is sent any more.
function farewell.give_up()
   is_over = true
   for _, fn in ipairs(givers) do fn(WHY) end
end

--- Ends what no connection has told of in time.
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

--- Both at once, where there is no time to wait in between.
function farewell.end_now()
   farewell.give_up()
   farewell.end_all()
end

--- How many publishes the stop gave up; logs them when there are any that it has not logged.
-- @treturn number
function farewell.report()
   if count == reported then return count end
   reported = count
   local names = { unpack(keys, 1, MOST_KEYS) }
   log.error("publishes lost", { publishes = count, routing_keys = table.concat(names, ", "),
      more = #keys > MOST_KEYS and #keys - MOST_KEYS or nil,
      text = "they were not confirmed before the program stopped, and do not come again" })
   return count
end

loop.on_close(function() telling, due, count, reported, keys, seen, is_over = 0, {}, 0, 0, {}, {}, false ticket.set_witness(nil) end)

return farewell
