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
local unheard = require "moonrabbit.channel.unheard"

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

--- A ticket for the publish of this number. Fields: `state` ("waiting" at first), `number`, and
-- `message`, the returned message, when it is "returned". `on_end(ticket, state, reason, cause)` is called
-- when it ends, unless that gives true: then its owner sends it again. `exchange` and `routing_key` are for what a stop
-- says of it.
--
-- One is made for each publish: the eight fields of the constructor are those that most have, as more would make its
-- table twice as large.
function ticket.new(number, exchange, routing_key)
   return setmetatable({ number = number, state = "waiting", waiter = false, on_end = nil, exchange = exchange,
      routing_key = routing_key, sent = nil, suspect = nil }, Ticket)
end

local TEXTS = {
   nacked = "the broker refused the message", returned = "the message could not be routed",
   lost = "the connection went before the broker confirmed", timeout = "the broker did not confirm in time",
}
local BLOCKED = "the broker did not confirm in time: it blocks publishing, and may take the message later"
local NO_QUEUE = "no queue has this name: declare it; on a cluster, is the node of the queue up?"
local WAIT_ON = "the publish is still on its way: wait again, or longer"
local MAY_HAVE_ARRIVED = "the message may or may not have arrived: publish it again if duplicates are acceptable"
local CHANNEL_WENT = "the channel was closed before the broker confirmed"
local CHANNEL_HINT = "the reason is the channel's: what it refuses, it refuses again; the other publishes may or may not have arrived"

-- Of a publish that has ended without an answer: it was sent, unless it has a reason why not.
local function hint_of(t)
   return t.state == "timeout" and not t.kind and not t.reason and MAY_HAVE_ARRIVED or nil
end

local function result(t)
   if t.state == "acked" or t.state == "sent" then return true end
   local err = errors.new(t.kind or t.state, "publish", t.reason or TEXTS[t.state], hint_of(t))
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
   if self.state ~= "waiting" then
      unheard.tell(self)
      return result(self)
   end
   self.waiter = self.waiter or {}
   if not loop.wait_in(self.waiter, timeout) then
      return nil, errors.new("timeout", "publish", "the broker has not confirmed yet", WAIT_ON)
   end
   return result(self)
end

local witness                  -- called with each ticket that fails while the program stops

--- Sets fn(ticket, state), which is called for each ticket that ends and is not acked; nil: none.
function ticket.set_witness(fn) witness = fn end

-- True if the program is told of the end without asking for it.
local function is_heard(t)
   return t.waiter and t.waiter[1] or t.call or t.is_copy or t.job and t.job.publisher.options.on_failed
end

-- `tally`, of a book: where it counts unless it was acked.
local function finish(t, state, reason, cause, tally)
   local on_end = t.on_end
   if on_end and on_end(t, state, reason, cause) then return end
   t.state = state
   if tally and state ~= "acked" then tally.failed, tally.failure = tally.failed + 1, state end
   if t.suspect then suspicion.over(t) end
   if state ~= "acked" and state ~= "sent" then
      if witness then witness(t, state)
      elseif state ~= "returned" and not is_heard(t) then unheard.note(t, t.job and t.job.publisher or tally) end
   end
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

--- What to check for a message that came back, if it is more than the usual hint: the default exchange has no bindings to make.
function ticket.hint_of_returned(message)
   return message.reply_code == 312 and message.exchange == "" and NO_QUEUE or nil
end

-- The returned message of a publish. For publishes that are equal in every byte it may have been reported for another
-- number, `shift` away: see MR_EV_CONFIRM.
local function take_message(book, t, number)
   local back = book.returns[number]
   if not back then return end
   book.returns[number] = nil
   t.message, t.reason, t.hint = back.message, back.reason, ticket.hint_of_returned(back.message)
end

--- Ends the tickets first..last of a channel's book.
-- @tparam table book `reason` (text) and `cause` (error) say why the channel ended, if it did
-- @tparam number first
-- @tparam number last
-- @tparam number status an `enum mr_status`
-- @tparam[opt=0] number shift of MR_EV_CONFIRM: which return belongs to it
-- @tparam[opt] boolean is_blocked the broker accepts no publishes: why they got no confirm in time
function ticket.settle(book, first, last, status, shift, is_blocked)
   local state = STATES[status]
   local open = book.open
   for n = first, last do
      local t = take(open, n)
      if t then
         if status == RETURNED then take_message(book, t, n + (shift or 0)) end
         if is_blocked and state == "timeout" then t.kind, t.reason = "blocked_timeout", BLOCKED end
         finish(t, state, book.reason, book.cause, book.tally)
      end
   end
   book.outstanding = book.outstanding - (last - first + 1)
   if book.outstanding == 0 and book.waiters then
      local waiters = book.waiters
      book.waiters = nil
      for i = 1, #waiters do task.wake(waiters[i], true) end
   end
end

--- Ends all open tickets of a book: no confirm will come.
function ticket.lose_all(book)
   for _, t in ipairs(unconfirmed.list(book.open)) do ticket.settle(book, t.number, t.number, errors.numbers.lost) end
end

--- Ends a ticket that is in no book.
-- @tparam ticket t
-- @tparam string reason
-- @tparam[opt] table tally of its channel's books
function ticket.lose(t, reason, tally) finish(t, "lost", reason, nil, tally) end

--- Ends a ticket that is in no book, of mr.publisher mostly.
-- @tparam ticket t
-- @tparam string state one of the five, or "sent" (without confirms)
-- @tparam[opt] string reason
-- @tparam[opt] string kind of the error, if it differs from the state
-- @tparam[opt] table tally of its channel's books
function ticket.finish(t, state, reason, kind, tally)
   t.kind, t.reason = kind, reason
   finish(t, state, nil, nil, tally)
end

--- The error of a ticket that ends in this state.
function ticket.error(t, state, reason, cause)
   local err = errors.new(t.kind or state, "publish", t.reason or reason or TEXTS[state], hint_of(t))
   err.hint = t.hint or err.hint
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

--- A book, or one before it, that has tickets out; nil: none has.
function ticket.out(book)
   while book and book.outstanding == 0 do book = book.before end
   return book
end

--- How many tickets are out, in a book and in those before it.
function ticket.count_out(book)
   local count = 0
   while book do
      count, book = count + book.outstanding, book.before
   end
   return count
end

--- The tickets of one channel: `open` (see unconfirmed), how many are `outstanding`, and `tally`: how many have `failed`
-- since somebody last asked and how the last one of them did (`failure`).
-- @tparam[opt] table before the book of the channel until its connection was lost: it has the same tally, and may still
-- have tickets out
function ticket.book(before)
   local tally = before and before.tally or { failed = 0, failure = false }
   if before then before.before = ticket.out(before.before) end
   return { open = unconfirmed.new(), outstanding = 0, tally = tally, reason = false, cause = false, returns = {},
      before = ticket.out(before), keeps = before and before.keeps }
end

--- Keeps a returned message until the confirm of its publish.
-- @treturn boolean false: there is no such open publish
function ticket.returned(book, number, message, reason)
   local is_out = unconfirmed.get(book.open, number) ~= nil
   if is_out then book.returns[number] = { message = message, reason = reason } end
   return is_out
end

return ticket
