--- holding: messages that wait in this process for their retry, because no process consumes an exit for them.
-- SPDX-License-Identifier: MIT
-- The message stays unacked at the broker until its queue has confirmed the copy: neither a full queue nor the end of the
-- process can lose it. No queue is declared for it.
local copies = require "moonrabbit.redelivery.copy"
local ledger = require "moonrabbit.channel.ledger"
local log = require "moonrabbit.loop.log"
local message = require "moonrabbit.channel.message"
local patience = require "moonrabbit.channel.patience"
local task = require "moonrabbit.loop.task"

local holding = {}

local function count(msg, info) ledger.note(ledger.key(msg, info.queue), info.attempt) end

-- We may not publish to its queue either: requeues the message, and counts its attempts in this process.
local function give_back(msg, info, err)
   log.error("a message that is to come again cannot be copied; it goes back as it is", { queue = info.queue,
      tag = msg.delivery_tag, kind = err.kind, error = err.text })
   count(msg, info)
   msg:nack()
end

local function again(msg, info)
   local ok, err = copies.again(msg, info)
   if not ok and err.kind == "access_refused" then err.is_final = true end
   return ok, err
end

local function wait(entry)
   local msg, info = entry.msg, entry.info
   patience.nap(msg, entry.seconds)
   if message.is_back(msg) then return message.put_down(msg) end
   if message.is_covered(msg) then -- the program has acked it with a later one: only this program has it
      rawset(msg, "is_live", true)
   elseif patience.is_over() then
      return message.put_down(msg) -- it is requeued at the end of its channel
   end
   local ok, err = patience.until_done(msg, function() return again(msg, info) end, function(why, pause)
      log.warn("a message that is to come again finds no room; it is held, and offered again", { queue = info.queue,
         tag = msg.delivery_tag, kind = why.kind, error = why.text, delay = pause })
   end)
   if ok then msg:ack()
   elseif err then give_back(msg, info, err) end
   message.put_down(msg)
end

--- Holds a message for some seconds, then publishes a copy to the end of its queue.
-- @tparam message msg counts as settled from now on
-- @tparam string queue
-- @tparam number seconds
-- @treturn boolean true
function holding.keep(msg, queue, seconds)
   local info = { queue = queue, attempt = msg.attempt }
   rawset(msg, "queue", queue)
   rawset(msg, "attempt", info.attempt)
   rawset(msg, message.FAILED, message.HELD)
   task.background(wait, { msg = message.take(msg, function(taken) count(taken, info) end), info = info, seconds = seconds })
   return true
end

return holding
