--- orders: a store of orders in Tarantool: they come by a queue, are written before the ack, and are looked up by rpc.
-- SPDX-License-Identifier: MIT
--
--    AMQP_URL=amqp://localhost tarantool orders.lua [FOLDER]
--
-- A message is an order as JSON: {"id": 1, "item": "tea", "pieces": 2}. A request in the queue "orders.of" is an item's name; the
-- answer is the number of pieces that were ordered.
-- luacheck: globals box
box.cfg { work_dir = arg[1], log_level = "warn" }
local orders = box.schema.space.create("orders", { if_not_exists = true,
   format = { { "id", "unsigned" }, { "item", "string" }, { "pieces", "unsigned" } } })
orders:create_index("id", { if_not_exists = true })
orders:create_index("item", { if_not_exists = true, parts = { "item" }, unique = false })

local json = require "json"
local mr = require "moonrabbit"
require("moonrabbit.tarantool").start()
local conn = mr.connect()
local stored = mr.publisher { connection = conn, exchange = "amq.topic", routing_key = "orders.stored", mandatory = false }

-- A write waits for the disk, and other orders are handled meanwhile. One may come twice: the second replaces the first.
mr.consumer {
   connection = conn, queue = "orders", decode = function(msg) return json.decode(msg.body) end,
   handler = function(_, order)
      orders:replace { order.id, order.item, order.pieces }
      assert(stored:publish(tostring(order.id)))
   end,
}

mr.rpc.serve { connection = conn, queue = "orders.of", handler = function(item)
   local sum = 0
   for _, order in orders.index.item:pairs(item) do sum = sum + order.pieces end
   return tostring(sum)
end }
