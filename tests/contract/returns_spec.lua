--- A return ends the publish that it belongs to, on either broker: bodies, keys and exchanges may be equal.
local mr = require "moonrabbit"
local broker = require "broker"

local channel, count = broker.channel, broker.count

-- A headers exchange with a queue for kind = good, and one that is full for kind = full. What has another kind is
-- unroutable. Returns the exchange and the first queue.
local function exchange_of(ch)
   local exchange, good = broker.name "headers", broker.queue(ch)
   local full = broker.queue(ch, { ["x-max-length"] = 1, ["x-overflow"] = "reject-publish" })
   assert(ch:exchange_declare { exchange = exchange, type = "headers", auto_delete = true })
   for kind, queue in pairs { good = good, full = full } do
      assert(ch:queue_bind { queue = queue, exchange = exchange, arguments = { ["x-match"] = "all", kind = kind } })
   end
   local filling = assert(ch.connection:channel())
   assert(filling:confirm_select())
   assert(filling:publish("", full, "fills it"))
   filling:close()
   return exchange, good
end

-- Of each publish: its headers, whether it is mandatory, and how it must end.
local CASES = {
   { "good", true, "acked" }, { "none", true, "returned" }, { "full", true, "nacked" }, { "none", false, "acked" },
   { "good", false, "acked" }, { "none", true, "returned", bcc = true }, { "good", true, "acked", bcc = true },
}

-- `fresh` gives each a number of its own; else equal ones of a kind are alike in every byte.
local function properties_of(case, i, fresh)
   return { mandatory = case[2], headers = { kind = case[1], n = fresh and i or nil, BCC = case.bcc and { "nowhere" } or nil } }
end

