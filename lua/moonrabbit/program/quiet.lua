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
local renewed = setmetatable({}, { __mode = "k" }) -- consumers that begin anew for another prefetch
local paused = setmetatable({}, { __mode = "k" }) -- consumers, or their owners, that rest by themselves

local function consume_again(consumer)
   subscription.wake(consumer)
   local flags = consumer.next_offset and streams.at(consumer.flags, consumer.next_offset) or consumer.flags
   -- RabbitMQ knows a tag again, and counts what is unsettled under it: a lower prefetch would not hold.
   local tag = renewed[consumer] and not consumer.has_own_tag and "" or consumer.tag
   renewed[consumer] = nil
   local reply, err = asking.ask(consumer.channel, C.MR_BASIC_CONSUME, flags, consumer.queue, tag, nil, consumer.number)
   if reply then return subscription.woken(consumer, reply.name) end
   if consumer.state == "starting" then subscription.ended(consumer, "failed", err) end
end

local function must_rest(consumer) return is_wanted or paused[consumer.owner or consumer] ~= nil end

-- One consumer that is not as wanted; nil: all are.
local function next_one()
   local found
   subscription.each(function(consumer)
      if found or consumer.is_service or consumer.is_exit then return end -- running handlers may need them
      local rests, state = must_rest(consumer), consumer.state
      if rests and (state == "consuming" or state == "recovering") or not rests and state == "resting" then found = consumer end
   end)
   return found
end

-- One after the other, so that a second signal finds each of them in one state or the other.
local function apply()
   local consumer = next_one()
   while consumer do
      if must_rest(consumer) then subscription.rest(consumer) else consume_again(consumer) end
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

--- Has one consumer take no more messages, or go on.
-- @tparam table consumer of mr.consumer or of ch:consume
-- @tparam boolean on
function quiet.pause(consumer, on)
   paused[consumer] = on or nil
   begin()
end

--- Has a consumer begin anew at the broker, which heeds some settings only then. What no handler has seen comes again.
-- It gets another tag, unless its tag was given.
-- @tparam table consumer of mr.consumer or of ch:consume
-- @treturn boolean false: it does not consume at the moment
function quiet.renew(consumer)
   local inner = consumer.inner or consumer
   if inner.state ~= "consuming" then return false end
   renewed[inner] = true
   subscription.rest(inner)
   begin()
   return true
end

--- True while this consumer was told to pause.
function quiet.is_paused(consumer) return paused[consumer] ~= nil end

-- A consumer that begins meanwhile rests, too.
subscription.on_started(function()
   if is_wanted or next(paused) then begin() end
end)

loop.on_close(function() is_wanted, is_busy, paused = false, false, setmetatable({}, { __mode = "k" }) end)

return quiet
