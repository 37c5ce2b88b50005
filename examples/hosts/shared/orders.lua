--- orders: prepares orders, and says so: one script for the command, for nginx and for a game.
-- SPDX-License-Identifier: MIT
--
--   moonrabbit run --set host=command examples/hosts/shared/orders.lua
--   require("moonrabbit.ngx").start { script = "orders.lua", args = { host = "nginx" } }        in init_worker_by_lua_block
--   love examples/hosts/love --orders examples/hosts/shared/orders.lua                         or moonrabbit.love's start { script = }
--
-- All of them share the queue `orders`: each order is handled once. Each one that is done is told of at amq.topic, as
-- orders.done.HOST; the game shows these as parcels.
local mr = require "moonrabbit"

local host = mr.args.host or "command"
local queue = mr.args.queue or "orders"
local done = mr.publisher { exchange = "amq.topic", routing_key = "orders.done." .. host }

mr.consumer {
   queue = queue,
   prefetch = 2, -- the others want some, too
   decode = true,
   handler = function(_, order)
      mr.sleep(0.02) -- the work: only this order waits
      assert(done:publish { id = order.id, queue = queue, host = host })
   end,
}

mr.run() -- until the host stops; the command needs no such call, and heeds it
