--- iterator: reads a consumer's messages in a loop instead of by a handler.
-- SPDX-License-Identifier: MIT
local each = require "moonrabbit.base.each"
local loop = require "moonrabbit.loop.loop"
local message = require "moonrabbit.channel.message"
local subscription = require "moonrabbit.channel.subscription"
local task = require "moonrabbit.loop.task"
local time_limit = require "moonrabbit.loop.time_limit"

local messages = {}

local new_message = message.new
local ENDED = { starting = true, cancelled = true, failed = true }
local in_hand = setmetatable({}, { __mode = "k" })  -- consumer -> the last message it gave

local function next_message(consumer)
   in_hand[consumer] = nil
   loop.give_way()
   while true do
      local d = subscription.take_held(consumer)
      if d then
         local msg = new_message(d, consumer.channel, true)
         if consumer.no_ack then message.detach(msg) end
         in_hand[consumer] = msg
         return msg
      end
      if ENDED[consumer.state] then return nil, consumer.err end
      local token = task.token()
      table.insert(consumer.readers, token)
      time_limit.wait(token, true)
   end
end

--- The function that a `for` calls: returns a message, or nil and the reason why the consumer has ended (nil if it was
-- cancelled), which is also in `consumer.err`.
function messages.iterator(consumer)
   return function() return next_message(consumer) end
end

--- Calls fn(consumer, msg) for each message that a loop over `messages()` currently handles.
function messages.each_in_hand(fn)
   for consumer, msg in each(in_hand) do
      if consumer.no_ack or message.is_held(msg) then fn(consumer, msg) end
   end
end

--- True while a loop over `messages()` handles a message.
function messages.is_in_hand()
   for consumer, msg in each(in_hand) do
      if consumer.no_ack or message.is_held(msg) then return true end
   end
   return false
end

loop.on_close(function()
   for consumer in each(in_hand) do in_hand[consumer] = nil end
end)

return messages
