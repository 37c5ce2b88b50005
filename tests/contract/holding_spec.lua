--- Messages that are to come again and have no delay queue: those of ch:consume and ch:get, and of users who may not declare.
local mr = require "moonrabbit"
local broker = require "broker"

local eventually, take = broker.eventually, broker.take

local made = {}

local function confirming()
   local ch = broker.channel()
   assert(ch:confirm_select())
   return ch
end

local function declare(ch, queue, arguments)
   for _, suffix in ipairs { "", ".dead", ".retry-exit", ".retry.300" } do made[#made + 1] = queue .. suffix end
   assert(ch:queue_declare { queue = queue, durable = true, arguments = arguments })
   return queue
end

local FULL = { ["x-max-length"] = 1, ["x-overflow"] = "reject-publish" }

-- Puts one message off and has its queue full when it is to come; all come in the end.
local function overfilled(queue, start)
   local ch, seen, go = confirming(), {}, false
   start(function(msg)
      if msg.body == "first" and msg.attempt == 1 then
         seen[1] = "put off"
         return true
      end
      seen[#seen + 1] = msg.body
      if msg.body == "second" then eventually("the word", function() return go end, 60) end
   end)
   assert(ch:publish("", queue, "first"))
   eventually("the first try", function() return seen[1] end)
   assert(ch:publish("", queue, "second"))
   eventually("the second at work", function() return seen[2] == "second" end)
   eventually("the queue full", function() return ch:publish("", queue, "third") end)
   local _, err = ch:publish("", queue, "fourth")
   assert.equal("nacked", err and err.kind)
   mr.sleep(1) -- the delay ends meanwhile, and the queue is full
   go = true
   eventually("all", function() return #seen == 4 end, 60)
   table.sort(seen)
   assert.same({ "first", "put off", "second", "third" }, seen)
end

describe("a message that is put off", function()
   before_each(function() mr.log.configure "off" end)
   after_each(function()
      local ch = broker.channel()
      for _, queue in ipairs(made) do ch:queue_delete { queue = queue } end
      made = {}
      broker.close_all()
      mr.log.configure "warn"
   end)

   broker.unless_redis(it, "queue arguments", "by a handler of ch:consume is kept until its queue has room (FIELD-W2)", function()
      local ch = broker.channel()
      local queue = declare(ch, broker.name "full", FULL)
      assert(ch:qos { prefetch_count = 2 })
      overfilled(queue, function(handler)
         assert(ch:consume(queue, function(msg)
            if handler(msg) then assert(msg:retry(0.3)) end
         end, { concurrency = 1 }))
      end)
   end)

   broker.unless_redis(it, "queue arguments", "by a consumer without retries is kept until its queue has room (FIELD-W2)", function()
      local queue = declare(broker.channel(), broker.name "full", FULL)
      overfilled(queue, function(handler)
         assert(mr.consumer { connection = broker.connect(), queue = queue, declare = false, retry = false, prefetch = 1,
            handler = function(msg)
               if handler(msg) then return { retry = 0.3 } end
            end }:wait(20))
      end)
   end)

   it("by a consumer without retries that has gone comes to the next one (FIELD-W2)", function()
      local ch, seen = confirming(), {}
      local queue = declare(ch, broker.name "next")
      local function start()
         local w = mr.consumer { connection = broker.connect(), queue = queue, declare = false, retry = false,
            handler = function(msg)
               seen[#seen + 1] = msg.attempt
               if msg.attempt == 1 then assert(msg:retry(0.3)) end
            end }
         assert(w:wait(20))
         return w
      end
      local w = start()
      assert(ch:publish("", queue, "x"))
      eventually("the first try", function() return seen[1] and w.running == 0 end)
      assert(w:cancel())
      w.connection:close()
      eventually("the exit", function() return broker.count(ch, queue .. ".retry-exit") == 1 end)
      start()
      eventually("the second try", function() return seen[2] end)
      assert.same({ 1, 2 }, seen)
   end)

   it("is settled for its handler, comes at the end of its queue, changed as the handler did it, and others go on", function()
      local ch, seen, results = confirming(), {}, {}
      local out = confirming()
      local queue = declare(ch, broker.name "held")
      assert(ch:consume(queue, function(msg)
         seen[#seen + 1] = msg.body .. msg.attempt .. tostring(msg.headers.mine)
         if msg.body == "a" and msg.attempt == 1 then
            msg.headers.mine = 2
            results[1] = msg:retry(0.3)
            local _, err = msg:ack()
            results[2] = { err.kind, msg.body, msg.queue == queue, msg.attempt, msg.is_live }
            error "which does not matter"
         end
      end))
      for _, body in ipairs { "a", "b" } do assert(out:publish("", queue, body, { headers = { mine = 1 } })) end
      eventually("all", function() return #seen == 3 end)
      assert.same({ "a11", "b1" .. "1", "a22" }, seen)
      assert.same({ true, { "settled", "a", true, 1, false } }, results)
      eventually("the ack", function()
         local other = broker.channel()
         return other:queue_declare { queue = queue, passive = true }.message_count == 0 and mr.stats().in_flight == 0
      end)
      assert(ch:close())
      assert.equal(0, broker.count(out, queue))
   end)

   it("goes back when its channel closes, or is acked with later ones: then it comes as a copy (FIELD-W2)", function()
      local out = confirming()
      local queue = declare(out, broker.name "held")
      for _, how in ipairs { "closed", "acked" } do
         local ch = broker.channel()
         for _, body in ipairs { "a", "b" } do assert(out:publish("", queue, body)) end
         assert(take(ch, queue, {}):retry(600))
         local b = take(ch, queue, {})
         if how == "closed" then assert(ch:close()) end
         assert.equal(how == "acked" or nil, b:ack { multiple = true })
         local msg = take(out, queue)
         assert.same({ "a", how == "closed" and 1 or 2 }, { msg.body, msg.attempt })
         if how == "closed" then assert.equal("b", take(out, queue).body) end
      end
   end)

   it("comes once, and counted, when it is given back with later ones (FIELD-W2)", function()
      local out, ch = confirming(), broker.channel()
      local queue = declare(out, broker.name "held")
      for _, body in ipairs { "a", "b" } do assert(out:publish("", queue, body)) end
      assert(take(ch, queue, {}):retry(600))
      assert(take(ch, queue, {}):nack { multiple = true })
      local a, b = take(ch, queue, {}), take(ch, queue, {})
      assert.same({ "a", 2, true, "b" }, { a.body, a.attempt, a.redelivered, b.body })
      eventually("the end of what was held", function() return mr.stats().in_flight == 2 end)
      for _, msg in ipairs { a, b } do assert(msg:ack()) end
      assert(ch:close())
      assert.equal(0, broker.count(out, queue))
   end)

   it("and came without acks is not put off: it arrived settled", function()
      local ch, out = broker.channel(), confirming()
      local queue = declare(out, broker.name "held")
      local result
      assert(ch:consume(queue, function(msg) result = { msg:retry(0.1) } end, { no_ack = true }))
      assert(out:publish("", queue, "x"))
      eventually("it", function() return result end)
      assert.same({ nil, "settled" }, { result[1], result[2].kind })
      mr.sleep(0.5)
      assert.equal(0, broker.count(out, queue))
   end)

   it("by mr.consumer waits nowhere before what it is to come out of is there (FIELD-W2)", function()
      local out, seen = confirming(), {}
      local queue = declare(out, broker.name "blocked")
      local obstacle = broker.channel()
      assert(obstacle:queue_declare { queue = queue .. ".retry-exit", exclusive = true })
      assert(mr.consumer { connection = broker.connect(), queue = queue, retry = mr.retry.fixed { delay = 0.3 },
         handler = function(msg)
            seen[#seen + 1] = msg.attempt
            if msg.attempt == 1 then error "no" end
         end }:wait(20))
      assert(out:publish("", queue, "x"))
      eventually("the first try", function() return seen[1] end)
      mr.sleep(1)
      assert(obstacle.connection:close())
      eventually("the second try", function() return seen[2] end, 60)
      assert.same({ 1, 2 }, seen)
   end)

   broker.it_rabbitmq(it, "by a user who may not declare comes again all the same (FIELD-C1)", function()
      local out = confirming()
      for what, permissions in pairs { ["reads and writes"] = "'^$' '.*' '.*'", reads = "'^$' '^$' '.*'" } do
         local queue, seen = declare(out, broker.name "modest"), {}
         assert(out:queue_declare { queue = queue .. ".dead", durable = true })
         local conn = broker.connect_user(permissions)
         local function handler(msg)
            seen[#seen + 1] = msg.attempt
            if msg.attempt < 3 then assert(msg:retry(0.3)) end
         end
         local ch = assert(conn:channel())
         assert(ch:consume(queue, handler))
         assert(out:publish("", queue, "x"))
         eventually("three tries", function() return #seen == 3 end, 60)
         assert.same({ 1, 2, 3 }, seen, what)
         eventually("the acks", function() return mr.stats().in_flight == 0 end)
         assert(ch:close())
         local w = mr.consumer { connection = conn, queue = queue, declare = false, handler = handler }
         assert(w:wait(20))
         seen = {}
         assert(out:publish("", queue, "y"))
         eventually("three tries", function() return #seen == 3 end, 60)
         assert.same({ 1, 2, 3 }, seen, what)
         eventually("the acks", function() return mr.stats().in_flight == 0 end)
         conn:close()
         assert.equal(0, broker.count(out, queue))
      end
   end)
end)
