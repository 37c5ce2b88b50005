--- Queues as RabbitMQ keeps them: declaring, names, owners, purging, deleting. (Limits: queue_limits_spec.)
-- Covers: runtime/broker/store/arguments.c by invalid_overflow
local broker = require "broker"

local eventually, take, queue, count = broker.eventually, broker.take, broker.queue, broker.count
local KINDS = { [403] = "access_refused", [404] = "not_found", [405] = "resource_locked", [406] = "precondition_failed" }
local LOCKED = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '%s' in vhost '/'. It could be originally "
   .. "declared on another connection or the exclusive property value does not match that of the original declaration."

-- Asserts that a call was refused with a code and exactly this text; the channel is closed then.
local function refused(ch, code, text, ok, err)
   assert.is_nil(ok)
   assert.equal(KINDS[code], err.kind)
   assert.equal(code, err.code)
   assert.equal("channel", err.scope)
   assert.truthy(err.text:find(text, 1, true), err.text)
   assert.is_false(ch.is_open)
   assert.is_true(ch.connection.is_open)
end

local function status(ch, q) return assert(ch:queue_declare { queue = q, passive = true }) end

local function holds(ch, q, number)
   eventually(("%d messages in the queue"):format(number), function() return count(ch, q) == number end)
end

local function fill(ch, q, ...)
   for _, body in ipairs { ... } do assert(ch:publish("", q, body)) end
end

-- Is the queue there? Asked by a mandatory message, which does not count as a use of the queue. Redis would keep that; there
-- nothing counts uses.
local function is_gone(q)
   local ch = broker.channel()
   assert(ch:confirm_select())
   eventually(q .. " is gone", function()
      if broker.is_redis then return not assert(ch.connection:channel()):queue_declare { queue = q, passive = true } end
      local ok, err = ch:publish("", q, "are you there?", { mandatory = true })
      return not ok and err.kind == "returned"
   end)
   refused(ch, 404, ("NOT_FOUND - no queue '%s' in vhost '/'"):format(q), ch:queue_declare { queue = q, passive = true })
end

