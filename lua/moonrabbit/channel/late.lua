--- late: messages that were handled too late to be acked: logs and counts them; each counts as a failed attempt.
-- SPDX-License-Identifier: MIT
-- RabbitMQ closes a channel with a message that was not acked within its consumer_timeout, and delivers the message again.
-- The ledger notes the failed attempt, and the policy decides when the message is delivered again.
local C = require("moonrabbit.base.ffi").C
local ledger = require "moonrabbit.channel.ledger"
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"
local message = require "moonrabbit.channel.message"

local late = {}

local MOST = 100     -- the maximum number of handlers remembered
-- Of the broker's timeout: a handler of the whole of it is the cause, and then the others are not; if there is none, one that
-- took half of it is, since its message may have waited here before.
local WHOLE, ENOUGH = 0.95, 0.5

local RECENT = 10    -- seconds after a handler in which the program learns of a close during it

local slow = {}      -- busy handlers that ended recently: a close may be about them

-- The message was handled, but its channel has ended: logs that.
local function tell(consumer, msg, took)
   C.mr_meter_late(consumer.meter)
   local message_id, correlation_id = message.ids(msg)
   log.warn("handled, but too late: it comes again", { queue = consumer.queue, tag = msg.delivery_tag,
      routing_key = msg.routing_key, redelivered = msg.redelivered, message_id = message_id,
      correlation_id = correlation_id, attempt = consumer.owner and msg.attempt or nil, seconds = math.floor(took * 1000) / 1000 })
end

local function is_settled(d) return bit.band(d.flags, C.MR_DELIVERY_SETTLED) ~= 0 end

--- A handler has succeeded, but its channel may have changed. Returns true if the broker delivers its message again.
function late.look(consumer, d, msg, began)
   if consumer.no_ack or is_settled(d) or C.mr_delivery_is_live(loop.current(), d) then return false end
   tell(consumer, msg, C.mr_now() - began)
   return true
end

--- Remembers a busy handler that took long: its channel may have been closed meanwhile.
function late.note(consumer, d, msg, took)
   if consumer.no_ack or is_settled(d) then return end
   local now = C.mr_now()
   while slow[1] and slow[1].ended < now - RECENT or #slow >= MOST do table.remove(slow, 1) end
   message.remember(msg)
   slow[#slow + 1] = { consumer = consumer, msg = msg, epoch = d.epoch, ended = now, took = took,
      attempt = consumer.judge and msg.attempt }
end

--- True if the channel was closed because a message was not acked in time.
function late.is_timeout(err)
   return err.code == 406 and err.text:find("delivery acknowledgement on channel", 1, true) ~= nil
end

local function has_failed(consumer, msg, attempt, err)
   if consumer.judge and not consumer.is_exit then
      ledger.note(ledger.key(msg, consumer.queue), attempt, err)
   end
end

-- The handlers of a channel that are busy, wait, or have ended a moment ago: list of {consumer, msg, took, entry of slow}; and
-- how long the longest took.
local function held_by(epoch, each_waiting)
   local list, longest, now = {}, 0, C.mr_now()
   local function add(consumer, msg, took, entry)
      list[#list + 1] = { consumer = consumer, msg = msg, took = took, entry = entry }
      longest = math.max(longest, took)
   end
   each_waiting(function(consumer, msg, began)
      if message.epoch(msg) == epoch then add(consumer, msg, now - began) end
   end)
   for _, entry in ipairs(slow) do
      if entry.epoch == epoch and entry.ended >= now - RECENT then add(entry.consumer, entry.msg, entry.took, entry) end
   end
   return list, longest
end

--- The broker has closed a channel because an ack was missing: notes the failures of slow handlers.
-- @tparam number epoch of the channel
-- @tparam table err
-- @tparam function each_waiting of in_flight: calls fn(consumer, msg, began) for each waiting handler
function late.closed(epoch, err, each_waiting)
   local timeout = (tonumber(err.text:match "Timeout value used: (%d+) ms") or 0) / 1000
   local list, longest = held_by(epoch, each_waiting)
   local limit = timeout * (longest >= timeout * WHOLE and WHOLE or ENOUGH)
   for _, held in ipairs(list) do
      local entry = held.entry
      if held.took >= limit and entry then
         tell(held.consumer, held.msg, held.took)
         has_failed(held.consumer, held.msg, entry.attempt, err)
      elseif held.took >= limit then
         local attempt = held.msg.attempt
         rawset(held.msg, "attempt", attempt) -- keeps this attempt's number; the note is for the next one
         has_failed(held.consumer, held.msg, attempt, err)
      end
   end
   slow = {}
end

--- The failure of a message that was delivered again, before its handler is called; nil: none. After a failure the
-- caller calls late.judged.
function late.verdict(consumer, msg)
   if not consumer.judge or consumer.is_exit or not msg.redelivered then return nil end
   local entry = ledger.find(ledger.key(msg, consumer.queue))
   if not entry or not entry.err then return nil end
   rawset(msg, "attempt", entry.count)
   return entry.err, entry
end

--- The policy has decided about that failure: forgets the entry, unless the message was lost meanwhile (then it will be
-- delivered again with this failure), or has a new entry.
-- @tparam ?number how the way to settle it
function late.judged(d, entry, how)
   if not how or not is_settled(d) and not C.mr_delivery_is_live(loop.current(), d) then return end
   if ledger.find(entry.key) == entry then ledger.forget(entry.key) end
end

loop.on_close(function() slow = {} end)

return late
