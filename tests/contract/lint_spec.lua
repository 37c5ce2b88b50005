--- moonrabbit lint: what a script would declare and consume, and its mistakes.
-- Covers: lua/moonrabbit/cli/lint.lua by lint
local broker = require "broker"
local cjson = require "cjson"

local function lint(text, more)
   local path = broker.script(text)
   local out, code = broker.shell(("AMQP_URL='%s' %s lint %s %s 2>/dev/null"):format(broker.tcp_url, broker.command, path, more or ""))
   return out, code, path
end

describe("moonrabbit lint", function()
   after_each(broker.close_all)

   it("shows what a consumer would declare and consume, and asks no broker for it", function()
      local out, code = lint([[
         local mr = require "moonrabbit"
         print "not the result"
         mr.consumer { queue = "lint-invoices", prefetch = 20, bindings = { { exchange = "amq.topic", routing_key = "invoice.*" } },
            handler = function(msg) error "is not called" end }
         local ch = assert(mr.connect { hostname = "nowhere.invalid", password = "secret" }:channel())
         assert(ch:exchange_declare { exchange = "lint-x", type = "fanout" })
         assert(ch:publish("", "lint-invoices", "x"))
         assert(ch:consume(assert(ch:queue_declare { exclusive = true }).queue, function() end))]], "--json")
      assert.equal(0, code, out)
      local found = cjson.decode(out)
      assert.same({ { exchange = "lint-x", type = "fanout", durable = false } }, found.exchanges)
      assert.same({ "lint-invoices <- amq.topic (invoice.*)" }, found.bindings)
      assert.same({}, found.mistakes)
      local names = {}
      for _, queue in ipairs(found.queues) do names[queue.queue] = queue.durable end
      assert.same({ [""] = false, ["lint-invoices"] = true, ["lint-invoices.dead"] = true, ["lint-invoices.retry-exit"] = true }, names)
      assert.is_truthy(table.concat(found.consumes, " "):find("lint-invoices", 1, true))
      assert.is_nil(broker.channel():queue_declare { queue = "lint-invoices", passive = true })
   end)

   it("shows mistakes", function()
      for text, why in pairs { ["local x = = 1"] = "unexpected symbol", ["prnt(1)"] = "did you mean print?",
         ["error 'broken'"] = "it fails: ", ["while true do end"] = "busy without end",
         [ [[require("moonrabbit").consumer { queue = "lint", prefetsh = 1, handler = print }]] ] = "prefetch",
         [ [[require("moonrabbit").log.warn("that is odd")]] ] = "log: msg=\"that is odd\"" } do
         local out, code, path = lint(text, "--seconds 0.3")
         assert.equal(1, code, out)
         assert.is_truthy(out:find("Mistakes\n", 1, true) and out:find(why, 1, true), out)
         assert.is_truthy(out:find(path .. ": %d mistake"), out)
      end
   end)

   it("ends what waits without end, and shows what it needs", function()
      local out, code = lint([[
         local mr = require "moonrabbit"
         local ch = assert(mr.connect():channel())
         ch:queue_declare { queue = "lint-other", passive = true }
         ch = assert(mr.connect():channel())
         ch:queue_declare { queue = "lint-mine" }
         for msg in ch:messages "lint-mine" do msg:ack() end]], "--seconds 0.5")
      assert.equal(0, code, out)
      assert.is_truthy(out:find("It declares\n   queue lint-mine\n", 1, true), out)
      assert.is_truthy(out:find("It needs, declared by others\n   queue lint-other\n", 1, true), out)
      assert.is_truthy(out:find("It consumes\n   lint-mine\n", 1, true), out)
   end)

   broker.unless_redis(it, "a queue is a name", "asks the broker with --plan, and changes nothing there", function()
      local q = broker.name "lint"
      local ch = broker.channel()
      assert(ch:queue_declare { queue = q, durable = true, exclusive = false })
      local out, code = lint(([[
         local ch = assert(require("moonrabbit").connect():channel())
         assert(ch:queue_declare { queue = "%s", durable = false })
         assert(ch:queue_declare { queue = "%s-new", durable = true })]]):format(q, q), "--plan")
      assert.equal(1, code, out)
      assert.is_truthy(out:find("conflict queue " .. q .. ": durable is true, wanted false", 1, true), out)
      assert.is_truthy(out:find("create   queue " .. q .. "-new", 1, true), out)
      assert.is_truthy(out:find("0 mistakes, 1 conflict with the broker", 1, true), out)
      assert.equal(0, assert(ch:queue_delete { queue = q }))
      assert.is_nil(ch:queue_declare { queue = q .. "-new", passive = true })
   end)

   it("exits with 2 where there is no script", function()
      local out, code = broker.shell(broker.command .. " lint /nowhere.lua")
      assert.equal(2, code)
      assert.is_truthy(out:find("/nowhere.lua: No such file", 1, true), out)
   end)
end)
