--- in_flight: finds running handlers and their places by reading their stacks, so that it costs nothing before.
-- SPDX-License-Identifier: MIT
-- Storing each message when its handler begins would cost a tenth of the CPU time of a message: the compiler allocates no
-- table for a message that only its handler sees.
local C = require("moonrabbit.base.ffi").C
local errors = require "moonrabbit.base.errors"
local handling = require "moonrabbit.channel.delivery"
local message = require "moonrabbit.channel.message"
local messages = require "moonrabbit.channel.iterator"
local task = require "moonrabbit.loop.task"

local in_flight = {}

local LEVELS = 60 -- of a stack that are looked at

-- The locals of handling.handle in a suspended coroutine, and the level that it is at; nil: it runs no handler.
local function frame_of(co)
   for level = 0, LEVELS do
      local info = debug.getinfo(co, level, "f")
      if not info then return nil end
      if info.func == handling.handle then
         local found, i = {}, 1
         local name, value = debug.getlocal(co, level, i)
         while name do
            found[name] = value
            i = i + 1
            name, value = debug.getlocal(co, level, i)
         end
         return found, level
      end
   end
end

local function origin(fn)
   local info = debug.getinfo(fn, "S")
   return ("%s:%d"):format(info.short_src, info.linedefined)
end

local function describe(consumer, msg, began)
   local owner = consumer.owner
   local message_id, correlation_id = message.ids(msg)
   return { message_id = message_id, correlation_id = correlation_id, queue = consumer.queue, consumer = consumer.tag,
      tag = msg.delivery_tag, routing_key = msg.routing_key,
      redelivered = msg.redelivered, seconds = began and math.floor((C.mr_now() - began) * 1000) / 1000 or nil,
      origin = origin(owner and owner.options and owner.options.handler or consumer.handler) }
end

--- Calls fn(consumer, msg, began) for each handler that waits.
function in_flight.each(fn)
   local list = {}
   task.each_waiting(function(co)
      local frame = frame_of(co)
      if frame and frame.msg then list[#list + 1] = frame end
   end)
   for _, frame in ipairs(list) do fn(frame.consumer, frame.msg, frame.began) end
end

--- The handlers that wait, the longest first.
-- @treturn table list of {entry (as of list), msg, traceback (function: the script's part of its stack)}
function in_flight.waiting()
   local list = {}
   task.each_waiting(function(co)
      local frame, level = frame_of(co)
      if not frame or not frame.msg then return end
      local entry = describe(frame.consumer, frame.msg, frame.began)
      entry.at = errors.place_in(co, level)
      list[#list + 1] = { entry = entry, msg = frame.msg, traceback = function() return errors.stack_in(co, level) end }
   end)
   table.sort(list, function(a, b) return (a.entry.seconds or 0) > (b.entry.seconds or 0) end)
   return list
end

--- The messages being handled: by handlers that wait, and by loops over `messages()`.
-- @treturn table list of {queue, consumer (its tag), tag, message_id, correlation_id,
-- routing_key, redelivered, seconds (nil: unknown), origin (FILE:LINE of the handler), at (FILE:LINE of its wait)}; the longest first
function in_flight.list()
   local list = {}
   for _, one in ipairs(in_flight.waiting()) do list[#list + 1] = one.entry end
   messages.each_in_hand(function(consumer, msg)
      list[#list + 1] = { queue = consumer.queue, consumer = consumer.tag, tag = msg.delivery_tag,
         routing_key = msg.routing_key, redelivered = msg.redelivered }
   end)
   table.sort(list, function(a, b)
      local x, y = a.seconds or 0, b.seconds or 0
      if x ~= y then return x > y end
      return a.tag < b.tag
   end)
   return list
end

return in_flight
