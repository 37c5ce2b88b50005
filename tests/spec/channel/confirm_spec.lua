--- confirm: the broker's word on a publish, by ranges of numbers.
-- SPDX-License-Identifier: MIT
local errors = require "moonrabbit.base.errors"
local task = require "moonrabbit.loop.task"
local ticket = require "moonrabbit.channel.confirm"
local unconfirmed = require "moonrabbit.channel.unconfirmed"

local NUMBERS = errors.numbers

describe("a ticket", function()
   local book

   local function publish(n)
      local t = ticket.new(n)
      unconfirmed.put(book.open, t)
      book.outstanding = book.outstanding + 1
      return t
   end

   before_each(function()
      task.reset()
      book = ticket.book()
   end)

   it("waits at first and ends with the range that holds its number", function()
      local tickets = {}
      for n = 1, 5 do tickets[n] = publish(n) end
      assert.equal("waiting", tickets[1].state)
      ticket.settle(book, 2, 4, 0)
      local states = {}
      for n = 1, 5 do states[n] = tickets[n].state end
      assert.same({ "waiting", "acked", "acked", "acked", "waiting" }, states)
      assert.equal(2, book.outstanding)
      assert.is_true(tickets[3]:wait())
   end)

   it("gives each bad end its kind", function()
      for _, kind in ipairs { "nacked", "returned", "lost", "timeout" } do
         local t = publish(1)
         ticket.settle(book, 1, 1, NUMBERS[kind])
         assert.equal(kind, t.state)
         local ok, err = t:wait()
         assert.is_nil(ok)
         assert.equal(kind, err.kind)
         assert.equal("publish", err.scope)
      end
   end)

   it("says why it was lost", function()
      local t = publish(1)
      book.reason = "CONNECTION_FORCED - bye"
      ticket.settle(book, 1, 1, NUMBERS.lost)
      assert.is_truthy(select(2, t:wait()).text:find("CONNECTION_FORCED - bye", 1, true))
   end)

   it("carries the message that came back", function()
      local t = publish(1)
      local message = { reply_code = 312 }
      assert.is_true(ticket.returned(book, 1, message, "NO_ROUTE (312)"))
      assert.is_false(ticket.returned(book, 2, message, "NO_ROUTE (312)"))
      ticket.settle(book, 1, 1, NUMBERS.returned)
      local _, err = t:wait()
      assert.equal(message, err.message)
      assert.same({ "NO_ROUTE (312)", 312 }, { err.text, err.code })
   end)

   it("wakes everybody who waits", function()
      local t, got = publish(1), {}
      for i = 1, 2 do task.spawn(function() got[i] = t:wait() end) end
      assert.same({}, got)
      ticket.settle(book, 1, 1, 0)
      task.run_ready()
      assert.same({ true, true }, got)
   end)

   it("counts what failed and how, until somebody asks", function()
      for n = 1, 6 do publish(n) end
      ticket.settle(book, 1, 3, 0)
      ticket.settle(book, 4, 5, NUMBERS.nacked)
      assert.same({ 1, 2, "nacked" }, { book.outstanding, book.tally.failed, book.tally.failure })
   end)

   it("counts publishes that nobody has a ticket of", function()
      book.outstanding = 3
      ticket.settle(book, 1, 3, 0)
      assert.equal(0, book.outstanding)
   end)

   it("wakes who waits for all of them", function()
      publish(1)
      local token, woken = task.token(), false
      book.waiters = { token }
      task.spawn(function() woken = task.wait(token) end)
      ticket.settle(book, 1, 1, 0)
      task.run_ready()
      assert.is_true(woken)
   end)

   it("refuses a timeout that is none", function()
      assert.has_error(function() publish(1):wait "1" end)
      assert.has_error(function() publish(1):wait(-1) end)
   end)

   it("prints its number and state", function()
      assert.equal("ticket 1 (waiting)", tostring(publish(1)))
   end)
end)
