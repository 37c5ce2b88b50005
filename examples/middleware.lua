-- middleware: functions around a handler: code for every message of a program, written once.
-- Run it with: moonrabbit run examples/middleware.lua
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local QUEUE = "example.orders"

-- Each gets the message and the next function; it returns that function's result, or another outcome.
local function timing(msg, next)
   local began = mr.now()
   local word, err = next(msg)
   print(("timing: %.1f s"):format(mr.now() - began))
   return word, err
end

local trace = setmetatable({}, { __mode = "k" }) -- message -> the publisher's id, for all output about it
local function tracing(msg, next)
   trace[msg] = msg.headers["x-trace-id"] or "-"
   return next(msg)
end

local seen = {}                                  -- a real program asks a database
local function only_once(msg, next)              -- a broker may deliver a message twice
   local id = msg.properties.message_id
   if id and seen[id] then
      print(("[%s] %s was here before: left out"):format(trace[msg], id))
      return true
   end
   local word, err = next(msg)
   if word == nil and err == nil and id then seen[id] = true end -- it worked
   return word, err
end

local orders = mr.consumer {
   queue = QUEUE,
   prefetch = 1,
   middleware = { timing, tracing },             -- the outermost first
   decode = true,                                -- JSON; other bodies go to the dead letters at once
   handler = function(msg, order)
      print(("[%s] %d x %s"):format(trace[msg], order.count, order.article))
      mr.sleep(order.count / 10)
   end,
}
orders:use(only_once)                            -- one more, inside those

mr.consumer { queue = QUEUE .. ".dead", dead_letter = false, handler = function(msg)
   print("dead: " .. msg.body .. ": " .. msg.headers["x-mr-reason"])
   mr.stop()                                     -- only so that the example ends
end }

local ch = assert(mr.connect():channel())
assert(ch:queue_declare { queue = QUEUE, durable = true })
assert(ch:confirm_select())
local function order(body, id)
   assert(ch:publish("", QUEUE, body, { content_type = "application/json", message_id = id,
      headers = { ["x-trace-id"] = "trace of " .. id } }))
end
order('{"article":"lamp","count":2}', "order-1")
order('{"article":"lamp","count":2}', "order-1")
order("five chairs", "order-2")
