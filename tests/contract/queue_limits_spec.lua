--- What queues drop, refuse, put in front and outlive: time to live, lengths, overflow and priorities.
local broker = require "broker"

local eventually, take = broker.eventually, broker.take
local queue, confirming, count = broker.queue, broker.confirming, broker.count

local function fill(ch, q, ...)
   for _, body in ipairs { ... } do assert.is_true(ch:publish("", q, body)) end
end

-- All bodies of a queue, in order.
local function drain(ch, q)
   local bodies = {}
   for i = 1, count(ch, q) do bodies[i] = assert(ch:get(q, { no_ack = true })).body end
   return bodies
end

local function is_empty(ch, q)
   eventually(q .. " is empty", function() return count(ch, q) == 0 end)
end

-- Lets at least as much of the broker's time pass as a message lives there.
local function outlive(ch, milliseconds)
   local clock = queue(ch)
   assert(ch:publish("", clock, "tick", { expiration = milliseconds }))
   is_empty(ch, clock)
end

-- The error of a publish that ends its channel.
local function refused(props)
   local ch, q = confirming()
   local ok, err = ch:publish("", q, "x", props)
   assert.is_nil(ok)
   assert.equal("lost", err.kind)
   eventually("the close", function() return not ch.is_open end)
   assert.equal(406, ch.last_error.code)
   assert.equal("precondition_failed", ch.last_error.kind)
   return ch.last_error.text
end

