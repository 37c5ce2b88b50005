--- returns: what waited for another try goes back to its queue, once.
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local testing = require "moonrabbit.testing"
local waits = require "waits"

local eventually = waits.eventually

describe("the exit of a queue's retries", function()
   local b, conn
   before_each(function()
      mr.log.configure "off"
      b = assert(testing.broker {})
      conn = assert(mr.connect(b.url))
   end)
   after_each(function()
      conn:close()
      b:close()
      mr.log.configure "warn"
   end)

   it("does not give a message back twice whose consumer ends before the confirm has come", function()
      local tries = 0
      local worker = mr.consumer { connection = conn, queue = "q", retry = mr.retry.fixed { delay = 0.01, attempts = 9 },
         handler = function()
            tries = tries + 1
            error("later", 0)
         end }
      assert(worker:wait())
      local other = assert(mr.connect(b.url):channel())
      assert(other:confirm_select())
      assert(other:publish("", "q", "x"))
      eventually("a second try", function() return tries >= 2 end)
      b:delay(0.2) -- of what the broker says: the message is in its queue before its confirm has come
      eventually("a message in transit", function()
         local exit, q = b:queue "q.retry-exit", b:queue "q"
         return exit.messages_unacknowledged == 1 and q.messages_ready + q.messages_unacknowledged == 1
      end)
      assert(worker:cancel())
      eventually("it is in its queue only", function()
         return b:queue "q.retry-exit".messages_unacknowledged == 0 and b:queue "q".messages_ready == 1
      end)
      assert.equal(0, b:queue "q.retry-exit".messages_ready)
      b:delay(0)
      other.connection:close()
   end)
end)
