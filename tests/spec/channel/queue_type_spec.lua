--- queue_type: an option of every declaration, checked when it is made; a default of the process.
local mr = require "moonrabbit"
local embedded = require "embedded"
local queue_type = require "moonrabbit.channel.queue_type"

local function refuses(pattern, fn, ...)
   local ok, why = pcall(fn, ...)
   assert.is_false(ok)
   assert.matches(pattern, tostring(why), nil, true)
end

local function topology_of(queue) return mr.topology { queues = { queue } }.queues[1] end
local function consume(opts)
   opts.handler = function() end
   return mr.consumer(opts)
end

describe("queue_type", function()
   after_each(function()
      mr.defaults { queue_type = false }
      embedded.close_all()
   end)

   it("is x-queue-type in each declaration", function()
      assert.same({ queue = "a", durable = true, arguments = { ["x-queue-type"] = "quorum", ["x-delivery-limit"] = 3 } },
         topology_of { queue = "a", queue_type = "quorum", delivery_limit = 3 })
      assert.same({ queue = "a", durable = true, arguments = { ["x-queue-type"] = "stream" } },
         queue_type.put { queue = "a", durable = true, queue_type = "stream" })
      assert.is_true(queue_type.put({ queue = "a", queue_type = "quorum" }).durable) -- it is always
      local given = { queue = "a", durable = true }
      assert.equal(given, queue_type.put(given)) -- without a type nothing changes
      assert.same({ queue = "a", passive = true }, queue_type.put { queue = "a", passive = true, queue_type = "quorum" })
   end)

   it("is said once, and is one of three", function()
      refuses('did you mean "quorum"', topology_of, { queue = "a", queue_type = "quorun" })
      refuses("say it once", topology_of, { queue = "a", queue_type = "quorum", arguments = { ["x-queue-type"] = "classic" } })
      refuses("say it once", consume, { queue = { queue = "a", queue_type = "classic" }, queue_type = "quorum" })
      refuses('"stream"', consume, { queue = { queue = "a", arguments = { ["x-queue-type"] = "stream" } }, queue_type = "quorum" })
      assert.equal("quorum", queue_type.of(topology_of { queue = "a", queue_type = "quorum",
         arguments = { ["x-queue-type"] = "quorum" } }.arguments))
   end)

   for _, kind in ipairs { "quorum", "stream" } do
      it(("is no %s with what only classic queues have"):format(kind), function()
         refuses("cannot be exclusive", consume, { queue = { queue = "a", exclusive = true }, queue_type = kind })
         refuses("cannot be auto_delete", topology_of, { queue = "a", auto_delete = true, queue_type = kind })
         refuses("is always durable", topology_of, { queue = "a", durable = false, queue_type = kind })
         refuses("needs a name", queue_type.put, { queue = "", queue_type = kind })
         refuses('has no argument "x-max-priority": only classic has', topology_of, { queue = "a", max_priority = 3, queue_type = kind })
      end)
   end

   it("knows the arguments of each type", function()
      refuses("only quorum has", topology_of, { queue = "a", delivery_limit = 3, queue_type = "classic" })
      refuses("only classic and quorum has", topology_of, { queue = "a", message_ttl = 3, queue_type = "stream" })
      refuses("only stream has", topology_of, { queue = "a", queue_type = "quorum", arguments = { ["x-max-age"] = "1D" } })
      topology_of { queue = "a", queue_type = "quorum", arguments = { ["x-of-a-plugin"] = 1 } }
   end)

   it("has a default for durable queues with a name, and for no others", function()
      mr.defaults { queue_type = "quorum" }
      assert.equal("quorum", topology_of("a").arguments["x-queue-type"])
      assert.equal("classic", topology_of { queue = "a", queue_type = "classic" }.arguments["x-queue-type"])
      for _, queue in ipairs { { queue = "a", exclusive = true }, { queue = "a", auto_delete = true }, { queue = "a", durable = false },
         { queue = "a", passive = true } } do
         assert.is_nil(topology_of(queue).arguments)
      end
      refuses('a quorum queue has no argument "x-max-priority"', topology_of, { queue = "a", max_priority = 3 })
      refuses('did you mean "classic"', mr.defaults, { queue_type = "clasic" })
      refuses("unknown option", mr.defaults, { type = "quorum" })
      mr.defaults { queue_type = false }
      assert.is_nil(topology_of("a").arguments)
   end)

   it("of companions is one in which messages can wait, and that can end with its queue", function()
      refuses("messages do not wait in a stream", consume, { queue = "a", companions = { queue_type = "stream" } })
      refuses('did you mean "quorum"', consume, { queue = "a", companions = { queue_type = "quorom" } })
      refuses("unknown option", consume, { queue = "a", companions = { type = "quorum" } })
      refuses("end with it", consume, { queue = { queue = "a", auto_delete = true }, companions = { queue_type = "quorum" } })
   end)

   it("makes no stream of a simple queue, and nothing but a classic queue of a buffer", function()
      local conn = embedded.connected()
      refuses("a stream has no get", conn.simple_queue, conn, "a", { queue_type = "stream" })
      refuses("two types", conn.simple_queue, conn, { queue = "a", queue_type = "classic" }, { queue_type = "quorum" })
      refuses("cannot be auto_delete", conn.simple_buffer, conn, "a", { queue_type = "quorum" })
      assert(conn:simple_queue("a", { queue_type = "classic" })):close()
   end)
end)
