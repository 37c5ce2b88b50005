--- republish: what was not confirmed when a connection was lost goes out once more.
-- Covers: lua/moonrabbit/connection/recovery.lua by timeout
local mr = require "moonrabbit"
local embedded = require "embedded"
local recovery = require "moonrabbit.connection.recovery"
local waits = require "waits"

local function setup(options)
   local b = embedded.broker()
   local all = { url = b.url, transport_options = { interval_max = 0 } }
   for k, v in pairs(options) do all[k] = v end
   local ch = assert(embedded.connect(all):channel())
   for _, queue in ipairs { "q", "other" } do assert(ch:queue_declare { queue = queue }) end
   assert(ch:confirm_select())
   mr.log.configure "off"
   finally(function() mr.log.configure "error" end)
   return b, ch
end

local AT_ONCE = { interval_start = 0, interval_max = 0.05 }

local function body_of(msg) return msg.body end

-- What is in the queue: of each message what read(msg) gives, or its body.
local function drain(b, read)
   local ch = assert(mr.connect(b.url):channel())
   local bodies = {}
   local msg = ch:get("q", { no_ack = true })
   while msg do
      bodies[#bodies + 1] = (read or body_of)(msg)
      msg = ch:get("q", { no_ack = true })
   end
   ch.connection:release()
   return bodies
end

-- Publishes that the broker never saw: it was silent, then cut.
local function lose(b, ch, bodies, meanwhile)
   local tickets = {}
   b:silent()
   for i, body in ipairs(bodies) do tickets[i] = assert(ch:publish_async("", "q", body, { timeout = 30 })) end
   mr.sleep(0.02)
   if meanwhile then meanwhile() end
   b:drop()
   b:silent(false)
   return tickets
end

describe("republishing", function()
   after_each(embedded.close_all)

   it("sends again what was not confirmed, in its order, under the same tickets", function()
      local b, ch = setup { republish = 1e6 }
      local tickets = lose(b, ch, { "1", "2", "3" })
      assert.is_true(ch:wait_for_confirms(10))
      for _, t in ipairs(tickets) do assert.same({ true }, { t:wait() }) end
      assert.is_true(ch:publish("", "q", "4"))
      assert.same({ "1", "2", "3", "4" }, drain(b))
   end)

   it("sends the properties that were published, whatever the program uses its table for meanwhile", function()
      local b, ch = setup { republish = 1e6, transport_options = { interval_start = 0.01, interval_max = 0.05 } }
      local props, ended = { timeout = 30, headers = {} }, 0
      local function publish(i, body)
         props.message_id, props.headers.n = i, i
         local t = assert(ch:publish_async("", "q", body, props))
         assert(t:wait())
         ended = ended + 1
      end
      b:silent()
      mr.spawn(function() publish("1", "sent again") end)
      mr.spawn(function() publish("2", "sent again") end)
      mr.sleep(0.02)
      b:refuse_logins(true)
      b:drop()
      b:silent(false)
      waits.eventually("the loss", function() return ch.connection.state == "retrying" end)
      mr.spawn(function() publish("3", "waits for the way") end)
      mr.spawn(function() publish("4", "waits for the way") end)
      props.message_id, props.headers.n = "none", "none"
      b:refuse_logins(false)
      waits.eventually("the confirms", function() return ended == 4 end, 20)
      local ids = drain(b, function(msg) return msg.properties.message_id .. msg.headers.n end)
      table.sort(ids)
      assert.same({ "11", "22", "33", "44" }, ids)
   end)

   it("is off unless it is asked for: they are lost", function()
      local b, ch = setup {}
      local tickets = lose(b, ch, { "1" })
      assert.equal("lost", select(2, tickets[1]:wait()).kind)
      assert.is_true(ch:publish("", "q", "2"))
      assert.same({ "2" }, drain(b))
   end)

   it("keeps no more bytes than it was given", function()
      local b, ch = setup { republish = 150 }
      local tickets = lose(b, ch, { ("a"):rep(100), ("b"):rep(100), ("c"):rep(50) })
      assert.is_true((tickets[1]:wait()))
      assert.equal("lost", select(2, tickets[2]:wait()).kind)
      assert.is_true((tickets[3]:wait()))
      assert.same({ ("a"):rep(100), ("c"):rep(50) }, drain(b))
      tickets = lose(b, ch, { ("d"):rep(150) }) -- the room was given back
      assert.is_true((tickets[1]:wait()))
   end)

   it("survives a second loss before the first was made good", function()
      local b, ch = setup { republish = 1e6 }
      local tickets = lose(b, ch, { "1", "2" })
      b:delay(0.05)
      b:drop()
      b:delay(0)
      for _, t in ipairs(tickets) do assert.same({ true }, { t:wait() }) end
      local bodies = drain(b)
      assert.equal("1", bodies[1])
   end)

   it("sends each once when the connection is lost again before they are sent", function()
      local b, ch = setup { republish = 1e6, transport_options = AT_ONCE }
      local tickets = lose(b, ch, { "1", "2", "3" }, function() b:refuse_logins(true) end)
      waits.eventually("the loss", function() return ch.connection.state == "retrying" end)
      recovery.ready(ch) -- as if it had been back for a moment
      mr.sleep(0.02)
      b:refuse_logins(false)
      for _, t in ipairs(tickets) do assert.same({ true }, { t:wait(10) }) end
      assert.is_true(ch:wait_for_confirms(10))
      assert.same({ "1", "2", "3" }, drain(b))
   end)

   it("goes on on the connection that takes over while the lost one is away, and so do consumers", function()
      local b, ch = setup { republish = 1e6, transport_options = { interval_start = 600 } }
      local conn = ch.connection
      local consumer = assert(ch:consume("other", function() end))
      local tickets = lose(b, ch, { "1", "2" })
      assert.is_true(conn.is_open) -- nobody has told it yet
      assert.is_true(conn:handover())
      for _, t in ipairs(tickets) do assert.same({ true }, { t:wait(10) }) end
      assert.same({ "1", "2" }, drain(b))
      assert.equal("consuming", consumer.state)
      assert.is_true(ch:publish("", "other", "x"))
      waits.eventually("the ack", function() return b:queue("other").messages_unacknowledged == 0 end)
      assert.equal(0, b:queue("other").messages_ready)
   end)

   it("ends in the publish's own time, however long the connection is away, and sends nothing after that", function()
      local b, ch = setup { republish = 1e6, transport_options = { interval_start = 0.01, interval_max = 0.05 } }
      b:silent()
      local short = assert(ch:publish_async("", "q", "short", { timeout = 0.3 }))
      local long = assert(ch:publish_async("", "q", "long", { timeout = 30 }))
      local usual = assert(ch:publish_async("", "q", "usual"))
      mr.sleep(0.02)
      b:refuse_logins(true)
      b:drop()
      b:silent(false)
      local _, err = short:wait(10) -- the way opens only behind this
      assert.equal("timeout", err.kind)
      assert.same({ "timeout", "waiting", "waiting" }, { short.state, long.state, usual.state })
      b:refuse_logins(false)
      assert.is_true(long:wait(20))
      assert.is_true(usual:wait(20))
      _, err = ch:wait_for_confirms(20)
      assert.same({ "timeout", 1 }, { err.kind, err.count })
      assert.same({ "long", "usual" }, drain(b))
   end)

   it("ends with the connection", function()
      local b, ch = setup { republish = 1e6, transport_options = { max_retries = 0 } }
      local tickets = lose(b, ch, { "1" })
      assert.equal("lost", select(2, tickets[1]:wait()).kind)
   end)
end)

describe("wait_for_confirms", function()
   after_each(embedded.close_all)

   local AWAY = { interval_start = 0.01, interval_max = 0.05 }

   local function failed(kind, count, ok, err)
      assert.is_nil(ok)
      assert.same({ kind, count }, { err.kind, err.count })
   end

   it("tells of publishes that were lost while it waited, and of those lost before", function()
      local b, ch = setup {}
      local result
      b:silent()
      for _ = 1, 3 do assert(ch:publish_async("", "q", "x", { timeout = 30 })) end
      mr.spawn(function() result = { ch:wait_for_confirms(20) } end)
      mr.sleep(0.02)
      b:drop()
      b:silent(false)
      waits.eventually("its end", function() return result end)
      failed("lost", 3, unpack(result, 1, 2))
      assert.is_true(ch:wait_for_confirms(5)) -- told once
      waits.eventually("the channel", function() return ch.is_open end)
      local tickets = lose(b, ch, { "1", "2" })
      tickets[2]:wait()
      assert.is_true(ch:publish("", "q", "after"))
      failed("lost", 2, ch:wait_for_confirms(5))
   end)

   it("tells of what failed before the connection was lost", function()
      local b, ch = setup {}
      local _, err = ch:publish("", "nowhere", "x", { mandatory = true })
      assert.equal("returned", err.kind)
      local tickets = lose(b, ch, { "1" })
      tickets[1]:wait()
      failed("lost", 2, ch:wait_for_confirms(5))
   end)

   it("can be asked again and again, as a ticket can, and keeps nothing of that", function()
      local b, ch = setup {}
      b:silent()
      local t = assert(ch:publish_async("", "q", "x"))
      for _ = 1, 20 do
         assert.equal("timeout", select(2, ch:wait_for_confirms(0)).kind)
         assert.equal("timeout", select(2, t:wait(0)).kind)
      end
      assert.same({ {}, {} }, { ch.book.waiters, t.waiter })
      b:silent(false)
      assert.is_true(ch:wait_for_confirms(10))
   end)

   it("does not count as failed what is sent again", function()
      local b, ch = setup { republish = 150 }
      lose(b, ch, { ("a"):rep(100), ("b"):rep(100), "c" })
      failed("lost", 1, ch:wait_for_confirms(10))
   end)

   it("ends with the channel, and tells of what was to be sent again", function()
      for _, close in ipairs { function(ch) return ch:close() end, function(ch) return ch.connection:close() end } do
         local b, ch = setup { republish = 1e6, transport_options = AWAY }
         local result
         b:silent()
         local t = assert(ch:publish_async("", "q", "x"))
         mr.spawn(function() result = { ch:wait_for_confirms() } end)
         mr.sleep(0.02)
         b:refuse_logins(true)
         b:drop()
         b:silent(false)
         waits.eventually("the loss", function() return ch.connection.state == "retrying" end)
         assert.equal("waiting", t.state)
         assert(close(ch))
         assert.equal("lost", t.state)
         waits.eventually("its end", function() return result end)
         failed("lost", 1, unpack(result, 1, 2))
         assert.is_true(ch:wait_for_confirms(0)) -- nothing is left to wait for
      end
   end)
end)
