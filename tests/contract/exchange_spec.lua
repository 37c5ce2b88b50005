--- Exchanges and bindings: what goes where, and what the broker says to what it refuses.
-- Covers: lua/moonrabbit/channel/declare.lua by exchange_unbind
-- Covers: runtime/broker/store/fields.c by longstr
-- Covers: runtime/broker/store/headers.c by match
local mr = require "moonrabbit"
local broker = require "broker"

local made = {}                      -- the exchanges of the test that runs

--- A channel in confirm mode: what it has published is in the queues.
local function channel()
   local ch = broker.channel()
   assert(ch:confirm_select())
   return ch
end

--- Declares an exchange that goes away after the test; returns its name.
local function exchange(ch, type_, options)
   local all = { exchange = broker.name("x-" .. type_), type = type_ }
   for k, v in pairs(options or {}) do all[k] = v end
   made[#made + 1] = all.exchange
   assert(ch:exchange_declare(all))
   return all.exchange
end

local function queue(ch)
   return assert(ch:queue_declare { exclusive = true }).queue
end

--- A queue that is bound to an exchange.
local function bound(ch, x, key, arguments)
   local q = queue(ch)
   assert(ch:queue_bind { queue = q, exchange = x, routing_key = key, arguments = arguments })
   return q
end

--- Empties a queue and returns its messages.
local function drain(ch, q)
   local messages = {}
   while true do
      local msg, err = ch:get(q, { no_ack = true })
      if not msg then
         assert.equal("empty", err.kind)
         return messages
      end
      messages[#messages + 1] = msg
   end
end

--- Publishes one message and returns how often the queue got it.
local function count(ch, q, x, key, properties)
   assert(ch:publish(x, key, "x", properties))
   return #drain(ch, q)
end

local function missing(ch, name)
   local other = assert(ch.connection:channel())
   local ok, err = other:exchange_declare { exchange = name, passive = true }
   if ok then
      other:close()
      return false
   end
   assert.equal(404, err.code)
   return true
end

--- Fails unless fn(channel) is refused by a channel error with this code and text.
local function refused(code, text, fn)
   local conn = broker.connect()
   local ch = assert(conn:channel())
   local ok, err = fn(ch)
   assert.is_nil(ok)
   assert.equal(text, err.text)
   assert.equal(code, err.code)
   assert.equal("channel", err.scope)
   assert.is_false(ch.is_open)
   assert.is_true(conn.is_open)
   conn:close()
end

--- Fails unless fn(channel) is refused by an error that ends the connection.
local function fatal(code, text, fn)
   local conn = broker.connect()
   local ch = assert(conn:channel())
   broker.quietly(function()
      local ok, err = fn(ch)
      assert.is_nil(ok)
      assert.equal(text, err.text)
      assert.equal(code, err.code)
      assert.equal("connection", err.scope)
      assert.is_false(conn.is_open)
   end)
end

--- Fails unless a publish to the exchange closes the channel.
local function publish_closes(code, text, x)
   local conn = broker.connect()
   local ch = assert(conn:channel())
   assert(ch:publish(x, "key", "x"))
   broker.eventually("the close", function() return not ch.is_open end)
   assert.equal(text, ch.last_error.text)
   assert.equal(code, ch.last_error.code)
   assert.is_true(conn.is_open)
   assert(conn:channel())
end

local function clean()
   if #made > 0 then
      local ch = broker.channel()
      for _, name in ipairs(made) do assert(ch:exchange_delete { exchange = name }) end
   end
   made = {}
   broker.close_all()
end

describe("a direct exchange", function()
   after_each(clean)

   it("routes by the very routing key", function()
      local ch = channel()
      local x = exchange(ch, "direct")
      local a, b, empty = bound(ch, x, "a"), bound(ch, x, "b"), bound(ch, x, "")
      assert(ch:publish(x, "a", "to a"))
      assert(ch:publish(x, "b", "to b"))
      assert(ch:publish(x, "", "to the empty key"))
      for _, key in ipairs { "A", "aa", "a.", "#", "*", " a" } do assert(ch:publish(x, key, "to nobody")) end
      for q, body in pairs { [a] = "to a", [b] = "to b", [empty] = "to the empty key" } do
         local messages = drain(ch, q)
         assert.equal(1, #messages)
         assert.equal(body, messages[1].body)
         assert.equal(x, messages[1].exchange)
      end
   end)

   it("gives a copy to every queue of a key, and one queue may have many keys", function()
      local ch = channel()
      local x = exchange(ch, "direct")
      local one, two = bound(ch, x, "k"), bound(ch, x, "k")
      assert(ch:queue_bind { queue = two, exchange = x, routing_key = "l" })
      assert(ch:publish(x, "k", "both"))
      assert(ch:publish(x, "l", "two only"))
      assert.equal(1, #drain(ch, one))
      local messages = drain(ch, two)
      assert.equal(2, #messages)
      assert.equal("k", messages[1].routing_key)
      assert.equal("l", messages[2].routing_key)
   end)

   it("takes keys of 255 bytes, of any characters", function()
      local ch = channel()
      local x = exchange(ch, "direct")
      local long, odd = ("k"):rep(255), "\0 \r\n\"'\195\164\226\130\172\240\159\144\176"
      assert.equal(1, count(ch, bound(ch, x, long), x, long))
      assert.equal(1, count(ch, bound(ch, x, odd), x, odd))
   end)
end)

describe("a fanout exchange", function()
   after_each(clean)

   broker.unless_redis(it, "fanout keys", "gives a copy to every queue, whatever the keys", function()
      local ch = channel()
      local x = exchange(ch, "fanout")
      local one, two = bound(ch, x, ""), bound(ch, x, "some.key")
      assert(ch:queue_bind { queue = two, exchange = x, routing_key = "another" })
      for _, key in ipairs { "", "some.key", "what", "#" } do
         assert.equal(1, count(ch, one, x, key))
         assert.equal(1, #drain(ch, two))
      end
   end)

   it("keeps the order of the messages", function()
      local ch = channel()
      local x = exchange(ch, "fanout")
      local q = bound(ch, x, "")
      for i = 1, 200 do assert(ch:publish_async(x, "", tostring(i))) end
      assert(ch:wait_for_confirms(10))
      local messages = drain(ch, q)
      assert.equal(200, #messages)
      for i = 1, 200 do assert.equal(tostring(i), messages[i].body) end
   end)
end)

describe("a topic exchange", function()
   after_each(clean)

   -- pattern, keys that match, keys that do not, and whether kombu takes it otherwise. The empty key has no word at all, "."
   -- has two empty ones.
   local PATTERNS = {
      { "a.b.c", { "a.b.c" }, { "a.b", "a.b.c.d", "a.b.C", "", "a.b.c." } },
      { "#", { "", "a", "a.b", "a.b.c", ".", "..", "a..b", "#", "*" }, {} },
      { "*", { "a", "abc", "#", "*" }, { "", "a.b", ".", "a.", ".a" }, true },
      { "*.*", { "a.b", ".", "a.", ".b" }, { "a", "", "a.b.c", ".." }, true },
      { "a.*", { "a.b", "a.", "a.*", "a.#" }, { "a", "a.b.c", "b.a", "" }, true },
      { "*.b", { "a.b", ".b" }, { "b", "a.a.b", "a.b.c" }, true },
      { "a.#", { "a", "a.", "a.b", "a.b.c", "a..", "a.#" }, { "", "b", "ab", "b.a", ".a" }, true },
      { "#.a", { "a", ".a", "b.a", "c.b.a", "a.a" }, { "", "a.b", "ba", "a." }, true },
      { "a.#.b", { "a.b", "a.x.b", "a.x.y.b", "a..b", "a.b.b", "a.a.b" }, { "a", "b", "ab", "a.b.c", "a.x", "x.a.b" }, true },
      { "#.b.#", { "b", "a.b", "b.c", "a.b.c", "b.b", ".b", "b." }, { "", "a", "ab", "a.c" }, true },
      { "*.#", { "a", "a.b", "a.b.c", "." }, { "" }, true },
      { "#.*", { "a", "a.b", "a.b.c", "." }, { "" }, true },
      { "*.#.*", { "a.b", "a.b.c", ".", "a..b" }, { "a", "" }, true },
      { "#.#", { "", "a", "a.b", "..." }, {}, true },
      { "*.b.*", { "a.b.c", ".b." }, { "b", "a.b", "b.c", "a.b.c.d", "a.c.b" }, true },
      { "#.a.#.b.#", { "a.b", "x.a.b", "a.x.b", "a.b.x", "x.a.y.b.z", "b.a.b" }, { "a", "b", "b.a", "" }, true },
      { "a.*.#.c", { "a.b.c", "a.b.x.c", "a.c.c" }, { "a.c", "a.b", "a.b.c.d" }, true },
      { "", { "" }, { "a", ".", "a.b" } },
      { ".", { "." }, { "", "a", "..", "a.", ".a" } },
      { "a..b", { "a..b" }, { "a.b", "a.x.b", "a...b" } },
      { "a.", { "a." }, { "a", "a.b", "a.." } },
      { "a*", { "a*" }, { "ab", "a", "a.b" } },
      { "a#", { "a#" }, { "ab", "a", "a.b" } },
      { "#a.b", { "#a.b" }, { "a.b", "xa.b", "x.a.b" } },
      { "**", { "**" }, { "a", "ab", "a.b" } },
   }

   for _, pattern in ipairs(PATTERNS) do
      broker.unless_redis(it, pattern[4] and "topics", ("matches the pattern %q"):format(pattern[1]), function()
         local ch = channel()
         local x = exchange(ch, "topic")
         local q = bound(ch, x, pattern[1])
         for _, key in ipairs(pattern[2]) do
            assert.equal(1, count(ch, q, x, key), ("the key %q went elsewhere"):format(key))
         end
         for _, key in ipairs(pattern[3]) do
            assert.equal(0, count(ch, q, x, key), ("the key %q came here"):format(key))
         end
      end)
   end

   it("delivers once to a queue whose patterns match more than once", function()
      local ch = channel()
      local x = exchange(ch, "topic")
      local q = bound(ch, x, "a.b")
      for _, pattern in ipairs { "a.*", "#", "*.b", "a.#", "#.#" } do
         assert(ch:queue_bind { queue = q, exchange = x, routing_key = pattern })
      end
      assert.equal(1, count(ch, q, x, "a.b"))
   end)

   it("forgets a pattern, and only this one, when it is unbound", function()
      local ch = channel()
      local x = exchange(ch, "topic")
      local q = bound(ch, x, "a.*.c")
      local other = bound(ch, x, "a.*.c")
      assert(ch:queue_bind { queue = q, exchange = x, routing_key = "a.#" })
      assert(ch:queue_bind { queue = q, exchange = x, routing_key = "a.*.c.d" })
      assert(ch:queue_unbind { queue = q, exchange = x, routing_key = "a.#" })
      assert.equal(0, count(ch, q, x, "a.b"))
      assert.equal(1, count(ch, q, x, "a.b.c"))
      assert(ch:queue_unbind { queue = q, exchange = x, routing_key = "a.*.c" })
      assert.equal(0, count(ch, q, x, "a.b.c"))
      assert.equal(1, count(ch, q, x, "a.b.c.d"))
      assert.equal(2, #drain(ch, other))
   end)

   it("routes to many queues by their patterns", function()
      local ch = channel()
      local x = exchange(ch, "topic")
      local queues = {}
      for _, pattern in ipairs { "stock.usd.nyse", "stock.#", "*.usd.*", "stock.eur.*", "#.nyse", "weather.#" } do
         queues[pattern] = bound(ch, x, pattern)
      end
      assert(ch:publish(x, "stock.usd.nyse", "x"))
      local got = {}
      for pattern, q in pairs(queues) do got[pattern] = #drain(ch, q) end
      assert.same({ ["stock.usd.nyse"] = 1, ["stock.#"] = 1, ["*.usd.*"] = 1, ["stock.eur.*"] = 0, ["#.nyse"] = 1,
         ["weather.#"] = 0 }, got)
   end)
end)

broker.unless_redis(describe, "exchanges", "a headers exchange", function()
   after_each(clean)

   -- what, binding arguments, headers that match, headers that do not
   local MATCHES = {
      { "all of several", { ["x-match"] = "all", a = 1, b = "two" },
         { { a = 1, b = "two" }, { a = 1, b = "two", c = 3 } },
         { { a = 1 }, { b = "two" }, { a = 2, b = "two" }, { a = 1, b = "Two" }, {}, false } },
      { "any of several", { ["x-match"] = "any", a = 1, b = "two" },
         { { a = 1 }, { b = "two" }, { a = 1, b = "other" }, { a = 9, b = "two", c = 3 } },
         { { a = 2 }, { b = 1 }, { c = 1 }, {}, false } },
      { "all of them when nothing is said", { a = 1, b = "two" }, { { a = 1, b = "two" } }, { { a = 1 }, {} } },
      { "everything when all of nothing is asked for", { ["x-match"] = "all" }, { { a = 1 }, {}, false }, {} },
      { "everything without arguments", {}, { { a = 1 }, {}, false }, {} },
      { "nothing when any of nothing is asked for", { ["x-match"] = "any" }, {}, { { a = 1 }, {}, false } },
      { "the presence of a header whose value is null", { ["x-match"] = "all", a = mr.null, b = 1 },
         { { a = 5, b = 1 }, { a = "x", b = 1 }, { a = mr.null, b = 1 }, { a = { 1, 2 }, b = 1 } },
         { { b = 1 }, { a = 5 } } },
      { "any, with a null", { ["x-match"] = "any", a = mr.null, b = 1 }, { { a = "x" }, { b = 1 } }, { { c = 1 }, { b = 2 } } },
      { "not a null where there should be a value", { a = 1 }, { { a = 1 } }, { { a = mr.null } } },
      { "without the arguments that begin with x-", { ["x-match"] = "all", ["x-other"] = "needed?", a = 1 },
         { { a = 1 }, { a = 1, ["x-other"] = "no" } }, { { ["x-other"] = "needed?" } } },
      { "any, without the arguments that begin with x-", { ["x-match"] = "any", ["x-other"] = "1", a = 1 },
         { { a = 1 } }, { { ["x-other"] = "1" } } },
      { "all-with-x, also those that begin with x-", { ["x-match"] = "all-with-x", ["x-other"] = "1", a = 1 },
         { { a = 1, ["x-other"] = "1" } }, { { a = 1 }, { ["x-other"] = "1" }, { a = 1, ["x-other"] = "2" } } },
      { "any-with-x, also those that begin with x-", { ["x-match"] = "any-with-x", ["x-other"] = "1", a = 1 },
         { { a = 1 }, { ["x-other"] = "1" } }, { { ["x-other"] = "2" }, {} } },
      { "booleans", { a = true, b = false }, { { a = true, b = false } }, { { a = false, b = false }, { a = 1, b = 0 } } },
      { "strings apart from numbers", { a = "1" }, { { a = "1" } }, { { a = 1 } } },
      { "doubles apart from whole numbers", { a = 1.5 }, { { a = 1.5 } }, { { a = 1 }, { a = 2 }, { a = "1.5" } } },
      { "timestamps and whole numbers alike", { a = mr.timestamp(5) }, { { a = mr.timestamp(5) }, { a = 5 } }, { { a = 6 } } },
      { "byte arrays and strings alike", { a = mr.bytes "b" }, { { a = mr.bytes "b" }, { a = "b" } }, { { a = "c" } } },
      { "decimals", { a = mr.decimal(314, 2) }, { { a = mr.decimal(314, 2) } }, { { a = mr.decimal(314, 1) } } },
      { "lists and tables", { a = { 1, "two" }, b = { k = "v" } },
         { { a = { 1, "two" }, b = { k = "v" } } }, { { a = { 1 }, b = { k = "v" } }, { a = { 1, "two" }, b = { k = "w" } } } },
      { "empty strings and names in capitals", { [""] = "", Key = "v" },
         { { [""] = "", Key = "v" } }, { { Key = "v" }, { [""] = "", key = "v" } } },
   }

   for _, match in ipairs(MATCHES) do
      it("matches " .. match[1], function()
         local ch = channel()
         local x = exchange(ch, "headers")
         local q = bound(ch, x, "", match[2])
         for i, headers in ipairs(match[3]) do
            assert.equal(1, count(ch, q, x, "", { headers = headers or nil }), ("match %d"):format(i))
         end
         for i, headers in ipairs(match[4]) do
            assert.equal(0, count(ch, q, x, "", { headers = headers or nil }), ("mismatch %d"):format(i))
         end
      end)
   end

   it("does not look at routing keys", function()
      local ch = channel()
      local x = exchange(ch, "headers")
      local q = bound(ch, x, "a key", { a = 1 })
      assert.equal(1, count(ch, q, x, "another", { headers = { a = 1 } }))
      assert.equal(0, count(ch, q, x, "a key"))
   end)

   it("delivers once when several bindings of a queue match", function()
      local ch = channel()
      local x = exchange(ch, "headers")
      local q = bound(ch, x, "", { a = 1 })
      assert(ch:queue_bind { queue = q, exchange = x, arguments = { b = 1 } })
      assert.equal(1, count(ch, q, x, "", { headers = { a = 1, b = 1 } }))
   end)

   it("refuses a binding with another x-match", function()
      local ch = channel()
      local x = exchange(ch, "headers")
      local text = "PRECONDITION_FAILED - Invalid x-match field "
      refused(406, text .. 'value <<"nope">>; expected all, any, all-with-x, or any-with-x', function(other)
         return other:queue_bind { queue = queue(other), exchange = x, arguments = { ["x-match"] = "nope" } }
      end)
      refused(406, text .. "type long (value 3); expected longstr", function(other)
         return other:queue_bind { queue = queue(other), exchange = x, arguments = { ["x-match"] = 3 } }
      end)
   end)
end)

describe("the default exchange", function()
   after_each(clean)

   it("routes to the queue that has the name of the routing key", function()
      local ch = channel()
      local q, other = queue(ch), queue(ch)
      assert(ch:publish("", q, "x"))
      local messages = drain(ch, q)
      assert.equal(1, #messages)
      assert.equal("", messages[1].exchange)
      assert.equal(q, messages[1].routing_key)
      assert.equal(0, #drain(ch, other))
   end)

   broker.unless_redis(it, "a queue is a name", "returns a mandatory message that no queue is named for, and drops another one", function()
      local ch = channel()
      local nowhere = broker.name "nowhere"
      assert.is_true(ch:publish("", nowhere, "dropped"))
      local ok, err = ch:publish("", nowhere, "back", { mandatory = true })
      assert.is_nil(ok)
      assert.equal("returned", err.kind)
      assert.equal(312, err.message.reply_code)
      assert.equal("NO_ROUTE", err.message.reply_text)
      assert.equal("", err.message.exchange)
      assert.equal(nowhere, err.message.routing_key)
      assert.equal("back", err.message.body)
   end)

   broker.unless_redis(it, "exchanges", "refuses every operation on itself", function()
      local x = exchange(channel(), "direct")
      local operations = {
         declare = function(ch) return ch:exchange_declare { exchange = "", type = "direct", durable = true } end,
         passive = function(ch) return ch:exchange_declare { exchange = "", passive = true } end,
         delete = function(ch) return ch:exchange_delete { exchange = "" } end,
         bind = function(ch) return ch:queue_bind { exchange = "", queue = queue(ch), routing_key = "k" } end,
         unbind = function(ch) return ch:queue_unbind { exchange = "", queue = queue(ch) } end,
         as_source = function(ch) return ch:exchange_bind { source = "", destination = x } end,
         as_destination = function(ch) return ch:exchange_bind { source = x, destination = "" } end,
         unbind_source = function(ch) return ch:exchange_unbind { source = "", destination = x } end,
         unbind_destination = function(ch) return ch:exchange_unbind { source = x, destination = "" } end,
      }
      for _, fn in pairs(operations) do
         refused(403, "ACCESS_REFUSED - operation not permitted on the default exchange", fn)
      end
   end)
end)

describe("the exchanges that are always there", function()
   after_each(clean)

   local ALWAYS = { ["amq.direct"] = "direct", ["amq.fanout"] = "fanout", ["amq.topic"] = "topic",
      ["amq.headers"] = "headers", ["amq.match"] = "headers" }

   it("are durable, and of the types that their names say", function()
      local ch = channel()
      for name, type_ in pairs(ALWAYS) do
         assert.is_true(ch:exchange_declare { exchange = name, passive = true })
         assert.is_true(ch:exchange_declare { exchange = name, type = type_, durable = true })
         refused(406, ("PRECONDITION_FAILED - inequivalent arg 'durable' for exchange '%s' in vhost '/': "):format(name)
            .. "received 'false' but current is 'true'", function(other)
            return other:exchange_declare { exchange = name, type = type_ }
         end)
      end
      refused(406, "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'amq.direct' in vhost '/': "
         .. "received 'topic' but current is 'direct'", function(other)
         return other:exchange_declare { exchange = "amq.direct", type = "topic", durable = true }
      end)
   end)

   broker.unless_redis(it, "exchanges", "route", function()
      local ch = channel()
      local key = broker.name "key"
      assert.equal(1, count(ch, bound(ch, "amq.direct", key), "amq.direct", key))
      assert.equal(1, count(ch, bound(ch, "amq.topic", key .. ".*"), "amq.topic", key .. ".x"))
      assert.equal(1, count(ch, bound(ch, "amq.headers", "", { key = key }), "amq.headers", "", { headers = { key = key } }))
      assert.equal(1, count(ch, bound(ch, "amq.match", "", { key = key }), "amq.match", "", { headers = { key = key } }))
      assert.equal(1, count(ch, bound(ch, "amq.fanout", ""), "amq.fanout", key))
   end)

   it("cannot be deleted, nor can others be made under their prefix", function()
      refused(403, "ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed", function(ch)
         return ch:exchange_delete { exchange = "amq.direct" }
      end)
      refused(403, "ACCESS_REFUSED - deletion of system exchange 'amq.nope' in vhost '/' not allowed", function(ch)
         return ch:exchange_delete { exchange = "amq.nope" }
      end)
      refused(403, "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'", function(ch)
         return ch:exchange_declare { exchange = "amq.mine" }
      end)
      refused(404, "NOT_FOUND - no exchange 'amq.mine' in vhost '/'", function(ch)
         return ch:exchange_declare { exchange = "amq.mine", passive = true }
      end)
   end)
end)

broker.unless_redis(describe, "exchanges", "bindings of exchanges to exchanges", function()
   after_each(clean)

   it("carry a message down a chain, each by its own type, and leave exchange and key as they were", function()
      local ch = channel()
      local a, b, c = exchange(ch, "direct"), exchange(ch, "topic"), exchange(ch, "fanout")
      assert(ch:exchange_bind { source = a, destination = b, routing_key = "x.y" })
      assert(ch:exchange_bind { source = b, destination = c, routing_key = "*.y" })
      local q, aside = bound(ch, c, "ignored"), bound(ch, b, "z.#")
      assert(ch:publish(a, "x.y", "down"))
      assert(ch:publish(a, "x.z", "nowhere"))
      assert(ch:publish(b, "w.y", "from the middle"))
      local messages = drain(ch, q)
      assert.equal(2, #messages)
      assert.equal("down", messages[1].body)
      assert.equal(a, messages[1].exchange)
      assert.equal("x.y", messages[1].routing_key)
      assert.equal(b, messages[2].exchange)
      assert.equal(0, #drain(ch, aside))
   end)

   it("may go round in a circle", function()
      local ch = channel()
      local a, b, c = exchange(ch, "fanout"), exchange(ch, "fanout"), exchange(ch, "fanout")
      assert(ch:exchange_bind { source = a, destination = b })
      assert(ch:exchange_bind { source = b, destination = c })
      assert(ch:exchange_bind { source = c, destination = a })
      assert(ch:exchange_bind { source = a, destination = a })
      local q = bound(ch, b, "")
      for _, x in ipairs { a, b, c } do assert.equal(1, count(ch, q, x, "")) end
   end)

   it("deliver once to a queue that is reached on many ways", function()
      local ch = channel()
      local top, left, right, bottom = exchange(ch, "topic"), exchange(ch, "fanout"), exchange(ch, "direct"), exchange(ch, "fanout")
      assert(ch:exchange_bind { source = top, destination = left, routing_key = "#" })
      assert(ch:exchange_bind { source = top, destination = right, routing_key = "k" })
      assert(ch:exchange_bind { source = left, destination = bottom })
      assert(ch:exchange_bind { source = right, destination = bottom, routing_key = "k" })
      local q = bound(ch, bottom, "")
      for _, x in ipairs { top, left } do assert(ch:queue_bind { queue = q, exchange = x, routing_key = "k" }) end
      assert.equal(1, count(ch, q, top, "k"))
   end)

   it("match headers, and end when they are unbound with the same key and arguments", function()
      local ch = channel()
      local a, b = exchange(ch, "headers"), exchange(ch, "fanout")
      local q = bound(ch, b, "")
      local binding = { source = a, destination = b, routing_key = "k", arguments = { kind = "log" } }
      assert.is_true(ch:exchange_bind(binding))
      assert.is_true(ch:exchange_bind(binding))
      assert.equal(1, count(ch, q, a, "", { headers = { kind = "log" } }))
      assert.is_true(ch:exchange_unbind { source = a, destination = b, routing_key = "k" })
      assert.is_true(ch:exchange_unbind { source = a, destination = b, arguments = { kind = "log" } })
      assert.equal(1, count(ch, q, a, "", { headers = { kind = "log" } }))
      assert.is_true(ch:exchange_unbind(binding))
      assert.equal(0, count(ch, q, a, "", { headers = { kind = "log" } }))
      assert.is_true(ch:exchange_unbind(binding))
   end)

   it("count for mandatory only by the queues at their end", function()
      local ch = channel()
      local a, b = exchange(ch, "fanout"), exchange(ch, "fanout")
      assert(ch:exchange_bind { source = a, destination = b })
      assert.equal("returned", select(2, ch:publish(a, "", "x", { mandatory = true })).kind)
      local q = bound(ch, b, "")
      assert.is_true(ch:publish(a, "", "x", { mandatory = true }))
      assert.equal(1, #drain(ch, q))
   end)

   it("go with either of their exchanges", function()
      local ch = channel()
      local a, b, c = exchange(ch, "fanout"), exchange(ch, "fanout"), exchange(ch, "fanout")
      assert(ch:exchange_bind { source = a, destination = b })
      assert(ch:exchange_bind { source = b, destination = c })
      local q = bound(ch, c, "")
      assert.is_true(ch:exchange_delete { exchange = b })
      assert.equal(0, count(ch, q, a, ""))
      assert(ch:exchange_declare { exchange = b, type = "fanout" })
      assert.equal(0, count(ch, q, a, ""))
      assert.equal(0, count(ch, q, b, ""))
   end)

   it("need both exchanges, but unbinding does not", function()
      local ch = channel()
      local x, nope, neither = exchange(ch, "direct"), broker.name "nope", broker.name "neither"
      local text = ("NOT_FOUND - no exchange '%s' in vhost '/'"):format(nope)
      refused(404, text, function(other) return other:exchange_bind { source = nope, destination = x } end)
      refused(404, text, function(other) return other:exchange_bind { source = x, destination = nope } end)
      refused(404, text, function(other) return other:exchange_bind { source = nope, destination = neither } end)
      assert.is_true(ch:exchange_unbind { source = nope, destination = x })
      assert.is_true(ch:exchange_unbind { source = x, destination = nope })
      assert.is_true(ch:exchange_unbind { source = x, destination = x })
   end)
end)

describe("bindings of queues", function()
   after_each(clean)

   it("are one when they are the same", function()
      local ch = channel()
      local x = exchange(ch, "direct")
      local q = bound(ch, x, "k", { a = 1 })
      assert.is_true(ch:queue_bind { queue = q, exchange = x, routing_key = "k", arguments = { a = 1 } })
      assert.equal(1, count(ch, q, x, "k"))
      assert.is_true(ch:queue_unbind { queue = q, exchange = x, routing_key = "k", arguments = { a = 1 } })
      assert.equal(0, count(ch, q, x, "k"))
   end)

   broker.unless_redis(it, "bindings", "are told apart by their arguments", function()
      local ch = channel()
      local x = exchange(ch, "direct")
      local q = bound(ch, x, "k")
      assert(ch:queue_bind { queue = q, exchange = x, routing_key = "k", arguments = { a = 1 } })
      assert(ch:queue_bind { queue = q, exchange = x, routing_key = "k", arguments = { a = 2 } })
      assert.equal(1, count(ch, q, x, "k"))
      assert(ch:queue_unbind { queue = q, exchange = x, routing_key = "k" })
      assert.equal(1, count(ch, q, x, "k"))
      assert(ch:queue_unbind { queue = q, exchange = x, routing_key = "k", arguments = { a = 1 } })
      assert.equal(1, count(ch, q, x, "k"))
      assert(ch:queue_unbind { queue = q, exchange = x, routing_key = "k", arguments = { a = 2 } })
      assert.equal(0, count(ch, q, x, "k"))
   end)

   broker.unless_redis(it, "bindings", "are unbound also where there are none", function()
      local ch = channel()
      local x = exchange(ch, "direct")
      local q = bound(ch, x, "k")
      assert.is_true(ch:queue_unbind { queue = q, exchange = x, routing_key = "another" })
      assert.is_true(ch:queue_unbind { queue = q, exchange = x, routing_key = "k", arguments = { a = 1 } })
      assert.is_true(ch:queue_unbind { queue = broker.name "nope", exchange = x })
      assert.is_true(ch:queue_unbind { queue = q, exchange = broker.name "nope" })
      assert.equal(1, count(ch, q, x, "k"))
   end)

   it("need the exchange and the queue", function()
      local x, nope, neither = exchange(channel(), "direct"), broker.name "nope", broker.name "neither"
      refused(404, ("NOT_FOUND - no queue '%s' in vhost '/'"):format(nope), function(ch)
         return ch:queue_bind { exchange = x, queue = nope }
      end)
      local text = ("NOT_FOUND - no exchange '%s' in vhost '/'"):format(nope)
      refused(404, text, function(ch) return ch:queue_bind { exchange = nope, queue = queue(ch) } end)
      refused(404, text, function(ch) return ch:queue_bind { exchange = nope, queue = neither } end)
   end)

   it("take the queue declared last when none is named", function()
      local ch = channel()
      local x = exchange(ch, "direct")
      queue(ch)
      local q = queue(ch)
      assert.is_true(ch:queue_bind { queue = "", exchange = x, routing_key = "k" })
      assert.equal(1, count(ch, q, x, "k"))
      assert.is_true(ch:queue_unbind { queue = "", exchange = x, routing_key = "k" })
      assert.equal(0, count(ch, q, x, "k"))
      refused(404, "NOT_FOUND - no previously declared queue", function(other)
         return other:queue_bind { queue = "", exchange = x }
      end)
   end)

   it("take the queue's name as the key when neither queue nor key is named", function()
      local ch = channel()
      local x = exchange(ch, "direct")
      local q = queue(ch)
      assert.is_true(ch:queue_bind { queue = "", exchange = x })
      assert.equal(1, count(ch, q, x, q))
      assert.equal(0, count(ch, q, x, ""))
   end)

   it("go with the queue, and do not come back with its name", function()
      local ch = channel()
      local x = exchange(ch, "fanout")
      local q = bound(ch, x, "")
      assert(ch:queue_delete { queue = q })
      assert.equal("returned", select(2, ch:publish(x, "", "x", { mandatory = true })).kind)
      local again = assert(ch:queue_declare { queue = broker.name "again", exclusive = true }).queue
      assert(ch:queue_bind { queue = again, exchange = x })
      assert(ch:queue_delete { queue = again })
      assert(ch:queue_declare { queue = again, exclusive = true })
      assert.equal(0, count(ch, again, x, ""))
   end)

   it("go with the exchange, and do not come back with its name", function()
      local ch = channel()
      local x = exchange(ch, "fanout")
      local q = bound(ch, x, "")
      assert(ch:exchange_delete { exchange = x })
      assert(ch:exchange_declare { exchange = x, type = "fanout" })
      assert.equal(0, count(ch, q, x, ""))
   end)

   it("of another's exclusive queue are neither made nor taken away", function()
      local ch = channel()
      local x, q = exchange(ch, "fanout"), queue(ch)
      local text = ("RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '%s' in vhost '/'. "):format(q)
         .. "It could be originally declared on another connection or the exclusive property value does not match "
         .. "that of the original declaration."
      refused(405, text, function(other) return other:queue_bind { queue = q, exchange = x } end)
      assert.is_true(broker.channel():queue_unbind { queue = q, exchange = x })
      assert(ch:queue_bind { queue = q, exchange = x })
      refused(405, text, function(other) return other:queue_unbind { queue = q, exchange = x } end)
   end)
end)

broker.unless_redis(describe, "exchanges", "an alternate exchange", function()
   after_each(clean)

   local function with_alternate(ch, type_, alternate)
      return exchange(ch, type_, { arguments = { ["alternate-exchange"] = alternate } })
   end

   it("gets what has no route, and only that", function()
      local ch = channel()
      local rest = exchange(ch, "fanout")
      local x = with_alternate(ch, "direct", rest)
      local routed, unrouted = bound(ch, x, "k"), bound(ch, rest, "")
      assert(ch:publish(x, "k", "routed"))
      assert(ch:publish(x, "other", "unrouted"))
      assert.equal("routed", drain(ch, routed)[1].body)
      local messages = drain(ch, unrouted)
      assert.equal(1, #messages)
      assert.equal("unrouted", messages[1].body)
      assert.equal(x, messages[1].exchange)
      assert.equal("other", messages[1].routing_key)
   end)

   it("makes a mandatory message routed when it has a queue for it, else the message comes back", function()
      local ch = channel()
      local rest = exchange(ch, "direct")
      local x = with_alternate(ch, "direct", rest)
      local q = bound(ch, rest, "k")
      assert.is_true(ch:publish(x, "k", "x", { mandatory = true }))
      assert.equal(1, #drain(ch, q))
      local ok, err = ch:publish(x, "other", "x", { mandatory = true })
      assert.is_nil(ok)
      assert.equal("returned", err.kind)
      assert.equal(x, err.message.exchange)
   end)

   it("may have one itself, also in a circle", function()
      local ch = channel()
      local a_name = broker.name "a"
      local last = exchange(ch, "fanout")
      local middle = with_alternate(ch, "direct", last)
      local first = with_alternate(ch, "direct", middle)
      local q = bound(ch, last, "")
      assert.equal(1, count(ch, q, first, "k"))
      local b = with_alternate(ch, "direct", a_name)
      local a = exchange(ch, "direct", { exchange = a_name, arguments = { ["alternate-exchange"] = b } })
      assert.equal("returned", select(2, ch:publish(a, "k", "x", { mandatory = true })).kind)
      assert.equal(1, count(ch, bound(ch, b, "k"), a, "k"))
   end)

   it("need not exist, and may come later", function()
      local ch = channel()
      local name = broker.name "later"
      local x = with_alternate(ch, "direct", name)
      assert.is_true(ch:publish(x, "k", "dropped"))
      assert.equal("returned", select(2, ch:publish(x, "k", "x", { mandatory = true })).kind)
      exchange(ch, "fanout", { exchange = name })
      assert.equal(1, count(ch, bound(ch, name, ""), x, "k"))
   end)

   it("may be internal", function()
      local ch = channel()
      local rest = exchange(ch, "fanout", { internal = true })
      local x = with_alternate(ch, "direct", rest)
      assert.equal(1, count(ch, bound(ch, rest, ""), x, "k"))
   end)

   it("is asked when a binding to an exchange matched, but no queue was behind it", function()
      local ch = channel()
      local rest, dead_end = exchange(ch, "fanout"), exchange(ch, "fanout")
      local x = with_alternate(ch, "fanout", rest)
      local q = bound(ch, rest, "")
      assert(ch:exchange_bind { source = x, destination = dead_end })
      assert.equal(0, count(ch, q, x, "k"))
   end)

   it("of an exchange that is bound to another gets what that one has no route for", function()
      local ch = channel()
      local rest = exchange(ch, "fanout")
      local x = with_alternate(ch, "direct", rest)
      local source = exchange(ch, "fanout")
      assert(ch:exchange_bind { source = source, destination = x })
      assert.equal(1, count(ch, bound(ch, rest, ""), source, "k"))
   end)

   it("must be named by a string", function()
      local name = broker.name "x"
      refused(406, ("PRECONDITION_FAILED - invalid type 'long' for arg 'alternate-exchange' in exchange '%s' in vhost '/'")
         :format(name), function(ch)
         return ch:exchange_declare { exchange = name, arguments = { ["alternate-exchange"] = 2 } }
      end)
   end)
end)

describe("an internal exchange", function()
   after_each(clean)

   broker.unless_redis(it, "exchanges", "refuses publishes, and routes what exchanges hand on", function()
      local ch = channel()
      local inner, outer = exchange(ch, "fanout", { internal = true }), exchange(ch, "fanout")
      assert(ch:exchange_bind { source = outer, destination = inner })
      local q = bound(ch, inner, "")
      publish_closes(403, ("ACCESS_REFUSED - cannot publish to internal exchange '%s' in vhost '/'"):format(inner), inner)
      assert.equal(1, count(ch, q, outer, ""))
   end)
end)

describe("an auto-delete exchange", function()
   after_each(clean)

   it("goes when its last queue is unbound", function()
      local ch = channel()
      local x = exchange(ch, "direct", { auto_delete = true })
      local q = bound(ch, x, "a")
      assert(ch:queue_bind { queue = q, exchange = x, routing_key = "b" })
      assert(ch:queue_unbind { queue = q, exchange = x, routing_key = "a" })
      assert.is_false(missing(ch, x))
      assert(ch:queue_unbind { queue = q, exchange = x, routing_key = "b" })
      assert.is_true(missing(ch, x))
   end)

   it("goes with its last queue", function()
      local ch = channel()
      local x = exchange(ch, "topic", { auto_delete = true })
      local one, two = bound(ch, x, "a"), bound(ch, x, "b")
      assert(ch:queue_delete { queue = one })
      assert.is_false(missing(ch, x))
      assert(ch:queue_delete { queue = two })
      assert.is_true(missing(ch, x))
   end)

   it("stays when it never had a queue", function()
      local ch = channel()
      local x = exchange(ch, "direct", { auto_delete = true })
      assert(ch:queue_unbind { queue = queue(ch), exchange = x, routing_key = "a" })
      assert.is_true(ch:publish(x, "k", "x"))
      assert.is_false(missing(ch, x))
   end)

   broker.unless_redis(it, "exchanges", "goes with the last exchange that it hands on to, but not with one that hands on to it", function()
      local ch = channel()
      local x = exchange(ch, "fanout", { auto_delete = true })
      local source, destination = exchange(ch, "fanout"), exchange(ch, "fanout")
      assert(ch:exchange_bind { source = source, destination = x })
      assert(ch:exchange_unbind { source = source, destination = x })
      assert.is_false(missing(ch, x))
      assert(ch:exchange_bind { source = x, destination = destination })
      assert(ch:exchange_delete { exchange = destination })
      assert.is_true(missing(ch, x))
   end)

   broker.unless_redis(it, "exchanges", "takes along another one that it alone handed on to it", function()
      local ch = channel()
      local first, second = exchange(ch, "fanout", { auto_delete = true }), exchange(ch, "fanout", { auto_delete = true })
      assert(ch:exchange_bind { source = first, destination = second })
      local q = bound(ch, second, "")
      assert(ch:queue_delete { queue = q })
      assert.is_true(missing(ch, second))
      assert.is_true(missing(ch, first))
   end)
end)

describe("declaring an exchange", function()
   after_each(clean)

   broker.unless_redis(it, "exchanges", "again in the same way is nothing", function()
      local ch = channel()
      for _, type_ in ipairs { "direct", "fanout", "topic", "headers" } do
         local x = exchange(ch, type_, { durable = true, auto_delete = true, internal = true })
         exchange(ch, type_, { exchange = x, durable = true, auto_delete = true, internal = true })
      end
   end)

   broker.unless_redis(it, "exchanges", "passively asks for the name alone", function()
      local ch = channel()
      local x = exchange(ch, "fanout", { durable = true, arguments = { ["alternate-exchange"] = "amq.fanout" } })
      assert.is_true(ch:exchange_declare { exchange = x, passive = true })
      assert.is_true(ch:exchange_declare { exchange = x, passive = true, type = "topic", internal = true })
      assert.is_true(ch:exchange_declare { exchange = x, passive = true, type = "nope" })
      local nope = broker.name "nope"
      refused(404, ("NOT_FOUND - no exchange '%s' in vhost '/'"):format(nope), function(other)
         return other:exchange_declare { exchange = nope, passive = true }
      end)
   end)

   broker.unless_redis(it, "exchanges", "in another way is refused, naming the first thing that differs", function()
      local ch = channel()
      local x = exchange(ch, "direct", { arguments = { ["alternate-exchange"] = "one" } })
      local plain = exchange(ch, "direct")
      local cases = {
         { "'type'", "received 'fanout' but current is 'direct'", { type = "fanout" } },
         { "'durable'", "received 'true' but current is 'false'", { durable = true } },
         { "'auto_delete'", "received 'true' but current is 'false'", { auto_delete = true } },
         { "'internal'", "received 'true' but current is 'false'", { internal = true } },
         { "'type'", "received 'topic' but current is 'direct'",
            { type = "topic", durable = true, auto_delete = true, internal = true } },
         { "'durable'", "received 'true' but current is 'false'", { durable = true, auto_delete = true, internal = true } },
         { "'auto_delete'", "received 'true' but current is 'false'", { auto_delete = true, internal = true } },
         { "'alternate-exchange'", "received none but current is the value 'one' of type 'longstr'", {} },
         { "'alternate-exchange'", "received 'two' but current is 'one'", { arguments = { ["alternate-exchange"] = "two" } } },
         { "'alternate-exchange'", "received the value 'one' of type 'longstr' but current is none",
            { exchange = plain, arguments = { ["alternate-exchange"] = "one" } } },
      }
      for _, case in ipairs(cases) do
         local options = case[3]
         options.exchange = options.exchange or x
         refused(406, ("PRECONDITION_FAILED - inequivalent arg %s for exchange '%s' in vhost '/': %s")
            :format(case[1], options.exchange, case[2]), function(other) return other:exchange_declare(options) end)
      end
   end)

   it("does not compare other arguments", function()
      local ch = channel()
      local x = exchange(ch, "direct", { arguments = { one = 1 } })
      assert.is_true(ch:exchange_declare { exchange = x, arguments = { two = 2 } })
   end)

   it("of an unknown type ends the connection", function()
      local x = exchange(channel(), "direct")
      fatal(503, "COMMAND_INVALID - unknown exchange type 'nope'", function(ch)
         return ch:exchange_declare { exchange = broker.name "nope", type = "nope" }
      end)
      fatal(503, "COMMAND_INVALID - unknown exchange type 'nope'", function(ch)
         return ch:exchange_declare { exchange = x, type = "nope" }
      end)
      fatal(503, "COMMAND_INVALID - invalid exchange type ''", function(ch)
         return ch:exchange_declare { exchange = broker.name "nope", type = "" }
      end)
   end)
end)

describe("deleting an exchange", function()
   after_each(clean)

   broker.unless_redis(it, "exchanges", "is refused with if_unused while something is bound to it", function()
      local ch = channel()
      local x, source, destination = exchange(ch, "fanout"), exchange(ch, "fanout"), exchange(ch, "fanout")
      local text = ("PRECONDITION_FAILED - exchange '%s' in vhost '/' in use"):format(x)
      local function if_unused(other) return other:exchange_delete { exchange = x, if_unused = true } end
      local q = bound(ch, x, "")
      refused(406, text, if_unused)
      assert(ch:queue_unbind { queue = q, exchange = x })
      assert(ch:exchange_bind { source = x, destination = destination })
      refused(406, text, if_unused)
      assert(ch:exchange_unbind { source = x, destination = destination })
      assert(ch:exchange_bind { source = source, destination = x })
      assert.is_true(if_unused(ch))
      assert.is_true(missing(ch, x))
   end)

   it("that is not there is nothing", function()
      local ch = channel()
      assert.is_true(ch:exchange_delete { exchange = broker.name "nope" })
      assert.is_true(ch:exchange_delete { exchange = broker.name "nope", if_unused = true })
   end)

   it("makes it unknown to publishers", function()
      local ch = channel()
      local x = exchange(ch, "direct")
      assert(ch:exchange_delete { exchange = x })
      publish_closes(404, ("NOT_FOUND - no exchange '%s' in vhost '/'"):format(x), x)
   end)
end)

describe("publishing to an exchange", function()
   after_each(clean)

   it("that is missing closes the channel, also when it is mandatory or to be confirmed", function()
      local nope = broker.name "nope"
      local text = ("NOT_FOUND - no exchange '%s' in vhost '/'"):format(nope)
      publish_closes(404, text, nope)
      local ch = channel()
      assert.is_nil((ch:publish(nope, "", "x", { mandatory = true })))
      broker.eventually("the close", function() return not ch.is_open end)
      assert.equal(404, ch.last_error.code)
      assert.equal(text, ch.last_error.text)
   end)

   it("returns what is mandatory and has no route, before the confirm", function()
      local ch = channel()
      local x = exchange(ch, "direct")
      local returned
      ch:on_return(function(msg) returned = msg end)
      local t = assert(ch:publish_async(x, "k", "body", { mandatory = true, headers = { a = 1 }, message_id = "7" }))
      local ok, err = t:wait(10)
      assert.is_nil(ok)
      assert.equal("returned", err.kind)
      broker.eventually("the return", function() return returned end)
      assert.equal(312, returned.reply_code)
      assert.equal("NO_ROUTE", returned.reply_text)
      assert.equal(x, returned.exchange)
      assert.equal("k", returned.routing_key)
      assert.equal("body", returned.body)
      assert.equal(1, returned.headers.a)
      assert.equal("7", returned.properties.message_id)
   end)

   broker.unless_redis(it, "transactions", "in a transaction routes by the bindings of the publish, not of the commit", function()
      local ch = broker.channel()
      local x, q = exchange(ch, "fanout"), queue(ch)
      assert(ch:tx_select())
      assert(ch:publish(x, "", "before"))
      assert(ch:queue_bind { queue = q, exchange = x })
      assert(ch:publish(x, "", "after"))
      assert(ch:tx_commit())
      local messages = drain(ch, q)
      assert.equal(1, #messages)
      assert.equal("after", messages[1].body)
   end)

   broker.unless_redis(it, "CC", "keeps CC and BCC routes of the sender", function()
      local ch = channel()
      local x = exchange(ch, "direct")
      local a, b, c = bound(ch, x, "a"), bound(ch, x, "b"), bound(ch, x, "c")
      assert(ch:publish(x, "a", "x", { headers = { CC = { "b" }, BCC = { "c" } } }))
      for _, q in ipairs { a, b, c } do
         local messages = drain(ch, q)
         assert.equal(1, #messages)
         assert.equal("a", messages[1].routing_key)
         assert.same({ "b" }, messages[1].headers.CC)
         assert.is_nil(messages[1].headers.BCC)
      end
   end)

   -- Each of an exchange's keys, at every exchange on the way.
   for _, case in ipairs {
      { kinds = { "direct", "direct" }, keys = { "a", "c" } },
      { kinds = { "topic", "direct" }, keys = { "*", "c" } },
      { kinds = { "direct", "topic" }, keys = { "a", "#.c" } },
      { kinds = { "fanout", "direct" }, keys = { "", "c" } },
      { kinds = { "headers", "direct" }, keys = { "", "c" } },
      { kinds = { "direct", "fanout", "direct" }, keys = { "b", "", "c" } },
      { kinds = { "direct", "direct", "topic", "direct" }, keys = { "c", "b", "a", "c" } },
   } do
      broker.unless_redis(it, "exchanges", "follows all keys over " .. table.concat(case.kinds, ", ") .. " (FIELD-F7)", function()
         for _, header in ipairs { "CC", "BCC" } do
            local ch = channel()
            local first = exchange(ch, case.kinds[1])
            local last = first
            for i = 2, #case.kinds do
               local x = exchange(ch, case.kinds[i])
               assert(ch:exchange_bind { destination = x, source = last, routing_key = case.keys[i - 1] })
               last = x
            end
            local q, none = bound(ch, last, case.keys[#case.keys]), bound(ch, last, "d")
            assert(ch:publish(first, "a", "x", { mandatory = true, headers = { [header] = { "b", "c" } } }))
            local messages = drain(ch, q)
            assert.equal(1, #messages, header)
            assert.equal("a", messages[1].routing_key)
            if last ~= first and case.kinds[#case.kinds] ~= "fanout" then assert.equal(0, #drain(ch, none)) end
         end
      end)
   end

   broker.unless_redis(it, "exchanges",
      "goes to the alternate exchange when none of its keys is bound, with all of them (FIELD-F7)", function()
      local ch = channel()
      local other = exchange(ch, "direct")
      local x = broker.name "exchange"
      assert(ch:exchange_declare { exchange = x, type = "direct", auto_delete = true,
         arguments = { ["alternate-exchange"] = other } })
      local own, a, c = bound(ch, x, "b"), bound(ch, other, "a"), bound(ch, other, "c")
      assert(ch:publish(x, "a", "one of them is bound", { headers = { CC = { "b", "c" } } }))
      assert.same({ 1, 0, 0 }, { #drain(ch, own), #drain(ch, a), #drain(ch, c) })
      assert(ch:publish(x, "a", "none of them is bound", { headers = { BCC = { "c" } } }))
      assert.same({ 0, 1, 1 }, { #drain(ch, own), #drain(ch, a), #drain(ch, c) })
   end)

   broker.unless_redis(it, "exchanges", "arrives once, however many of its keys lead to a queue (FIELD-F7)", function()
      local ch = channel()
      local x, y = exchange(ch, "topic"), exchange(ch, "direct")
      assert(ch:exchange_bind { destination = y, source = x, routing_key = "#" })
      local q = bound(ch, y, "a")
      for _, key in ipairs { "b", "c" } do assert(ch:queue_bind { queue = q, exchange = y, routing_key = key }) end
      assert(ch:publish(x, "a", "x", { headers = { CC = { "b", "a" }, BCC = { "c", "c" } } }))
      assert.equal(1, #drain(ch, q))
   end)

   broker.unless_redis(it, "exchanges", "keeps its keys when it dies, over exchanges, too (FIELD-F7)", function()
      local ch = channel()
      local dead, second = exchange(ch, "direct"), exchange(ch, "direct")
      assert(ch:exchange_bind { destination = second, source = dead, routing_key = "a" })
      local q = broker.name "queue"
      assert(ch:queue_declare { queue = q, exclusive = true,
         arguments = { ["x-dead-letter-exchange"] = dead, ["x-message-ttl"] = 0 } })
      local c, b = bound(ch, second, "c"), bound(ch, second, "b")
      local x = exchange(ch, "direct")
      assert(ch:queue_bind { queue = q, exchange = x, routing_key = "a" })
      assert(ch:publish(x, "a", "x", { headers = { CC = { "c" }, BCC = { "b" } } }))
      for _, letters in ipairs { c, b } do
         local msg = broker.take(ch, letters)
         assert.same({ "a", "c" }, msg.headers["x-death"][1]["routing-keys"])
         assert.same({ "c" }, msg.headers.CC)
         assert.is_nil(msg.headers.BCC)
      end
   end)
end)
