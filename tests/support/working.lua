--- working: what specs of mr.consumer share: a broker with a queue's worth of tools, consumers, the moved clock.
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local embedded = require "embedded"
local waits = require "waits"

local working = {}

--- Before a test: a broker of its own, a connection to it, and a channel in confirm mode. What goes wrong is meant to.
function working.setup()
   mr.log.configure "off"
   local b = embedded.broker {}
   local conn = embedded.connect { url = b.url }
   local ch = assert(conn:channel())
   assert(ch:confirm_select())
   return b, conn, ch
end

--- After a test: nothing is open any more.
function working.clean()
   embedded.close_all()
   mr.log.configure "warn"
end

--- mr.consumer of "q" on a connection, unless its options say otherwise, consuming.
function working.consumer(conn, opts)
   opts.queue, opts.connection = opts.queue or "q", opts.connection or conn
   local w = mr.consumer(opts)
   assert(w:wait(5))
   return w
end

--- Waits ten seconds by the wall clock.
function working.eventually(what, condition) return waits.within(what, 10, condition) end

--- Moves the clock in small steps until condition() holds.
function working.advance_until(what, condition, seconds)
   for _ = 1, seconds * 10 do
      if condition() then return end
      mr.testing.advance(0.1, 0.1)
   end
   error("in vain waited for: " .. what, 2)
end

return working
