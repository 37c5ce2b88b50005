--- lag: checks the number of messages that wait in the queues consumed by this program.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.base.ffi").C
local loop = require "moonrabbit.loop.loop"
local options = require "moonrabbit.base.options"
local subscription = require "moonrabbit.channel.subscription"

local lag = {}

--- The options of a lag check: nil if it does not change, or is disabled.
-- @tparam ?number|table|boolean given
function lag.options(given)
   if given == nil or given == false then return nil end
   if given == true then options.blame('option "lag" needs a number of messages') end
   if type(given) == "number" then given = { max = given } end
   options.check(given, { max = "number", every = "number", timeout = "number" }, { "max" })
   local o = { max = given.max, every = given.every or 30, timeout = given.timeout or 5 }
   if o.max < 0 or o.every <= 0 or o.timeout <= 0 then
      options.blame('option "lag": max must not be negative, every and timeout must be more than 0')
   end
   return o
end

local function meter_of(queue) return C.mr_meter_of(loop.runtime(), queue, #queue) end

-- The queues, each with an open connection that consumes it: other checks report lost connections.
local function queues()
   local list, seen = {}, {}
   subscription.each(function(consumer)
      local conn = consumer.channel.connection
      if consumer.is_service or consumer.is_exit then return end -- answers to remote calls do not wait in a queue
      if seen[consumer.queue] or consumer.state ~= "consuming" or not conn.is_open then return end
      seen[consumer.queue] = true
      list[#list + 1] = { name = consumer.queue, connection = conn }
   end)
   return list
end

-- Asks on a separate channel for each request, because a missing queue closes the channel.
local function count(queue)
   local ch, err = queue.connection:channel()
   if not ch then return nil, err end
   local answer
   answer, err = ch:queue_declare { queue = queue.name, passive = true }
   if ch.is_open then ch:close() end
   return answer and answer.message_count, err
end

--- Makes the check: at most `max` messages wait in each queue that this program consumes.
function lag.check(max)
   return function()
      local behind, most = {}, nil
      for _, queue in ipairs(queues()) do
         local messages, err = count(queue)
         local meter = meter_of(queue.name)
         if meter ~= nil then C.mr_meter_messages(meter, messages or -1) end
         if not messages then behind[#behind + 1] = ("%s: not known: %s"):format(queue.name, tostring(err))
         elseif messages > max then
            behind[#behind + 1] = ("%s: %d messages wait, the limit is %d"):format(queue.name, messages, max)
         end
         most = math.max(most or 0, messages or 0)
      end
      if #behind > 0 then return false, table.concat(behind, "; ") end
      return true, most and ("%d messages wait at most"):format(most) or "no consumer to look after"
   end
end

return lag
