--- Measures the game in C (examples/hosts/sdl): its frames while 5000 messages a second come.
-- SPDX-License-Identifier: MIT
-- Feature: frames of examples/hosts/sdl under load
local broker = require "broker"
local mr = require "moonrabbit"
local process = require "process"
local screen = require "screen"

local GARDEN = broker.command:gsub("bin/moonrabbit$", "example/garden")
local RATE, RABBITS, SECONDS = 5000, 50, 6

-- The hops of 50 rabbits, RATE of them each second, until is_over().
local function hop(ch, is_over)
   local began, sent = mr.now(), 0
   while not is_over() do
      local due = math.floor((mr.now() - began) * RATE)
      while sent < due do
         local id = sent % RABBITS
         local text = ("hop\tload%d\tr%d\t%d\t%d\t%d\t1\t0\t%d"):format(id, id, id % 8 + 1, 50 + sent * 7 % 700, 340 + id * 4, id)
         assert(ch:publish("moonrabbit.garden", "all.hop.load" .. id, text))
         sent = sent + 1
      end
      mr.sleep(0.005)
   end
   return sent / (mr.now() - began)
end

describe("the game in C", function()
   setup(screen.begin)
   teardown(screen.finish)

   it("has frames of 16.7 ms at p99 while 5000 messages a second come", function()
      local own = process.start(broker.command .. " broker --listen 127.0.0.1:0")
      own:says "amqp://"
      local url = ("amqp://guest:guest@127.0.0.1:%s/"):format(own:output():match "127%.0%.0%.1:(%d+)")
      local conn = mr.connect(url)
      local ch = assert(conn:channel())
      assert(ch:exchange_declare { exchange = "moonrabbit.garden", type = "topic", auto_delete = true })
      local own_queue = assert(ch:queue_declare { exclusive = true }).queue -- bound, it keeps the exchange when the game has left
      assert(ch:queue_bind { queue = own_queue, exchange = "moonrabbit.garden", routing_key = "nobody" })
      local game = screen.start(("%s %s --walk --seconds %d"):format(GARDEN, url, SECONDS))
      game:says "connected"
      local rate = hop(ch, function() return game:output():find("leaving", 1, true) ~= nil end)
      local out, code = game:wait()
      conn:release()
      own:stop()
      assert.equal(0, code, out)
      local p50, p99, longest, messages = out:match "p50 ([%d.]+) ms, p99 ([%d.]+) ms, longest ([%d.]+) ms; (%d+) messages"
      print(("note: SDL: %.0f messages/s, %s received: frames p50 %s, p99 %s, longest %s ms"):format(rate, messages, p50, p99, longest))
      assert.is_true(rate >= 0.95 * RATE, "the load was " .. rate)
      assert.is_true(tonumber(messages) >= 0.8 * RATE * SECONDS, out)
      assert.is_true(tonumber(p99) <= 16.7, out)
   end)
end)
