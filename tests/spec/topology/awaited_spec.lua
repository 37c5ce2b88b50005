--- awaited: exchanges and queues that a consumer or publisher of this program is about to declare: others wait for them.
-- SPDX-License-Identifier: MIT
local awaited = require "moonrabbit.topology.awaited"
local loop = require "moonrabbit.loop.loop"
local mr = require "moonrabbit"
local waits = require "waits"
local working = require "working"

local function waiting(...)
   local call = waits.background(awaited.wait, ...)
   mr.sleep(0) -- the task has begun
   return call
end

local function ended(call)
   working.eventually("the end of the wait", function() return call.done end)
end

describe("what is about to be declared", function()
   after_each(function() loop.close(1) end)

   it("is waited for by others until its owner has declared it", function()
      awaited.announce("owner", { "logs" }, { "q" })
      local exchange, queue = waiting("exchange", "logs", "other"), waiting("queue", "q", "other")
      assert.same({ nil, nil }, { exchange.done, queue.done })
      awaited.done "owner"
      ended(exchange)
      ended(queue)
   end)

   it("is not waited for by its owner, nor by those who need something else", function()
      awaited.announce("owner", { "logs" }, { "q" })
      assert.is_true(waiting("exchange", "logs", "owner").done)
      assert.is_true(waiting("exchange", "other logs", "other").done)
      assert.is_true(waiting("queue", "logs", "other").done)
      assert.is_true(waiting("exchange", "q", "other").done)
   end)

   it("is waited for until the last of its owners has declared it", function()
      awaited.announce("one", { "logs" }, {})
      awaited.announce("two", { "logs" }, {})
      local call = waiting("exchange", "logs", "other")
      awaited.done "one"
      mr.sleep(0) -- it looks again
      mr.sleep(0)
      assert.is_nil(call.done)
      awaited.done "two"
      ended(call)
   end)

   it("is not waited for longer than five seconds", function()
      awaited.announce("owner", { "logs" }, {})
      local call = waiting("exchange", "logs", "other")
      mr.testing.advance(4.9, 0.1)
      assert.is_nil(call.done)
      mr.testing.advance(0.2, 0.1)
      assert.is_true(call.done)
   end)

   it("is forgotten when the runtime ends", function()
      awaited.announce("owner", { "logs" }, {})
      loop.close(1)
      assert.is_true(waiting("exchange", "logs", "other").done)
   end)
end)
