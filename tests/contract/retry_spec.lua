--- mr.consumer's retries: no message is lost, changed or sent round for ever, whatever stands in the way of its copy.
local mr = require "moonrabbit"
local broker = require "broker"
local raw = require "raw"

local eventually, take = broker.eventually, broker.take

local function confirming()
   local ch = broker.channel()
   assert(ch:confirm_select())
   return ch
end

local made = {} -- queues to be removed

local function consumer(options)
   options.connection = options.connection or broker.connect()
   options.queue = options.queue or broker.name "work"
   local w = mr.consumer(options)
   assert(w:wait(10))
   for _, queue in ipairs { w.queue, w.queue .. ".dead", w.queue .. ".retry-exit" } do made[#made + 1] = queue end
   return w
end

local function quiet() mr.log.configure "off" end

local function clean()
   local ch = broker.channel()
   for _, queue in ipairs(made) do ch:queue_delete { queue = queue } end
   made = {}
   broker.close_all()
   mr.log.configure "warn"
end

describe("a message whose delay ends while its queue is full", function()
   before_each(quiet)
   after_each(clean)

   for _, overflow in ipairs { "reject-publish", "reject-publish-dlx" } do
      broker.unless_redis(it, "queue arguments", "is kept until there is room: " .. overflow .. " (FIELD-W2)", function()
         local ch, queue, seen, go = confirming(), broker.name "full", {}, false
         consumer { queue = { queue = queue, arguments = { ["x-max-length"] = 1, ["x-overflow"] = overflow } }, prefetch = 1,
            concurrency = 1, retry = mr.retry.fixed { delay = 0.3 }, handler = function(msg)
               if msg.body == "first" and msg.attempt == 1 then error "no" end
               seen[#seen + 1] = msg.body
               if msg.body == "second" then eventually("the word", function() return go end, 60) end
            end }
         assert(ch:publish("", queue, "first"))
         eventually("its way into the delay", function() return broker.count(ch, queue) == 0 end)
         assert(ch:publish("", queue, "second"))
         eventually("the second at work", function() return seen[1] == "second" end)
         assert(ch:publish("", queue, "third"))
         local _, err = ch:publish("", queue, "fourth")
         assert.equal("nacked", err and err.kind)
         mr.sleep(1) -- the delay ends meanwhile, and the queue is full
         assert.same({ "second" }, seen)
         go = true
         eventually("all", function() return #seen == 3 end, 60)
         table.sort(seen)
         assert.same({ "first", "second", "third" }, seen)
      end)
   end

   it("waits for a queue that is not there for a while (FIELD-W2)", function()
      local ch, seen = confirming(), {}
      local w = consumer { retry = mr.retry.fixed { delay = 0.3 }, handler = function(msg)
         seen[#seen + 1] = msg.attempt
         if msg.attempt == 1 then error "no" end
      end }
      assert(ch:publish("", w.queue, "x"))
      eventually("the first try, and the copy", function() return seen[1] and w.running == 0 end)
      assert(ch:queue_delete { queue = w.queue })
      eventually("the second try", function()
         ch:queue_declare { queue = w.queue, durable = true }
         return seen[2]
      end, 60)
      assert.same({ 1, 2 }, seen)
   end)
end)

describe("a copy that cannot be made", function()
   before_each(quiet)
   after_each(clean)

   local function held(queue_arguments)
      local ch, attempts = confirming(), {}
      local queue = broker.name "held"
      local obstacle, delay = broker.channel(), queue .. ".retry.300"
      made[#made + 1] = delay
      assert(obstacle:queue_declare { queue = delay, exclusive = true })
      local w = consumer { queue = { queue = queue, arguments = queue_arguments }, retry = mr.retry.fixed { delay = 0.3, attempts = 5 },
         handler = function(msg)
            attempts[#attempts + 1] = msg.attempt
            if msg.attempt < 3 then error "no" end
         end }
      assert(ch:publish("", queue, "x"))
      eventually("the first try", function() return attempts[1] end)
      mr.sleep(2)
      assert.same({ 1 }, attempts) -- the copy was tried again, not the handler
      assert.equal(1, w.running)
      assert(obstacle:queue_delete { queue = delay })
      eventually("the others", function() return #attempts == 3 and w.running == 0 end, 60)
      assert.same({ 1, 2, 3 }, attempts)
      assert.equal(0, broker.count(ch, queue))
      assert.equal(0, broker.count(ch, w.dead_letter))
   end

   it("is tried again while its message is held (FIELD-C1)", function() held() end)

   broker.it_rabbitmq(it, "does not use up the delivery limit of a quorum queue (FIELD-C1)", function()
      held { ["x-queue-type"] = "quorum", ["x-delivery-limit"] = 2 }
   end)

   broker.unless_redis(it, "queue arguments", "because the dead letters are full waits for room there (FIELD-C1)", function()
      local ch, queue, calls = confirming(), broker.name "buried", 0
      local dead = queue .. ".grave"
      made[#made + 1] = dead
      local w = consumer { queue = queue, dead_letter = dead, retry = mr.retry.never, handler = function()
         calls = calls + 1
         error "no"
      end }
      assert(ch:queue_delete { queue = dead })
      assert(ch:queue_declare { queue = dead, durable = true, arguments = { ["x-max-length"] = 1,
         ["x-overflow"] = "reject-publish" } })
      assert(ch:publish("", dead, "old"))
      assert(ch:publish("", queue, "new"))
      eventually("the try", function() return calls == 1 end)
      mr.sleep(1)
      assert.same({ 1, 1 }, { calls, w.running })
      assert.equal("old", take(ch, dead).body)
      assert.equal("new", take(ch, dead).body)
      assert.equal(1, calls)
   end)

   it("ends with its message's channel: it comes again by the broker (FIELD-C1)", function()
      local ch, queue, seen = confirming(), broker.name "gone", {}
      local obstacle = broker.channel()
      assert(obstacle:queue_declare { queue = queue .. ".retry.300", exclusive = true })
      local w = consumer { queue = queue, retry = mr.retry.fixed { delay = 0.3 }, handler = function(msg)
         seen[#seen + 1] = msg.redelivered
         if not msg.redelivered then error "no" end
      end }
      assert(ch:publish("", queue, "x"))
      eventually("the first try", function() return seen[1] ~= nil end)
      w.channel:exchange_declare { exchange = "nowhere", passive = true } -- the broker closes the channel
      eventually("the redelivery", function() return #seen == 2 and w.running == 0 end, 30)
      assert.same({ false, true }, seen)
   end)

   broker.unless_redis(it, "one process", "is given up when the program stops: its message goes back (FIELD-C1)", function()
      local ch, queue = confirming(), broker.name "stopped"
      made[#made + 1], made[#made + 2], made[#made + 3] = queue, queue .. ".dead", queue .. ".retry-exit"
      local obstacle = broker.channel()
      assert(obstacle:queue_declare { queue = queue .. ".retry.300", exclusive = true })
      assert(ch:queue_declare { queue = queue, durable = true })
      assert(ch:publish("", queue, "x"))
      local out, code = broker.shell(("AMQP_URL='%s' %s run --drain 20 %s 2>&1"):format(broker.tcp_url, broker.command,
         broker.script(([[
            local mr = require "moonrabbit"
            mr.consumer { queue = "%s", retry = mr.retry.fixed { delay = 0.3 }, handler = function(msg)
               print("try", msg.attempt)
               mr.after(2, mr.stop)
               error "no"
            end }]]):format(queue))))
      assert.equal(0, code, out)
      assert.truthy(out:find("it is held, and its copy is tried again", 1, true), out)
      assert.equal(1, select(2, out:gsub("try\t", "")), out)
      local msg = take(ch, queue)
      assert.same({ "x", 1 }, { msg.body, msg.attempt })
   end)

   broker.it_inside(it, "because the broker is short of memory is made when that is over (FIELD-C1)", function()
      local ch, attempts, is_blocked = confirming(), {}, false
      local w = consumer { retry = mr.retry.fixed { delay = 0.2 }, handler = function(msg)
         attempts[#attempts + 1] = msg.attempt
         if msg.attempt > 1 then return end
         broker.block(true)
         is_blocked = true
         error "no"
      end }
      assert(ch:publish("", w.queue, "x"))
      eventually("the block", function() return is_blocked end, 150)
      mr.sleep(2)
      local seen = #attempts
      broker.block(false)
      eventually("the second", function() return #attempts == 2 and w.running == 0 end, 60)
      assert.same({ 1, { 1, 2 } }, { seen, attempts })
   end)

   broker.it_inside(it, "because the connection of copies is away is made when it is back (FIELD-C1)", function()
      local ch, attempts = confirming(), {}
      local w = consumer { retry = mr.retry.fixed { delay = 0.1 }, handler = function(msg)
         attempts[#attempts + 1] = msg.attempt
         local conn = msg.channel.connection
         if msg.attempt == 2 then conn.side.connection:close() end
         if msg.attempt < 4 then error "no" end
      end }
      assert(ch:publish("", w.queue, "x"))
      eventually("all", function() return #attempts == 4 and w.running == 0 end, 60)
      assert.same({ 1, 2, 3, 4 }, attempts)
   end)
end)

broker.unless_redis(describe, "headers", "a message that no codec has a word for", function()
   before_each(quiet)
   after_each(clean)

   local top = "\128" .. ("\255"):rep(7)
   local function deep(levels)
      local inner = raw.table {}
      for _ = 1, levels do inner = raw.table { raw.field("k", "F", inner) } end
      return inner
   end
   local strange = {
      ["a timestamp beyond 2^63"] = raw.properties { timestamp = top, headers = raw.table { raw.field("T", "T", top) } },
      ["a key of 255 bytes"] = raw.properties { headers = raw.table { raw.field(("k"):rep(255), "S", raw.long "v"),
         raw.field(("k"):rep(129), "V", "") } },
      ["headers nested 100 deep"] = raw.properties { headers = deep(100) },
      ["unsigned numbers beyond 2^63"] = raw.properties { headers = raw.table { raw.field("L", "L", top),
         raw.field("empty", "F", raw.table {}), raw.field("", "S", raw.long "no key") } },
      ["headers that nearly fill a frame"] = raw.properties { message_id = "m",
         headers = raw.table { raw.field("big", "S", raw.long(("h"):rep(131072 - 1200))) } },
      ["no properties at all"] = raw.properties {},
   }
   for what, properties in pairs(strange) do
      it("is tried again and buried byte for byte, and is in nobody's way: " .. what .. " (FIELD-W11)", function()
         local ch, tries, good = confirming(), {}, 0
         local w = consumer { prefetch = 1, retry = mr.retry.fixed { delay = 0.05, attempts = 3 }, handler = function(msg)
            if msg.body == "good" then
               good = good + 1
               return
            end
            tries[#tries + 1] = { msg.attempt, raw.received(msg) == raw.less_ours(properties), pcall(function() return msg.headers end) }
            error "no"
         end }
         assert(raw.publish(ch, w.queue, "strange \0\255", properties))
         assert(ch:publish("", w.queue, "good"))
         local msg = take(ch, w.dead_letter)
         assert.equal("strange \0\255", msg.body)
         assert.is_true(raw.received(msg) == raw.less_ours(properties))
         for i, try in ipairs(tries) do assert.same({ i, true, true }, { try[1], try[2], try[3] }) end
         assert.same({ 3, 1 }, { #tries, good })
      end)
   end

   it("can be read: every number, key and depth (FIELD-W11)", function()
      local ch, seen = confirming(), nil
      local w = consumer { handler = function(msg)
         local level, depth = msg.headers.deep, 0
         while level do level, depth = level.k, depth + 1 end
         seen = { msg.properties.timestamp, msg.headers.T.value, msg.headers[("k"):rep(255)], depth }
      end }
      assert(raw.publish(ch, w.queue, "x", raw.properties { timestamp = top, headers = raw.table { raw.field("T", "T", top),
         raw.field(("k"):rep(255), "S", raw.long "v"), raw.field("deep", "F", deep(5000)) } }))
      eventually("the message", function() return seen end)
      local most = 0x80ffffffffffffffULL
      assert.is_true(seen[1] == most and seen[2] == most)
      assert.same({ "v", 5001 }, { seen[3], seen[4] })
   end)
end)
