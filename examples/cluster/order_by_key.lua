-- order_by_key: many machines, and yet the orders of each customer in their order: a consistent-hash exchange.
-- Run it with: AMQP_URL=... moonrabbit run examples/cluster/order_by_key.lua
-- It needs RabbitMQ with a plugin: rabbitmq-plugins enable rabbitmq_consistent_hash_exchange
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local EXCHANGE, PARTS = "example.customers", 4

local parts = { exchanges = { { exchange = EXCHANGE, type = "x-consistent-hash" } }, queues = {}, bindings = {} }
for n = 1, PARTS do
   local name = EXCHANGE .. "." .. n
   parts.queues[n] = { queue = name, queue_type = "quorum", arguments = { ["x-single-active-consumer"] = true } }
   parts.bindings[n] = { queue = name, exchange = EXCHANGE, routing_key = "10" } -- its weight
end
parts = mr.topology(parts)

local customers = { "anna", "ben", "carla", "dora", "emil" }
local got, left = {}, 3 * #customers
local function machine()
   local conn = mr.connect()                        -- here: two machines in one program
   for n = 1, PARTS do                              -- each consumes all parts; each part has one active consumer
      assert(mr.consumer {
         queue = EXCHANGE .. "." .. n,
         declare = false,
         topology = parts,
         connection = conn,
         concurrency = 1,
         retry = false,
         handler = function(msg)
            local customer = msg.routing_key
            got[customer] = (got[customer] or customer .. ":") .. " " .. msg.body
            left = left - 1
         end,
      }:wait())
   end
end

machine()
machine()

local out = mr.publisher { exchange = EXCHANGE, topology = parts }
for n = 1, 3 do
   for _, customer in ipairs(customers) do          -- the hash of the routing key chooses the part
      assert(out:publish("order " .. n, { routing_key = customer }))
   end
end
while left > 0 do mr.sleep(0.01) end
for _, customer in ipairs(customers) do print(got[customer]) end
mr.stop()
