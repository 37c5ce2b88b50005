--- order: which queue of a channel goes first while there is room for one message (queue_order_strategy).
-- Feature: the order of queues on Redis
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local build = require "build"
local redis = require "redis"
local waits = require "waits"

if build.is_tsan then return end -- ASan has it all; what runs in two threads is in redis_spec and trouble_spec

local eventually = waits.eventually

-- A consumer that holds its messages until `release` is set; `held` is how many.
local function holding(ch, name)
   local box = { held = 0, release = mr.event() }
   box.consumer = assert(ch:consume(name, function(msg)
      box.held = box.held + 1
      box.release:wait()
      assert(msg:ack())
   end))
   return box
end

-- Consumes 0, b and a with room for one message in all, which that of 0 takes until there are three in b and in a. What came, in
-- its order, as one text and as a list.
local function order(query)
   local conn = assert(mr.connect(redis.env.MR_REDIS_URL .. query))
   local ch, writer = assert(conn:channel()), assert(conn:channel())
   assert(writer:confirm_select())
   finally(function() conn:close() end)
   local got = {}
   assert(ch:qos { prefetch_count = 1, global = true })
   for _, name in ipairs { "0", "b", "a" } do assert(ch:queue_declare { queue = name, durable = true }) end
   assert(writer:publish("", "0", "first"))
   local first = holding(ch, "0")
   eventually("the first one", function() return first.held == 1 end)
   for _, name in ipairs { "b", "a" } do
      assert(ch:consume(name, function(msg)
         got[#got + 1] = name
         assert(msg:ack())
      end))
   end
   for _ = 1, 3 do
      assert(writer:publish("", "a", "m"))
      assert(writer:publish("", "b", "m"))
   end
   assert.same({}, got)
   first.release:set()
   eventually("all of them", function() return #got == 6 end)
   return table.concat(got), ch, writer, got
end

describe("The order of the queues of a channel", function()
   redis.around(setup, teardown)
   before_each(function() redis.cli "FLUSHALL" end)

   for _, query in ipairs { "", "?queue_order_strategy=round_robin" } do
      it("is in turn with " .. query, function()
         local said = order(query)
         assert.is_nil(said:find "aaa", said)
         assert.is_nil(said:find "bbb", said)
      end)
   end

   it("is that of their names, if it is sorted", function() assert.equal("aaabbb", (order "?queue_order_strategy=sorted")) end)

   it("is that of their consumers by priority, and what comes later to the first one goes first, too", function()
      local said, _, writer, got = order "?queue_order_strategy=priority"
      assert.equal("bbbaaa", said)
      for _ = 1, 300 do assert(writer:publish_async("", "a", "m")) end
      eventually("some", function() return #got > 10 end)
      assert(writer:publish("", "b", "m"))
      eventually("all of them", function() return #got == 307 end)
      assert.is_true(table.concat(got):find("b", 7, true) < 307)
   end)

   it("leaves a queue that has room of its own to itself", function()
      local conn = assert(mr.connect(redis.env.MR_REDIS_URL .. "?queue_order_strategy=priority"))
      local ch = assert(conn:channel())
      finally(function() conn:close() end)
      for _, name in ipairs { "b", "a" } do assert(ch:queue_declare { queue = name, durable = true }) end
      for _, name in ipairs { "b", "b", "a" } do assert(ch:publish("", name, "m")) end
      assert(ch:qos { prefetch_count = 1 })
      local first = holding(ch, "b")
      eventually("the first one", function() return first.held == 1 end)
      local got
      assert(ch:consume("a", function(msg) got = msg:ack() end)) -- the consumer of b is full
      eventually("the other one", function() return got end)
      assert.equal("1", redis.cli("LLEN", "b"))
   end)

   -- More than the broker hands out in one turn: the first queue is still at it when the second one is asked, in most rounds.
   it("goes on when the first one is full after a long while", function()
      local conn = assert(mr.connect(redis.env.MR_REDIS_URL .. "?queue_order_strategy=priority&health_check_interval=21"))
      local writer = assert(conn:channel())
      finally(function() conn:close() end)
      assert(writer:confirm_select())
      for _, name in ipairs { "y", "z" } do assert(writer:queue_declare { queue = name, durable = true }) end
      assert(writer:exchange_declare { exchange = "x", type = "fanout" }) -- its messages are all here
      assert(writer:queue_bind { queue = "y", exchange = "x" })
      for _ = 1, 4 do
         for _ = 1, 20000 do assert(writer:publish_async("x", "", "m")) end
         assert(writer:wait_for_confirms(30))
         eventually("the copies", function()
            return assert(writer:queue_declare { queue = "y", passive = true }).message_count == 20000
         end)
         assert(writer:publish("", "z", "m"))
         local ch, first, got = assert(conn:channel()), nil, nil
         assert(ch:qos { prefetch_count = 18000 })
         mr.spawn(function() first = holding(ch, "y") end)
         mr.spawn(function() assert(ch:consume("z", function(msg) got = msg:ack() end)) end)
         eventually("the other one", function() return got end)
         assert(ch:close())
         first.release:set()
         assert(writer:queue_purge { queue = "y" })
      end
   end)

   it("goes on when a consumer ends", function()
      local _, ch, writer, got = order "?queue_order_strategy=priority"
      assert(ch:queue_declare { queue = "last", durable = true })
      local last = holding(ch, "last")
      assert(writer:publish("", "last", "m"))
      eventually("the last one", function() return last.held == 1 end)
      assert(writer:publish("", "a", "m"))
      assert(last.consumer:cancel())
      last.release:set()
      eventually("the other one", function() return #got == 7 end)
   end)
end)
