--- cli.doing: whether the script is ready for its work, and a line on what it does: for the service manager.
-- SPDX-License-Identifier: MIT
local connection = require "moonrabbit.connection.connection"
local generation = require "moonrabbit.loop.generation"
local handling = require "moonrabbit.channel.delivery"
local lifecycle = require "moonrabbit.consumer.lifecycle"
local quiet = require "moonrabbit.program.quiet"
local shutdown = require "moonrabbit.program.shutdown"
local stop = require "moonrabbit.loop.stop"
local subscription = require "moonrabbit.channel.subscription"

-- What mr.consumer and ch:consume have made: all, and those that the broker knows.
local function consumers()
   local all, known = 0, 0
   local function count(is_known) all, known = all + 1, known + (is_known and 1 or 0) end
   for _, worker in ipairs(lifecycle.list()) do count(worker.state == "consuming") end
   subscription.each(function(consumer)
      if consumer.owner or consumer.is_exit or consumer.is_service then return end
      count(consumer.state == "consuming" or consumer.state == "resting")
   end)
   return all, known
end

local function connections()
   local all, open, trouble = 0, 0, nil
   connection.each(function(conn)
      if conn.state == "idle" or conn.state == "closed" then return end
      all = all + 1
      if conn.is_open then open = open + 1 elseif conn.last_error then trouble = conn.last_error.text end
   end)
   return all, open, trouble
end

local function count(n, word) return ("%d %s%s"):format(n, word, n == 1 and "" or "s") end

--- Ready is a script whose connections are open and whose consumers consume; if its main chunk goes on, at least one does.
-- @treturn boolean
-- @treturn string
return function()
   local all, known = consumers()
   local wanted, open, trouble = connections()
   local is_ready = known == all and open == wanted and (known > 0 or not generation.is_loading())
   if stop.is_asked() then
      return false, ("stopping: %s at work, %s not confirmed"):format(count(handling.running, "handler"),
         count(shutdown.outstanding(), "publish"))
   elseif open < wanted then
      return is_ready, ("%d of %s open%s"):format(open, count(wanted, "connection"), trouble and ": " .. trouble or "")
   elseif known < all then
      return is_ready, ("%d of %s at the broker"):format(known, count(all, "consumer"))
   end
   return is_ready, (quiet.is_on() and "taking no more messages: " or "") .. count(all, "consumer") .. ", " ..
      count(open, "connection")
end
