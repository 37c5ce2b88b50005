--- way: who waits until a connection can be used again.
-- SPDX-License-Identifier: MIT
local loop = require "moonrabbit.loop.loop"
local mr = require "moonrabbit"
local way = require "moonrabbit.channel.way"

describe("the way to a broker", function()
   local conn

   before_each(function() conn = { waiters = {} } end)

   it("is looked at again by all who wait for it, once for each change", function()
      local woken = {}
      for i = 1, 2 do mr.spawn(function() woken[i] = way.wait(conn, 5) end) end
      assert.same({}, woken)
      way.wake(conn)
      loop.pump(0)
      assert.same({ true, true }, woken)
      assert.same({}, conn.waiters)
   end)

   it("is waited for no longer than one likes", function()
      assert.is_nil(way.wait(conn, 0.01))
      way.wake(conn) -- nobody is there any more
   end)

   it("may be waited for again by who was just woken", function()
      local times = 0
      mr.spawn(function()
         while way.wait(conn, 5) and times < 3 do times = times + 1 end
      end)
      for _ = 1, 4 do
         way.wake(conn)
         loop.pump(0)
      end
      assert.equal(3, times)
   end)
end)
