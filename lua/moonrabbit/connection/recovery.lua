--- recovery: updates channels, consumers and tickets when their connection is lost, and when it is restored.
-- SPDX-License-Identifier: MIT
-- The I/O thread restores the connection; this module updates the program's objects.
local C = require("moonrabbit.base.ffi").C
local channel = require "moonrabbit.channel.channel"
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"
local loop = require "moonrabbit.loop.loop"
local publish = require "moonrabbit.channel.publish"
local subscription = require "moonrabbit.channel.subscription"
local suspicion = require "moonrabbit.channel.suspicion"
local task = require "moonrabbit.loop.task"
local ticket = require "moonrabbit.channel.confirm"
local way = require "moonrabbit.channel.way"

local recovery = {}

local LOOK = 1 -- seconds at most between two looks at what is to be sent again

-- Of those to be sent again, the one that has ended the connection twice is not.
local function give_up_guilty(ch, kept, err)
   local guilty
   for i, t in ipairs(kept) do
      if suspicion.falls_on(ch.connection, t, err) then guilty = i end
   end
   local t = guilty and table.remove(kept, guilty)
   if t then ticket.finish(t, "lost", t.reason, t.kind, ch.book.tally) end
end

local function place_of(ch, t)
   for i, other in ipairs(ch.again) do
      if other == t then return i end
   end
end

-- It times out while it cannot be sent: it is not sent after that.
local function expire(ch, t)
   local i = place_of(ch, t)
   if not i then return end
   table.remove(ch.again, i)
   ticket.finish(t, "timeout", nil, nil, ch.book.tally)
   way.wake(ch.connection)
end

local function limit(ch, t)
   local sent = t.sent
   if not sent.deadline then return end
   sent.timer = loop.after(math.max(sent.deadline - C.mr_now(), 0), function()
      sent.timer = nil
      expire(ch, t)
   end)
end

local function unlimit(t)
   local timer = t.sent.timer
   t.sent.timer = nil
   if timer then loop.cancel(timer) end
end

-- Open publishes are lost; the next publish is number 1 of a new book.
local function close_book(ch, err)
   local book = ch.book
   if not book then return end
   book.reason, book.cause = err.text, err
   local kept = book.keeps and ticket.take_kept(book) or {}
   give_up_guilty(ch, kept, err)
   for i, t in ipairs(kept) do -- before those still to be sent
      table.insert(ch.again, i, t)
      limit(ch, t)
   end
   for _, range in ipairs(ch.lost) do ticket.settle(book, range[1], range[2], errors.numbers.lost) end
   if book.outstanding > 0 then channel.books[ch.epoch] = book end
   ch.book, ch.lost = ticket.book(book), {}
end

-- One of those to be sent again, sent or not: true; or a function that waits for the way.
local function send_one(ch, t)
   local conn = ch.connection
   if not suspicion.may_go(conn, t) then return nil, function(seconds) way.wait(conn, seconds) end end
   local ok, err, wait = publish.send_again(ch, t)
   if not ok and wait then return nil, wait end
   table.remove(ch.again, place_of(ch, t))
   if t.sent then unlimit(t) end
   if ok then suspicion.sent(conn, t) else ticket.lose(t, err.text, ch.book.tally) end
   return true
end

-- What was not confirmed goes out once more, in its order: by one task, which looks anew after each wait. What a further loss
-- has put in front goes first.
local function send_again(ch)
   if ch.is_sending_again then return end
   ch.is_sending_again = true
   while ch.again[1] do
      local ok, wait = send_one(ch, ch.again[1])
      if not ok then wait(LOOK) end
   end
   ch.is_sending_again = false
   way.wake(ch.connection) -- those who wait for all confirms look again
end

--- A channel is lost and will be restored.
-- @tparam channel ch
-- @tparam table err why
function recovery.suspended(ch, err)
   close_book(ch, err)
   ch.epoch, ch.settled_below = 0, false
   if ch.tx and ch.tx.is_open then ch.tx.is_left = "lost" end -- the broker has rolled it back
   if ch.on_away then ch.on_away(err) end
   for _, consumer in each(ch.consumers) do subscription.suspended(consumer, err) end
end

--- All channels of a connection are lost. Those that will not be restored end.
function recovery.all_suspended(conn, err)
   for _, ch in each(conn.channels) do
      local is_kept = ch.handle and (C.mr_channel_is_suspended(ch.handle) or C.mr_channel_is_open(ch.handle))
      if is_kept then recovery.suspended(ch, err) else channel.gone(ch, err) end
   end
end

--- A channel was reopened with a new epoch: later deliveries are live.
function recovery.again(ch, epoch) ch.epoch = epoch end

--- A channel is restored: the program may use it again.
function recovery.ready(ch)
   for _, consumer in each(ch.consumers) do
      if not consumer.is_missing then subscription.resumed(consumer) end
   end
   if ch.again[1] then task.later(send_again, ch) end
   way.wake(ch.connection)
end

return recovery
