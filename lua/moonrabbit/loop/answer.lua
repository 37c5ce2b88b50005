--- answer: gives the answer to a request to who waits for it.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local C = require("moonrabbit.base.ffi").C
local errors = require "moonrabbit.base.errors"
local host = require "moonrabbit.loop.host"
local life = require "moonrabbit.loop.life"
local task = require "moonrabbit.loop.task"

local answer = {}

local function reply_of(ev)
   local reply = ev.as.done.reply
   if reply == nil then
      return { status = ev.status, err = ev.status ~= 0 and errors.of_status(ev.status, "channel") or nil }
   end
   return {
      status = ev.status, err = errors.of_c(reply.error),
      name = ffi.string(reply.name, reply.name_size), delivery = reply.delivery,
      message_count = reply.message_count, consumer_count = reply.consumer_count,
   }
end

local function put_back(delivery)
   C.mr_delivery_settle(life.current(), delivery, C.MR_NACK, C.MR_SETTLE_REQUEUE + C.MR_SETTLE_RELEASE)
end

--- Wakes who waits for the answer of an MR_EV_DONE. A delivery that nobody waits for is put back.
function answer.pass(ev)
   local reply = reply_of(ev)
   local woken, delivery = task.wake(tonumber(ev.as.done.token), reply), reply.delivery
   if woken == true or not delivery or delivery == nil then return end
   if not woken then return put_back(delivery) end
   local era = life.era() -- a later runtime does not know the delivery
   host.guard(woken, function()
      if life.era() == era then put_back(delivery) end
   end)
end

return answer
