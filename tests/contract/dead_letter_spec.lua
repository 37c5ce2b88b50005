--- Dead letters: what dies goes to an exchange, and x-death tells how it lived.
local mr = require "moonrabbit"
local broker = require "broker"

local eventually, take, count = broker.eventually, broker.take, broker.count

local function queue(ch, options)
   options = options or {}
   options.queue, options.exclusive = options.queue or broker.name "letters", true
   return assert(ch:queue_declare(options)).queue
end

-- The arguments of a queue whose dead go straight to another queue.
local function to(dead, more)
   local arguments = { ["x-dead-letter-exchange"] = "", ["x-dead-letter-routing-key"] = dead }
   for k, v in pairs(more or {}) do arguments[k] = v end
   return { arguments = arguments }
end

-- A channel, a queue for the dead and a queue whose dead go there.
local function work(more)
   local ch = broker.channel()
   local dead = queue(ch)
   return ch, queue(ch, to(dead, more)), dead
end

local function exchange(ch, kind)
   local name = broker.name "exchange"
   assert(ch:exchange_declare { exchange = name, type = kind or "direct", auto_delete = true })
   return name
end

local function bound(ch, to_exchange, key)
   local q = queue(ch)
   assert(ch:queue_bind { queue = q, exchange = to_exchange, routing_key = key })
   return q
end

local function reject_next(ch, q)
   assert.is_true(take(ch, q, {}):reject())
end

-- All but the time, which is checked to be about now.
local function death(msg, number)
   local entry = msg.headers["x-death"][number or 1]
   local copy = {}
   for k, v in pairs(entry) do copy[k] = v end
   assert.is_true(math.abs(broker.seconds(copy.time) - os.time()) < 60)
   copy.time = nil
   return copy
end

local function first_death(msg)
   local h = msg.headers
   return { h["x-first-death-queue"], h["x-first-death-reason"], h["x-first-death-exchange"] }
end

