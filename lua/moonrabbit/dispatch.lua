--- dispatch: what connections, channels and the broker have to say, told to whom it concerns.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.ffi").C
local connection = require "moonrabbit.connection"
local consume = require "moonrabbit.consume"
local drain = require "moonrabbit.drain"
local errors = require "moonrabbit.errors"
local log = require "moonrabbit.log"
local loop = require "moonrabbit.loop"
local message = require "moonrabbit.message"
local task = require "moonrabbit.task"
local ticket = require "moonrabbit.ticket"

local LOST = errors.numbers.lost

local function tell(self, event)
   event.connection = self
   if self.on_event then task.later(self.on_event, event) end
end

-- The channel an event is about, if it is still the same one.
local function channel_of(ev)
   local self = connection.by_number(ev.connection)
   local ch = self and self.channels[ev.channel]
   return ch and ch.epoch == ev.epoch and ch or nil, self
end

loop.on(C.MR_EV_CONNECTION, function(ev)
   local self = connection.by_number(ev.connection)
   if not self then return end
   local state = ev.detail
   local err = (state == C.MR_CONNECTION_CLOSED or state == C.MR_CONNECTION_LOST) and self.last_error or nil
   if err then
      for _, ch in pairs(self.channels) do self:_channel_gone(ch, err) end
      self:_wake_unblocked()
   end
   if state == C.MR_CONNECTION_CONNECTING then tell(self, { type = "connecting" })
   elseif state == C.MR_CONNECTION_OPEN then tell(self, { type = "connected", host = self.host, epoch = self.epoch })
   elseif state == C.MR_CONNECTION_CLOSED then tell(self, { type = "closed", err = err })
   elseif state == C.MR_CONNECTION_LOST then
      drain.note_loss(err)
      tell(self, { type = "lost", err = err })
   end
end)

loop.on(C.MR_EV_BLOCKED, function(ev)
   local self = connection.by_number(ev.connection)
   if not self then return end
   local blocked = ev.detail == 1
   if not blocked then self:_wake_unblocked() end
   tell(self, { type = blocked and "blocked" or "unblocked", err = ev.data.error ~= nil and errors.of_c(ev.data.error) or nil })
end)

loop.on(C.MR_EV_CHANNEL, function(ev)
   local ch, self = channel_of(ev)
   if not ch then return end
   local err = ev.data.error ~= nil and errors.of_c(ev.data.error) or errors.of_status(ev.status, "channel")
   self:_channel_gone(ch, err)
   if err.scope == "channel" then tell(self, { type = "channel_closed", channel = ch, err = err }) end
end)

loop.on(C.MR_EV_CANCEL, function(ev)
   local consumer = consume.by_number(ev.consumer)
   if not consumer then return end
   consume.ended(consumer, "cancelled", errors.new("cancelled", "channel"))
   log.warn("consumer cancelled by the broker", { queue = consumer.queue, tag = consumer.tag })
end)

loop.on(C.MR_EV_CONFIRM, function(ev)
   local ch = channel_of(ev)
   local book = ch and ch.book or connection.books[ev.epoch]
   if not book then return end
   if ch and ev.status == LOST then -- why follows: it belongs into the errors
      table.insert(ch.lost, { tonumber(ev.token), tonumber(ev.last) })
      return
   end
   ticket.settle(book, tonumber(ev.token), tonumber(ev.last), ev.status)
   if book.outstanding == 0 then connection.books[ev.epoch] = nil end
end)

loop.on(C.MR_EV_RETURN, function(ev)
   local ch = channel_of(ev)
   local msg = message.new(ev.data.delivery, ch)
   message.detach(msg)
   if not ch then return end
   local err = errors.of_status(ev.status, "publish", ("%s (%d)"):format(msg.reply_text, msg.reply_code))
   err.code = msg.reply_code
   if ch.book then ticket.returned(ch.book, tonumber(ev.token), msg, err.text) end
   if ch.return_handler then task.later(function() ch.return_handler(msg, err) end)
   elseif not ch.book then
      log.warn("message returned", { exchange = msg.exchange, routing_key = msg.routing_key, text = err.text })
   end
end)