-- Publishes `rounds` of the cases in an order that the seed gives; how each was to end, and did.
local function publish_mix(rounds, seed, fresh, publish)
   math.randomseed(seed)
   local tickets = {}
   for i = 1, rounds * #CASES do
      local case = CASES[math.random(#CASES)]
      local t = assert(publish(properties_of(case, i, fresh)))
      tickets[i] = { ticket = t, expected = case[3], number = i,
         what = ("%s%s%s"):format(case[1], case[2] and ", mandatory" or "", case.bcc and ", BCC" or "") }
   end
   return tickets
end

local function check(tickets, fresh)
   for _, entry in ipairs(tickets) do
      local ok, err = entry.ticket:wait(30)
      assert.equal(entry.expected, entry.ticket.state, ("publish %d: %s"):format(entry.number, entry.what))
      assert.equal(entry.expected == "acked", ok == true)
      if entry.expected == "returned" then
         assert.equal(312, err.code)
         assert.same({ "equal", "none" }, { err.message.body, err.message.headers.kind })
         if fresh then assert.equal(entry.number, err.message.headers.n) end
      end
   end
end

describe("a return", function()
   after_each(broker.close_all)

   broker.unless_redis(it, "queue arguments", "ends each publish as the broker said, whatever differs (FIELD-W1)", function()
      for _, fresh in ipairs { true, false } do
         local ch = channel()
         local exchange = exchange_of(ch)
         assert(ch:confirm_select())
         local tickets = publish_mix(60, 7, fresh, function(props) return ch:publish_async(exchange, "key", "equal", props) end)
         check(tickets, fresh)
      end
   end)

   broker.unless_redis(it, "queue arguments", "ends the one of two publishes that was unroutable, two hundred times (FIELD-W1)", function()
      local ch = channel()
      local exchange, good = exchange_of(ch)
      assert(ch:confirm_select())
      local pairs_out = {}
      for i = 1, 200 do
         local first = i % 2 == 0 and "good" or "none"
         local second = first == "good" and "none" or "good"
         pairs_out[i] = { first = first,
            assert(ch:publish_async(exchange, "key", "equal", { mandatory = true, headers = { kind = first } })),
            assert(ch:publish_async(exchange, "key", "equal", { mandatory = true, headers = { kind = second } })) }
      end
      ch:wait_for_confirms(30)
      for i, pair in ipairs(pairs_out) do
         local states = { pair[1].state, pair[2].state }
         assert.same(pair.first == "good" and { "acked", "returned" } or { "returned", "acked" }, states, "pair " .. i)
      end
      assert.equal(200, count(ch, good))
   end)

   broker.unless_redis(it, "a queue is a name", "ends by any property, a byte in the middle of a large body too (FIELD-W1)", function()
      local ch = channel()
      local q = broker.name "comes-and-goes"
      assert(ch:confirm_select())
      assert(ch:queue_declare { queue = q, exclusive = true })
      local large = ("x"):rep(100000)
      local variants = {
         { large .. "a" .. large, {} }, { large .. "b" .. large, {} },
         { "x", { message_id = "1" } }, { "x", { message_id = "2" } },
         { "x", { timestamp = 1 } }, { "x", { timestamp = 2 } },
         { "x", { priority = 1 } }, { "x", { priority = 2 } },
         { "x", { persistent = true } }, { "x", { persistent = false } },
         { "x", { headers = { n = 1 } } }, { "x", { headers = { n = 1.5 } } },
      }
      local routed, unroutable = {}, {}
      for i, v in ipairs(variants) do -- the first of two is routed; then the queue goes
         v[2].mandatory = true
         if i % 2 == 1 then routed[#routed + 1] = assert(ch:publish_async("", q, v[1], v[2])) end
      end
      local other = assert(ch.connection:channel())
      ch:wait_for_confirms(30)
      assert(other:queue_delete { queue = q })
      for i, v in ipairs(variants) do
         if i % 2 == 0 then unroutable[#unroutable + 1] = assert(ch:publish_async("", q, v[1], v[2])) end
      end
      ch:wait_for_confirms(30)
      for i, t in ipairs(routed) do assert.equal("acked", t.state, "routed " .. i) end
      for i, t in ipairs(unroutable) do assert.equal("returned", t.state, "unroutable " .. i) end
   end)

   broker.unless_redis(it, "queue arguments", "doubles and loses nothing of mr.publisher (FIELD-W1)", function()
      local ch = channel()
      local exchange, good = exchange_of(ch)
      local failures = {}
      local pub = mr.publisher { connection = broker.connect(), exchange = exchange, routing_key = "key", confirm_timeout = 30,
         on_failed = function(err, msg) failures[msg.properties.headers.n] = err.kind end }
      local tickets = publish_mix(40, 11, true, function(props) return pub:publish_async("equal", props) end)
      assert.is_nil((pub:flush { timeout = 30 }))
      check(tickets, true)
      local expected, seen = 0, {}
      for i, entry in ipairs(tickets) do
         broker.eventually("on_failed", function() return failures[i] or entry.expected == "acked" end)
         assert.equal(entry.expected ~= "acked" and entry.expected or nil, failures[i])
         if entry.ticket.job.props.headers.kind == "good" then expected = expected + 1 end
      end
      for _ = 1, expected do
         local msg = assert(ch:get(good, { no_ack = true }))
         assert.is_nil(seen[msg.headers.n])
         seen[msg.headers.n] = true
      end
      assert.equal("empty", select(2, ch:get(good)).kind)
      pub:close()
   end)

   broker.unless_redis(it, "queue arguments",
      "comes for each of the unroutable on channels without confirms, and at a commit (FIELD-W1)", function()
      for _, mode in ipairs { "plain", "tx" } do
         local ch = channel()
         local exchange, good = exchange_of(ch)
         local back = {}
         ch:on_return(function(msg) back[#back + 1] = msg.headers.n end)
         if mode == "tx" then assert(ch:tx_select()) end
         for i = 1, 40 do
            local props = { mandatory = true, headers = { kind = i % 2 == 0 and "none" or "good", n = i } }
            assert(ch:publish_async(exchange, "key", "equal", props))
         end
         if mode == "tx" then assert(ch:tx_commit()) end
         broker.eventually("the returns", function() return #back == 20 end)
         for i, n in ipairs(back) do assert.equal(2 * i, n) end
         assert.equal(20, count(ch, good))
      end
   end)

   broker.unless_redis(it, "queue arguments", "fails the remote call that it belongs to (FIELD-W1)", function()
      local ch = channel()
      local exchange, good = exchange_of(ch)
      local conn = broker.connect()
      assert(mr.rpc.serve { queue = good, connection = ch.connection, declare = false, handler = function() return "answer" end })
      local results, left = {}, 20
      for i = 1, left do
         mr.spawn(function()
            local ok, err = mr.rpc.call({ exchange = exchange, routing_key = "key" }, "equal",
               { connection = conn, timeout = 30, properties = { headers = { kind = i % 2 == 0 and "none" or "good" } } })
            results[i] = ok or err.kind
            left = left - 1
         end)
      end
      broker.eventually("the calls", function() return left == 0 end, 30)
      for i, r in ipairs(results) do assert.equal(i % 2 == 0 and "returned" or "answer", r) end
   end)
end)
