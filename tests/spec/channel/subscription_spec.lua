--- subscription: deliveries to handlers, with a C library that only notes how they were settled.
-- Covers: lua/moonrabbit/channel/delivery.lua by mr_meter_handled
-- Covers: lua/moonrabbit/channel/iterator.lua by is_in_hand
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local lib = require "moonrabbit.base.ffi"

local settled, lines               -- what became of deliveries, by tag; what was logged
local WORDS = { [0] = "ack", "nack", "reject" }
local fake = setmetatable({
   mr_delivery_settle = function(_, d, how, flags)
      if bit.band(d.flags, 4) == 0 then
         settled[tonumber(d.tag)] = WORDS[how] .. (bit.band(flags, 2) ~= 0 and "+requeue" or "")
      end
      d.flags = bit.bor(d.flags, 4)
      if bit.band(flags, 4) ~= 0 then d.generation = d.generation + 1 end
      return 0
   end,
   mr_delivery_release = function(_, d) d.generation = d.generation + 1 end,
   mr_runtime_free = function() end,
   mr_meter_of = function() end,
   mr_meter_handled = function() end,
}, { __index = lib.C })

package.loaded["moonrabbit.base.ffi"] = { C = fake, version = lib.version }
for _, name in ipairs { "loop.loop", "channel.message", "channel.timing", "channel.delivery", "channel.subscription",
   "loop.log", "loop.task" } do
   package.loaded["moonrabbit." .. name] = nil
