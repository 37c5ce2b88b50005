--- crowd: rabbits that hop about the garden, 5000 messages a second: what a window can take.
-- SPDX-License-Identifier: MIT
--
--   moonrabbit run --url amqp://... examples/hosts/love/crowd.lua [RABBITS [MESSAGES-PER-SECOND]]
local mr = require "moonrabbit"

local COUNT, RATE = tonumber(arg[1]) or 20, tonumber(arg[2]) or 5000
local TURN = 0.01 -- seconds between two bursts

local ch = assert(mr.connect():channel())
assert(ch:exchange_declare { exchange = "moonrabbit.garden", type = "topic", auto_delete = true })

local sent, began, at = 0, mr.now(), 0
mr.every(TURN, function()
   local now = mr.now()
   while sent < (now - began) * RATE do
      local turn = now * 0.4 + at * 2.4
      local x, y = 400 + math.cos(turn) * (60 + at % 100 * 2.9), 450 + math.sin(turn * 1.3) * 100
      ch:publish_async("moonrabbit.garden", "all.hop.crowd", ("hop\tcrowd%d\tNo. %d\t%d\t%d\t%d\t%d\t0\t0"):format(at, at + 1,
         at % 8 + 1, x, y, math.sin(turn) < 0 and 1 or -1), { persistent = false, expiration = "5000" })
      sent, at = sent + 1, (at + 1) % COUNT
   end
end)
