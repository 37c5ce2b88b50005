-- 5_topics: readers choose by a pattern of words: * is one word, # is any number of them.
-- Run it with: moonrabbit run examples/tutorials/5_topics.lua
-- On RabbitMQ each side can run alone: ... read PATTERN..., ... write KEY TEXT
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local args = { ... }
local side = table.remove(args, 1)               -- "read" or "write"; nothing: both
local EVENTS = "tutorial.events"

local left = 4
local function read(name, patterns)
   local bindings = {}
   for i, pattern in ipairs(patterns) do
      bindings[i] = { exchange = EVENTS, type = "topic", routing_key = pattern }
   end
   local reader = mr.consumer { queue = { exclusive = true }, bindings = bindings, handler = function(msg)
      print(("%s: %s"):format(name, msg.routing_key))
      left = left - 1
      if not side and left == 0 then mr.stop() end -- only so that the example ends
   end }
   assert(reader:wait())
end

if side == "read" then read("reader", #args > 0 and args or { "#" }) end
if not side then
   read("orders", { "order.#" })
   read("whatever is new", { "*.created" })
end

if side ~= "read" then
   local ch = assert(mr.connect():channel())
   assert(ch:exchange_declare { exchange = EVENTS, type = "topic", durable = true })
   assert(ch:confirm_select())
   if side then
      assert(ch:publish(EVENTS, args[1] or "order.created", args[2] or ""))
      mr.stop()
   else
      for _, key in ipairs { "user.deleted", "order.paid.late", "order.created", "user.created" } do
         assert(ch:publish(EVENTS, key, ""))
      end
   end
end
