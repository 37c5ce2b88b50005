--- Outages under load, and what they cost: each publish one outcome, no acked message lost; brokers that stop, die or
-- fall silent (FAULTS T01, T05-T07, T15, T21, T41; PEER-TESTS 4.2).
local mr = require "moonrabbit"
local broker = require "broker"
local embedded = require "embedded"
local within = require("waits").within
local recovering = require "recovering"

local eventually, name = broker.eventually, broker.name
local open, has_consumers, counter = recovering.open, recovering.has_consumers, recovering.counter
local quiet, clean, own = recovering.quiet, recovering.clean, embedded.broker
local is_memory = broker.kind == "memory"

-- A test of the embedded broker's own means.
local function it_embedded(what, fn)
   if is_memory then it(what, fn) end
end

describe("publishing with confirms while the connection is cut", function()
   before_each(quiet)
   after_each(clean)

   -- Publishes and consumes over a broker that cuts; every publish must have one outcome, and every message that was
   -- acked must be consumed. hurt(i) is called before every 20th publish.
   local function ledger(url, count, hurt)
      local q = name "ledger"
      local pub, published, publisher = open { url = url }
      local con, consumed, consumers = open { url = url }
      assert(pub:queue_declare { queue = q, durable = true })
      assert(pub:confirm_select())
      assert(con:qos { prefetch_count = 10 })
      local got, outcomes, tickets, twice = {}, { acked = 0, lost = 0 }, {}, 0
      assert(con:consume(q, function(msg)
         if got[msg.body] then
            twice = twice + 1
            assert(msg.redelivered, "a copy that does not say so")
         end
         got[msg.body] = (got[msg.body] or 0) + 1
      end))
      for i = 1, count do
         if i % 20 == 0 then hurt(i) end
         local t, err = pub:publish_async("", q, tostring(i), { timeout = 30 })
         assert.truthy(t, tostring(err))
         tickets[i] = t
         if i % 5 == 0 then t:wait(10) end
      end
      for i, t in ipairs(tickets) do
         t:wait(30)
         outcomes[t.state] = (outcomes[t.state] or 0) + 1
         if t.state == "acked" then
            eventually("message " .. i, function() return got[tostring(i)] end, 30)
         end
      end
      assert.equal(count, outcomes.acked + outcomes.lost)
      eventually("both to be open", function() return publisher.is_open and consumers.is_open and pub.is_open end)
      for body, n in pairs(got) do assert.is_true(tonumber(body) <= count and n >= 1) end
      assert(pub:publish("", q, "last"))
      eventually("the last one", function() return got.last end)
      assert(pub:queue_delete { queue = q })
      return published.count.lost, consumed.count.lost
   end

   it_embedded("at any byte, each publish has one outcome and no acked one is lost (T05-T07, T41, P0 55)", function()
      local b = own()
      local publishers, consumers = 0, 0
      for cut = 901, 2100, 97 do -- enough for a recovery, and a little more
         local of_publisher, of_consumer = ledger(b.url, 400, function(i)
            if i == 40 then b:cut_after(cut) end
            if i == 380 then b:cut_after(nil) end
         end)
         publishers, consumers = publishers + of_publisher, consumers + of_consumer
      end
      assert.is_true(publishers >= 2 and consumers >= 50, publishers .. " " .. consumers)
   end)

   it("by the broker again and again, no acked one is lost (T01, T06, T07)", function()
      ledger(broker.url, 100, function(i)
         if i % 40 == 0 then broker.close_connections "x" end
      end)
   end)
end)

