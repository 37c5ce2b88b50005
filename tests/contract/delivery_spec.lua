--- How messages go out and come back: turns, prefetch, settling, requeueing, and what decides between consumers.
local mr = require "moonrabbit"
local broker = require "broker"

local eventually, take, quietly, count = broker.eventually, broker.take, broker.quietly, broker.count

-- A channel of a connection that has a queue with the messages "1" .. "count", and the queue.
local function filled(number, arguments)
   local ch = broker.channel()
   local q = assert(ch:queue_declare { queue = broker.name "delivery", exclusive = true, arguments = arguments }).queue
   assert(ch:confirm_select())
   for i = 1, number do assert(ch:publish_async("", q, tostring(i))) end
   assert(ch:wait_for_confirms(10))
   return ch, q
end

local function channel(ch) return assert(ch.connection:channel()) end

local function holds(ch, q, number)
   eventually(("%d messages in the queue"):format(number), function() return count(ch, q) == number end)
end

-- Consumes into a list of messages that stay unsettled.
local function collect(ch, q, options)
   local list = {}
   local iterator, consumer = assert(ch:messages(q, options))
   mr.spawn(function()
      for msg in iterator do list[#list + 1] = msg end
   end)
   return list, consumer
end

local function has(list, number)
   eventually(("%d deliveries"):format(number), function() return #list >= number end)
   assert.equal(number, #list)
end

local function texts(list)
   local result = {}
   for i, msg in ipairs(list) do result[i] = msg.body .. (msg.redelivered and " again" or "") end
   return result
end

-- Takes so many messages, one after the other, and keeps them.
local function keep(ch, q, number)
   local list = {}
   for i = 1, number do list[i] = take(ch, q, {}) end
   return list
end

-- Publishes with confirm, in order.
local function put(ch, q, ...)
   for _, body in ipairs { ... } do assert.is_true(ch:publish("", q, body)) end
end

describe("consumers of one queue", function()
   after_each(broker.close_all)

   it("take turns", function()
      local ch, q = filled(0)
      local lists = {}
      for i = 1, 3 do lists[i] = collect(channel(ch), q) end
      put(ch, q, "1", "2", "3", "4", "5", "6", "7", "8", "9")
      for i = 1, 3 do has(lists[i], 3) end
      assert.same({ "1", "4", "7" }, texts(lists[1]))
      assert.same({ "2", "5", "8" }, texts(lists[2]))
      assert.same({ "3", "6", "9" }, texts(lists[3]))
   end)

   it("take turns on one channel, too, each with its tag", function()
      local ch, q = filled(0)
      local a, first = collect(ch, q)
      local b, second = collect(ch, q, { consumer_tag = "mine" })
      put(ch, q, "1", "2", "3", "4")
      has(a, 2)
      has(b, 2)
      assert.truthy(first.tag:find("^.+%-%d+$"), first.tag)
      assert.equal("mine", second.tag)
      assert.same({ "1", first.tag, 1 }, { a[1].body, a[1].consumer_tag, a[1].delivery_tag })
      assert.same({ "2", "mine", 2 }, { b[1].body, b[1].consumer_tag, b[1].delivery_tag })
      assert.same({ "3", "4" }, { a[2].body, b[2].body })
      -- On another channel the tag is free.
      collect(channel(ch), q, { consumer_tag = "mine" })
   end)

   it("are passed over while they have as much as they may", function()
      local ch, q = filled(0)
      local busy, idle = channel(ch), channel(ch)
      assert(busy:qos { prefetch_count = 1 })
      local few, many = collect(busy, q), collect(idle, q)
      put(ch, q, "1", "2", "3", "4")
      has(few, 1)
      has(many, 3)
      assert.is_true(few[1]:ack())
      assert.is_true(assert(busy:qos { prefetch_count = 1 })) -- the ack has arrived by this answer
      put(ch, q, "5", "6")
      eventually("six deliveries", function() return #few + #many == 6 end)
      assert.same({ "1", "6" }, texts(few)) -- who may again takes a turn after the others
      assert.same({ "2", "3", "4", "5" }, texts(many))
   end)

   it("with a higher priority get all, until they have as much as they may", function()
      local ch, q = filled(0)
      local low, normal, high = channel(ch), channel(ch), channel(ch)
      assert(high:qos { prefetch_count = 2 })
      local few, some, most = collect(low, q, { priority = -5 }), collect(normal, q), collect(high, q, { priority = 10 })
      put(ch, q, "1", "2", "3", "4")
      has(most, 2)
      has(some, 2)
      assert.same({ "1", "2" }, texts(most))
      assert.same({ "3", "4" }, texts(some))
      assert.same({}, few)
      assert.is_true(most[2]:ack { multiple = true })
      assert.is_true(assert(high:qos { prefetch_count = 2 }))
      put(ch, q, "5")
      has(most, 3)
      assert.equal("5", most[3].body)
   end)

   it("must have a whole number as their priority", function()
      local ch, q = filled(0)
      local ok, err = ch:consume(q, function() end, { arguments = { ["x-priority"] = "high" } })
      assert.is_nil(ok)
      assert.same({ "precondition_failed", 406 }, { err.kind, err.code })
      assert.truthy(err.text:find(("PRECONDITION_FAILED - invalid arg 'x-priority' for queue '%s' in vhost '/': "
         .. '"expected integer, got longstr"'):format(q), 1, true), err.text)
   end)

   it("are refused while one is exclusive, and an exclusive one while there are others", function()
      local ch, q = filled(1)
      local text = ("ACCESS_REFUSED - queue '%s' in vhost '/' in exclusive use"):format(q)
      local _, consumer = collect(ch, q, { exclusive = true })
      local function is_refused(options)
         local other = channel(ch)
         local ok, err = other:consume(q, function() end, options)
         assert.is_nil(ok)
         assert.same({ "access_refused", 403, text }, { err.kind, err.code, err.text })
         assert.is_false(other.is_open)
      end
      is_refused {}
      is_refused { exclusive = true }
      assert.equal("empty", select(2, channel(ch):get(q)).kind) -- get is not refused
      assert(consumer:cancel())
      assert(channel(ch):consume(q, function() end))
      is_refused { exclusive = true }
   end)

   it("end when their queue is deleted", function()
      local ch, q = filled(0)
      local other = channel(ch)
      local _, first = collect(other, q)
      local _, second = collect(other, q)
      quietly(function()
         assert.equal(0, ch:queue_delete { queue = q })
         eventually("two cancels", function() return first.state == "cancelled" and second.state == "cancelled" end)
      end)
      assert.equal("cancelled", first.err.kind)
      assert.is_true(other.is_open)
   end)

   it("leave what they got unsettled when they are cancelled", function()
      local ch, q = filled(3)
      local other = channel(ch)
      assert(other:qos { prefetch_count = 2 })
      local list, consumer = collect(other, q)
      has(list, 2)
      assert(consumer:cancel())
      assert.equal(1, count(ch, q))
      assert.is_true(list[1]:ack())
      assert(other:close())
      assert.same({ "2 again", "3" }, texts(keep(ch, q, 2)))
   end)

   it("without acks get all, whatever the prefetch, and it is gone", function()
      local ch, q = filled(5)
      local other = channel(ch)
      assert(other:qos { prefetch_count = 1 })
      local list = collect(other, q, { no_ack = true })
      has(list, 5)
      assert(other:close())
      assert.equal(0, count(ch, q))
   end)
end)

broker.unless_redis(describe, "queue arguments", "a single active consumer", function()
   after_each(broker.close_all)

   it("gets all until it is cancelled; then the next one does", function()
      local ch, q = filled(0, { ["x-single-active-consumer"] = true })
      local first, consumer = collect(channel(ch), q)
      local second, third = collect(channel(ch), q), collect(channel(ch), q)
      put(ch, q, "1", "2", "3")
      has(first, 3)
      assert(consumer:cancel())
      put(ch, q, "4", "5")
      has(second, 2)
      assert.same({ "4", "5" }, texts(second)) -- what the first has it keeps
      assert.same({}, third)
   end)

   it("is the only one, even when it has as much as it may", function()
      local ch, q = filled(0, { ["x-single-active-consumer"] = true })
      local active = channel(ch)
      assert(active:qos { prefetch_count = 1 })
      local first, second = collect(active, q), collect(channel(ch), q)
      put(ch, q, "1", "2")
      has(first, 1)
      assert.equal(1, count(ch, q))
      assert.same({}, second)
      assert(active:close())
      has(second, 2)
      assert.same({ "1 again", "2" }, texts(second))
   end)

   it("cannot be an exclusive one", function()
      local ch, q = filled(0, { ["x-single-active-consumer"] = true })
      local ok, err = ch:consume(q, function() end, { exclusive = true })
      assert.is_nil(ok)
      assert.same({ 403, ("ACCESS_REFUSED - queue '%s' in vhost '/' in exclusive use"):format(q) }, { err.code, err.text })
   end)
end)

describe("prefetch", function()
   after_each(broker.close_all)

   it("is for each consumer of the channel", function()
      local ch, q = filled(10)
      local other = channel(ch)
      assert(other:qos { prefetch_count = 2 })
      local a, b = collect(other, q), collect(other, q)
      has(a, 2)
      has(b, 2)
      assert.equal(6, count(ch, q))
      assert.is_true(a[1]:ack())
      eventually("the next", function() return #a == 3 end)
      assert.equal("5", a[3].body)
      assert.equal(5, count(ch, q))
      assert.equal(2, #b)
   end)

   it("is for all consumers of the channel together when it is global", function()
      local ch, q = filled(10)
      local other = channel(ch)
      assert(other:qos { prefetch_count = 3, global = true })
      local a, b = collect(other, q), collect(other, q)
      eventually("three deliveries", function() return #a + #b == 3 end)
      assert.equal(7, count(ch, q))
      assert.is_true(a[1]:ack())
      eventually("a fourth", function() return #a + #b == 4 end)
      assert.equal(6, count(ch, q))
      assert.equal(6, ch:queue_purge { queue = q })
      assert.equal(0, count(ch, q))
   end)

   it("is for the consumers that come after it", function()
      local ch, q = filled(10)
      local other = channel(ch)
      assert(other:qos { prefetch_count = 1 })
      local few = collect(other, q)
      has(few, 1)
      assert(other:qos { prefetch_count = 3 })
      local more = collect(other, q)
      has(more, 3)
      assert.equal(6, count(ch, q))
      assert(other:qos { prefetch_count = 0 })
      local all = collect(other, q)
      has(all, 6)
      assert.same({ 1, 3 }, { #few, #more })
   end)

   it("does not count what get has taken", function()
      local ch, q = filled(5)
      local other = channel(ch)
      assert(other:qos { prefetch_count = 2 })
      keep(other, q, 3)
      local list = collect(other, q)
      has(list, 2)
      assert.same({ "4", "5" }, texts(list))
   end)
end)

describe("a message", function()
   after_each(broker.close_all)

   it("is acked together with all before it, of all queues of the channel", function()
      local ch, q = filled(3)
      local other = assert(ch:queue_declare { exclusive = true }).queue
      put(ch, other, "a")
      local mine = channel(ch)
      keep(mine, q, 2)
      local last = take(mine, other, {})
      keep(mine, q, 1)
      assert.is_true(last:ack { multiple = true })
      assert(mine:close())
      assert.equal(0, count(ch, other))
      assert.same({ "3 again" }, texts(keep(ch, q, 1)))
      assert.equal("empty", select(2, ch:get(q)).kind)
   end)

   it("comes back to its own place", function()
      local ch, q = filled(6)
      local list = keep(ch, q, 4)
      assert.is_true(list[3]:nack())
      holds(ch, q, 3)
      assert.is_true(list[1]:reject { requeue = true })
      holds(ch, q, 4)
      assert.same({ "1 again", "3 again", "5", "6" }, texts(keep(ch, q, 4)))
   end)

   it("comes back with all before it", function()
      local ch, q = filled(5)
      local list = keep(ch, q, 4)
      assert.is_true(list[2]:ack())
      assert.is_true(list[3]:nack { multiple = true })
      holds(ch, q, 3)
      assert.same({ "1 again", "3 again", "5" }, texts(keep(ch, q, 3)))
   end)

   it("that comes back goes to a consumer before the later ones", function()
      local ch, q = filled(3)
      local other = channel(ch)
      assert(other:qos { prefetch_count = 1 })
      local list = collect(other, q)
      has(list, 1)
      assert.is_true(list[1]:nack())
      has(list, 2)
      assert.is_true(list[2]:reject())
      has(list, 3)
      assert.same({ "1", "1 again", "2" }, texts(list))
   end)

   it("that is rejected or nacked without requeue is gone", function()
      local ch, q = filled(4)
      local list = keep(ch, q, 4)
      assert.is_true(list[1]:reject())
      assert.is_true(list[3]:nack { requeue = false, multiple = true })
      assert(ch:close())
      ch = channel(ch)
      assert.same({ "4 again" }, texts(keep(ch, q, 1)))
      assert.equal("empty", select(2, ch:get(q)).kind)
   end)

   it("comes back when its channel closes", function()
      local ch, q = filled(5)
      local other = channel(ch)
      local list = keep(other, q, 4)
      assert.is_true(list[2]:ack())
      assert.equal(1, count(ch, q))
      assert(other:close())
      assert.same({ "1 again", "3 again", "4 again", "5" }, texts(keep(ch, q, 4)))
   end)

   it("comes back when its connection closes, of consumers and of get", function()
      local ch = broker.channel()
      local q = assert(ch:queue_declare { queue = broker.name "delivery" }).queue
      for i = 1, 5 do assert(ch:publish("", q, tostring(i))) end
      local conn = broker.connect()
      local getter, consuming = assert(conn:channel()), assert(conn:channel())
      assert(consuming:qos { prefetch_count = 2 })
      keep(getter, q, 1)
      has(collect(consuming, q), 2)
      assert(conn:close())
      holds(ch, q, 5)
      assert.same({ "1 again", "2 again", "3 again", "4", "5" }, texts(keep(ch, q, 5)))
      assert.equal(0, ch:queue_delete { queue = q })
   end)

   it("comes back by recover, to whoever is next", function()
      local ch, q = filled(3)
      keep(ch, q, 2)
      assert.is_true(ch:recover())
      holds(ch, q, 3)
      assert.same({ "1 again", "2 again", "3" }, texts(keep(channel(ch), q, 3)))
   end)

   it("that recover took back can be settled no more, and says so (FIELD-R23)", function()
      local ch, q = filled(5)
      local old = keep(ch, q, 5)
      local told
      mr.spawn(function() told = { ch:recover() } end) -- on its way
      for i, settle in ipairs { "ack", "nack", "reject" } do
         assert.is_false(old[i].is_live)
         local ok, err = old[i][settle](old[i])
         assert.same({ nil, "stale" }, { ok, err and err.kind })
      end
      eventually("the answer", function() return told end)
      assert.same({ true }, told)
      for i, options in ipairs { {}, { multiple = true } } do
         local ok, err = old[i + 3]:ack(options)
         assert.same({ nil, "stale" }, { ok, err and err.kind })
      end
      local again = keep(ch, q, 5)
      assert.same({ "1 again", "2 again", "3 again", "4 again", "5 again" }, texts(again))
      for _, msg in ipairs(again) do
         assert.is_true(msg.is_live)
         assert.is_true(msg:ack())
      end
      assert(ch:recover())
      holds(ch, q, 0)
   end)

   it("comes back to its own consumer behind recover's answer, and can be settled (FIELD-R23)", function()
      local ch, q = filled(3)
      local other = channel(ch)
      local list = collect(other, q)
      has(list, 3)
      assert(other:recover())
      has(list, 6)
      for i = 4, 6 do assert.is_true(list[i]:ack()) end
      assert(other:close())
      holds(ch, q, 0)
   end)

   it("can be settled when a recover was refused before it went out (FIELD-R23)", function()
      local ch, q = filled(1)
      local msg = keep(ch, q, 1)[1]
      assert.is_false(pcall(ch.recover, ch, { requeue = "yes" }))
      assert.is_true(msg.is_live)
      assert.is_true(msg:ack())
   end)

   it("cannot be recovered without requeue: the connection ends", function()
      local ch, q = filled(1)
      keep(ch, q, 1)
      quietly(function()
         local ok, err = ch:recover { requeue = false }
         assert.is_nil(ok)
         assert.same({ "not_implemented", 540, "connection", "NOT_IMPLEMENTED - requeue=false" },
            { err.kind, err.code, err.scope, err.text })
      end)
      assert.is_false(ch.connection.is_open)
   end)

   it("lets one channel consume and cancel in one coroutine while another declares", function()
      -- RabbitMQ's answers to consume and cancel come from the queue's process; others overtake them.
      local ch = broker.channel()
      local q = assert(ch:queue_declare { queue = broker.name "delivery", exclusive = true }).queue
      local ended = 0
      mr.spawn(function()
         for _ = 1, 300 do assert(assert(ch:consume(q, function() end)):cancel()) end
         ended = ended + 1
      end)
      mr.spawn(function()
         for _ = 1, 600 do assert(ch:queue_declare { queue = q, passive = true }) end
         ended = ended + 1
      end)
      eventually("both end", function() return ended == 2 end)
      assert.equal("open", ch.connection.state)
   end)
end)
