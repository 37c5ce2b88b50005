--- recovering: connections that are lost on purpose, and what they tell.
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local broker = require "broker"
local embedded = require "embedded"

local recovering = {}

local eventually = broker.eventually

--- Before a test: what goes wrong is meant to.
function recovering.quiet() mr.log.configure "off" end

--- After a test: nothing is open any more.
function recovering.clean()
   embedded.close_all()
   broker.close_all()
   mr.log.configure "warn"
end

--- Retries at once and for ever: what is asked for is the recovery, not the patience.
recovering.at_once = { interval_start = 0, interval_step = 0, interval_max = 1 }

--- A function for on_event, and what it has seen: a list, `count` by type, and the last one of each type.
function recovering.recorder()
   local seen = { count = setmetatable({}, { __index = function() return 0 end }) }
   return function(ev)
      seen[#seen + 1] = ev
      seen[ev.type] = ev
      seen.count[ev.type] = seen.count[ev.type] + 1
   end, seen
end

--- A connection (options.url: default the broker under test) that retries at once unless its options say when
-- (transport_options = false: as it does by default), a channel, its events. options.on_event is told, too.
function recovering.open(options)
   local all = { transport_options = recovering.at_once }
   for k, v in pairs(options or {}) do all[k] = v end
   all.transport_options = all.transport_options or nil
   local also = all.on_event
   local record, seen = recovering.recorder()
   all.on_event = function(ev)
      record(ev)
      if also then also(ev) end
   end
   local conn = broker.connect(all)
   return assert(conn:channel()), seen, conn
end

--- Waits until the connection has recovered `n` times; the event.
function recovering.recovered(seen, n)
   eventually("recovery " .. n, function() return seen.count.recovered >= n end, 30)
   return seen.recovered
end

--- Runs lose() and waits until the connection of these events has recovered; the event.
function recovering.through(seen, lose)
   local n = seen.count.recovered
   lose()
   return recovering.recovered(seen, n + 1)
end

--- Makes the broker under test close every connection, and waits for the recovery of this one.
function recovering.force(seen)
   return recovering.through(seen, function() broker.close_connections "x" end)
end

--- The types of the events since the n-th, as one string.
function recovering.story(seen, n)
   local types = {}
   for i = n or 1, #seen do types[#types + 1] = seen[i].type end
   return table.concat(types, " ")
end

--- How many consumers the broker has on a queue; asked on a connection of its own.
function recovering.consumers(queue)
   local ch = broker.channel()
   local reply = ch:queue_declare { queue = queue, passive = true }
   ch.connection:release()
   return reply and reply.consumer_count
end

--- Waits until the broker has so many consumers on the queue.
function recovering.has_consumers(queue, n)
   local last
   local ok = pcall(eventually, "consumers", function()
      last = recovering.consumers(queue)
      return last == n
   end)
   if not ok then error(("%s has %s consumers, not %d"):format(queue, tostring(last), n), 2) end
end

--- A handler that counts: fn, and a table of how often each body came, with `n` of all and `again` of those that came
--- again: an acknowledgement that is under way at a loss comes to nothing.
function recovering.counter()
   local got = { n = 0 }
   return function(msg)
      if msg.redelivered then got.again = (got.again or 0) + 1 end
      got[msg.body] = (got[msg.body] or 0) + 1
      got.n = got.n + 1
   end, got
end

return recovering
