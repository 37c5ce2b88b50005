--- embedded: brokers of a test's own and connections to them, and the end of them all.
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"

local embedded = {}

local opened = {}

--- Has thing:close() called by close_all; returns the thing.
function embedded.keep(thing)
   opened[#opened + 1] = thing
   return thing
end

--- mr.testing.broker, closed by close_all.
function embedded.broker(options) return embedded.keep(assert(mr.testing.broker(options))) end

--- mr.connect, released by close_all.
function embedded.connect(options)
   local conn = mr.connect(options)
   embedded.keep { close = function() conn:release() end }
   return conn
end

--- A connection, which retries at once, to a broker of its own; closed by close_all.
-- @treturn connection, broker
function embedded.connected(options)
   local b = embedded.broker()
   local all = { url = b.url, transport_options = { interval_max = 0 } }
   for k, v in pairs(options or {}) do all[k] = v end
   return embedded.connect(all), b
end

--- Closes what was opened, the last one first.
function embedded.close_all()
   for i = #opened, 1, -1 do opened[i]:close() end
   opened = {}
end

return embedded