describe("time to live", function()
   after_each(broker.close_all)

   it("of a queue ends its messages", function()
      local ch, q = confirming { ["x-message-ttl"] = 30 }
      fill(ch, q, "1", "2", "3")
      is_empty(ch, q)
      assert.equal("empty", select(2, ch:get(q)).kind)
   end)

   it("of a message ends it, and it only", function()
      local ch, q = confirming()
      assert(ch:publish("", q, "short", { expiration = "30" }))
      fill(ch, q, "for ever")
      eventually("the end of the first", function() return count(ch, q) == 1 end)
      assert.same({ "for ever" }, drain(ch, q))
   end)

   it("is the lower one of the queue's and the message's", function()
      local ch, q = confirming { ["x-message-ttl"] = 30 }
      assert(ch:publish("", q, "x", { expiration = "600000" }))
      is_empty(ch, q)
      local long = queue(ch, { ["x-message-ttl"] = 600000 })
      assert(ch:publish("", long, "x", { expiration = "30" }))
      is_empty(ch, long)
   end)

   it("of a message is looked at when it comes to the head of its queue", function()
      local ch, q = confirming()
      fill(ch, q, "in front")
      assert(ch:publish("", q, "behind", { expiration = "10" }))
      outlive(ch, "20")
      assert.equal(2, count(ch, q))
      assert.equal("in front", assert(ch:get(q, { no_ack = true })).body)
      assert.equal("empty", select(2, ch:get(q)).kind)
      assert.equal(0, count(ch, q))
   end)

   it("does not end what is out; what comes back too late ends then", function()
      local ch, q = confirming { ["x-message-ttl"] = 30 }
      local iterator, consumer = assert(ch:messages(q))
      fill(ch, q, "x")
      local msg = iterator()
      assert(consumer:cancel())
      outlive(ch, "60")
      assert.is_true(msg:nack())
      is_empty(ch, q)
   end)

   it("of 0 lets a message only pass to a consumer that waits", function()
      local ch = broker.channel()
      assert(ch:confirm_select())
      for _, case in ipairs { { nil, "0" }, { { ["x-message-ttl"] = 0 } }, { { ["x-message-ttl"] = 0 }, "60000" } } do
         local q, seen = queue(ch, case[1]), {}
         assert.is_true(ch:publish("", q, "missed", { expiration = case[2], mandatory = true })) -- it has a route
         is_empty(ch, q)
         assert(ch:consume(q, function(msg) seen[#seen + 1] = { msg.body, msg.properties.expiration } end))
         assert.is_true(ch:publish("", q, "passed", { expiration = case[2] }))
         eventually("the message", function() return #seen == 1 end)
         assert.same({ "passed", case[2] }, seen[1])
      end
   end)

   it("must be a whole number of milliseconds", function()
      local invalid = "PRECONDITION_FAILED - invalid expiration '%s': %s"
      for text, why in pairs { abc = "no_integer", [""] = "no_integer", [" 1"] = "no_integer", ["-1"] = "{value_negative,-1}",
         ["1.5"] = '{leftover_string,".5"}', ["1x"] = '{leftover_string,"x"}',
         ["315360000001"] = "{value_too_large,315360000001}" } do
         assert.equal(invalid:format(text, why), refused { expiration = text })
      end
      local ch, q = confirming()
      for _, text in ipairs { "315360000000", "007000" } do
         assert.is_true(ch:publish("", q, "x", { expiration = text }))
         assert.equal(text, take(ch, q).properties.expiration)
      end
   end)
end)

describe("a queue with x-expires", function()
   after_each(broker.close_all)

   -- Asks whether the queue is there in a way that does not count as a use.
   local function is_there(ch, q)
      local ok, err = ch:publish("", q, "x", { mandatory = true })
      assert.is_true(ok or err.kind == "returned")
      return ok or false
   end

   it("goes when nobody has used it for so long, also when it holds messages", function()
      local ch, q = confirming { ["x-expires"] = 300 }
      assert.is_true(is_there(ch, q))
      eventually("its end", function() return not is_there(ch, q) end)
   end)

   it("stays as long as it has a consumer", function()
      local ch, q = confirming { ["x-expires"] = 300 }
      local consumer = assert(ch:consume(q, function() end))
      outlive(ch, "600")
      assert.is_true(is_there(ch, q))
      assert(consumer:cancel())
      eventually("its end", function() return not is_there(ch, q) end)
   end)

   it("stays as long as it is declared or asked for a message", function()
      local ch, q = confirming { ["x-expires"] = 2500 }
      for _ = 1, 12 do
         outlive(ch, "250")
         assert(ch:queue_declare { queue = q, passive = true })
      end
      for _ = 1, 12 do
         outlive(ch, "250")
         assert.equal("empty", select(2, ch:get(q)).kind)
      end
      assert.is_true(is_there(ch, q))
   end)
end)

describe("a queue that is full", function()
   after_each(broker.close_all)

   it("drops from its head", function()
      local ch, q = confirming { ["x-max-length"] = 3 }
      fill(ch, q, "1", "2", "3", "4", "5")
      assert.same({ "3", "4", "5" }, drain(ch, q))
      ch, q = confirming { ["x-max-length"] = 2, ["x-overflow"] = "drop-head" }
      fill(ch, q, "1", "2", "3")
      assert.same({ "2", "3" }, drain(ch, q))
   end)

   it("counts the bytes of the bodies", function()
      local ch, q = confirming { ["x-max-length-bytes"] = 10 }
      fill(ch, q, "1234", "5678", "90")
      assert.equal(3, count(ch, q))
      fill(ch, q, "a")
      assert.same({ "5678", "90", "a" }, drain(ch, q))
      fill(ch, q, "x", ("y"):rep(11)) -- too big for an empty queue
      assert.equal(0, count(ch, q))
      fill(ch, q, "", "", ("z"):rep(10))
      assert.same({ "", "", ("z"):rep(10) }, drain(ch, q))
   end)

   it("obeys the limit that is reached first", function()
      local ch, q = confirming { ["x-max-length"] = 2, ["x-max-length-bytes"] = 10 }
      fill(ch, q, "1", "2", "3")
      assert.equal(2, count(ch, q))
      fill(ch, q, ("x"):rep(10))
      assert.same({ ("x"):rep(10) }, drain(ch, q))
   end)

   it("does not count what is out", function()
      local ch, q = confirming { ["x-max-length"] = 2 }
      fill(ch, q, "1", "2")
      local out = take(ch, q, {})
      fill(ch, q, "3")
      assert.equal(2, count(ch, q))
      assert.is_true(out:nack()) -- back at the head, where it is dropped
      eventually("the drop", function() return count(ch, q) == 2 end)
      assert.same({ "2", "3" }, drain(ch, q))
   end)

   it("with room for none keeps none, but hands on to a consumer that waits", function()
      local ch, q = confirming { ["x-max-length"] = 0 }
      fill(ch, q, "dropped")
      assert.equal(0, count(ch, q))
      local seen
      assert(ch:consume(q, function(msg) seen = msg.body end))
      fill(ch, q, "seen")
      eventually("the message", function() return seen == "seen" end)
   end)

   it("refuses with reject-publish: a nack for the publisher, and all stays", function()
      local ch, q = confirming { ["x-max-length"] = 2, ["x-overflow"] = "reject-publish" }
      fill(ch, q, "1", "2")
      local ok, err = ch:publish("", q, "3")
      assert.is_nil(ok)
      assert.equal("nacked", err.kind)
      assert.is_true(ch.is_open)
      assert.equal("1", take(ch, q).body)
      fill(ch, q, "4")
      assert.same({ "2", "4" }, drain(ch, q))
   end)

   it("refuses what would bring it over its bytes", function()
      local ch, q = confirming { ["x-max-length-bytes"] = 10, ["x-overflow"] = "reject-publish" }
      fill(ch, q, "12345678")
      assert.equal("nacked", select(2, ch:publish("", q, "901")).kind)
      fill(ch, q, "90")
      assert.equal("nacked", select(2, ch:publish("", q, "x")).kind)
      fill(ch, q, "")
      assert.same({ "12345678", "90", "" }, drain(ch, q))
   end)

   it("refuses all with room for none, even when a consumer waits", function()
      local ch, q = confirming { ["x-max-length"] = 0, ["x-overflow"] = "reject-publish" }
      local seen
      assert(ch:consume(q, function() seen = true end))
      assert.equal("nacked", select(2, ch:publish("", q, "x")).kind)
      assert.is_nil(seen)
   end)

   it("refuses silently without confirms, and for itself only", function()
      local ch = broker.channel()
      local q, other = queue(ch, { ["x-max-length"] = 1, ["x-overflow"] = "reject-publish" }), queue(ch)
      local exchange = broker.name "fan"
      assert(ch:exchange_declare { exchange = exchange, type = "fanout", auto_delete = true })
      assert(ch:queue_bind { queue = q, exchange = exchange })
      assert(ch:queue_bind { queue = other, exchange = exchange })
      for i = 1, 3 do assert(ch:publish(exchange, "", tostring(i))) end
      assert.equal("1", assert(ch:get(q, { no_ack = true })).body)
      assert.equal("empty", select(2, ch:get(q)).kind)
      eventually("all in the other", function() return count(ch, other) == 3 end)
      assert.same({ "1", "2", "3" }, drain(ch, other))
      assert(ch:confirm_select())
      assert.is_true(ch:publish(exchange, "", "4"))
      assert.equal("nacked", select(2, ch:publish(exchange, "", "5")).kind) -- one nack is a nack
      assert.same({ "4", "5" }, drain(ch, other))
   end)

   it("refuses into its dead-letter exchange with reject-publish-dlx", function()
      local ch = broker.channel()
      local dead = queue(ch)
      local q = queue(ch, { ["x-max-length"] = 1, ["x-overflow"] = "reject-publish-dlx", ["x-dead-letter-exchange"] = "",
         ["x-dead-letter-routing-key"] = dead })
      assert(ch:confirm_select())
      fill(ch, q, "1")
      assert.equal("nacked", select(2, ch:publish("", q, "2")).kind)
      local msg = take(ch, dead)
      assert.equal("2", msg.body)
      assert.equal("maxlen", msg.headers["x-death"][1].reason)
      assert.same({ "1" }, drain(ch, q))
   end)
end)

describe("a queue with priorities", function()
   after_each(broker.close_all)

   local function put(ch, q, ...)
      for _, case in ipairs { ... } do assert.is_true(ch:publish("", q, case[1], { priority = case[2] })) end
   end

   it("gives the higher ones first and keeps the order of equal ones (X6)", function()
      local ch, q = confirming { ["x-max-priority"] = 5 }
      put(ch, q, { "a0", 0 }, { "b3", 3 }, { "c-" }, { "d5", 5 }, { "e3", 3 }, { "f1", 1 })
      assert.same({ "d5", "b3", "e3", "f1", "a0", "c-" }, drain(ch, q))
   end)

   it("takes what is above its highest one as the highest, and leaves the property", function()
      local ch, q = confirming { ["x-max-priority"] = 2 }
      put(ch, q, { "a2", 2 }, { "b200", 200 }, { "c1", 1 })
      local first, second = take(ch, q), take(ch, q)
      assert.same({ "a2", 2, "b200", 200 }, { first.body, first.properties.priority, second.body, second.properties.priority })
   end)

   it("takes back a message to its place", function()
      local ch, q = confirming { ["x-max-priority"] = 2 }
      put(ch, q, { "low", 0 }, { "high", 2 }, { "high too", 2 })
      local msg = take(ch, q, {})
      assert.equal("high", msg.body)
      assert.is_true(msg:nack())
      eventually("it is back", function() return count(ch, q) == 3 end)
      assert.same({ "high", "high too", "low" }, drain(ch, q))
   end)

   it("drops from its head, the highest one, when it is full", function()
      local ch, q = confirming { ["x-max-priority"] = 2, ["x-max-length"] = 2 }
      put(ch, q, { "low", 0 }, { "high", 2 }, { "lower", 0 })
      assert.same({ "low", "lower" }, drain(ch, q))
   end)

   it("is the only one that minds them", function()
      local ch, q = confirming()
      put(ch, q, { "low", 0 }, { "high", 9 })
      assert.same({ "low", "high" }, drain(ch, q))
   end)
end)
