--- A publish that makes the broker close the connection is given up, and takes nothing with it.
-- Covers: lua/moonrabbit/channel/publish.lua by wait_for_confirms
local mr = require "moonrabbit"
local waits = require "waits"

local eventually = waits.eventually

local POISON = "\255 is no UTF-8" -- a routing key that the embedded broker answers with 501, and the connection's end
local double, opened

local function connect(options)
   local all = { url = double.url, transport_options = { interval_start = 0.01, interval_max = 0.05 }, republish = 2 ^ 20 }
   for name, v in pairs(options or {}) do all[name] = v end
   opened[#opened + 1] = mr.connect(all)
   return opened[#opened]
end

local function count(ch, q) return assert(ch:queue_declare { queue = q, passive = true }).message_count end

local function check_poison(err)
   assert.same({ "frame_error", 501 }, { err.kind, err.code })
   assert.truthy(err.text:find("it has ended the connection twice in a row: ", 1, true), err.text)
end

-- A durable queue, for connections that come and go.
local function queue()
   local ch, q = assert(connect():channel()), "poison"
   assert(ch:queue_declare { queue = q, durable = true })
   return ch, q
end

describe("a publish that ends its connection", function()
   setup(function() mr.log.configure "off" end)
   teardown(function() mr.log.configure "error" end)
   before_each(function() double, opened = assert(mr.testing.broker()), {} end)
   after_each(function()
      for _, conn in ipairs(opened) do conn:release() end
      double:close()
   end)

   it("is given up after the second time, and the others are sent (FIELD-H8)", function()
      local ch, q = queue()
      local failed = {}
      local pub = mr.publisher { connection = connect(), routing_key = q, on_failed = function(err, msg) failed[msg.body] = err end }
      assert(pub:publish "first")
      local tickets = {}
      for i = 1, 20 do tickets[i] = assert(pub:publish_async(tostring(i), { routing_key = (i == 7 or i == 15) and POISON or nil })) end
      pub:flush { timeout = 60 }
      for i, t in ipairs(tickets) do assert.equal((i == 7 or i == 15) and "lost" or "acked", t.state, "publish " .. i) end
      check_poison(select(2, tickets[7]:wait()))
      eventually("on_failed", function() return failed["7"] and failed["15"] end)
      check_poison(failed["7"])
      assert.equal("acked", (function() local t = assert(pub:publish_async "after") t:wait() return t.state end)())
      local seen = {}
      for _ = 1, count(ch, q) do seen[assert(ch:get(q, { no_ack = true })).body] = true end
      for i = 1, 20 do assert.equal(i ~= 7 and i ~= 15 or nil, seen[tostring(i)]) end
      assert(ch:queue_delete { queue = q })
      pub:close()
   end)

   it("is told apart from those of other publishers and channels on its connection (FIELD-H8)", function()
      local ch, q = queue()
      local conn = connect()
      local one, two = mr.publisher { connection = conn, routing_key = q }, mr.publisher { connection = conn, routing_key = q }
      local raw = assert(conn:channel())
      assert(raw:confirm_select())
      assert(one:publish "first")
      assert(two:publish "first")
      local tickets = {}
      for i = 1, 10 do
         tickets[#tickets + 1] = assert(one:publish_async(tostring(i)))
         tickets[#tickets + 1] = assert(two:publish_async(tostring(i)))
         tickets[#tickets + 1] = assert(raw:publish_async("", q, tostring(i)))
      end
      local bad = assert(two:publish_async("bad", { routing_key = POISON }))
      check_poison(select(2, bad:wait(60)))
      for i, t in ipairs(tickets) do
         t:wait(60)
         assert.equal("acked", t.state, "publish " .. i)
      end
      assert.is_true(count(ch, q) >= 32)
      assert(ch:queue_delete { queue = q })
   end)

   it("is given up by the connection's own republish, and by a policy that would go on for ever (FIELD-H8)", function()
      local ch, q = queue()
      local raw = assert(connect():channel())
      assert(raw:confirm_select())
      local good, bad = assert(raw:publish_async("", q, "good")), assert(raw:publish_async("", POISON, "bad"))
      local after = assert(raw:publish_async("", q, "after"))
      check_poison(select(2, bad:wait(60)))
      assert.is_true(good:wait(60))
      assert.is_true(after:wait(60))
      assert.equal("lost", select(2, raw:wait_for_confirms(60)).kind)
      local pub = mr.publisher { connection = connect(), routing_key = POISON, retry = mr.retry.fixed { delay = 0.01 } }
      local _, err = pub:publish "bad"
      check_poison(err)
      pub:close()
      assert(ch:queue_delete { queue = q })
   end)

   it("holds up no other that a policy has sent again meanwhile", function()
      local ch, q = queue()
      assert(ch:queue_declare { queue = "full", arguments = { ["x-max-length"] = 0, ["x-overflow"] = "reject-publish" } })
      local pub = mr.publisher { connection = connect(), routing_key = q, timeout = 30, retry = function(ctx)
         return ctx.attempt < 4 and (ctx.attempt % 2) / 100 or "stop"
      end }
      assert(pub:publish "first")
      local tickets, wanted = {}, {}
      for i = 1, 24 do
         local key = i == 9 and POISON or i % 3 == 1 and "full" or q
         wanted[i] = i == 9 and "lost" or key == q and "acked" or "nacked"
         tickets[i] = assert(pub:publish_async(tostring(i), { routing_key = key }))
      end
      pub:flush { timeout = 10 }
      for i, t in ipairs(tickets) do assert.equal(wanted[i], t.state, "publish " .. i) end
      pub:close()
      assert(ch:queue_delete { queue = q })
   end)

   it("is not suspected when the network, or an operator, ends the connection (FIELD-H8)", function()
      local conn = connect()
      local pub = mr.publisher { connection = conn, routing_key = "q", topology = mr.topology { queues = { "q" } } }
      assert(pub:publish "first")
      local tickets = {}
      for round = 1, 4 do
         double:delay(0.05)
         for _ = 1, 5 do tickets[#tickets + 1] = assert(pub:publish_async "x") end
         waits.loss(conn, function()
            if round % 2 == 0 then double:drop() else double:close_connections(320, "CONNECTION_FORCED - for a test") end
         end)
         double:delay(0)
         eventually("the way back", function() return conn.is_open end)
      end
      assert.is_true(pub:flush { timeout = 60 })
      for _, t in ipairs(tickets) do assert.equal("acked", t.state) end
      pub:close()
   end)

   it("fails a call, and a put, once (FIELD-H8)", function()
      local conn = connect()
      assert.is_nil((mr.rpc.call(POISON, "x", { connection = conn, timeout = 20 })))
      eventually("the way back", function() return conn.is_open end) -- what is asked while it is lost fails with it
      local _, q = queue()
      local simple = assert(conn:simple_queue({ queue = q, durable = true }))
      assert.is_nil((simple.channel:publish("", POISON, "x")))
      assert.is_true(simple:put "good")
      assert.equal("good", assert(simple:get { timeout = 20 }).body)
   end)

   it("among the copies of retries is not copied again, and the others are (FIELD-H8)", function()
      local publish = require "moonrabbit.channel.publish"
      local post = publish.post
      function publish.post(self, t, exchange, key, body, ...)
         if body == "bad" and key:find ".retry" then key = POISON end
         return post(self, t, exchange, key, body, ...)
      end
      finally(function() publish.post = post end)
      local conn, tries = connect(), {}
      local w = mr.consumer { connection = conn, queue = "work", retry = mr.retry.fixed { delay = 0.05, attempts = 2 },
         handler = function(msg)
            tries[msg.body] = (tries[msg.body] or 0) + 1
            if tries[msg.body] == 1 then error("the first time", 0) end
         end }
      eventually("the consumer", function() return w.state == "consuming" end)
      local ch = assert(conn:channel())
      for i = 1, 10 do assert(ch:publish("", "work", i == 4 and "bad" or tostring(i))) end
      eventually("all of them", function() -- the one that cannot be copied is held, and tried here
         for i = 1, 10 do if tries[i == 4 and "bad" or tostring(i)] ~= 2 then return false end end
         return double:queue("work").messages_ready + double:queue("work").messages_unacknowledged == 0
      end, 60)
      w:cancel()
   end)
end)
