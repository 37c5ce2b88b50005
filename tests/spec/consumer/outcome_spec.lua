--- outcome: a failed message that is tried again in this process, as no copy of it can be made.
-- (What handlers return, retries and dead letters: consumer_spec.)
-- SPDX-License-Identifier: MIT
local errors = require "moonrabbit.base.errors"
local message = require "moonrabbit.channel.message"
local mr = require "moonrabbit"
local returns = require "moonrabbit.redelivery.returns"
local working = require "working"

local eventually = working.eventually
local of = returns.of

describe("a failed message that is tried again here", function()
   local b, conn, ch, count

   before_each(function()
      b, conn, ch = working.setup()
      returns.of = function() return nil, errors.new("access_refused", "channel", "no exit for this user") end
   end)
   after_each(function()
      returns.of = of
      working.clean()
   end)

   -- A message whose handler fails at its first call, and then does the next of these, or nothing.
   local function try(options, first, second)
      local calls = { first, second }
      count = 0
      options.retry = mr.retry.fixed { delay = 0.01, attempts = 9 }
      function options.handler(msg)
         count = count + 1
         if calls[count] then return calls[count](msg) end
      end
      working.consumer(conn, options)
      assert(ch:publish("", "q", "x"))
   end

   local function fail() error "no" end
   local function unacked() return b:queue("q").messages_unacknowledged end
   local function is_settled() return b:queue("q").messages_ready + unacked() == 0 end

   local function ends_after(n)
      eventually("the last try", function() return count == n and is_settled() end)
   end

   it("has the time limit of its consumer", function()
      try({ time_limit = 0.05 }, fail, function() mr.sleep(600) end)
      ends_after(3)
   end)

   it("is not acked when its handler puts it off: it is held, and comes as a copy", function()
      try({}, fail, function(msg) assert(msg:retry(0.3)) end)
      ends_after(3)
   end)

   it("is not acked for a program that does so itself", function()
      local kept
      try({ manual_ack = true }, fail, function(msg) kept = msg end)
      eventually("the second try", function() return kept end)
      mr.sleep(0.05)
      assert.same({ 2, 1 }, { count, unacked() })
      assert.is_true(kept:ack())
      ends_after(2)
   end)

   it("has not failed again for what its handler did not heed the time before", function()
      try({}, function(msg) rawset(msg, message.FAILED, errors.new("timeout", "message")) end)
      ends_after(2)
   end)
end)
