--- A flood without prefetch, on a connection that always waits for something: it is always read, and memory has a bound.
local mr = require "moonrabbit"
local broker = require "broker"
local build = require "build"

local eventually = broker.eventually
local TOTAL, FEWER = 1600, 900
local PAD = ("x"):rep(2 ^ 18)
-- One and a half times the bound of 64 MiB, what the new prefetch lets come, and what the broker had sent when it heard
-- of it: RabbitMQ up to some 450.
local MOST = 1000

local ways = { ["asked for no limit"] = { prefetch = 0 }, ["has no acks"] = { no_ack = true } }
local roads = { ["by TCP"] = {} }
if broker.is_rabbitmq then
   roads["by TLS"] = { url = os.getenv "MR_RABBITMQ_TLS_URL", ssl_options = { verify = false } }
end

-- Under ASan so many bytes take minutes: there a few show the memory. Under TSan the handlers, elsewhere the slowest part, keep
-- up with them, so that nothing is curbed; with longer pauses one test took 128 s.
local in_release = build.is_release and it or pending
local not_in_tsan = not build.is_tsan and it or pending

local made = {}

local function clean()
   local admin = broker.channel()
   for _, q in ipairs(made) do admin:queue_delete { queue = q } end
   made = {}
   broker.close_all()
end

