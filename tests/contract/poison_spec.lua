--- A publish that makes the broker close the connection, or its channel, twice in a row: it is told why, the others go through.
local mr = require "moonrabbit"
local broker = require "broker"
local recovering = require "recovering"

local eventually = broker.eventually

-- RabbitMQ 3.10.8 takes routing keys and properties that are no UTF-8, and answers what else the library lets through
-- (expiration, user_id, delivery_mode, CC, x-death) by closing the channel, if at all; `immediate`, header frames over
-- frame_max and broken properties are not to be had from Lua. But into a stream it cannot write a decimal: its channel
-- process dies, and the connection ends with 541. The embedded broker refuses a key that is no UTF-8: 501.
local CODE, KIND = broker.is_rabbitmq and 541 or 501, broker.is_rabbitmq and "internal_error" or "frame_error"
local made, exchanges

-- A durable queue, for connections that come and go.
local function queue(arguments)
   local ch, q = broker.channel(), broker.name "poison"
   assert(ch:queue_declare { queue = q, durable = true, arguments = arguments })
   made[#made + 1] = q
   return q
end

-- The exchange, key and properties of a publish that ends its connection.
local function poison()
   if not broker.is_rabbitmq then return "\255 is no UTF-8", {} end
   return queue { ["x-queue-type"] = "stream" }, { headers = { price = mr.decimal(15, 1) } }
end

local function with(props, more)
   local all = {}
   for name, v in pairs(props) do all[name] = v end
   for name, v in pairs(more or {}) do all[name] = v end
   return all
end

local function connect(options)
   return broker.connect(with({ transport_options = recovering.at_once, republish = 2 ^ 20 }, options))
end

local function bodies(q)
   local ch, seen, n = broker.channel(), {}, 0
   local msg = ch:get(q, { no_ack = true })
   while msg do
      seen[msg.body], n = (seen[msg.body] or 0) + 1, n + 1
      msg = ch:get(q, { no_ack = true })
   end
   return seen, n
end

local function check_poison(err)
   assert.same({ KIND, CODE }, { err.kind, err.code })
   assert.truthy(err.text:find("it has ended the connection twice in a row: ", 1, true), err.text)
end

local function clean()
   local admin = broker.channel()
   for _, q in ipairs(made) do admin:queue_delete { queue = q } end
   for _, x in ipairs(exchanges) do admin:exchange_delete { exchange = x } end
   recovering.clean()
end

local function begin()
   made, exchanges = {}, {}
   recovering.quiet()
end

describe("a publish that ends its connection", function()
   before_each(begin)
   after_each(clean)

   for _, is_mandatory in ipairs { true, false } do
      it(("is given up by its publisher, and the others arrive, mandatory = %s (FIELD-H8)"):format(tostring(is_mandatory)), function()
         local q, bad, props = queue(), poison()
         local failed = {}
         local pub = mr.publisher { connection = connect(), routing_key = q, mandatory = is_mandatory,
            on_failed = function(err, msg) failed[msg.body] = err end }
         assert(pub:publish "first")
         local tickets = {}
         for i = 1, 20 do
            local is_bad = i == 7 or i == 15
            tickets[i] = assert(pub:publish_async(tostring(i), is_bad and with(props, { routing_key = bad }) or nil))
         end
         pub:flush { timeout = 60 }
         for i, t in ipairs(tickets) do assert.equal((i == 7 or i == 15) and "lost" or "acked", t.state, "publish " .. i) end
         check_poison(select(2, tickets[7]:wait()))
         check_poison(select(2, tickets[15]:wait()))
         eventually("on_failed", function() return failed["7"] and failed["15"] end)
         check_poison(failed["7"])
         check_poison(failed["15"])
         assert(pub:publish "after")
         local seen = bodies(q)
         for i = 1, 20 do assert.equal(i ~= 7 and i ~= 15, seen[tostring(i)] ~= nil, "message " .. i) end
         assert.same({ 1, 1 }, { seen.first, seen.after })
         pub:close()
      end)
   end

   it("is told apart from those of other publishers and channels on its connection (FIELD-H8)", function()
      local q, bad, props = queue(), poison()
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
         tickets[#tickets + 1] = assert(raw:publish_async("", q, tostring(i), { mandatory = i % 2 == 0 }))
      end
      check_poison(select(2, assert(two:publish_async("bad", with(props, { routing_key = bad }))):wait(60)))
      for i, t in ipairs(tickets) do
         t:wait(60)
         assert.equal("acked", t.state, "publish " .. i)
      end
      assert.is_true(select(2, bodies(q)) >= 32)
      one:close()
      two:close()
   end)

   for _, is_waited in ipairs { true, false } do
      it(("is given up by the connection's own republish, %s (FIELD-H8)"):format(is_waited and "waited for" or "not waited for"),
         function()
            local q, bad, props = queue(), poison()
            local conn = connect()
            local raw, other = assert(conn:channel()), assert(conn:channel())
            assert(raw:confirm_select())
            assert(other:confirm_select())
            local good, beside = assert(raw:publish_async("", q, "good")), assert(other:publish_async("", q, "beside"))
            if is_waited then
               local ok, err = raw:publish("", bad, "bad", with(props, { timeout = 60 }))
               assert.is_nil(ok)
               check_poison(err)
            else
               local lost = assert(raw:publish_async("", bad, "bad", props))
               check_poison(select(2, lost:wait(60)))
            end
            local after = assert(raw:publish_async("", q, "after"))
            for _, t in ipairs { good, beside, after } do assert.is_true(t:wait(60)) end
            local seen = bodies(q)
            assert.is_true(seen.good and seen.beside and seen.after == 1)
         end)
   end

   it("is given up by a policy that would go on for ever, once (FIELD-H8)", function()
      local bad, props = poison()
      local record, seen = recovering.recorder()
      local pub = mr.publisher { connection = connect { on_event = record }, routing_key = bad,
         retry = mr.retry.fixed { delay = 0.01 } }
      local ok, err = pub:publish("bad", props)
      assert.is_nil(ok)
      check_poison(err)
      eventually("both ends", function() return seen.count.lost == 2 end)
      recovering.recovered(seen, 2)
      assert.equal(2, seen.count.lost)
      pub:close()
   end)

   it("fails a call once, and the next calls of its connection are answered (FIELD-H8)", function()
      local q, bad, props = queue(), poison()
      local record, seen = recovering.recorder()
      local conn = connect { on_event = record }
      local server = assert(mr.rpc.serve { connection = connect(), queue = q, handler = function(body) return body .. "!" end })
      assert.equal("1!", mr.rpc.call(q, "1", { connection = conn, timeout = 20 }))
      assert.is_nil((mr.rpc.call(bad, "bad", { connection = conn, timeout = 20, properties = props })))
      recovering.recovered(seen, 1)
      assert.equal("2!", mr.rpc.call(q, "2", { connection = conn, timeout = 20 }))
      assert.equal(1, seen.count.lost)
      server:close()
   end)
end)

-- What a broker closes the channel for, and what it says then.
local REFUSED = {
   { 404, "NOT_FOUND", function() return "nowhere", "k", {} end },
   { 406, "PRECONDITION_FAILED", function() return "", "k", { expiration = "soon" } end },
   { 403, "ACCESS_REFUSED", function()
      local ch, x = broker.channel(), broker.name "internal"
      assert(ch:exchange_declare { exchange = x, type = "fanout", internal = true, auto_delete = false })
      exchanges[#exchanges + 1] = x
      return x, "k", {}
   end },
}

describe("a publish that ends its channel, twice in a row,", function()
   before_each(begin)
   after_each(clean)

   -- The same connection's other publishes: they do not notice.
   local function bystanders(conn, q)
      local ch, tickets = assert(conn:channel()), {}
      assert(ch:confirm_select())
      local pub = mr.publisher { connection = conn, routing_key = q }
      return function(body)
         tickets[#tickets + 1] = assert(ch:publish_async("", q, body, { mandatory = true }))
         tickets[#tickets + 1] = assert(pub:publish_async(body))
      end, function()
         for i, t in ipairs(tickets) do
            t:wait(30)
            assert.equal("acked", t.state, "bystander " .. i)
         end
         assert.same({ true, true, 1 }, { ch.is_open, conn.is_open, conn.epoch })
         pub:close()
      end
   end

   for _, case in ipairs(REFUSED) do
      local code, word = case[1], case[2]
      local function check(err)
         assert.truthy(tostring(err):find(word, 1, true), tostring(err))
         assert.is_nil(tostring(err):find("ended the connection", 1, true))
      end

      for _, is_mandatory in ipairs { true, false } do
         it(("with %d, is told why by publish and publish_async, mandatory = %s (FIELD-H8)"):format(code, tostring(is_mandatory)),
            function()
               local q, conn = queue(), connect()
               local beside, all_well = bystanders(conn, q)
               local exchange, key, props = case[3]()
               props.mandatory = is_mandatory
               for round = 1, 2 do
                  local waiting, waited = assert(conn:channel()), assert(conn:channel())
                  assert(waiting:confirm_select())
                  assert(waited:confirm_select())
                  beside("a" .. round)
                  local before = assert(waiting:publish_async("", q, "before" .. round))
                  local bad = assert(waiting:publish_async(exchange, key, "bad", props))
                  local ok, err = waited:publish(exchange, key, "bad", with(props, { timeout = 30 }))
                  assert.is_nil(ok)
                  check(err)
                  ok, err = bad:wait(30)
                  assert.same({ "lost" }, { bad.state, ok })
                  check(err)
                  before:wait(30)
                  assert.is_true(before.state == "acked" or before.state == "lost", before.state)
                  beside("b" .. round)
               end
               all_well()
            end)

         it(("with %d, is told why by a publisher, which goes on, mandatory = %s (FIELD-H8)"):format(code, tostring(is_mandatory)),
            function()
               local q, conn = queue(), connect()
               local beside, all_well = bystanders(conn, q)
               local exchange, key, props = case[3]()
               local failed = {}
               local pub = mr.publisher { connection = conn, routing_key = q, mandatory = is_mandatory,
                  on_failed = function(err, msg) failed[msg.body] = err end }
               for round = 1, 2 do
                  beside("a" .. round)
                  assert(pub:publish("before" .. round))
                  local bad = assert(pub:publish_async("bad" .. round, with(props, { exchange = exchange, routing_key = key })))
                  local ok, err = bad:wait(30)
                  assert.same({ "lost" }, { bad.state, ok })
                  check(err)
                  eventually("on_failed", function() return failed["bad" .. round] end)
                  check(failed["bad" .. round])
                  assert(pub:publish("after" .. round))
                  beside("b" .. round)
               end
               all_well()
               pub:close()
               local seen = bodies(q)
               for round = 1, 2 do assert.same({ 1, 1 }, { seen["before" .. round], seen["after" .. round] }) end
            end)
      end
   end
end)
