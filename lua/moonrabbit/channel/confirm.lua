--- confirm: tickets: the futures that publish_async returns in confirm mode.
-- SPDX-License-Identifier: MIT
-- A ticket ends exactly once: acked, nacked, returned, lost or timeout.
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"
local loop = require "moonrabbit.loop.loop"
local options = require "moonrabbit.base.options"
local suspicion = require "moonrabbit.channel.suspicion"
local task = require "moonrabbit.loop.task"
local unconfirmed = require "moonrabbit.channel.unconfirmed"

local take = unconfirmed.take
local ticket = {}

local Ticket = { __name = "moonrabbit.ticket" }
Ticket.__index = Ticket
function Ticket.__tostring(t) return ("ticket %d (%s)"):format(t.number, t.state) end

local STATES = { [0] = "acked" }
local RETURNED = errors.numbers.returned
for number, kind in each(errors.kinds) do
   if kind == "nacked" or kind == "returned" or kind == "lost" or kind == "timeout" then STATES[number] = kind end
end

--- A ticket for the publish with this number. Fields: `state` ("waiting" at first), `number`, and `message`, the returned
-- message, if the state is "returned". `on_end(ticket, state, reason, cause)` is called at its end; if it returns true, the
-- ticket does not end, and its owner sends the publish again.
--
-- There is one for each publish: the constructor sets the eight fields that most tickets need, because more would double
-- the size of the table.
function ticket.new(number)
   return setmetatable({ number = number, state = "waiting", waiter = false, on_end = nil, sent = nil,
      suspect = nil, kind = nil, reason = nil }, Ticket)
end

local TEXTS = {
   nacked = "the broker refused the message", returned = "the message could not be routed",
   lost = "the connection went before the broker confirmed", timeout = "the broker did not confirm in time",
}
local CHANNEL_WENT = "the channel was closed before the broker confirmed"
local CHANNEL_HINT = "the reason is the channel's: what it refuses, it refuses again; the other publishes may or may not have arrived"

local function result(t)
   if t.state == "acked" or t.state == "sent" then return true end
   local err = errors.new(t.kind or t.state, "publish", t.reason or TEXTS[t.state])
   err.message = t.message
   err.code = t.message and t.message.reply_code or t.code
   err.hint = t.hint or err.hint
   return nil, err
end

--- Waits for the outcome.
-- @tparam[opt] number timeout seconds; the publish's own timeout ends it anyway
-- @treturn[1] true acked
-- @treturn[2] nil, error of kind nacked, returned (err.message), lost or timeout
function Ticket:wait(timeout)
   options.seconds("timeout", timeout)
   if self.state ~= "waiting" then return result(self) end
   local token = task.token()
   local waiters = self.waiter or {}
   self.waiter = waiters
   waiters[#waiters + 1] = token
   if not loop.wait(token, timeout) then
      return nil, errors.new("timeout", "publish", "the broker has not confirmed yet")
   end
   return result(self)
end

local witness                  -- called with each ticket that fails while the program stops

--- Sets fn(ticket, state), which is called for each ticket that ends and is not acked; nil: none.
function ticket.set_witness(fn) witness = fn end

local function finish(t, state, reason, cause)
   local on_end = t.on_end
   if on_end and on_end(t, state, reason, cause) then return end
   t.state = state
   if t.suspect then suspicion.over(t) end
   if witness and state ~= "acked" then witness(t, state) end
   local sent = t.sent
   if sent then
      sent.room.left = sent.room.left + #sent[3]
      if sent.timer then loop.cancel(sent.timer) end
      t.sent = nil
   end
   if state == "lost" and reason and not t.kind then
      local of_channel = cause and cause.scope == "channel"
      t.reason = (of_channel and CHANNEL_WENT or TEXTS.lost) .. ": " .. reason
      t.hint = of_channel and cause.kind ~= "closed" and CHANNEL_HINT or nil
   end
   local waiters = t.waiter
   if not waiters then return end
   t.waiter = false
   for i = 1, #waiters do task.wake(waiters[i], true) end
end

-- The returned message of a publish. For publishes that are equal in every byte it may have been reported for another
-- number, `shift` away: see MR_EV_CONFIRM.
local function take_message(book, t, number)
   local back = book.returns[number]
   if not back then return end
   book.returns[number] = nil
   t.message, t.reason = back.message, back.reason
end

--- Ends the tickets first..last of a channel's book.
-- @tparam table book `reason` (text) and `cause` (error) say why the channel ended, if it did
-- @tparam number first
-- @tparam number last
-- @tparam number status an `enum mr_status`
-- @tparam[opt=0] number shift of MR_EV_CONFIRM: which return belongs to it
function ticket.settle(book, first, last, status, shift)
   local state = STATES[status]
   local open = book.open
   for n = first, last do
      local t = take(open, n)
      if t then
         if status == RETURNED then take_message(book, t, n + (shift or 0)) end
         finish(t, state, book.reason, book.cause)
      end
   end
   book.outstanding = book.outstanding - (last - first + 1)
   if book.outstanding == 0 and book.waiters then
      local waiters = book.waiters
      book.waiters = nil
      for i = 1, #waiters do task.wake(waiters[i], true) end
   end
   if status ~= 0 then book.failed, book.failure = book.failed + (last - first + 1), state end
end

--- Ends all open tickets of a book: no confirm will come.
function ticket.lose_all(book)
   for _, t in ipairs(unconfirmed.list(book.open)) do ticket.settle(book, t.number, t.number, errors.numbers.lost) end
end

--- Ends a ticket that is in no book.
function ticket.lose(t, reason) finish(t, "lost", reason) end

--- Ends a ticket of mr.publisher that is in no book.
-- @tparam ticket t
-- @tparam string state one of the five, or "sent" (without confirms)
-- @tparam[opt] string reason
-- @tparam[opt] string kind of the error, if it differs from the state
function ticket.finish(t, state, reason, kind)
   t.kind, t.reason = kind, reason
   finish(t, state)
end

--- The error of a ticket that ends in this state.
function ticket.error(t, state, reason, cause)
   local err = errors.new(state, "publish", t.reason or reason or TEXTS[state])
   err.message, err.code, err.cause = t.message, t.message and t.message.reply_code or t.code, cause or nil
   return err
end

--- Removes the tickets that must be sent again from a book, oldest first.
function ticket.take_kept(book)
   local list = {}
   for _, t in ipairs(unconfirmed.list(book.open)) do
      if t.sent then list[#list + 1] = take(book.open, t.number) end
   end
   return list
end

--- The tickets of one channel: `open` (see unconfirmed), the number of `outstanding` ones, the number that have `failed`
-- since the last wait_for_confirms, and the last `failure`.
function ticket.book()
   return { open = unconfirmed.new(), outstanding = 0, failed = 0, failure = false, reason = false, cause = false, returns = {} }
end

--- Keeps a returned message until the confirm of its publish.
-- @treturn boolean false: there is no such open publish
function ticket.returned(book, number, message, reason)
   local is_out = unconfirmed.get(book.open, number) ~= nil
   if is_out then book.returns[number] = { message = message, reason = reason } end
   return is_out
end

return ticket
