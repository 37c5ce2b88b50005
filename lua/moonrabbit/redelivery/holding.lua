--- holding: messages that wait in this process until they are to come again, where nobody watches an exit for them.
-- SPDX-License-Identifier: MIT
-- The broker has such a message, unacked, until its queue has confirmed the copy: a queue that is full cannot lose it, nor
-- can the end of the process. No queue is declared for it.
local copies = require "moonrabbit.redelivery.copy"
local ledger = require "moonrabbit.channel.ledger"
local log = require "moonrabbit.loop.log"
local message = require "moonrabbit.channel.message"
local patience = require "moonrabbit.channel.patience"
local task = require "moonrabbit.loop.task"

local holding = {}

local function count(msg, info) ledger.note(ledger.key(msg, info.queue), info.attempt) end

-- Not even its queue takes a copy from us: what else there is of "again" is to give it back, and to count here.
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
   if message.is_covered(msg) then -- acked by the program, with a later one: nobody but us has it
      rawset(msg, "is_live", true)
   elseif patience.is_over() then
      return message.put_down(msg) -- it goes back with its channel
   end
   local ok, err = patience.until_done(msg, function() return again(msg, info) end, function(why, pause)
      log.warn("a message that is to come again finds no room; it is held, and offered again", { queue = info.queue,
         tag = msg.delivery_tag, kind = why.kind, error = why.text, delay = pause })
   end)
   if ok then msg:ack()
   elseif err then give_back(msg, info, err) end
   message.put_down(msg)
end

--- Holds a message for some seconds, then puts it at the end of its queue.
-- @tparam message msg it is as settled from here on
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
