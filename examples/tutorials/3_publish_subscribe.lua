-- 3_publish_subscribe: every subscriber gets every message.
-- Run it with: moonrabbit run examples/tutorials/3_publish_subscribe.lua
-- On RabbitMQ each side can run alone: ... subscribe [NAME] (as many as you like), ... publish [TEXT]
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local side, text = ...                           -- "subscribe" or "publish"; nothing: both
local NEWS = { exchange = "tutorial.news", type = "fanout" } -- an exchange that routes to all bound queues

local left = 2
local function subscribe(name)
   local subscriber = mr.consumer {
      queue = { exclusive = true },              -- its own queue, named by the broker, deleted with the connection
      bindings = { NEWS },                       -- it has a type: the exchange is declared, too
      handler = function(msg)
         print(name .. " reads: " .. msg.body)
         left = left - 1
         if not side and left == 0 then mr.stop() end -- only so that the example ends
      end,
   }
   assert(subscriber:wait())                     -- until the queue is bound: it gets no earlier messages
end

if side == "subscribe" then subscribe(text or "someone") end
if not side then
   subscribe "anna"
   subscribe "ben"
end

if side ~= "subscribe" then
   local ch = assert(mr.connect():channel())
   assert(ch:exchange_declare { exchange = NEWS.exchange, type = NEWS.type, durable = true })
   assert(ch:confirm_select())
   assert(ch:publish(NEWS.exchange, "", side and text or "rain tomorrow"))
   print "published"
   if side then mr.stop() end
end
