--- A host that is slow: its own messages wait, and nobody else's; what was asked for is always heard.
local mr = require "moonrabbit"
local broker = require "broker"

local eventually = broker.eventually
local MIB = ("x"):rep(2 ^ 20)

local made = {}

-- Removes the queues, and closes what was opened.
local function clean()
   local admin = broker.channel()
   for _, q in ipairs(made) do assert(admin:queue_delete { queue = q }) end
   made = {}
   broker.close_all()
end

-- A channel in confirm mode, and a queue that any connection may consume, with `count` messages of `body`.
local function filled(count, body)
   local ch = broker.channel()
   assert(ch:confirm_select())
   local q = assert(ch:queue_declare { queue = broker.name "flow" }).queue
   made[#made + 1] = q
   for i = 1, count do
      assert(ch:publish_async("", q, body, { persistent = false, timeout = 120 }))
      if i % 5000 == 0 or (#body > 1000 and i % 20 == 0) then assert(ch:wait_for_confirms(120)) end
   end
   assert(ch:wait_for_confirms(120))
   return ch, q
end

local function lives(ch)
   assert.same({ true, true, 1 }, { ch.is_open, ch.connection.is_open, ch.connection.epoch })
end

-- Computes: nothing of the loop runs meanwhile.
local function compute(seconds)
   local deadline = mr.now() + seconds
   while mr.now() < deadline do end
end

describe("handlers that are slow", function()
   after_each(clean)

   it("publish with confirm on another connection, however much waits for them (FIELD-R1)", function()
      local TOTAL = 100
      local ch, q = filled(0, "")
      local out, aside = filled(0, "")
      local handled, failed = 0, nil
      local w = mr.consumer { connection = ch.connection, queue = q, declare = false, dead_letter = false,
         handler = function()
            mr.sleep(0.2)
            local ok, err = out:publish("", aside, "done", { timeout = 30, persistent = false })
            failed = failed or (not ok and tostring(err)) or nil
            handled = handled + 1
         end }
      assert(w:wait(20))
      for _ = 1, TOTAL do assert(ch:publish("", q, MIB, { persistent = false, timeout = 60 })) end
      eventually("all", function() return handled >= TOTAL end, 60)
      assert.is_nil(failed)
      lives(ch)
      lives(out)
      assert(w:cancel())
   end)

   for how, options in pairs {
      ["has no qos"] = {}, ["asked for no limit"] = { prefetch = 0 }, ["has no acks"] = { no_ack = true },
   } do
      it("get confirms on every channel while a flood comes to a consumer that " .. how .. " (FIELD-R1)", function()
         local TOTAL = 70000
         local other, q = filled(TOTAL, "1")
         local conn = broker.connect()
         local into, beside = assert(conn:channel()), assert(conn:channel())
         assert(beside:confirm_select())
         local aside = broker.queue(beside)
         if options.prefetch then assert(into:qos { prefetch_count = options.prefetch }) end
         local seen, ended, failed = 0, 0, nil
         assert(into:consume(q, function(msg)
            seen = seen + 1
            if seen == 1 then compute(1) end -- the flood fills whatever there is to fill
            if not options.no_ack then assert(msg:ack()) end
         end, { no_ack = options.no_ack }))
         local asked = 0
         for _, ch in ipairs { other, beside } do
            mr.spawn(function()
               for _ = 1, 200 do
                  local ok, err = ch:publish("", aside, "x", { timeout = 30, persistent = false })
                  failed = failed or (not ok and tostring(err)) or nil
               end
               if ch == beside then asked = assert(ch:queue_declare { queue = aside, passive = true }).message_count end
               ended = ended + 1
            end)
         end
         eventually("all publishes", function() return ended == 2 end, 60)
         assert.is_nil(failed)
         assert.is_true(asked >= 200)
         eventually("all messages", function() return seen == TOTAL end, 60)
         lives(into)
         lives(other)
         eventually("all memory to be given back", function() return mr.stats().in_flight == 0 end)
      end)
   end

   it("may compute while their queue holds more than any socket does, and beat on (FIELD-R1)", function()
      local TOTAL = 400
      local maker, q = filled(0, "")
      local ch = broker.channel { heartbeat = 1 }
      local seen, most = 0, 0
      assert(ch:consume(q, function(msg)
         seen = seen + 1
         if seen == 1 then
            compute(4)
            most = mr.stats().in_flight
         end
         assert(msg:ack())
      end))
      local body = ("x"):rep(2 ^ 18)
      for _ = 1, TOTAL do assert(maker:publish_async("", q, body, { persistent = false, timeout = 60 })) end
      eventually("all messages", function() return seen == TOTAL end, 60)
      assert.is_true(most <= 256, ("%d deliveries were in the script's hands"):format(most))
      lives(ch)
      lives(maker)
   end)

   it("hold back no other connection, though theirs has more than its bound (FIELD-R1)", function()
      local _, slow = filled(90, MIB)
      local _, quick = filled(500, "x")
      local taker, reader = broker.channel { heartbeat = 1 }, broker.channel()
      local go, handled, seen = false, 0, 0
      local before = mr.stats().in_flight
      assert(taker:consume(slow, function()
         eventually("the others", function() return go end, 60)
         handled = handled + 1
      end, { no_ack = true }))
      eventually("the bound", function() return mr.stats().in_flight - before >= 60 end, 30)
      assert(reader:consume(quick, function(msg)
         seen = seen + 1
         assert(msg:ack())
      end))
      eventually("the other connection's messages", function() return seen == 500 end, 30)
      mr.sleep(2.5) -- more than two heartbeats of a connection that does not read
      assert.is_true(mr.stats().in_flight - before < 90)
      -- What the connection that does not read is asked for is answered.
      assert(assert(taker.connection:channel()):queue_declare { exclusive = true })
      go = true
      eventually("the rest", function() return handled == 90 end, 30)
      lives(taker)
   end)
end)

describe("a script that is behind, over TLS", function()
   after_each(clean)

   broker.it_rabbitmq(it, "holds no more than its bound, and loses nothing (FIELD-R9)", function()
      local TOTAL = 90000
      local _, q = filled(TOTAL, ("x"):rep(1024))
      local ch = broker.channel { url = assert(os.getenv "MR_RABBITMQ_TLS_URL"), heartbeat = 1,
         ssl_options = { verify = false } }
      local seen, most = 0, 0
      assert(ch:consume(q, function()
         seen = seen + 1
         if seen > 1 then return end
         local deadline = mr.now() + 4
         while mr.now() < deadline do most = math.max(most, mr.stats().in_flight) end
      end, { no_ack = true }))
      eventually("all messages", function() return seen == TOTAL end, 60)
      assert.is_true(most <= 65536 + 1024, ("%d deliveries were in the script's hands"):format(most))
      lives(ch)
      eventually("all memory to be given back", function() return mr.stats().in_flight == 0 end)
   end)
end)

describe("a consumer with acks, on a channel", function()
   after_each(clean)

   local TOTAL = 600

   -- How many messages a consumer that acks nothing holds, once they are `expected` or all.
   local function held(ch, q, expected)
      local count = 0
      assert(ch:consume(q, function()
         count = count + 1
         eventually("the end", function() return not ch.is_open end, 60)
      end))
      eventually("the prefetched", function() return count >= expected end, 30)
      assert(ch:queue_declare { queue = q, passive = true }) -- more would have come before the answer
      mr.sleep(0.05)
      return count
   end

   for name, case in pairs {
      ["without qos holds 256 messages"] = { 256 },
      ["that asked for 300 holds 300"] = { 300, { prefetch_count = 300 } },
      ["that asked for no limit holds all"] = { TOTAL, { prefetch_count = 0 } },
      ["that asked for a limit of the channel has no other"] = { 400, { prefetch_count = 400, global = true } },
   } do
      it(name .. " (FIELD-R1)", function()
         local _, q = filled(TOTAL, "x")
         local ch = broker.channel()
         if case[2] then assert(ch:qos(case[2])) end
         assert.equal(case[1], held(ch, q, case[1]))
         lives(ch)
         ch.connection:close()
      end)
   end
end)

describe("what waits for a slow script", function()
   after_each(clean)

   -- A consumer whose first message keeps the script busy while all others come.
   local function parked(options, then_do)
      local maker, q = filled(5000, "x")
      local ch, seen = broker.channel(), 0
      assert(ch:qos { prefetch_count = 0 })
      local consumer
      consumer = assert(ch:consume(q, function(msg)
         seen = seen + 1
         if seen > 1 then return end
         compute(1)
         then_do(ch, consumer, q, msg)
      end, options))
      eventually("the first", function() return seen > 0 end)
      return maker, q, ch, function() return seen end
   end

   it("is still told when its consumer is cancelled meanwhile, or goes back (FIELD-R1)", function()
      local done
      local maker, q, ch, seen = parked({}, function(_, consumer) done = consumer:cancel() end)
      eventually("the cancel", function() return done end, 30)
      eventually("all handlers", function() return mr.stats().in_flight == 0 end, 30)
      lives(ch)
      assert(ch:close())
      eventually("what was not handled to be ready again", function() return broker.count(maker, q) + seen() == 5000 end, 30)
   end)

   it("is dropped with its channel: the broker has it again, and the memory is free (FIELD-R1)", function()
      local done
      local maker, q = parked({}, function(ch) done = ch:close() end)
      eventually("the close", function() return done end, 30)
      eventually("all to be ready again", function() return broker.count(maker, q) == 5000 end, 30)
      eventually("all memory to be given back", function() return mr.stats().in_flight == 0 end)
   end)

   it("is dropped with its connection, and comes again with the next (FIELD-R1)", function()
      local maker, q = filled(5000, "x")
      local ch = broker.channel()
      assert(ch:qos { prefetch_count = 0 })
      local bodies, acked = 0, 0
      broker.quietly(function()
         assert(ch:consume(q, function(msg)
            bodies = bodies + 1
            if bodies == 1 then
               compute(1)
               local refused = assert(ch.connection:channel()) -- no such type: the broker closes the connection
               refused:exchange_declare { exchange = "x", type = "no such type" }
            end
            if msg:ack() then acked = acked + 1 end
         end))
         eventually("all messages", function() return acked >= 4999 and broker.count(maker, q) == 0 end, 60)
      end)
      eventually("all memory to be given back", function() return mr.stats().in_flight == 0 end)
   end)
end)
