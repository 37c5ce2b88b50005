--- sender: the channel on which copies are published. How copies go out otherwise: redelivery/copy_spec, channel/suspicion_spec.
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local sender = require "moonrabbit.redelivery.sender"
local working = require "working"

describe("copies that the broker nacks", function()
   local conn, ch, msg

   before_each(function()
      local _
      _, conn, ch = working.setup()
      assert(ch:queue_declare { queue = "full", arguments = { ["x-max-length"] = 1, ["x-overflow"] = "reject-publish" } })
      assert(ch:queue_declare { queue = "q" })
      assert(ch:publish("", "full", "the one"))
      assert(ch:publish("", "q", "another"))
      msg = assert(ch:get "q")
   end)
   after_each(working.clean)

   local function copy()
      local ok, err = sender.put(msg, { queue = "full" }, "\0\0", "known")
      return ok or err.kind
   end

   -- A channel from before the election of a queue's leader gets all its publishes nacked, for as long as it is open.
   it("are published on a new channel the next time; the former one is closed (FIELD-C4)", function()
      assert.equal("nacked", copy())
      local first = sender.of(conn).channel
      assert(ch:queue_purge { queue = "full" })
      mr.testing.advance(2)
      assert.is_true(copy())
      assert.equal("nacked", copy())
      assert(ch:queue_purge { queue = "full" })
      assert.is_true(copy())
      assert.is_true(sender.of(conn).channel ~= first)
      working.eventually("its end", function() return not first.handle end)
   end)

   it("do not open a channel more often than once in a second, as those that find no room for long would", function()
      for _ = 1, 5 do assert.equal("nacked", copy()) end
      local first = sender.of(conn).channel
      assert.truthy(first and first.handle)
      mr.testing.advance(2)
      for _ = 1, 5 do assert.equal("nacked", copy()) end
      local second = sender.of(conn).channel
      assert.is_true(second and second ~= first)
      for _ = 1, 5 do assert.equal("nacked", copy()) end
      assert.equal(second, sender.of(conn).channel)
   end)
end)
