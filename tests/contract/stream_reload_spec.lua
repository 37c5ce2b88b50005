--- A reload, and consumers of a stream: where the new ones begin, and what keeps the offset from then on. RabbitMQ only.
local broker = require "broker"
local generation = require "moonrabbit.loop.generation"
local exchange = require "swapping"
local mr = require "moonrabbit"
local swap = require "moonrabbit.program.swap"
local task = require "moonrabbit.loop.task"

local eventually = broker.eventually

describe("a reload", function()
   local q, out, kept
   before_each(function()
      mr.log.configure "error"
      q, out, kept = broker.name "stream", broker.channel(), {}
   end)
   after_each(function()
      generation.drop()
      broker.close_all()
      mr.log.configure "warn"
   end)

   local function publish(first, last)
      for n = first, last do assert(out:publish("", q, tostring(n))) end
      assert(out:wait_for_confirms(10))
   end
   local function make(conn, opts)
      opts.name = "mine"
      opts.offset = "first"
      opts.save_every = 0.05
      opts.store = { load = function(name) return kept[name] end, save = function(name, offset) kept[name] = offset return true end }
      local handler = opts.handler
      opts.handler = nil
      return mr.consumer { queue = q, connection = conn, concurrency = 1, dead_letter = false, stream = opts, handler = handler }
   end

   broker.it_rabbitmq(it, "hands over where a consumer of a stream is; its offset is kept from then on, too", function()
      assert(out:queue_declare { queue = q, durable = true, arguments = { ["x-queue-type"] = "stream" } })
      assert(out:confirm_select())
      local conn, seen, new = broker.connect(), {}, nil
      local function handler(word)
         return function(msg) seen[#seen + 1] = word .. msg.body end
      end
      publish(0, 2)
      make(conn, { handler = handler "old " })
      eventually("the first ones, kept", function() return kept.mine == 2 end)
      assert.same({ 1, 0, 0 }, { exchange(function() new = make(conn, { handler = handler "new " }) end) })
      publish(3, 5)
      eventually("the next ones, kept", function() return kept.mine == 5 end)
      assert.equal(5, new.offset)
      assert.same({ "old 0", "old 1", "old 2", "new 3", "new 4", "new 5" }, seen)
      new:cancel()
      out:queue_delete { queue = q }
   end)

   broker.it_rabbitmq(it, "with other options begins another one, where the handlers of the old one have ended", function()
      assert(out:queue_declare { queue = q, durable = true, arguments = { ["x-queue-type"] = "stream" } })
      assert(out:confirm_select())
      local conn, seen, new, may_end = broker.connect(), {}, nil, false
      publish(0, 2)
      make(conn, { handler = function(msg)
         while msg.body == "2" and not may_end do mr.sleep(0.01) end
         seen[#seen + 1] = "old " .. msg.body
      end })
      eventually("two, kept", function() return kept.mine == 1 end)
      task.spawn(function()
         local staged = generation.stage()
         new = mr.consumer { queue = q, connection = conn, concurrency = 1, prefetch = 7, dead_letter = false, handler = function(msg)
            seen[#seen + 1] = "new " .. msg.body
         end, stream = { name = "mine", offset = "next", save_every = 0.05, store = {
            load = function(name) return kept[name] end,
            save = function(name, offset) kept[name] = offset return true end } } }
         generation.chunk_ended()
         swap.run(swap.plan(staged.workers))
      end)
      mr.sleep(0.1) -- in this time it would have begun
      may_end = true
      publish(3, 4)
      eventually("all, kept", function() return kept.mine == 4 end)
      assert.same({ "old 0", "old 1", "old 2", "new 3", "new 4" }, seen)
      new:cancel()
      out:queue_delete { queue = q }
   end)
end)
