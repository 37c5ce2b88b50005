-- 4_routing: each reader chooses the kinds of message that it gets.
-- Run it with: moonrabbit run examples/tutorials/4_routing.lua
-- On RabbitMQ each side can run alone: ... read LEVEL..., ... write LEVEL TEXT
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local args = { ... }
local side = table.remove(args, 1)               -- "read" or "write"; nothing: both
local LOGS = "tutorial.logs"

local left = 3
local function read(name, levels)
   local bindings = {}
   for i, level in ipairs(levels) do             -- one binding for each kind; a direct exchange compares whole keys
      bindings[i] = { exchange = LOGS, type = "direct", routing_key = level }
   end
   local reader = mr.consumer { queue = { exclusive = true }, bindings = bindings, handler = function(msg)
      print(("%s: %s: %s"):format(name, msg.routing_key, msg.body))
      left = left - 1
      if not side and left == 0 then mr.stop() end -- only so that the example ends
   end }
   assert(reader:wait())
end

if side == "read" then read("reader", #args > 0 and args or { "error", "warn" }) end
if not side then
   read("pager", { "error" })
   read("file", { "error", "warn" })
end

if side ~= "read" then
   local ch = assert(mr.connect():channel())
   assert(ch:exchange_declare { exchange = LOGS, type = "direct", durable = true })
   assert(ch:confirm_select())
   local function write(level, text)             -- mandatory: an error if no queue takes it
      local ok, err = ch:publish(LOGS, level, text, { mandatory = true })
      if not ok then print(("%s: nobody reads this (%s)"):format(level, err.kind)) end
   end
   if side then
      write(args[1] or "error", args[2] or "disk full")
      mr.stop()
   else
      write("debug", "tick")
      write("warn", "disk at 90 %")
      write("error", "disk full")
   end
end