end
package.loaded["moonrabbit.loop.log"] = { error = function(text, fields) lines[#lines + 1] = { text, fields } end }
package.loaded["moonrabbit.channel.request"] = { done = require("moonrabbit.channel.request").done,
   ask = function(channel, _, _, _, tag) -- of cancels only
      table.insert(channel.cancelled, tag)
      return {}
   end }
local loop, task = require "moonrabbit.loop.loop", require "moonrabbit.loop.task"
local deliver
local set_delivery = loop.set_delivery
loop.set_delivery = function(fn)
   deliver = fn
   set_delivery(fn)
end
local handling = require "moonrabbit.channel.delivery"
local messages = require "moonrabbit.channel.iterator"
local subscription = require "moonrabbit.channel.subscription"
package.loaded["moonrabbit.base.ffi"] = lib
loop.runtime = function() return nil end

local keep = {}
local function delivery(consumer, tag)
   local d = ffi.new "mr_delivery"
   keep[#keep + 1] = d
   d.body, d.body_size = "x", 1
   d.exchange, d.routing_key, d.routing_key_size = "", "key", 3
   d.tag, d.generation, d.consumer = tag, 1, consumer.number
   return d
end

-- As the dispatcher does: each in a worker, so that a handler may wait.
local function receive(consumer, ...)
   for _, tag in ipairs { ... } do task.start(deliver, delivery(consumer, tag)) end
end

local function start(handler, opts)
   local channel = { consumers = {}, cancelled = {} }
   local consumer = subscription.new(channel, "q", handler, opts or {})
   subscription.started(consumer, "tag")
   if not (opts and opts.is_new) then task.run_ready() end
   return consumer, channel
end

describe("a consumer", function()
   before_each(function()
      settled, lines, keep = {}, {}, {}
      task.reset()
      task.set_must_stop(function() return false end)
   end)

   it("acks what its handler returns from", function()
      local got = {}
      local consumer = start(function(msg) got[#got + 1] = msg.body .. msg.delivery_tag end)
      receive(consumer, 1, 2)
      assert.same({ "x1", "x2" }, got)
      assert.same({ "ack", "ack" }, settled)
   end)

   it("gives back what its handler fails on, and logs where it came from", function()
      local consumer = start(function() error "oops" end)
      receive(consumer, 1)
      assert.same({ "nack+requeue" }, settled)
      local fields = lines[1][2]
      assert.same({ "q", "", "key", 1, false }, { fields.queue, fields.exchange, fields.routing_key, fields.tag,
         fields.redelivered })
      assert.is_truthy(fields.error:find("subscription_spec.lua:%d+: oops\nstack traceback:"))
   end)

   it("keeps what comes until the program has gone on with it", function()
      local got, token = {}, task.token()
      local consumer = start(function(msg)
         got[#got + 1] = msg.delivery_tag
         if msg.delivery_tag == 1 then task.wait(token) end
      end, { is_new = true, concurrency = 2 })
      receive(consumer, 1, 2, 3)
      assert.same({}, got)
      task.run_ready()
      assert.same({ 1, 2, 3 }, got)
      assert.same({ nil, "ack", "ack" }, settled)
      task.wake(token)
      task.run_ready()
      assert.same({ "ack", "ack", "ack" }, settled)
   end)

   it("leaves alone what its handler settled", function()
      local consumer = start(function(msg)
         msg:reject()
         if msg.delivery_tag == 2 then error "oops" end
      end)
      receive(consumer, 1, 2)
      assert.same({ "reject", "reject" }, settled)
   end)

   it("goes on while handlers wait", function()
      local tokens = {}
      local consumer = start(function(msg)
         tokens[msg.delivery_tag] = task.token()
         task.wait(tokens[msg.delivery_tag])
      end)
      receive(consumer, 1, 2, 3)
      assert.equal(3, handling.running)
      task.wake(tokens[2])
      task.run_ready()
      assert.same({ [2] = "ack" }, settled)
      assert.equal(2, consumer.running)
   end)

   it("keeps to its concurrency, oldest first", function()
      local order, tokens = {}, {}
      local consumer = start(function(msg)
         order[#order + 1] = msg.delivery_tag
         tokens[msg.delivery_tag] = task.token()
         task.wait(tokens[msg.delivery_tag])
      end, { concurrency = 2 })
      receive(consumer, 1, 2, 3, 4)
      assert.same({ 1, 2 }, order)
      task.wake(tokens[1])
      task.run_ready()
      assert.same({ 1, 2, 3 }, order)
      for tag = 2, 4 do
         task.wake(tokens[tag])
         task.run_ready()
      end
      assert.same({ 1, 2, 3, 4 }, order)
      assert.same({ "ack", "ack", "ack", "ack" }, settled)
   end)

   describe("whose concurrency is changed", function()
      local order, tokens
      before_each(function() order, tokens = {}, {} end)

      local function begin(concurrency)
         return start(function(msg)
            order[#order + 1] = msg.delivery_tag
            tokens[msg.delivery_tag] = task.token()
            task.wait(tokens[msg.delivery_tag])
         end, { concurrency = concurrency })
      end
      local function ends(...)
         for _, tag in ipairs { ... } do task.wake(tokens[tag]) end
         task.run_ready()
      end

      it("runs more at once, what waits before what comes", function()
         local consumer = begin(1)
         receive(consumer, 1, 2, 3, 4)
         subscription.limit(consumer, 3)
         receive(consumer, 5)
         assert.same({ 1 }, order)
         task.run_ready()
         assert.same({ 1, 2, 3 }, order)
         subscription.limit(consumer, false)
         task.run_ready()
         receive(consumer, 6)
         assert.same({ 1, 2, 3, 4, 5, 6 }, order)
         ends(1, 2, 3, 4, 5, 6)
         assert.same({ "ack", "ack", "ack", "ack", "ack", "ack" }, settled)
      end)

      it("runs less at once when those that run have ended", function()
         local consumer = begin(2)
         receive(consumer, 1, 2, 3, 4)
         subscription.limit(consumer, 1)
         ends(1)
         assert.same({ 1, 2 }, order)
         ends(2)
         assert.same({ 1, 2, 3 }, order)
         ends(3)
         assert.same({ 1, 2, 3, 4 }, order)
      end)

      it("goes on with what waits when those that began without a limit have ended", function()
         local consumer = begin()
         receive(consumer, 1, 2)
         subscription.limit(consumer, 1)
         receive(consumer, 3, 4)
         ends(1)
         assert.same({ 1, 2 }, order)
         ends(2)
         assert.same({ 1, 2, 3 }, order)
         ends(3)
         assert.same({ 1, 2, 3, 4 }, order)
      end)
   end)

   it("returns what no handler has seen when it is cancelled, also from within a handler", function()
      local consumer, channel
      consumer, channel = start(function(msg)
         if msg.delivery_tag == 1 then task.wait(task.token()) end
         assert(consumer:cancel())
      end, { concurrency = 1 })
      receive(consumer, 1, 2, 3)
      assert.is_true(consumer:cancel())
      assert.same({ "tag" }, channel.cancelled)
      assert.same({ [2] = "nack+requeue", [3] = "nack+requeue" }, settled)
      assert.equal("cancelled", consumer.state)
      assert.is_true(consumer:cancel())
      assert.equal(1, #channel.cancelled)
   end)

   it("gives back what comes after its end", function()
      local consumer = start(function() end)
      consumer:cancel()
      receive(consumer, 1)
      assert.same({ "nack+requeue" }, settled)
   end)

   it("keeps the program going while it consumes, and only then", function()
      local before = loop.holds
      local consumer = start(function() end)
      assert.equal(before + 1, loop.holds)
      subscription.ended(consumer, "failed", "why")
      subscription.ended(consumer, "failed", "why")
      assert.equal(before, loop.holds)
      assert.same({ "failed", "why" }, { consumer.state, consumer.err })
   end)
end)

describe("an iterator", function()
   before_each(function()
      settled, lines, keep = {}, {}, {}
      task.reset()
   end)

   it("gives messages that the loop settles, and ends when it is cancelled", function()
      local consumer = start(nil)
      local next_one = messages.iterator(consumer)
      local got, ended = {}, false
      task.spawn(function()
         for msg in next_one do
            got[#got + 1] = msg.delivery_tag
            if msg.delivery_tag < 3 then msg:ack() end
         end
         ended = true
      end)
      receive(consumer, 1, 2, 3)
      task.run_ready()
      assert.same({ 1, 2, 3 }, got)
      assert.same({ "ack", "ack" }, settled)
      assert.is_true(messages.is_in_hand() == false) -- it waits for the next one
      consumer:cancel()
      task.run_ready()
      assert.is_true(ended)
      assert.is_nil(consumer.err)
   end)

   it("tells why it ended", function()
      local consumer = start(nil)
      local msg, why
      task.spawn(function() msg, why = messages.iterator(consumer)() end)
      subscription.ended(consumer, "failed", "gone")
      task.run_ready()
      assert.is_nil(msg)
      assert.equal("gone", why)
      assert.equal("gone", consumer.err)
   end)

   it("returns what was not read when it ends", function()
      local consumer = start(nil)
      receive(consumer, 1, 2)
      messages.iterator(consumer)():ack()
      consumer:cancel()
      assert.same({ "ack", "nack+requeue" }, settled)
      assert.is_nil((messages.iterator(consumer)()))
   end)

   it("may be read by several tasks, each message by one", function()
      local consumer = start(nil)
      local next_one, by = messages.iterator(consumer), {}
      for reader = 1, 3 do
         task.spawn(function()
            for msg in next_one do
               by[reader] = (by[reader] or 0) + 1
               msg:ack()
            end
         end)
      end
      for tag = 1, 6, 2 do
         receive(consumer, tag, tag + 1)
         task.run_ready()
      end
      assert.equal(6, #settled)
      assert.equal(6, (by[1] or 0) + (by[2] or 0) + (by[3] or 0))
      assert.is_true(#by > 1)
   end)

   it("has a message in hand from giving it to its settlement", function()
      local consumer = start(nil)
      receive(consumer, 1)
      local msg = messages.iterator(consumer)()
      assert.is_true(messages.is_in_hand())
      msg:ack()
      assert.is_false(messages.is_in_hand())
   end)
end)