describe("a queue", function()
   after_each(broker.close_all)

   broker.unless_redis(it, "queue arguments", "is declared once and again when all is equal", function()
      local ch = broker.channel()
      for _, options in ipairs { {}, { durable = true }, { auto_delete = true }, { exclusive = true },
         { durable = true, arguments = { ["x-max-length"] = 5, ["x-message-ttl"] = 60000, ["x-dead-letter-exchange"] = "dlx" } } } do
         options.queue = broker.name "again"
         assert.same({ queue = options.queue, message_count = 0, consumer_count = 0 }, assert(ch:queue_declare(options)))
         fill(ch, options.queue, "x")
         holds(ch, options.queue, 1)
         assert.same({ queue = options.queue, message_count = 1, consumer_count = 0 }, assert(ch:queue_declare(options)))
         assert.equal(1, ch:queue_delete { queue = options.queue })
      end
   end)

   it("gets a name from the broker when it is given none, which nobody may declare", function()
      local ch = broker.channel()
      local q = assert(ch:queue_declare { exclusive = true }).queue
      assert.truthy(q:find("^amq%.gen%-[%w_-]+$"), q)
      assert.equal(30, #q)
      assert.are_not.equal(q, assert(ch:queue_declare { exclusive = true }).queue)
      assert.equal(q, status(ch, q).queue)
      refused(ch, 403, ("ACCESS_REFUSED - queue name '%s' contains reserved prefix 'amq.*'"):format(q),
         ch:queue_declare { queue = q, exclusive = true })
   end)

   it("may not have a reserved name", function()
      local conn = broker.connect()
      for _, name in ipairs { "amq.", "amq.mine" } do
         local ch = assert(conn:channel())
         refused(ch, 403, ("ACCESS_REFUSED - queue name '%s' contains reserved prefix 'amq.*'"):format(name),
            ch:queue_declare { queue = name })
      end
      local ch = assert(conn:channel())
      refused(ch, 404, "NOT_FOUND - no queue 'amq.mine' in vhost '/'", ch:queue_declare { queue = "amq.mine", passive = true })
   end)

   it("may have a name of 255 bytes, which is too long for the text of an error", function()
      local ch, other = broker.channel(), broker.channel()
      local q = broker.name "long"
      q = q .. ("x"):rep(255 - #q)
      assert.equal(q, assert(ch:queue_declare { queue = q, exclusive = true }).queue)
      fill(ch, q, "x")
      assert.equal("x", take(ch, q).body)
      local text = LOCKED:format(q):sub(1, 252) .. "..."
      refused(other, 405, text, other:queue_declare { queue = q, passive = true })
   end)

   it("loses the line ends of its name when it is declared", function()
      local ch, q = broker.channel(), broker.name "line"
      assert.equal(q .. "end", assert(ch:queue_declare { queue = q .. "\r\nend\n", exclusive = true }).queue)
      assert.equal("empty", select(2, ch:get(q .. "end")).kind)
   end)

   it("tells what is ready in it and who consumes when it is declared passively (X16)", function()
      local ch = broker.channel()
      local q = queue(ch)
      fill(ch, q, "1", "2", "3")
      take(ch, q, {})
      assert.same({ queue = q, message_count = 2, consumer_count = 0 }, status(ch, q))
      -- Passively nothing else is compared.
      assert(ch:queue_declare { queue = q, passive = true, durable = true, arguments = { ["x-max-length"] = 1 } })
      local other = assert(ch.connection:channel())
      assert(other:qos { prefetch_count = 1 })
      local consumer = assert(select(2, other:messages(q)))
      eventually("a delivery", function() return count(ch, q) == 1 end)
      assert.same({ queue = q, message_count = 1, consumer_count = 1 }, status(ch, q))
      assert(consumer:cancel())
      assert.equal(0, status(ch, q).consumer_count)
   end)

   broker.unless_redis(it, "queue arguments", "has no other durability, lifetime or arguments than it was declared with", function()
      local conn = broker.connect()
      local function length(n) return { arguments = { ["x-max-length"] = n } } end
      local function dead(x) return { arguments = { ["x-dead-letter-exchange"] = x } } end
      for _, case in ipairs {
         { { durable = true }, {}, "durable", "received 'false' but current is 'true'" },
         { {}, { durable = true, auto_delete = true }, "durable", "received 'true' but current is 'false'" },
         { { auto_delete = true }, {}, "auto_delete", "received 'false' but current is 'true'" },
         { {}, { auto_delete = true }, "auto_delete", "received 'true' but current is 'false'" },
         { length(3), length(4), "x-max-length", "received '4' but current is '3'" },
         { {}, length(4), "x-max-length", "received the value '4' of type 'long' but current is none" },
         { length(3), {}, "x-max-length", "received none but current is the value '3' of type 'long'" },
         { dead "a", dead "b", "x-dead-letter-exchange", "received 'b' but current is 'a'" },
         { {}, dead "b", "x-dead-letter-exchange", "received the value 'b' of type 'longstr' but current is none" },
         { { arguments = { ["x-single-active-consumer"] = true } }, {}, "x-single-active-consumer",
            "received none but current is the value 'true' of type 'bool'" },
      } do
         local ch, q = assert(conn:channel()), broker.name "equal"
         case[1].queue, case[2].queue = q, q
         assert(ch:queue_declare(case[1]))
         refused(ch, 406, ("PRECONDITION_FAILED - inequivalent arg '%s' for queue '%s' in vhost '/': %s")
            :format(case[3], q, case[4]), ch:queue_declare(case[2]))
         assert.equal(0, assert(conn:channel()):queue_delete { queue = q })
      end
   end)

   broker.unless_redis(it, "queue arguments", "is compared by every argument that it knows, and by no other", function()
      local conn = broker.connect()
      for name, pair in pairs { ["x-message-ttl"] = { 60000, 60001 }, ["x-expires"] = { 60000, 60001 },
         ["x-max-length-bytes"] = { 5, 6 }, ["x-overflow"] = { "drop-head", "reject-publish" }, ["x-max-priority"] = { 3, 4 } } do
         local ch = assert(conn:channel())
         local q = queue(ch, { [name] = pair[1] })
         refused(ch, 406, ("inequivalent arg '%s' for queue '%s' in vhost '/': received '%s' but current is '%s'")
            :format(name, q, pair[2], pair[1]), ch:queue_declare { queue = q, exclusive = true, arguments = { [name] = pair[2] } })
      end
      local ch = assert(conn:channel())
      local q = queue(ch, { ["x-whatever"] = 1, ["x-queue-type"] = "classic" })
      assert(ch:queue_declare { queue = q, exclusive = true, arguments = { ["x-whatever"] = 2 } })
   end)

   broker.unless_redis(it, "queue arguments", "is not made with arguments that make no sense", function()
      local conn = broker.connect()
      for _, case in ipairs {
         { "x-message-ttl", -1, "{value_negative,-1}" },
         { "x-message-ttl", "100", '"expected integer, got longstr"' },
         { "x-message-ttl", 1.5, '"expected integer, got double"' },
         { "x-message-ttl", 315360000001, "{value_too_large,315360000001}" }, -- over ten years
         { "x-expires", 0, "{value_zero,0}" },
         { "x-expires", -1, "{value_negative,-1}" },
         { "x-max-length", -1, "{value_negative,-1}" },
         { "x-max-length", "1", '"expected integer, got longstr"' },
         { "x-max-length-bytes", -1, "{value_negative,-1}" },
         { "x-overflow", "nope", "invalid_overflow" },
         { "x-overflow", 1, "{unacceptable_type,long}" },
         { "x-max-priority", -1, "{value_negative,-1}" },
         { "x-max-priority", 256, "{max_value_exceeded,256}" },
         { "x-dead-letter-routing-key", "k", "routing_key_but_no_dlx_defined" },
         { "x-queue-type", "nope", "\"unsupported queue type 'nope'\"" },
         { "x-queue-mode", "nope", "\"unsupported queue mode 'nope'\"" },
         { "x-single-active-consumer", "yes", "{unacceptable_type,longstr}" },
      } do
         local ch, q = assert(conn:channel()), broker.name "senseless"
         refused(ch, 406, ("PRECONDITION_FAILED - invalid arg '%s' for queue '%s' in vhost '/': %s"):format(case[1], q, case[3]),
            ch:queue_declare { queue = q, exclusive = true, arguments = { [case[1]] = case[2] } })
      end
      local ch, q = assert(conn:channel()), broker.name "senseless"
      refused(ch, 406, ("PRECONDITION_FAILED - invalid type 'long' for arg 'x-dead-letter-exchange' in queue '%s' in vhost '/'")
         :format(q), ch:queue_declare { queue = q, exclusive = true, arguments = { ["x-dead-letter-exchange"] = 1 } })
      ch = assert(conn:channel())
      refused(ch, 406, ("PRECONDITION_FAILED - invalid arg 'x-delivery-limit' for queue '%s' in vhost '/' of queue type "
         .. "rabbit_classic_queue"):format(q), ch:queue_declare { queue = q, exclusive = true, arguments = { ["x-delivery-limit"] = 3 } })
   end)

   it("that is exclusive is locked for other connections, but takes their messages", function()
      local ch = broker.channel()
      local q = queue(ch)
      local conn = broker.connect()
      local text = LOCKED:format(q)
      for _, try in ipairs {
         function(o) return o:queue_declare { queue = q, exclusive = true } end,
         function(o) return o:queue_declare { queue = q } end,
         function(o) return o:queue_declare { queue = q, passive = true } end,
         function(o) return o:get(q) end,
         function(o) return o:consume(q, function() end) end,
         function(o) return o:queue_purge { queue = q } end,
         function(o) return o:queue_delete { queue = q } end,
         function(o) return o:queue_bind { queue = q, exchange = "amq.direct", routing_key = q } end,
      } do
         local other = assert(conn:channel())
         refused(other, 405, text, try(other))
      end
      fill(assert(conn:channel()), q, "from outside")
      assert.equal("from outside", take(ch, q).body)
      -- On its own connection it is not to be declared as a shared one.
      refused(ch, 405, text, ch:queue_declare { queue = q })
   end)

   it("that is exclusive goes with its connection, not with its channel", function()
      local ch = broker.channel()
      local q = queue(ch)
      local conn = ch.connection
      assert(ch:close())
      assert.equal(0, count(assert(conn:channel()), q))
      assert(conn:close())
      is_gone(q)
   end)

   it("that is auto_delete stays until its last consumer goes", function()
      local ch = broker.channel()
      local q = assert(ch:queue_declare { queue = broker.name "auto", auto_delete = true }).queue
      local first = assert(ch:consume(q, function() end))
      local second = assert(ch:consume(q, function() end))
      assert(first:cancel())
      assert.equal(1, status(ch, q).consumer_count)
      assert(second:cancel())
      is_gone(q)
   end)

   it("that is auto_delete goes with the channel of its last consumer", function()
      local conn = broker.connect()
      local ch = assert(conn:channel())
      local q = assert(ch:queue_declare { queue = broker.name "auto", auto_delete = true }).queue
      assert(assert(conn:channel()):close())
      assert.equal(0, count(ch, q)) -- nobody has consumed yet
      assert(ch:consume(q, function() end))
      assert(ch:close())
      is_gone(q)
   end)

   it("without a name is the last one that the channel declared", function()
      local ch = broker.channel()
      local first, q = queue(ch), queue(ch)
      fill(ch, q, "1", "2", "3")
      assert.equal("1", take(ch, "", { no_ack = true }).body)
      assert(ch:queue_bind { queue = "", exchange = "amq.direct" }) -- the routing key becomes the queue's name, too
      assert(ch:publish("amq.direct", q, "4"))
      holds(ch, q, 3)
      assert.equal(3, ch:queue_purge { queue = "" })
      local consumer = assert(ch:consume("", function() end))
      assert.equal(1, status(ch, q).consumer_count)
      assert(consumer:cancel())
      status(ch, first) -- a passive declare counts
      assert.equal(0, ch:queue_delete { queue = "" })
      refused(ch, 404, ("NOT_FOUND - no queue '%s' in vhost '/'"):format(first), ch:queue_purge { queue = "" })
   end)

   it("without a name is nothing when the channel has declared none", function()
      local conn = broker.connect()
      for _, try in ipairs {
         function(ch) return ch:get("") end,
         function(ch) return ch:consume("", function() end) end,
         function(ch) return ch:queue_purge { queue = "" } end,
         function(ch) return ch:queue_delete { queue = "" } end,
         function(ch) return ch:queue_bind { queue = "", exchange = "amq.direct" } end,
      } do
         local ch = assert(conn:channel())
         refused(ch, 404, "NOT_FOUND - no previously declared queue", try(ch))
      end
      local ch = assert(conn:channel())
      queue(ch)
      refused(ch, 404, "NOT_FOUND - no queue '' in vhost '/'", ch:queue_declare { passive = true })
   end)

   it("that is not there cannot be used, but deleted", function()
      local conn, q = broker.connect(), broker.name "missing"
      for _, try in ipairs {
         function(ch) return ch:get(q) end,
         function(ch) return ch:consume(q, function() end) end,
         function(ch) return ch:queue_purge { queue = q } end,
         function(ch) return ch:queue_declare { queue = q, passive = true } end,
         function(ch) return ch:queue_bind { queue = q, exchange = "amq.direct" } end,
      } do
         local ch = assert(conn:channel())
         refused(ch, 404, ("NOT_FOUND - no queue '%s' in vhost '/'"):format(q), try(ch))
      end
      assert.equal(0, assert(conn:channel()):queue_delete { queue = q, if_unused = true, if_empty = true })
   end)

   it("loses what is ready when it is purged, not what is out", function()
      local ch = broker.channel()
      local q = queue(ch)
      fill(ch, q, "1", "2", "3")
      local out = take(ch, q, {})
      holds(ch, q, 2)
      assert.equal(2, ch:queue_purge { queue = q })
      assert.equal(0, ch:queue_purge { queue = q })
      assert.is_true(out:nack())
      assert.equal("1", take(ch, q).body)
   end)

   broker.unless_redis(it, "if-empty", "is deleted with what is in it, and only then if it must not be in use or not be full", function()
      local conn = broker.connect { recover = false } -- a channel that came back would use the queue again
      local ch = assert(conn:channel())
      local q = queue(ch)
      fill(ch, q, "1", "2")
      holds(ch, q, 2)
      refused(ch, 406, ("PRECONDITION_FAILED - queue '%s' in vhost '/' not empty"):format(q),
         ch:queue_delete { queue = q, if_empty = true })
      ch = assert(conn:channel())
      local out = take(ch, q, {})
      assert.equal(1, ch:queue_delete { queue = q, if_unused = true })
      assert.is_true(out:ack()) -- the queue is gone, the channel does not mind
      q = queue(ch)
      assert(ch:consume(q, function() end))
      refused(ch, 406, ("PRECONDITION_FAILED - queue '%s' in vhost '/' in use"):format(q),
         ch:queue_delete { queue = q, if_unused = true, if_empty = true })
      ch = assert(conn:channel())
      assert.equal(0, ch:queue_delete { queue = q, if_unused = true, if_empty = true })
      is_gone(q)
   end)

   broker.unless_redis(it, "if-empty", "is empty for if_empty when all of its messages are out", function()
      local ch = broker.channel()
      local q = queue(ch)
      fill(ch, q, "1")
      take(ch, q, {})
      assert.equal(0, ch:queue_delete { queue = q, if_empty = true })
   end)

   it("gives its messages in order, and tells how many are left", function()
      local ch = broker.channel()
      local q = queue(ch)
      fill(ch, q, "1", "2", "3")
      holds(ch, q, 3)
      for i = 1, 3 do
         local msg = assert(ch:get(q))
         assert.same({ tostring(i), 3 - i, i, false, "", q },
            { msg.body, msg.message_count, msg.delivery_tag, msg.redelivered, msg.exchange, msg.routing_key })
      end
      local msg, err = ch:get(q)
      assert.is_nil(msg)
      assert.equal("empty", err.kind)
      assert.is_true(ch.is_open)
   end)
end)
