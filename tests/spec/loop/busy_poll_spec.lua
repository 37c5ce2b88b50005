--- A program that would rather use a core than wait to be woken.
-- SPDX-License-Identifier: MIT
local loop = require "moonrabbit.loop.loop"
local mr = require "moonrabbit"
local testing = require "moonrabbit.testing"

-- How often this thread has gone to sleep.
local function sleeps()
   for line in io.lines "/proc/self/status" do
      local n = line:match "^voluntary_ctxt_switches:%s*(%d+)"
      if n then return tonumber(n) end
   end
end

describe("a busy poll", function()
   after_each(function()
      mr.busy_poll(nil)
      loop.close(1)
   end)

   local function sleeps_of_confirms()
      local ch = assert(mr.connect("memory://"):channel())
      testing.lead_patience(1000) -- another process may hold the answers up
      local queue = assert(ch:queue_declare { exclusive = true }).queue
      assert(ch:confirm_select())
      for _ = 1, 50 do assert(ch:publish("", queue, "x")) end
      local before = sleeps()
      for _ = 1, 500 do assert(ch:publish("", queue, "x")) end
      local count = sleeps() - before
      assert(ch:close())
      return count
   end

   it("finds an answer without a sleep, also in the next runtime", function()
      mr.busy_poll(0.0005)
      assert.is_true(sleeps_of_confirms() < 50) -- with nothing else at work it is 500 without a look
      loop.close(1)
      assert.is_true(sleeps_of_confirms() < 50)
   end)

   it("is refused what is no time, or too long for a quick answer", function()
      for _, wrong in ipairs { -0.0005, 0.00051, 0 / 0, 1 / 0 } do
         assert.has_error(function() mr.busy_poll(wrong) end, '"s" must be from 0 to 0.0005 seconds')
      end
      assert.has_error(function() mr.busy_poll "long" end, 'argument 1 ("s") must be a number, not a string')
   end)
end)