-- A queue, and the function that fills it with so many messages, numbered.
local function filled(options)
   local ch = broker.channel()
   assert(ch:confirm_select())
   options = options or {}
   options.queue = broker.name "curb"
   local q = assert(ch:queue_declare(options)).queue
   made[#made + 1] = q
   return ch, q, function(total)
      for i = 1, total do
         assert(ch:publish_async("", q, ("%08d"):format(i) .. PAD, { persistent = false, timeout = 120 }))
         if i % 20 == 0 then assert(ch:wait_for_confirms(120)) end
      end
      assert(ch:wait_for_confirms(120))
   end
end

-- A connection that asks all the time until the function that is returned is called: that gives the first failure.
local function asking(conn)
   local ch = assert(conn:channel())
   assert(ch:confirm_select())
   local aside = broker.queue(ch)
   local is_over, failed = false, nil
   for _ = 1, 3 do
      mr.spawn(function()
         while not (is_over or failed) do -- after a failed test, too: a closed channel refuses at once, for ever
            local ok, err = ch:publish("", aside, "x", { timeout = 30, persistent = false })
            failed = failed or (not ok and tostring(err)) or nil
         end
      end)
   end
   return ch, aside, function()
      is_over = true
      return failed
   end
end

-- Consumes by a handler that is slow, and that asks on its own connection.
local function slow(conn, q, way, ch, aside, on_message)
   local into = assert(conn:channel())
   if way.prefetch then assert(into:qos { prefetch_count = way.prefetch }) end
   local state = { seen = 0, most = 0, channel = into }
   state.consumer = assert(into:consume(q, function(msg)
      state.seen = state.seen + 1
      local number = tonumber(msg.body:sub(1, 8))
      if number ~= state.seen and not state.is_out_of_order then state.is_out_of_order = { number, state.seen } end
      state.tag = msg.consumer_tag
      state.most = math.max(state.most, mr.stats().in_flight)
      mr.sleep(0.01)
      local ok, err = ch:publish("", aside, "x", { timeout = 30, persistent = false })
      state.failed = state.failed or (not ok and tostring(err)) or nil
      if not way.no_ack then assert(msg:ack()) end
      if on_message then on_message(msg, state) end
   end, { no_ack = way.no_ack, concurrency = 4, arguments = way.arguments, consumer_tag = way.tag }))
   return state
end

describe("a flood without prefetch, on a connection that asks all the time", function()
   after_each(clean)

   for how, way in pairs(ways) do
      for road, options in pairs(roads) do
         in_release(("holds memory of a bound where it %s, and all comes once and in order, %s (FIELD-R1)"):format(how, road), function()
            local _, q, fill = filled()
            fill(TOTAL)
            local conn = broker.connect(options)
            local ch, aside, stop = asking(conn)
            local state = slow(conn, q, way, ch, aside)
            eventually("all messages", function() return state.seen == TOTAL end, 120)
            assert.is_nil(stop())
            assert.is_nil(state.failed)
            assert.is_nil(state.is_out_of_order)
            assert.is_true(state.most <= MOST, ("%d deliveries were in the script's hands"):format(state.most))
            assert.equal(state.consumer.tag, state.tag)
            assert.same({ true, 1 }, { state.channel.is_open, conn.epoch })
            eventually("all memory to be given back", function() return mr.stats().in_flight == 0 end)
            assert(state.consumer:cancel())
            assert.equal(0, broker.count(broker.channel(), q))
         end)
      end
   end

   -- Runs until the consumer is curbed, which shows at the broker, and `fn` has been called.
   local function curbed(way, options, fn)
      local maker, q, fill = filled(options)
      fill(FEWER)
      local conn = broker.connect()
      local ch, aside, stop = asking(conn)
      local state = slow(conn, q, way, ch, aside)
      eventually("the bound", function() return mr.stats().in_flight > 400 end, 60)
      eventually("some more", function() return state.seen > 200 end, 60)
      fn(state, q, maker)
      assert.is_nil(stop())
      assert.is_nil(state.failed)
      assert.same({ true, 1 }, { state.channel.is_open, conn.epoch })
   end

   local function consumers(ch, q) return assert(ch:queue_declare { queue = q, passive = true }).consumer_count end

   for how, way in pairs(ways) do
      in_release(("keeps an auto-delete queue whose consumer %s (FIELD-R1)"):format(how), function()
         curbed({ prefetch = way.prefetch, no_ack = way.no_ack, arguments = { ["x-priority"] = 7 } }, { auto_delete = true },
            function(state, q, maker)
               assert.equal(1, consumers(maker, q))
               eventually("all messages", function() return state.seen == FEWER end, 120)
               assert.is_nil(state.is_out_of_order)
               assert(state.consumer:cancel())
            end)
      end)

      not_in_tsan(("is cancelled as any other, and may begin again under its tag, where it %s (FIELD-R1)"):format(how), function()
         curbed({ prefetch = way.prefetch, no_ack = way.no_ack, tag = "mine" }, nil, function(state, q, maker)
            assert.equal("mine", state.consumer.tag)
            assert(state.consumer:cancel())
            assert.equal(0, consumers(maker, q))
            local left = broker.count(maker, q)
            assert.is_true(left > 0)
            eventually("the handlers", function() return mr.stats().in_flight == 0 end, 60)
            if not way.no_ack then
               eventually("the rest", function() return state.seen + broker.count(maker, q) == FEWER end, 30)
            end
            local again = 0
            assert(state.channel:consume(q, function(msg)
               again = again + 1
               msg:reject { requeue = true }
            end, { consumer_tag = "mine" }))
            eventually("a message", function() return again > 0 end, 30)
         end)
      end)
   end

   not_in_tsan("has each message once where the channel is recovered meanwhile, without acks (FIELD-R1)", function()
      curbed({ no_ack = true }, nil, function(state)
         assert(state.channel:recover())
         eventually("all messages", function() return state.seen == FEWER end, 120)
         assert.is_nil(state.is_out_of_order)
      end)
   end)

   -- Another program that waits in line: the cancel of a curb would make it the active one.
   for how, recovery in pairs { ["with recovery"] = {}, ["without recovery"] = { recover = false } } do
      in_release(("leaves the active consumer of a queue active, as others wait in line, %s (FIELD-R1)"):format(how), function()
         local options = { arguments = { ["x-single-active-consumer"] = true } }
         local maker, q, fill = filled(options)
         fill(FEWER)
         local conn = broker.connect(recovery)
         local ch, aside, stop = asking(conn)
         assert(ch:queue_declare { queue = q, arguments = options.arguments })
         local state = slow(conn, q, { prefetch = 0 }, ch, aside)
         local others = 0
         assert(maker:consume(q, function(msg)
            others = others + 1
            assert(msg:nack { requeue = true })
            mr.sleep(0.1)
         end))
         eventually("all messages", function() return state.seen >= FEWER end, 120)
         assert.is_nil(stop())
         assert.is_nil(state.failed)
         assert.is_nil(state.is_out_of_order)
         assert.equal(0, others)
      end)
   end

   for how, way in pairs(ways) do
      in_release(("goes on in a transaction that begins later, where it %s (FIELD-R1)"):format(how), function()
         local channel, queue, admin
         curbed({ prefetch = way.prefetch, no_ack = way.no_ack }, nil, function(state, q, maker)
            channel, queue, admin = state.channel, q, maker
            assert(channel:tx_select())
            eventually("all messages", function() return state.seen == FEWER end, 120) -- none is committed
            eventually("the handlers", function() return mr.stats().in_flight == 0 end, 30)
            assert.is_nil(state.is_out_of_order)
            assert(channel:tx_commit())
         end)
         assert(channel:close())
         assert.equal(0, broker.count(admin, queue))
      end)
   end
end)
