--- in_flight: finds running handlers and their places by reading their stacks, so that it costs nothing before.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.base.ffi").C
local errors = require "moonrabbit.base.errors"
local messages = require "moonrabbit.channel.iterator"
local task = require "moonrabbit.loop.task"

local in_flight = {}

local function origin(fn)
   local info = debug.getinfo(fn, "S")
   return ("%s:%d"):format(info.short_src, info.linedefined)
end

local function describe(consumer, msg, began)
   local owner = consumer.owner
   return { queue = consumer.queue, consumer = consumer.tag, tag = msg.delivery_tag, routing_key = msg.routing_key,
      redelivered = msg.redelivered, seconds = began and math.floor((C.mr_now() - began) * 1000) / 1000 or nil,
      origin = origin(owner and owner.options and owner.options.handler or consumer.handler) }
end

--- Calls fn(consumer, msg, began) for each handler that waits.
function in_flight.each(fn)
   local list = {}
   task.each_waiting(function(work) list[#list + 1] = work end)
   for _, work in ipairs(list) do fn(work.consumer, work.message, work.began) end
end

--- The messages being handled: by handlers that wait, and by loops over `messages()`.
-- @treturn table list of {queue, consumer (its tag), tag, routing_key, redelivered, seconds (nil: unknown),
-- origin (FILE:LINE of the handler), at (FILE:LINE of its wait)}; the longest first
function in_flight.list()
   local list = {}
   task.each_waiting(function(work, co)
      local entry = describe(work.consumer, work.message, work.began)
      entry.at = errors.place_in(co)
      list[#list + 1] = entry
   end)
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
