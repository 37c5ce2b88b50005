--- docs/cluster.md, "From classic to quorum": its script moves a queue that is in use, and loses nothing.
-- Feature: moving a queue to another type, by the script of docs/cluster.md
local broker = require "broker"
local mr = require "moonrabbit"

local eventually = broker.eventually

local function script()
   local page = assert(io.open "docs/cluster.md"):read "*a"
   local section = page:match "\n## From classic to quorum\n(.-)\n## "
   return assert(loadstring(section:match "```lua\n(.-)```", "@docs/cluster.md"))
end

describe("a classic queue", function()
   before_each(function()
      mr.log.configure "off"
   end)
   after_each(function()
      local last = broker.channel()
      for _, queue in ipairs { "orders", "orders.dead", "orders.retry-exit", "orders.quorum", "orders.quorum.dead",
         "orders.quorum.retry-exit" } do last:queue_delete { queue = queue } end
      last:exchange_delete { exchange = "shop" }
      mr.set_default_url(nil)
      broker.close_all()
      mr.log.configure "warn"
   end)

   it("moves to a quorum queue while it is in use, and nothing is lost (FIELD-C2)", function()
      local conn = broker.connect()
      local old = mr.topology { exchanges = { { exchange = "shop", type = "topic" } }, queues = { "orders" },
         bindings = { { queue = "orders", exchange = "shop", routing_key = "order.#" } } }
      assert(old:apply(conn))
      local is_over, sent, confirmed, handled = false, 0, {}, {}
      local function handler(msg)
         mr.sleep(0.01)
         handled[msg.body] = true
      end
      local consumer = mr.consumer { connection = conn, queue = "orders", handler = handler, prefetch = 5, concurrency = 1 }
      assert(consumer:wait(20))
      local pub = mr.publisher { connection = broker.connect(), exchange = "shop", routing_key = "order.new" }
      local is_idle = false
      mr.spawn(function()
         while not is_over do
            sent = sent + 1
            local ok, err = pub:publish(tostring(sent))
            confirmed[sent] = ok or err.kind
            mr.sleep(0.001)
         end
         is_idle = true
      end)
      eventually("a queue that is behind", function() return sent > 200 end)

      -- Another type cannot be declared: the plan says why.
      local wanted = mr.topology { queues = { { queue = "orders", queue_type = "quorum" } } }
      assert.truthy(tostring(assert(wanted:plan(conn))):find('x-queue-type is "classic", wanted "quorum"', 1, true))

      mr.set_default_url(broker.url)
      local is_moved = false
      mr.spawn(function()
         script()()
         is_moved = true
      end)
      eventually("the move", function() return is_moved end, 60)
      local new = mr.consumer { connection = conn, queue = "orders.quorum", queue_type = "quorum", handler = handler }
      assert(new:wait(20))
      assert(consumer:cancel())
      eventually("its handlers", function() return consumer.running == 0 end)
      script()() -- what it still held; moving twice does no harm
      is_over = true
      eventually("the last publish", function() return is_idle end, 60)
      eventually("each confirmed one handled", function()
         for n = 1, sent do if confirmed[n] == true and not handled[tostring(n)] then return false end end
         return true
      end, 60)
      for n = 1, sent do assert.is_true(confirmed[n]) end
      eventually("an old queue without a consumer", function()
         return (broker.channel():queue_delete { queue = "orders", if_unused = true, if_empty = true }) == 0
      end)
      pub:close { timeout = 5 }
   end)
end)
