--- mr.consumer: what depends on the broker: delay queues that give back, dead letters, headers that survive the way.
-- Covers: lua/moonrabbit/redelivery/message.lua by dead_letter
local mr = require "moonrabbit"
local broker = require "broker"
local control = require "moonrabbit.console.control"

local eventually, take = broker.eventually, broker.take

local function consumer(options)
   options.connection = options.connection or broker.connect()
   options.queue = options.queue or broker.name "work"
   local w = mr.consumer(options)
   assert(w:wait(10))
   return w
end

local function remove(ch, ...)
   for _, queue in ipairs { ... } do assert(ch:queue_delete { queue = queue }) end
end

describe("mr.consumer", function()
   before_each(function() mr.log.configure "off" end)
   after_each(function()
      broker.close_all()
      mr.log.configure "warn"
   end)

   it("tries a failed message again through a delay queue, and buries it in the end", function()
      local ch, at = broker.channel(), {}
      local w = consumer { retry = mr.retry.linear { start = 0.2, step = 0.2, attempts = 3 }, handler = function(msg)
         at[#at + 1] = { mr.now(), msg.attempt, msg.routing_key, msg.exchange }
         error { code = 7 }
      end }
      assert(ch:publish("", w.queue, "body", { message_id = "id", content_type = "text/plain",
         headers = { text = "t", number = 5, flag = true, list = mr.array { 1, "two" } } }))
      local msg = take(ch, w.dead_letter)
      assert.equal(3, #at)
      for i, seconds in ipairs { 0.2, 0.4 } do
         local gap = at[i + 1][1] - at[i][1]
         assert.is_true(gap >= seconds - 0.01, ("%g instead of %g s"):format(gap, seconds))
         assert.same({ i + 1, w.queue, "" }, { at[i + 1][2], at[i + 1][3], at[i + 1][4] })
      end
      assert.same({ "body", "id", "text/plain" }, { msg.body, msg.properties.message_id, msg.properties.content_type })
      local headers = msg.headers
      assert.same({ "t", 5, true, 1, "two" }, { headers.text, headers.number, headers.flag, headers.list[1], headers.list[2] })
      assert.same({ 3, w.queue, "the retry policy stopped after 3 attempts" }, { headers["x-mr-attempt"],
         headers["x-mr-queue"], headers["x-mr-reason"] })
      assert.truthy(headers["x-mr-error"]:find("^handler_failed: .*code"), headers["x-mr-error"])
      remove(ch, w.queue, w.dead_letter, w.queue .. ".retry.200", w.queue .. ".retry.400")
   end)

   it("shows a retried message as it was published first", function()
      local ch, exchange, seen = broker.channel(), broker.name "exchange", {}
      local w = consumer { bindings = { { exchange = exchange, type = "topic", routing_key = "a.#" } },
         retry = mr.retry.fixed { delay = 0.05 }, handler = function(msg)
            seen[#seen + 1] = { msg.exchange, msg.routing_key, msg.attempt }
            if msg.attempt < 3 then return nil, "again" end
         end }
      assert(ch:publish(exchange, "a.b", "x", { user_id = "guest" }))
      eventually("three tries", function() return #seen == 3 end)
      assert.same({ { exchange, "a.b", 1 }, { exchange, "a.b", 2 }, { exchange, "a.b", 3 } }, seen)
      remove(ch, w.queue, w.dead_letter, w.queue .. ".retry.50")
      assert(ch:exchange_delete { exchange = exchange })
   end)

   it("gives messages back, rejects them, or puts them off, as the handler says", function()
      local ch, seen = broker.channel(), {}
      local w = consumer { prefetch = 1, handler = function(msg)
         local first = not seen[msg.body]
         seen[msg.body] = (seen[msg.body] or 0) + 1
         if msg.body == "requeue" and first then return "requeue" end
         if msg.body == "reject" then return "reject" end
         if msg.body == "later" and first then return { retry = 0.05 } end
         if msg.body == "by hand" and first then assert(msg:retry(0.05)) end
         if msg.body == "buried" then assert(msg:dead_letter "by hand") end
      end }
      for _, body in ipairs { "requeue", "reject", "later", "by hand", "buried" } do assert(ch:publish("", w.queue, body)) end
      eventually("all", function() return seen.later == 2 and seen["by hand"] == 2 and seen.requeue == 2 end)
      assert.equal("by hand", take(ch, w.dead_letter).headers["x-mr-reason"])
      assert(w:cancel())
      eventually("nothing is left", function() return broker.count(ch, w.queue) == 0 and broker.count(ch, w.dead_letter) == 0 end)
      assert.same({ 1, 1 }, { seen.reject, seen.buried })
      remove(ch, w.queue, w.dead_letter, w.queue .. ".retry.50")
   end)

   it("is the robust consumer of the guides: durable queue, prefetch 1, ack on success, back on failure (O3-O6, O10)", function()
      local ch, seen = broker.channel(), {}
      local w = consumer { prefetch = 1, retry = function() return "requeue" end, handler = function(msg)
         seen[#seen + 1] = msg.redelivered
         if not msg.redelivered then error "once" end
      end }
      assert(ch:publish("", w.queue, "task"))
      eventually("both tries", function() return #seen == 2 end)
      assert.same({ false, true }, seen)
      assert(w:cancel())
      eventually("the ack", function() return broker.count(ch, w.queue) == 0 end)
      assert(ch:queue_declare { queue = w.queue, durable = true }) -- it is: the same declaration passes
      remove(ch, w.queue, w.dead_letter)
   end)

   it("waits while the queue is another consumer's alone: that one may be dead (FIELD-W12)", function()
      local queue, ch = broker.name "alone", broker.channel()
      assert(ch:queue_declare { queue = queue, durable = true })
      assert(ch:consume(queue, function() end, { exclusive = true }))
      local w = mr.consumer { queue = queue, exclusive = true, connection = broker.connect(), handler = function() end }
      eventually("a refusal", function() return w.err end)
      assert.same({ "access_refused", "recovering" }, { w.err.kind, w.state })
      assert(ch:close())
      assert(w:wait(60))
      remove(broker.channel(), queue, w.dead_letter)
   end)

   broker.unless_redis(it, "headers", "keeps the types of headers through retries without delay and burial", function()
      local ch = broker.channel()
      local function kept(type_, v) return setmetatable({ type = type_, value = v }, getmetatable(mr.int(1))) end
      local w = consumer { retry = mr.retry.fixed { delay = 0, attempts = 3 }, handler = function() error "no" end }
      assert(ch:publish("", w.queue, "x", { headers = { I = kept("I", 7), s = kept("s", -3), b = kept("b", 1), d = kept("d", 2),
         f = kept("f", 0.5), x = mr.bytes "\255", A = mr.array {}, F = { I = kept("I", 8) }, T = mr.timestamp(9),
         D = mr.decimal(15, 1) } }))
      local msg = take(ch, w.dead_letter)
      local headers = require("moonrabbit.channel.message").exact_headers(msg)
      for _, name in ipairs { "I", "s", "b", "d", "f", "x", "A", "T", "D" } do assert.equal(name, headers[name].type) end
      assert.same({ "I", 8, 3 }, { headers.F.I.type, tonumber(headers.F.I.value), msg.headers["x-mr-attempt"] })
      assert(w:cancel())
      remove(ch, w.queue, w.dead_letter, w.queue .. ".retry.0")
   end)

   it("retries under a name that fits when the queue's own is long", function()
      local ch = broker.channel()
      local tries, name = 0, (broker.name "long" .. ("\195\164"):rep(125)):sub(1, 248):gsub("\195$", "")
      local w = consumer { queue = name, retry = mr.retry.fixed { delay = 0.05, attempts = 9 }, handler = function(msg)
         tries = msg.attempt
         if tries < 3 then error "no" end
      end }
      assert(ch:publish("", name, "x"))
      eventually("three tries", function() return tries == 3 end)
      assert(w:cancel())
      remove(ch, name, w.dead_letter, require("moonrabbit.redelivery.copy").delay_queue(name, 50).queue)
   end)

   broker.unless_redis(it, "queue arguments", "leaves dead letters to a queue of the program's own making when it declares none", function()
      local ch, queue, dead = broker.channel(), broker.name "plain", broker.name "grave"
      assert(ch:queue_declare { queue = queue, durable = true })
      assert(ch:queue_declare { queue = dead, durable = true, arguments = { ["x-max-length"] = 5 } })
      local w = consumer { queue = queue, dead_letter = dead, declare = false, retry = false, handler = function() error "no" end }
      assert(ch:publish("", queue, "x"))
      assert.equal("x", take(ch, dead).body)
      assert(w:cancel())
      remove(ch, queue, dead)
   end)
end)

describe("mr.consumer whose queue is deleted", function()
   before_each(function() mr.log.configure "off" end)
   after_each(function()
      broker.close_all()
      mr.log.configure "warn"
   end)

   it("declares it again, with its bindings, and lets a handler at work end (FIELD-C7)", function()
      local ch, exchange, got, is_held, is_done = broker.channel(), broker.name "exchange", {}, true, false
      local w = consumer { bindings = { { exchange = exchange, type = "direct", routing_key = "key" } }, handler = function(msg)
         got[msg.body] = true
         if msg.body ~= "held" then return end
         while is_held do mr.sleep(0.01) end
         is_done = true
      end }
      assert(ch:publish(exchange, "key", "held"))
      eventually("the handler", function() return got.held end)
      assert(ch:queue_delete { queue = w.queue })
      eventually("the loss", function() return w.state == "recovering" end)
      eventually("it to consume again", function() return w.state == "consuming" end, 20)
      assert(ch:publish(exchange, "key", "again"))
      eventually("the message", function() return got.again end)
      assert.is_false(is_done)
      is_held = false
      eventually("the handler's end", function() return is_done end)
      assert.equal(1, assert(ch:queue_declare { queue = w.queue, passive = true }).consumer_count)
      assert(w:cancel())
      remove(ch, w.queue, w.dead_letter)
      assert(ch:exchange_delete { exchange = exchange })
   end)

   it("takes it as it is where somebody else has declared it within two seconds", function()
      local ch, got = broker.channel(), 0
      local w = consumer { handler = function() got = got + 1 end }
      local first = w.inner
      assert(ch:queue_delete { queue = w.queue })
      eventually("the loss", function() return w.state == "recovering" end)
      assert(ch:queue_declare { queue = w.queue, durable = true })
      eventually("it to consume again", function() return w.state == "consuming" end, 20)
      assert(ch:publish("", w.queue, "x"))
      eventually("the message", function() return got == 1 end)
      assert.equal(1, assert(ch:queue_declare { queue = w.queue, passive = true }).consumer_count)
      assert.is_truthy(first)
      assert(w:cancel())
      remove(ch, w.queue, w.dead_letter)
   end)

   it("waits for it where it declares none", function()
      local ch, queue, got = broker.channel(), broker.name "plain", 0
      assert(ch:queue_declare { queue = queue, durable = true })
      local w = consumer { queue = queue, declare = false, dead_letter = false, retry = false, handler = function() got = got + 1 end }
      assert(ch:queue_delete { queue = queue })
      eventually("the loss", function() return w.state == "recovering" end)
      mr.sleep(2.5) -- longer than it takes one that declares
      assert.equal("recovering", w.state)
      assert(ch:queue_declare { queue = queue, durable = true })
      assert(ch:publish("", queue, "x"))
      eventually("the message", function() return got == 1 end, 40)
      assert(w:cancel())
      remove(ch, queue)
   end)
end)

describe("a message that was got", function()
   after_each(broker.close_all)

   broker.unless_redis(it, "a queue is a name", "can be retried, and be a dead letter", function()
      local ch, queue = broker.channel(), broker.name "got"
      assert(ch:queue_declare { queue = queue, durable = true })
      assert(ch:publish("", queue, "x"))
      assert(take(ch, queue, {}):retry(0.05))
      local msg = take(ch, queue, {})
      assert.equal(2, msg.attempt)
      assert(msg:dead_letter "enough")
      assert.equal("enough", take(ch, queue .. ".dead").headers["x-mr-reason"])
      remove(ch, queue, queue .. ".dead", queue .. ".retry.50")
   end)

   -- RabbitMQ knows a tag again: what is not settled under it counts as room once it is.
   for _, kind in ipairs { "classic", "quorum" } do
      local reason = kind == "quorum" and "queue arguments"
      broker.unless_redis(it, reason,
         "heeds a lower prefetch of a console at once, also while handlers run, in a " .. kind .. " queue", function()
         local ch, running, go, handled = broker.channel(), 0, 0, 0
         local w = consumer { queue_type = kind, prefetch = 5, dead_letter = false, handler = function(msg)
            running = running + 1
            while go < tonumber(msg.body) do mr.sleep(0.005) end
            running, handled = running - 1, handled + 1
         end }
         for _ = 1, 5 do assert(ch:publish("", w.queue, "1")) end
         eventually("five handlers", function() return running == 5 end)
         assert(control.run("prefetch", { consumer = w.queue, number = "1" }))
         for _ = 1, 5 do assert(ch:publish("", w.queue, "2")) end
         go = 1
         eventually("one of five", function() return handled == 5 and running == 1 and broker.count(ch, w.queue) == 4 end)
         go = 2
         eventually("all", function() return handled == 10 end)
         w:cancel()
         remove(ch, w.queue)
      end)
   end
end)
