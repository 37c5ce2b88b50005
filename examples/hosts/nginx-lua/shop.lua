-- shop: what the requests of a worker share: a publisher.
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"

local shop = {}

local orders = mr.publisher { routing_key = "orders" }

-- Waits until the broker has the order: only the request that calls it waits.
function shop.order(text) return orders:publish(text, { timeout = 5 }) end

return shop
