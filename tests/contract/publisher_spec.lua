--- mr.publisher, on whatever broker. CONTRACT X3, X5, X22.
local mr = require "moonrabbit"
local broker = require "broker"

local function bodies(ch, queue)
   local list = {}
   local msg = ch:get(queue, { no_ack = true })
   while msg do
      list[#list + 1] = msg.body
      msg = ch:get(queue, { no_ack = true })
   end
   return list
end

-- A publisher, and a queue that outlives connections.
local function setup(options)
   local ch, q = broker.channel(), broker.name "publisher"
   assert(ch:queue_declare { queue = q, durable = true, arguments = options and options.arguments })
   local given = { connection = broker.connect { transport_options = { interval_max = 0 } }, routing_key = q }
   for k, v in pairs(options or {}) do given[k] = v end
   given.arguments = nil
   local pub = mr.publisher(given)
   finally(function()
      if broker.is_open_to_us then broker.block(false) end
      pub:close { timeout = 0 }
      local last = broker.channel()
      last:queue_delete { queue = q }
      broker.close_all()
   end)
   return pub, q, ch
end

describe("a publisher", function()
   broker.unless_redis(it, "queue arguments", "ends each publish as the broker says: acked, returned, nacked (X3, X5, X22)", function()
      local pub, q, ch = setup { arguments = { ["x-max-length"] = 2, ["x-overflow"] = "reject-publish" } }
      assert.is_true(pub:publish { id = 7 })
      assert.is_true(pub:publish "2")
      assert.equal("nacked", select(2, pub:publish "3").kind)
      local _, err = pub:publish("4", { routing_key = broker.name "nobody" })
      assert.same({ "returned", 312, "4" }, { err.kind, err.code, err.message.body })
      local msg = assert(ch:get(q, { no_ack = true }))
      assert.same({ 2, "application/json", 7 }, { msg.properties.delivery_mode, msg.properties.content_type, msg:decode().id })
      local stats = pub:stats()
      assert.same({ 2, 1, 1, 4 }, { stats.acked, stats.nacked, stats.returned, stats.accepted })
   end)

   it("outlives a channel that the broker closed", function()
      broker.quietly(function()
         local pub, q, ch = setup()
         assert.is_true(pub:publish "1")
         assert.equal("lost", select(2, pub:publish("x", { exchange = broker.name "missing" })).kind)
         assert.is_true(pub:publish "2")
         assert.same({ "1", "2" }, bodies(ch, q))
      end)
   end)

   broker.it_inside(it, "outlives its connection: nothing is lost, and what waited goes in its order", function()
      broker.quietly(function()
         local pub, q = setup()
         for i = 1, 200 do
            assert(pub:publish_async(("%03d"):format(i)))
            if i % 100 == 50 then broker.close_connections "publisher" end
            if i % 10 == 0 then mr.sleep(0.005) end
         end
         assert.is_true(pub:flush { timeout = 30 })
         assert.equal(200, pub:stats().acked)
         local ch
         broker.eventually("a channel", function()
            ch = broker.connect():channel()
            return ch
         end)
         local seen, last, again = {}, 0, 0
         for _, body in ipairs(bodies(ch, q)) do
            local n = tonumber(body)
            if seen[n] then again = again + 1
            else
               assert.is_true(n > last) -- the first copies are in order
               last = n
            end
            seen[n] = true
         end
         assert.equal(200, #seen)
         assert.equal(200, last)
         assert.is_true(again <= pub:stats().retried)
      end)
   end)

   broker.it_inside(it, "waits while the broker blocks it", function()
      broker.quietly(function()
         local pub, q, ch = setup()
         assert.is_true(pub:publish "0")
         broker.block(true)
         assert(pub:publish_async("", { routing_key = broker.name "nobody", mandatory = false }))
         broker.eventually("the block", function() return pub.connection.is_blocked end, 20)
         local ok, err = pub:publish("1", { timeout = 0.05 })
         assert.same({ nil, "blocked_timeout" }, { ok, err.kind })
         local t = assert(pub:publish_async "2")
         broker.block(false)
         assert.is_true(t:wait(20))
         assert.same({ "0", "2" }, bodies(ch, q))
      end)
   end)

   local function run(script, options)
      return broker.shell(("%s run --log-level info %s %s 2>&1"):format(broker.command, options, broker.script(script)), 30)
   end
   -- A program that stops while its connection is away.
   local SCRIPT = [[
      local mr = require "moonrabbit"
      local broker = assert(mr.testing.broker())
      local conn = mr.connect { url = broker.url, transport_options = { interval_start = 0.5, interval_max = 0.5 } }
      local pub = mr.publisher { connection = conn, routing_key = "q", topology = mr.topology { queues = { "q" } } }
      assert(pub:publish "0")
      FAULT
      broker:drop()
      while conn.is_open do mr.sleep(0.005) end
      local t = assert(pub:publish_async "1")
      mr.on_stop(function() print("in line " .. pub:stats().in_line) end)
      mr.stop() ]]

   if broker.kind == "memory" then
      it("has its program stop when what is in line was sent", function()
         local out, code = run((SCRIPT:gsub("FAULT", "")), "--drain 10")
         assert.equal(0, code, out)
         assert.truthy(out:find("in line 1", 1, true), out)
      end)

      it("has its program say what it abandons when that was not sent in time", function()
         local out, code = run((SCRIPT:gsub("FAULT", "broker:refuse_logins()")), "--drain 1")
         assert.equal(74, code, out)
         assert.truthy(out:find("publishes=1", 1, true), out)
      end)
   end
end)
