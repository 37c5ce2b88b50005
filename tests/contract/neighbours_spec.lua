--- Consumers and publishers of one program that need what one of them declares; options that are lists.
local mr = require "moonrabbit"
local broker = require "broker"

local eventually = broker.eventually

describe("what a neighbour declares", function()
   local ch, exchange, queues, seen

   before_each(function()
      mr.log.configure "off"
      ch, exchange, queues, seen = broker.channel(), broker.name "events", {}, {}
      for i = 1, 3 do queues[i] = broker.name("neighbour" .. i) end
   end)
   after_each(function()
      ch = broker.channel()
      for _, queue in ipairs(queues) do
         for _, suffix in ipairs { "", ".dead", ".retry-exit" } do ch:queue_delete { queue = queue .. suffix } end
      end
      ch:exchange_delete { exchange = exchange }
      broker.close_all()
      mr.log.configure "warn"
   end)

   local function consumer(i, binding, more)
      local opts = { queue = queues[i], connection = broker.connect(), bindings = binding and { binding },
         handler = function(msg) seen[i] = msg.body end }
      for k, v in pairs(more or {}) do opts[k] = v end
      return mr.consumer(opts)
   end

   local function bound(key) return { exchange = exchange, routing_key = key } end

   for declarer = 1, 3 do
      it("is waited for, wherever it stands in the script: consumer " .. declarer .. " of three (FIELD-W18)", function()
         local workers = {}
         for i = 1, 3 do
            local binding = bound "a.#"
            if i == declarer then binding.type = "topic" end
            workers[i] = consumer(i, binding)
         end
         for _, w in ipairs(workers) do assert(w:wait(10)) end
         assert(ch:confirm_select())
         assert(ch:publish(exchange, "a.b", "x"))
         eventually("all three", function() return seen[1] and seen[2] and seen[3] end)
      end)
   end

   it("may be a topology, of a consumer or a publisher (FIELD-W18)", function()
      local function topology() return mr.topology { exchanges = { { exchange = exchange, type = "topic" } } } end
      local first = consumer(1, bound "a.#")
      local second = consumer(2, bound "a.#", { topology = topology() })
      assert(first:wait(10))
      assert(second:wait(10))
      local out = mr.publisher { connection = broker.connect(), exchange = exchange, topology = topology() }
      assert(out:publish("x", { routing_key = "a.b" }))
      eventually("both", function() return seen[1] and seen[2] end)
      assert(out:close())
      assert.has_error(function() mr.consumer { queue = "q", topology = {}, handler = print } end,
         'option "topology" must be one of mr.topology')
   end)

   it("and that comes later is asked for again by the policy of scope topology (FIELD-W18)", function()
      local scopes = {}
      local conn = broker.connect { retry = function(ctx)
         scopes[#scopes + 1] = ctx.scope .. " " .. ctx.err.kind
         return 0.1
      end }
      local w = consumer(1, bound "a.#", { connection = conn })
      eventually("some tries", function() return #scopes >= 3 end)
      assert.same({ "recovering", "topology not_found" }, { w.state, scopes[1] })
      assert(ch:exchange_declare { exchange = exchange, type = "topic", durable = true })
      assert(w:wait(10))
   end)
end)

describe("an option that is a list", function()
   local topology = { exchanges = { "e" }, queues = { "q" } }
   local function with(name, v)
      local data = { [name] = v }
      for k, other in pairs(topology) do data[k] = data[k] or other end
      return function() mr.topology(data) end
   end
   local function handler() end

   it("takes one binding for a list of one (FIELD-W19)", function()
      mr.log.configure "off"
      local ch, exchange, queue, got = broker.channel(), broker.name "one", broker.name "one", nil
      local w = mr.consumer { queue = { queue = queue, auto_delete = true }, connection = broker.connect(),
         bindings = { exchange = exchange, type = "fanout", routing_key = "" }, handler = function(msg) got = msg.body end }
      assert(w:wait(10))
      assert(ch:confirm_select())
      assert(ch:publish(exchange, "", "x"))
      eventually("the message", function() return got end)
      assert(ch:exchange_delete { exchange = exchange })
      broker.close_all()
      mr.log.configure "warn"
      local t = mr.topology { exchanges = { "e" }, queues = { "q" }, bindings = { exchange = "e", queue = "q" } }
      assert.same({ 1, "e", "q" }, { #t.bindings, t.bindings[1].exchange, t.bindings[1].queue })
   end)

   local cases = {
      ["bindings of a consumer"] = { function() mr.consumer { queue = "q", bindings = { a = { exchange = "e" } }, handler = handler } end,
         '"bindings" must be a list' },
      ["middleware"] = { function() mr.consumer { queue = "q", middleware = { log = handler }, handler = handler } end,
         '"middleware" must be a list' },
      ["middleware with a hole"] = { function()
         mr.consumer { queue = "q", middleware = { handler, [3] = handler }, handler = handler }
      end, '"middleware" must be a list without holes' },
      ["bindings of a topology"] = { with("bindings", { a = { exchange = "e", queue = "q" } }), '"bindings" must be a list' },
      ["one queue of a topology"] = { with("queues", { queue = "q", durable = true }), "one queue alone is written" },
      ["one exchange of a topology"] = { with("exchanges", { exchange = "e", type = "fanout" }), "one exchange alone is written" },
      ["vhosts of a test's broker"] = { function() mr.testing.broker { vhosts = { shop = true } } end, '"vhosts" must be a list' },
   }
   for what, case in pairs(cases) do
      it("refuses names where it wants a list: " .. what .. " (FIELD-W19)", function()
         local ok, why = pcall(case[1])
         assert.is_false(ok)
         assert.truthy(tostring(why):find(case[2], 1, true), why)
      end)
   end
end)
