--- quiet: has a program take no more messages, and go on later: SIGUSR2 of `moonrabbit run`.
-- SPDX-License-Identifier: MIT
-- Consumers are cancelled at the broker, so that other workers get the messages; running handlers finish, connections and
-- channels stay. To go on, each consumes again with the same tag.
local C = require("moonrabbit.base.ffi").C
local asking = require "moonrabbit.channel.request"
local handling = require "moonrabbit.channel.delivery"
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"
local streams = require "moonrabbit.channel.streams"
local subscription = require "moonrabbit.channel.subscription"
local task = require "moonrabbit.loop.task"

local quiet = {}

local is_wanted, is_busy = false, false

local function consume_again(consumer)
   subscription.wake(consumer)
   local flags = consumer.next_offset and streams.at(consumer.flags, consumer.next_offset) or consumer.flags
   local reply, err = asking.ask(consumer.channel, C.MR_BASIC_CONSUME, flags, consumer.queue, consumer.tag, nil,
      consumer.number)
   if reply then return subscription.woken(consumer, reply.name) end
   if consumer.state == "starting" then subscription.ended(consumer, "failed", err) end
end

-- One consumer that is not as wanted; nil: all are.
local function next_one()
   local found
   subscription.each(function(consumer)
      if consumer.is_service or consumer.is_exit then return end -- running handlers may need them
      if consumer.state == (is_wanted and "consuming" or "resting") then found = found or consumer end
      if is_wanted and consumer.state == "recovering" then found = found or consumer end
   end)
   return found
end

-- One after the other, so that a second signal finds each of them in one state or the other.
local function apply()
   local consumer = next_one()
   while consumer do
      if is_wanted then subscription.rest(consumer) else consume_again(consumer) end
      consumer = next_one()
   end
   is_busy = false
end

local function begin()
   if is_busy then return end
   is_busy = true
   task.background(apply)
end

--- True while no messages are taken.
function quiet.is_on() return is_wanted end

--- Stops taking messages, or goes on.
-- @tparam boolean on
-- @tparam ?string signal for the log
function quiet.set(on, signal)
   if on == is_wanted then return end
   is_wanted = on
   log.info(on and "taking no more messages" or "taking messages again", { signal = signal, handlers = handling.running })
   begin()
end

-- A consumer that begins meanwhile rests, too.
subscription.on_started(function()
   if is_wanted then begin() end
end)

loop.on_close(function() is_wanted, is_busy = false, false end)

return quiet
