--- events: dispatches the events of connections and channels to the program's objects.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.base.ffi").C
local channel = require "moonrabbit.channel.channel"
local connection = require "moonrabbit.connection.connection"
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"
local in_flight = require "moonrabbit.channel.in_flight"
local late = require "moonrabbit.channel.late"
local limit = require "moonrabbit.connection.limit"
local log = require "moonrabbit.loop.log"
local marks = require "moonrabbit.loop.mark"
local message = require "moonrabbit.channel.message"
local passwords = require "moonrabbit.connection.passwords"
local recorder = require "moonrabbit.loop.recorder"
local recovery = require "moonrabbit.connection.recovery"
local retry = require "moonrabbit.loop.retry"
local stop = require "moonrabbit.loop.stop"
local subscription = require "moonrabbit.channel.subscription"
local suspicion = require "moonrabbit.channel.suspicion"
local task = require "moonrabbit.loop.task"
local ticket = require "moonrabbit.channel.confirm"
local value = require "moonrabbit.base.value"
local way = require "moonrabbit.channel.way"

local events = {} -- type -> function(event), for the loop: init registers them
local LOST, TIMEOUT = errors.numbers.lost, errors.numbers.timeout

local function tell(self, event)
   event.connection = self
   if self.on_event then task.later(self.on_event, event) end
end

-- The channel of an event, if it is still the same one.
local function channel_of(ev)
   local self = connection.by_number(ev.connection)
   local ch = self and self.channels[ev.channel]
   return ch and ch.epoch == ev.epoch and ch or nil, self
end

local function lost_for_good(self, what, err)
   for _, ch in each(self.channels) do channel.gone(ch, err) end
   way.wake(self)
   -- One that never was open is no loss: who asked for it has the error.
   if what ~= "closed" and self.was_open then
      stop.note_loss(err)
      recorder.trouble "a connection was given up"
   end
   self.was_open = false
   tell(self, { type = what, err = err })
end

-- The I/O thread's report of a recovery: a table, or nothing.
local function report_of(ev)
   local decoded = ev.as.connection.with.report
   if decoded == nil then return { failed = {}, renamed = {} } end
   local report = value.decode(decoded)
   return { failed = report.failed or {}, renamed = report.renamed or {} }
end

local function recovered(self, ev)
   local report = report_of(ev)
   for _, ch in each(self.channels) do
      for _, consumer in each(ch.consumers) do
         local name = report.renamed[consumer.queue]
         if name then
            consumer.queue = name
            local owner = consumer.owner
            if owner then owner.queue = name end
            if owner and owner.exit then owner.exit.queue = name end
            marks.describe(consumer)
         end
      end
   end
   way.wake(self)
   local back = ev.as.connection.numbers.recovered
   tell(self, { type = "recovered", entities = back.entities, failed = report.failed, renamed = report.renamed,
      gap = back.gap / 1000, epoch = self.epoch })
end

-- Calls the program's own policy; without a verdict the built-in one applies.
local function ask_policy(question)
   local self, ctx, event = question[1], question[2], question[3]
   local verdict, why = retry.ask(self.options.retry, ctx)
   if type(verdict) == "number" then event.delay = verdict elseif verdict == "next_host" then event.delay = 0 end
   self.was_told_to_stop = verdict == "stop" -- for mr.consumer, which would try by itself
   if verdict ~= "stop" then tell(self, event) end
   if not verdict then
      return log.error("the retry policy gave no answer; the built-in one goes on", { connection = self.host, error = why })
   end
   if self.released then return end
   C.mr_connection_retry(self.handle, verdict == "stop" and -1 or verdict == "next_host" and 0 or verdict)
end

local states = {
   [C.MR_CONNECTION_CONNECTING] = function(self) tell(self, { type = "connecting" }) end,
   [C.MR_CONNECTION_OPEN] = function(self)
      self.was_open, self.was_told_to_stop = true, false
      tell(self, { type = "connected", host = self.host, epoch = self.epoch })
   end,
   [C.MR_CONNECTION_CLOSED] = function(self, _, err) lost_for_good(self, "closed", err) end,
   [C.MR_CONNECTION_GAVE_UP] = function(self, _, err) lost_for_good(self, "gave_up", err) end,
   [C.MR_CONNECTION_LOST] = function(self, ev, err)
      if not ev.as.connection.will_recover then return lost_for_good(self, "lost", err) end
      self.lost_at = C.mr_now()
      limit.lost(self, err)
      recovery.all_suspended(self, err)
      tell(self, { type = "lost", err = err, recovering = true })
   end,
   [C.MR_CONNECTION_RETRYING] = function(self, ev, err)
      local try = ev.as.connection.numbers.retry
      local event = { type = "retrying", attempt = try.attempt, delay = try.delay / 1000, err = err }
      if passwords.are_asked(self) then task.later(passwords.renew, self) end
      if not self.options.retry then return tell(self, event) end
      task.later(ask_policy, { self, { scope = "connect", attempt = event.attempt, err = err,
         elapsed = C.mr_now() - (self.lost_at or C.mr_now()) }, event })
   end,
   [C.MR_CONNECTION_RECOVERED] = recovered,
   [C.MR_CONNECTION_REPAIRING] = function(self, ev, err)
      local try = ev.as.connection.numbers.retry
      local event = { type = "repairing", attempt = try.attempt, delay = try.delay / 1000, err = err }
      if event.attempt == 1 then self.broken_at = C.mr_now() end
      local scope = ev.channel ~= 0 and "channel" or "topology"
      task.later(ask_policy, { self, { scope = scope, attempt = event.attempt, err = err,
         elapsed = C.mr_now() - (self.broken_at or C.mr_now()) }, event })
   end,
}

