--- A peer that is silent to the end: the farewell to it and the next try are due at the same moment.
local mr = require "moonrabbit"
local recovering = require "recovering"

local within = require("waits").within

describe("a connection whose peer is silent to the end", function()
   before_each(recovering.quiet)
   after_each(recovering.clean)

   for _, pause in ipairs { 0, 1, 2 } do
      it(("is tried again when the pause before it is %d s, and the farewell takes one"):format(pause), function()
         local b = assert(mr.testing.broker {})
         local ch, seen, conn = recovering.open { url = b.url, heartbeat = 10, connect_timeout = 5,
            transport_options = { interval_start = pause, interval_step = 0, interval_max = pause } }
         b:silent()
         within("the loss", 10, function()
            mr.testing.advance(1)
            return seen.lost
         end)
         assert.equal("heartbeat_timeout", seen.lost.err.kind)
         mr.testing.advance(3)
         b:silent(false)
         within("the recovery", 10, function()
            mr.testing.advance(1)
            return seen.recovered
         end)
         assert.same({ "open", 2 }, { conn.state, conn.epoch })
         assert(ch:queue_declare { exclusive = true })
         b:close()
      end)
   end
end)
