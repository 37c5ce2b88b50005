--- holding: what this process holds when its connection goes. (Where it comes in the end: contract/holding_spec.)
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local embedded = require "embedded"
local eventually = require("waits").eventually

describe("a message that is held", function()
   before_each(function() mr.log.configure "off" end)
   after_each(function()
      embedded.close_all()
      mr.log.configure "error"
   end)

   it("comes as a copy when it was acked with later ones, though the connection goes before the copy is made", function()
      local conn, b = embedded.connected { transport_options = { interval_max = 0 } }
      local ch = assert(conn:channel())
      assert(ch:queue_declare { queue = "q" })
      for _, body in ipairs { "a", "b" } do assert(ch:publish("", "q", body)) end
      local seen = {}
      assert(ch:consume("q", function(msg)
         seen[#seen + 1] = msg.body
         if #seen == 1 then assert(msg:retry(600)) end
         if #seen == 2 then assert(msg:ack { multiple = true }) end
      end))
      eventually("both", function() return #seen == 2 end)
      mr.sleep(0.02) -- the ack is at the broker, and nobody has looked for the copy yet
      b:drop()
      eventually("the copy", function() return #seen == 3 end)
      assert.same({ "a", "b", "a" }, seen)
   end)
end)