local ENDS = { [C.MR_CONNECTION_CLOSED] = true, [C.MR_CONNECTION_GAVE_UP] = true, [C.MR_CONNECTION_LOST] = true }

events[C.MR_EV_CONNECTION] = function(ev)
   local self = connection.by_number(ev.connection)
   if not self then return end
   local state, with = ev.as.connection.state, ev.as.connection.with
   local is_failure = state ~= C.MR_CONNECTION_RECOVERED and state ~= C.MR_CONNECTION_OPEN and with.error ~= nil
   local err = is_failure and errors.of_c(with.error) or is_failure and self.last_error or nil
   if ENDS[state] and err then suspicion.judge(self, err) end
   states[state](self, ev, err)
end

events[C.MR_EV_BLOCKED] = function(ev)
   local self = connection.by_number(ev.connection)
   if not self then return end
   local blocked, reason = ev.as.blocked.is_blocked, ev.as.blocked.reason
   if not blocked then way.wake(self) end
   tell(self, { type = blocked and "blocked" or "unblocked", err = reason ~= nil and errors.of_c(reason) or nil })
end

-- A channel is restored: again, then ready.
local function channel_back(ev)
   local self = connection.by_number(ev.connection)
   local ch = self and self.channels[ev.channel]
   if not ch then return end
   if ev.as.channel.change == C.MR_CHANNEL_AGAIN then recovery.again(ch, ev.epoch) else recovery.ready(ch) end
end

events[C.MR_EV_CHANNEL] = function(ev)
   local closed = ev.as.channel
   if closed.change ~= C.MR_CHANNEL_ENDED then return channel_back(ev) end
   local ch, self = channel_of(ev)
   local away = self and self.channels[ev.channel]
   if not ch and away and away.epoch == 0 then ch = away end -- it is suspended, and will not be restored
   if not ch then return end
   local err = closed.error ~= nil and errors.of_c(closed.error) or errors.of_status(ev.status, "channel")
   if late.is_timeout(err) then late.closed(ev.epoch, err, in_flight.each) end
   local is_kept = closed.will_recover
   if err.scope == "connection" then suspicion.judge(self, err) end
   if is_kept then recovery.suspended(ch, err) else channel.gone(ch, err) end
   if err.scope == "channel" then
      tell(self, { type = "channel_closed", channel = ch, err = err, recovering = is_kept })
   end
end

events[C.MR_EV_CANCEL] = function(ev)
   local cancel = ev.as.cancel
   local consumer = subscription.by_number(cancel.consumer)
   if not consumer then return end
   local fields = { queue = consumer.queue, tag = consumer.tag }
   if cancel.consumes_again then
      consumer.is_missing = false
      subscription.resumed(consumer)
      local owner = connection.by_number(ev.connection)
      if owner then tell(owner, { type = "consumer_resumed", consumer = consumer }) end
      return log.info("consuming again", fields)
   end
   local has_failed = cancel.error ~= nil -- it was asked for again, in vain
   local err = has_failed and errors.of_c(cancel.error) or errors.new("cancelled", "channel")
   local is_kept = cancel.will_recover
   consumer.is_missing = is_kept -- also while its channel is there
   if is_kept then subscription.suspended(consumer, err)
   else subscription.ended(consumer, has_failed and "failed" or "cancelled", err) end
   fields.recovering = is_kept
   log.warn(has_failed and "consumer not recovered" or "consumer cancelled by the broker", fields)
   local self = connection.by_number(ev.connection)
   if self then tell(self, { type = "consumer_cancelled", consumer = consumer, err = err, recovering = is_kept }) end
end

events[C.MR_EV_CONFIRM] = function(ev)
   local ch, self = channel_of(ev)
   local book = ch and ch.book or channel.books[ev.epoch]
   if not book then return end
   local confirm = ev.as.confirm
   if ch and ev.status == LOST then -- why follows: it belongs into the errors
      table.insert(ch.lost, { tonumber(confirm.first), tonumber(confirm.last) })
      return
   end
   ticket.settle(book, tonumber(confirm.first), tonumber(confirm.last), ev.status, confirm.shift,
      ev.status == TIMEOUT and self and self.is_blocked)
   if book.outstanding == 0 then channel.books[ev.epoch] = nil end
end

events[C.MR_EV_RETURN] = function(ev)
   local ch = channel_of(ev)
   local msg = message.new(ev.as.returned.delivery, ch)
   message.detach(msg)
   if not ch then return end
   local err = errors.of_status(ev.status, "publish", ("%s (%d)"):format(msg.reply_text, msg.reply_code))
   err.code = msg.reply_code
   err.hint = ticket.hint_of_returned(msg) or err.hint
   if ch.book then ticket.returned(ch.book, tonumber(ev.as.returned.number), msg, err.text) end
   if ch.return_handler then task.later(function() ch.return_handler(msg, err) end)
   elseif not ch.book then
      log.warn("message returned", { exchange = msg.exchange, routing_key = msg.routing_key, text = err.text })
   end
end

return events