describe("a dead letter", function()
   after_each(broker.close_all)

   it("was rejected, and says so", function()
      local ch, q, dead = work()
      assert(ch:publish("", q, "body", { headers = { own = "header" }, content_type = "text/plain", priority = 3 }))
      reject_next(ch, q)
      local msg = take(ch, dead)
      assert.same({ "body", "", dead, false }, { msg.body, msg.exchange, msg.routing_key, msg.redelivered })
      assert.same({ count = 1, reason = "rejected", queue = q, exchange = "", ["routing-keys"] = { q } }, death(msg))
      assert.same({ q, "rejected", "" }, first_death(msg))
      assert.equal(1, #msg.headers["x-death"])
      assert.equal("header", msg.headers.own)
      assert.same({ "text/plain", 3, 2 },
         { msg.properties.content_type, msg.properties.priority, msg.properties.delivery_mode })
   end)

   it("was rejected by a nack of many, and they keep their order", function()
      local ch, q, dead = work()
      for i = 1, 20 do assert(ch:publish("", q, tostring(i))) end
      local last
      for _ = 1, 20 do last = take(ch, q, {}) end
      assert.is_true(last:nack { multiple = true, requeue = false })
      for i = 1, 20 do
         local msg = take(ch, dead)
         assert.equal(tostring(i), msg.body)
         assert.equal("rejected", death(msg).reason)
      end
   end)

   it("has expired by the time to live of its queue", function()
      local ch, q, dead = work { ["x-message-ttl"] = 20 }
      for i = 1, 5 do assert(ch:publish("", q, tostring(i))) end
      for i = 1, 5 do
         local msg = take(ch, dead)
         assert.equal(tostring(i), msg.body)
         assert.same({ count = 1, reason = "expired", queue = q, exchange = "", ["routing-keys"] = { q } }, death(msg))
         assert.same({ q, "expired", "" }, first_death(msg))
      end
   end)

   it("has expired at once in a queue where nothing lives", function()
      local ch, q, dead = work { ["x-message-ttl"] = 0 }
      assert(ch:publish("", q, "x"))
      assert.equal("expired", death(take(ch, dead)).reason)
   end)

   broker.unless_redis(it, "expiration", "does not expire again: its expiration has become original-expiration", function()
      local ch, q, dead = work()
      assert(ch:publish("", q, "x", { expiration = "20" }))
      local msg = take(ch, dead)
      assert.is_nil(msg.properties.expiration)
      assert.same({ count = 1, reason = "expired", queue = q, exchange = "", ["routing-keys"] = { q },
         ["original-expiration"] = "20" }, death(msg))
      assert(ch:publish("", q, "y", { expiration = "600000" }))
      reject_next(ch, q)
      msg = take(ch, dead)
      assert.is_nil(msg.properties.expiration)
      assert.equal("600000", death(msg)["original-expiration"])
   end)

   broker.unless_redis(it, "queue arguments", "had to make room", function()
      local ch, q, dead = work { ["x-max-length"] = 2 }
      for i = 1, 4 do assert(ch:publish("", q, tostring(i))) end
      for i = 1, 2 do
         local msg = take(ch, dead)
         assert.equal(tostring(i), msg.body)
         assert.same({ count = 1, reason = "maxlen", queue = q, exchange = "", ["routing-keys"] = { q } }, death(msg))
         assert.same({ q, "maxlen", "" }, first_death(msg))
      end
      assert.equal(2, count(ch, q))
   end)

   it("was neither purged nor given back nor in a queue that went", function()
      local ch, q, dead = work()
      assert(ch:publish("", q, "1"))
      assert(ch:publish("", q, "2"))
      assert.is_true(take(ch, q, {}):nack())
      assert.equal(2, ch:queue_purge { queue = q })
      assert(ch:publish("", q, "3"))
      take(ch, q, { no_ack = true })
      assert(ch:publish("", q, "4"))
      assert.equal(1, ch:queue_delete { queue = q })
      q = queue(ch, to(dead))
      assert(ch:publish("", q, "the first that dies"))
      reject_next(ch, q)
      assert.equal("the first that dies", take(ch, dead).body)
   end)

   it("names the exchange and the key that it was published with", function()
      local ch, q, dead = work()
      local source = exchange(ch, "topic")
      assert(ch:queue_bind { queue = q, exchange = source, routing_key = "#" })
      assert(ch:publish(source, "a.b", "x"))
      reject_next(ch, q)
      local msg = take(ch, dead)
      assert.same({ count = 1, reason = "rejected", queue = q, exchange = source, ["routing-keys"] = { "a.b" } }, death(msg))
      assert.same({ q, "rejected", source }, first_death(msg))
   end)

   it("keeps its routing key when the queue does not give another", function()
      local ch = broker.channel()
      local dlx = exchange(ch)
      local mine, other = bound(ch, dlx, "key"), bound(ch, dlx, "other")
      local source = exchange(ch)
      local q = queue(ch, { arguments = { ["x-dead-letter-exchange"] = dlx } })
      assert(ch:queue_bind { queue = q, exchange = source, routing_key = "key" })
      assert(ch:publish(source, "key", "x"))
      reject_next(ch, q)
      local msg = take(ch, mine)
      assert.same({ dlx, "key" }, { msg.exchange, msg.routing_key })
      assert.equal(0, count(ch, other))
   end)

   it("goes to all queues of its exchange", function()
      local ch = broker.channel()
      local dlx = exchange(ch, "fanout")
      local a, b = bound(ch, dlx, ""), bound(ch, dlx, "")
      local q = queue(ch, { arguments = { ["x-dead-letter-exchange"] = dlx } })
      assert(ch:publish("", q, "x"))
      reject_next(ch, q)
      for _, one in ipairs { a, b } do
         local msg = take(ch, one)
         assert.same({ "x", dlx, q }, { msg.body, msg.exchange, msg.routing_key })
      end
   end)

   broker.unless_redis(it, "CC", "keeps its CC and BCC keys with its own, and loses the CC with a new one", function()
      local ch = broker.channel()
      local dlx = exchange(ch)
      local own, cc, bcc = bound(ch, dlx, "k"), bound(ch, dlx, "c"), bound(ch, dlx, "b")
      local source = exchange(ch)
      local keeps = queue(ch, { arguments = { ["x-dead-letter-exchange"] = dlx } })
      local dead = queue(ch)
      local renames = queue(ch, to(dead))
      assert(ch:queue_bind { queue = keeps, exchange = source, routing_key = "k" })
      assert(ch:queue_bind { queue = renames, exchange = source, routing_key = "k" })
      assert(ch:publish(source, "k", "x", { headers = { CC = { "c" }, BCC = { "b" } } }))
      reject_next(ch, keeps)
      for _, q in ipairs { own, cc, bcc } do
         local msg = take(ch, q)
         assert.equal("k", msg.routing_key)
         assert.same({ "k", "c" }, death(msg)["routing-keys"])
         assert.same({ "c" }, msg.headers.CC)
         assert.is_nil(msg.headers.BCC)
      end
      reject_next(ch, renames)
      local msg = take(ch, dead)
      assert.same({ "k", "c" }, death(msg)["routing-keys"])
      assert.is_nil(msg.headers.CC)
   end)

   it("is dropped while its exchange is not there", function()
      local ch = broker.channel()
      local dlx = broker.name "later"
      local q = queue(ch, { arguments = { ["x-dead-letter-exchange"] = dlx } })
      assert(ch:publish("", q, "dropped"))
      reject_next(ch, q)
      assert.equal("empty", select(2, ch:get(q)).kind)
      assert(ch:exchange_declare { exchange = dlx, type = "fanout", auto_delete = true })
      local dead = bound(ch, dlx, "")
      assert(ch:publish("", q, "kept"))
      reject_next(ch, q)
      assert.equal("kept", take(ch, dead).body)
      assert.equal(0, count(ch, dead))
   end)

   it("is dropped when nothing is bound to its exchange", function()
      local ch = broker.channel()
      local dlx = exchange(ch)
      local q = queue(ch, { arguments = { ["x-dead-letter-exchange"] = dlx } })
      assert(ch:publish("", q, "x", { mandatory = true }))
      reject_next(ch, q)
      assert.equal("empty", select(2, ch:get(q)).kind)
      assert.is_true(ch:exchange_delete { exchange = dlx })
   end)
end)

describe("x-death", function()
   after_each(broker.close_all)

   it("has the last death first, one for each queue and reason", function()
      local ch = broker.channel()
      local last = queue(ch)
      local second = queue(ch, to(last))
      local first = queue(ch, to(second, { ["x-message-ttl"] = 10 }))
      assert(ch:publish("", first, "x"))
      reject_next(ch, second)
      local msg = take(ch, last)
      assert.equal(2, #msg.headers["x-death"])
      assert.same({ count = 1, reason = "rejected", queue = second, exchange = "", ["routing-keys"] = { second } }, death(msg, 1))
      assert.same({ count = 1, reason = "expired", queue = first, exchange = "", ["routing-keys"] = { first } }, death(msg, 2))
      assert.same({ first, "expired", "" }, first_death(msg))
   end)

   it("turns round the older ones with every death", function()
      local ch, names = broker.channel(), {}
      local target = queue(ch)
      for i = 5, 1, -1 do
         names[i] = queue(ch, to(target))
         target = names[i]
      end
      assert(ch:publish("", names[1], "x"))
      for i, expected in ipairs { { 1 }, { 2, 1 }, { 3, 1, 2 }, { 4, 2, 1, 3 } } do
         reject_next(ch, names[i])
         local msg, order = take(ch, names[i + 1], {}), {}
         for n, entry in ipairs(msg.headers["x-death"]) do order[n] = entry.queue end
         for n, number in ipairs(expected) do expected[n] = names[number] end
         assert.same(expected, order)
         assert.is_true(msg:nack())
      end
   end)

   it("counts what happens again: work, delay, work", function()
      local ch = broker.channel()
      local q, delay = broker.name "work", broker.name "delay"
      queue(ch, { queue = q, arguments = to(delay).arguments })
      queue(ch, { queue = delay, arguments = to(q, { ["x-message-ttl"] = 10 }).arguments })
      assert(ch:publish("", q, "again", { headers = { kept = true } }))
      reject_next(ch, q)
      for round = 1, 5 do
         local msg = take(ch, q, {})
         assert.same({ "again", "", q, false, true },
            { msg.body, msg.exchange, msg.routing_key, msg.redelivered, msg.headers.kept })
         assert.equal(2, #msg.headers["x-death"])
         assert.same({ count = round, reason = "expired", queue = delay, exchange = "", ["routing-keys"] = { delay } }, death(msg, 1))
         assert.same({ count = round, reason = "rejected", queue = q, exchange = "", ["routing-keys"] = { q } }, death(msg, 2))
         assert.same({ q, "rejected", "" }, first_death(msg))
         assert.is_true(msg:reject())
      end
   end)

   broker.unless_redis(it, "queue arguments", "counts each reason by itself", function()
      local ch = broker.channel()
      local q, delay = broker.name "work", broker.name "delay"
      queue(ch, { queue = q, arguments = to(delay, { ["x-max-length"] = 1 }).arguments })
      queue(ch, { queue = delay, arguments = to(q).arguments })
      assert(ch:publish("", q, "x"))
      reject_next(ch, q)
      reject_next(ch, delay)
      eventually("it is back", function() return count(ch, q) == 1 end)
      assert(ch:publish("", q, "pushes it out"))
      local msg = take(ch, delay)
      assert.equal("x", msg.body)
      local reasons = {}
      for i, entry in ipairs(msg.headers["x-death"]) do reasons[i] = { entry.queue, entry.reason, entry.count } end
      assert.same({ { q, "maxlen", 1 }, { q, "rejected", 1 }, { delay, "rejected", 1 } }, reasons)
   end)

   it("goes on counting when the program publishes the message again", function()
      local ch, q, dead = work()
      assert(ch:publish("", q, "x"))
      for round = 1, 3 do
         reject_next(ch, q)
         local msg = take(ch, dead)
         assert.equal(1, #msg.headers["x-death"])
         assert.equal(round, death(msg).count)
         assert(ch:publish("", q, msg.body, msg.properties))
      end
   end)

   broker.unless_redis(it, "headers", "of the program's own making is believed: only the count of a death changes", function()
      local ch, q, dead = work()
      local past = mr.timestamp(1000)
      local function made(count_) -- the exchange and the keys of the first time stay
         return { queue = q, reason = "rejected", exchange = "made up", ["routing-keys"] = { "k" }, time = past, count = count_ }
      end
      assert(ch:publish("", q, "x", { headers = { ["x-death"] = { made(41) } } }))
      reject_next(ch, q)
      local msg = take(ch, dead)
      assert.equal(1, #msg.headers["x-death"])
      local entry = msg.headers["x-death"][1]
      assert.same({ past, 42, "made up", { "k" }, "rejected", q },
         { entry.time, entry.count, entry.exchange, entry["routing-keys"], entry.reason, entry.queue })
      assert.is_nil(msg.headers["x-first-death-queue"]) -- it was not the first
   end)

   it("of the program's own making is replaced when it is no list", function()
      local ch, q, dead = work()
      assert(ch:publish("", q, "x", { headers = { ["x-death"] = "nonsense" } }))
      reject_next(ch, q)
      local msg = take(ch, dead)
      assert.same({ count = 1, reason = "rejected", queue = q, exchange = "", ["routing-keys"] = { q } }, death(msg))
   end)
end)

describe("a cycle of dead letters", function()
   after_each(broker.close_all)

   local function dies_out(ch, q)
      eventually(q .. " is empty", function() return count(ch, q) == 0 end)
   end

   it("without a rejection ends: back in its own queue", function()
      local ch = broker.channel()
      local q = broker.name "self"
      queue(ch, { queue = q, arguments = to(q, { ["x-message-ttl"] = 10 }).arguments })
      assert(ch:publish("", q, "x"))
      dies_out(ch, q)
   end)

   broker.unless_redis(it, "delaying queues", "without a rejection ends: over two queues", function()
      local ch = broker.channel()
      local a, b = broker.name "a", broker.name "b"
      local fan = exchange(ch, "fanout")
      local seen = bound(ch, fan, "")
      queue(ch, { queue = a, arguments = { ["x-message-ttl"] = 10, ["x-dead-letter-exchange"] = fan } })
      queue(ch, { queue = b, arguments = to(a, { ["x-message-ttl"] = 10 }).arguments })
      assert(ch:queue_bind { queue = b, exchange = fan })
      assert(ch:publish("", a, "x"))
      assert.equal("x", take(ch, seen).body) -- died in a, goes to b as well
      dies_out(ch, b)
      dies_out(ch, a)
      assert(ch:publish("", a, "next"))
      assert.equal("next", take(ch, seen).body) -- and "x" did not come to a again
   end)

   broker.unless_redis(it, "delaying queues", "without a rejection ends for the queues of the cycle only", function()
      local ch = broker.channel()
      local fan = exchange(ch, "fanout")
      local q = queue(ch, { arguments = { ["x-message-ttl"] = 10, ["x-dead-letter-exchange"] = fan } })
      assert(ch:queue_bind { queue = q, exchange = fan })
      local seen = bound(ch, fan, "")
      assert(ch:publish("", q, "1"))
      assert.equal("1", take(ch, seen).body)
      assert(ch:publish("", q, "2"))
      assert.equal("2", take(ch, seen).body)
   end)

   it("with a rejection goes on", function()
      local ch = broker.channel()
      local q = broker.name "self"
      queue(ch, { queue = q, arguments = to(q).arguments })
      assert(ch:publish("", q, "x"))
      for round = 1, 5 do
         local msg = take(ch, q, {})
         assert.equal(round > 1 and round - 1 or nil, round > 1 and death(msg).count or nil)
         assert.is_true(msg:reject())
      end
      assert.equal(5, death(take(ch, q)).count)
   end)
end)

describe("a message whose time is over behind one that lives", function()
   after_each(broker.close_all)

   -- Waits until what has been published with this expiration is over: another such one has died. On Redis none dies before
   -- somebody takes it: there time itself has to pass.
   local function outlive(ch, expiration)
      if broker.is_redis then return mr.sleep((tonumber(expiration) + 5) / 1000) end
      local dead = queue(ch)
      local q = queue(ch, to(dead))
      assert(ch:publish("", q, "witness", { expiration = expiration }))
      take(ch, dead)
   end

   -- The bodies of the letters, which all say "expired".
   local function letters(ch, dead, expected)
      local bodies = {}
      for i = 1, expected do
         local msg = take(ch, dead)
         assert.equal("expired", death(msg).reason)
         bodies[i] = msg.body
      end
      assert.equal(0, count(ch, dead))
      return table.concat(bodies, " ")
   end

   local function fill(ch, q)
      assert(ch:publish("", q, "alive"))
      for i = 1, 10 do assert(ch:publish("", q, tostring(i), { expiration = "20" })) end
      assert(ch:publish("", q, "alive, too"))
   end

   for _, no_ack in ipairs { true, false } do
      it(("is not for a late consumer %s acks (FIELD-F4)"):format(no_ack and "without" or "with"), function()
         local ch, q, dead = work()
         fill(ch, q)
         outlive(ch, "20")
         assert.equal(12, count(ch, q)) -- they are not looked at before
         local got = {}
         assert(ch:consume(q, function(msg)
            got[#got + 1] = msg.body
            if not no_ack then msg:ack() end
         end, { no_ack = no_ack }))
         eventually("both", function() return #got >= 2 end)
         assert.equal("1 2 3 4 5 6 7 8 9 10", letters(ch, dead, 10))
         assert.same({ "alive", "alive, too" }, got)
      end)
   end

   it("is not for who gets (FIELD-F4)", function()
      local ch, q, dead = work()
      fill(ch, q)
      outlive(ch, "20")
      assert.equal("alive", take(ch, q).body)
      assert.equal("alive, too", take(ch, q).body)
      assert.equal("1 2 3 4 5 6 7 8 9 10", letters(ch, dead, 10))
   end)

   it("is not for who had no credit when its time was over (FIELD-F4)", function()
      local ch, q, dead = work()
      assert(ch:qos { prefetch_count = 1 })
      local go, got = false, {}
      assert(ch:consume(q, function(msg)
         got[#got + 1] = msg.body
         if #got == 1 then eventually("the word", function() return go end) end
      end))
      assert(ch:publish("", q, "held"))
      eventually("the first", function() return got[1] end)
      fill(ch, q)
      outlive(ch, "20")
      go = true
      eventually("the others", function() return #got >= 3 end)
      assert.equal("1 2 3 4 5 6 7 8 9 10", letters(ch, dead, 10))
      assert.same({ "held", "alive", "alive, too" }, got)
   end)

   it("is dropped where no dead letters are wanted (FIELD-F4)", function()
      local ch = broker.channel()
      local q = queue(ch)
      fill(ch, q)
      outlive(ch, "20")
      local got = {}
      assert(ch:consume(q, function(msg) got[#got + 1] = msg.body end, { no_ack = true }))
      eventually("both", function() return #got >= 2 end)
      assert.same({ "alive", "alive, too" }, got)
      eventually("nothing is left", function() return count(ch, q) == 0 end)
   end)

   broker.unless_redis(it, "expiration", "comes back too late, and dies as it comes (FIELD-F4)", function()
      local ch, q, dead = work()
      assert(ch:publish("", q, "late", { expiration = "40" }))
      local msg = take(ch, q, {})
      outlive(ch, "40")
      assert.is_true(msg:reject { requeue = true })
      assert.equal("late", letters(ch, dead, 1))
   end)

   broker.unless_redis(it, "priorities", "does not outlive its own priority's turn (FIELD-F4)", function()
      local ch, q, dead = work { ["x-max-priority"] = 3 }
      assert(ch:publish("", q, "low", { priority = 1 }))
      assert(ch:publish("", q, "high", { priority = 3 }))
      for i = 1, 3 do assert(ch:publish("", q, tostring(i), { priority = 1, expiration = "20" })) end
      outlive(ch, "20")
      local got = {}
      assert(ch:consume(q, function(m) got[#got + 1] = m.body end, { no_ack = true }))
      eventually("both", function() return #got >= 2 end)
      assert.equal("1 2 3", letters(ch, dead, 3))
      assert.same({ "high", "low" }, got)
   end)
end)