describe("calls at the moment of a loss", function()
   before_each(quiet)
   after_each(clean)

   -- Everything at once, over and over, while hurt(i) loses the connection.
   local function hammer(url, times, hurt)
      local ch, seen, conn = open { url = url }
      local pub, con, q, p = assert(conn:channel()), assert(conn:channel()), name "q", name "p"
      for _, queue in ipairs { q, p } do assert(ch:queue_declare { queue = queue, durable = true }) end
      assert(pub:confirm_select())
      local kinds, calls, running, stop = {}, 0, 0, false
      local function keep(fn)
         mr.spawn(function()
            running = running + 1
            while not stop do
               local ok, err = fn()
               calls = calls + 1
               if not ok then kinds[err.kind] = tostring(err) end
            end
            running = running - 1
         end)
      end
      keep(function() return ch:queue_declare { queue = q, durable = true } end)
      keep(function() return ch:queue_bind { queue = q, exchange = "amq.direct", routing_key = q } end)
      keep(function() return pub:publish("", q, "x") end)
      keep(function()
         local ok, err = ch:get(q, { no_ack = true })
         return ok or err.kind == "empty", err
      end)
      keep(function()
         local other, err = conn:channel()
         if other then return other:close() end
         return nil, err
      end)
      keep(function()
         local consumer, err = con:consume(p, function() end)
         if consumer then return consumer:cancel() end
         return nil, err
      end)
      for i = 1, times do hurt(i, seen) end
      eventually("the calls to go on", function() return calls > 20 * times end) -- fewer on a busy machine by now
      stop = true
      eventually("all calls to end", function() return running == 0 end, 30)
      eventually("the connection", function() return conn.is_open and ch.is_open and pub.is_open end)
      for kind, text in pairs(kinds) do
         assert.truthy(kind == "stream_lost" or kind == "lost" or kind == "connection_forced"
            or text:find("hung up", 1, true), text)
      end
      assert.is_nil(kinds.channel_limit_reached)
      return p
   end

   it_embedded("fail for its reason or succeed, and leave no channel and no consumer behind (T18, T42)", function()
      local b = own()
      local p = hammer(b.url, 200, function(i)
         mr.sleep(0.002 + i % 5 * 0.001)
         b:drop()
      end)
      eventually("no consumers", function() return b:queue(p).consumers == 0 end)
      eventually("three channels", function() return b:report().connections[1].channels == 3 end)
      for _ = 1, 2 do -- nor in what comes back
         b:drop()
         eventually("the connection", function() return #b:report().connections == 1 end)
         eventually("three channels", function() return b:report().connections[1].channels == 3 end)
         assert.equal(0, b:queue(p).consumers)
      end
   end)

   it("fail for the broker's reason or succeed, and leave no consumer behind (T18, T42)", function()
      local p = hammer(nil, 3, function(_, seen) recovering.force(seen) end)
      has_consumers(p, 0)
   end)
end)

describe("a broker that goes away", function()
   before_each(quiet)
   after_each(clean)

   -- RabbitMQ's own life: stop(), start(), and a signal to it. Others see what they have of it.
   local function server(what) return broker.shell(("sh %s %s %s"):format(os.getenv "MR_RABBITMQ_SH", what,
      os.getenv "MR_RABBITMQ_DIR")) end
   local function signal(which) broker.shell(("kill -%s $(cat %s/pid)"):format(which, os.getenv "MR_RABBITMQ_DIR")) end

   local function busy(options)
      options = options or {}
      options.transport_options = { interval_start = 0, interval_step = 1, interval_max = 1 }
      local ch, seen, conn = open(options)
      local q, mine, handler, got = name "busy", name "mine", counter()
      assert(ch:queue_declare { queue = q, durable = true })
      assert(ch:queue_declare { queue = mine, exclusive = true })
      assert(ch:qos { prefetch_count = 5 })
      assert(ch:confirm_select())
      for _ = 1, 5 do assert(ch:consume(q, handler)) end
      assert(ch:consume(mine, handler))
      local function check(body)
         assert(ch:publish("", q, body, { timeout = 30 }))
         assert(ch:publish("", mine, body, { timeout = 30 }))
         eventually("both copies of " .. body, function() return got[body] == 2 end)
         has_consumers(q, 5)
         assert.is_true(conn.is_open)
      end
      check "first"
      return seen, check, function() assert(ch:queue_delete { queue = q }) end
   end

   broker.it_rabbitmq(it, "and is started again finds all consumers back (T01, P0 5, L8, P2)", function()
      local seen, check, done = busy()
      for round = 1, 2 do
         local recoveries = seen.count.recovered
         if round == 2 then signal "KILL" end
         server "stop"
         assert.truthy(seen.lost)
         server "start"
         recovering.recovered(seen, recoveries + 1)
         check("round " .. round)
      end
      done()
   end)

   broker.it_rabbitmq(it, "by a stop of its process is declared dead by the heartbeat, and found again (T15, T21, P0 57)",
      function()
         local seen, check, done = busy { heartbeat = 2, connect_timeout = 1, socket_timeout = 1 }
         signal "STOP"
         local began = mr.now()
         eventually("the loss", function() return seen.lost end, 10)
         local took = mr.now() - began
         eventually("more tries", function() return seen.count.retrying >= 3 end, 20)
         signal "CONT"
         assert.equal("heartbeat_timeout", seen.lost.err.kind)
         assert.is_true(took > 3 and took < 8, took) -- two intervals
         recovering.recovered(seen, 1)
         check "again"
         done()
      end)

   it_embedded("silently is declared dead by the heartbeat, and found again (T15, P0 57)", function()
      local b = own()
      local ch, seen, conn = open { url = b.url, heartbeat = 10, transport_options = { interval_start = 5 } }
      assert(ch:queue_declare { queue = "q", exclusive = true })
      assert(ch:consume("q", function() end))
      b:silent()
      mr.testing.advance(60)
      within("the loss", 10, function() return seen.lost end)
      assert.equal("heartbeat_timeout", seen.lost.err.kind)
      assert.same({ false, 1 }, { conn.is_open, conn.epoch })
      assert.truthy(seen.retrying.err.kind == "heartbeat_timeout" or seen.retrying.err.kind == "connect_timeout")
      b:silent(false)
      mr.spawn(function() conn:connect() end)
      within("the recovery", 10, function()
         mr.testing.advance(1)
         return seen.recovered
      end)
      assert.equal(1, b:queue("q").consumers)
   end)
end)

describe("after outages", function()
   it("no connection is left at the broker", broker.none_left)
end)
