-- Works on orders and answers for prices: in the workers of nginx, or by `moonrabbit run --set queue=orders consumers.lua`.
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"

local conn = mr.connect()
assert(conn:ensure_connection { interval_start = 0.2 }) -- nginx may be up before the broker is

mr.consumer {
   queue = mr.args.queue,
   connection = conn,
   handler = function(msg)
      mr.sleep(0.1)                    -- the work; nginx goes on with its requests
      mr.log.info("worked on", { order = msg.body })
   end,
}

local prices = { apple = 2, pear = 3 }
assert(mr.rpc.serve { queue = "prices", connection = conn, handler = function(fruit) return prices[fruit], "no such fruit" end })

mr.run()                               -- in nginx it returns when the worker leaves
mr.log.info("closing time")
