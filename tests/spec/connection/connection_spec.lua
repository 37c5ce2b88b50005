--- connection: what kombu's users know of a BrokerConnection, under our names (CONTRACT 1.8 to 1.10).
-- Covers: lua/moonrabbit/connection/identity.lua by secret
local mr = require "moonrabbit"
local embedded = require "embedded"
local peer = require "peer"
local waits = require "waits"

local broker, connect = embedded.broker, embedded.connect
local eventually, within = waits.eventually, waits.within

local function clean()
   embedded.close_all()
   peer.stop_all()
   mr.log.configure "error"
end

-- A peer that lets one in and notes what it was told: tune-ok's numbers, the bits of connection.open.
local function witness(heartbeat)
   local told = {}
   local served = peer.start(function(s)
      if not s:read(8) then return end
      s:write(peer.start_method())
      s:expect(10, 11)
      s:write(peer.tune_method(2047, 131072, heartbeat))
      local _, tuned = s:expect(10, 31)
      told.heartbeat = tuned:byte(7) * 256 + tuned:byte(8)
      local _, opened = s:expect(10, 40)
      told.insist = opened:byte(-1)
      s:write(peer.method(0, 10, 41, "\0"))
      s:drain()
   end)
   return ("amqp://127.0.0.1:%d"):format(served.port), told
end

describe("a connection", function()
   after_each(clean)

   it("goes to localhost as guest when it is told nothing else (Q1, Q2, Q3, Q4, Q5, Q7, Q38)", function()
      local info = connect("amqp://localhost"):info()
      assert.same({ "localhost", "guest", "/", 5672, false, "amqp" },
         { info.hostname, info.userid, info.virtual_host, info.port, info.ssl, info.transport })
      assert.is_nil(info.password)
      info = connect({ url = "amqps://ann:secret@h/shop" }):info()
      assert.same({ "h", "ann", "shop", 5671, true }, { info.hostname, info.userid, info.virtual_host, info.port, info.ssl })
      assert.falsy(info.url:find("secret", 1, true))
   end)

   it("goes where hostname, port, userid and password say (M2)", function()
      local b = broker { listen = "127.0.0.1:0", users = { ann = "secret" } }
      local conn = connect { hostname = "127.0.0.1", port = b.port, userid = "ann", password = "secret" }
      assert(conn:connect())
      assert.are_not.equal(5672, b.port)
      assert.equal("ann", b:report().connections[1].user)
   end)

   it("says insist only when it is told to (Q6)", function()
      local url, told = witness(0)
      local conn = connect { url = url, close_timeout = 0.2 }
      assert(conn:connect())
      assert.equal(0, told.insist)
      url, told = witness(0)
      conn = connect { url = url, insist = true, close_timeout = 0.2 }
      assert(conn:connect())
      assert.equal(1, told.insist)
   end)

   it("proposes a heartbeat of 60 s, another when told, and takes the shorter of both sides (B2, I3, M4, N1)", function()
      for _, case in ipairs { { nil, 600, 60 }, { 600, 600, 600 }, { 600, 60, 60 }, { 0, 60, 0 } } do
         local url, told = witness(case[2])
         assert(connect({ url = url, heartbeat = case[1], close_timeout = 0.2 }):connect())
         assert.equal(case[3], told.heartbeat)
      end
   end)

   it("says what carries it, by the scheme of its URL; an unknown one is refused (Q8, Q11, Q30, Q36, Q40)", function()
      assert.equal("memory", connect("memory://").transport)
      for _, url in ipairs { "amqp://h", "amqps://h" } do assert.equal("amqp", connect(url).transport) end
      local _, err = mr.try_connect "memry://"
      assert.equal("bad_uri", err.kind)
      assert.truthy(err.text:find("memory", 1, true), err.text)
   end)

   it("has its host and port as one string (Q37)", function()
      assert.equal("h:7", connect("amqp://h:7").host)
      assert.equal("[::1]:5671", connect("amqps://[::1]").host)
      assert.equal("memory://x", connect("memory://x").host)
   end)

   it("gives up on a silent host after connect_timeout (Q9)", function()
      mr.log.configure "off"
      local served = peer.start(function(s) s:drain() end)
      local began = mr.now()
      local ok, err = connect({ url = ("amqp://127.0.0.1:%d"):format(served.port), connect_timeout = 0.3 }):connect()
      assert.is_nil(ok)
      assert.equal("connect_timeout", err.kind)
      local took = mr.now() - began
      assert.is_true(took >= 0.29 and took < 2, took)
   end)

   it("is its own way to the broker: connected when that is needed, nothing to be had when released (Q14, Q28)", function()
      local b = broker()
      local conn = connect { url = b.url }
      assert.same({ "idle", true, false, 0 }, { conn.state, conn.is_closed, conn.is_open, conn.epoch })
      assert.is_true(assert(conn:channel()).is_open)
      assert.same({ "open", false, true, 1 }, { conn.state, conn.is_closed, conn.is_open, conn.epoch })
      assert.truthy(conn.server_properties.product)
      assert.is_true(conn:release())
      eventually("the end at the broker", function() return #b:report().connections == 0 end)
      assert.same({ "closed", true, false }, { conn.state, conn.is_closed, conn.is_open })
      assert.is_nil(conn.server_properties)
   end)

   it("says whether it is open, and its channels say it, too (M6)", function()
      local b = broker()
      local conn = connect { url = b.url, recover = false }
      assert.same({ false, true }, { conn.is_open, conn.is_closed })
      local ch = assert(conn:channel())
      assert.same({ true, false, true }, { conn.is_open, conn.is_closed, ch.is_open })
      mr.log.configure "off"
      b:drop()
      eventually("the loss", function() return conn.is_closed end)
      assert.same({ false, false }, { conn.is_open, ch.is_open })
      ch = assert(conn:channel())
      assert(ch:close())
      assert.same({ true, false }, { conn.is_open, ch.is_open })
   end)

   it("tells of consuming and of its close (X20)", function()
      local b, told = broker(), {}
      local conn = connect { url = b.url, transport_options = { interval_start = 0, interval_step = 0 }, on_event = function(ev)
         told[#told + 1] = ev.type .. (ev.consumer and " " .. ev.consumer.queue or "")
      end }
      local ch = assert(conn:channel())
      assert(ch:queue_declare { queue = "q" })
      assert.equal("consuming", assert(ch:consume("q", function() end)).state) -- the broker has said so
      local other = assert(connect(b.url):channel())
      assert(other:queue_delete { queue = "q" })
      eventually("the cancel", function() return told[#told] == "consumer_cancelled q" end)
      assert(other:queue_declare { queue = "q" })
      eventually("the consumer", function() return told[#told] == "consumer_resumed q" end)
      assert(conn:close())
      eventually("the close", function() return told[#told] == "closed" end)
   end)

   it("is closed after a function that has it, whatever happens there, and shows as one line (Q41)", function()
      local conn = connect(broker().url)
      assert.same({ 1, 2 }, { conn:with(function(c) return assert(c:channel()).number, 2 end) })
      assert.equal("closed", conn.state)
      assert.same({ false, "boom" }, { pcall(conn.with, conn, function(c)
         assert(c:connect())
         error("boom", 0)
      end) })
      assert.equal("closed", conn.state)
      assert.equal(("connection %s (closed)"):format(conn.host), tostring(conn))
      assert.has_error(function() conn:with "x" end)
   end)
end)

describe("a program that sees to its connection itself", function()
   after_each(clean)

   it("tries for ever, five seconds apart, and is told each error and each pause (M1)", function()
      local b = broker()
      b:refuse_logins()
      mr.log.configure "off"
      local conn, told, done = connect { url = b.url, recover = false }, {}, nil
      local began = mr.now()
      mr.spawn(function()
         done = conn:ensure_connection { interval_start = 5, interval_step = 0, errback = function(err, interval)
            told[#told + 1] = ("%s %g"):format(err.kind, interval)
            if #told == 20 then b:refuse_logins(false) end
         end }
      end)
      within("the connection", 20, function()
         mr.testing.advance(1)
         return done
      end)
      assert.equal(conn, done)
      assert.equal(20, #told)
      for _, line in ipairs(told) do assert.equal("authentication_failed 5", line) end
      assert.is_true(mr.now() - began >= 100)
   end)

   it("looks every 30 s whether it is open, and connects it anew (M8)", function()
      local b = broker()
      local conn, looks = connect { url = b.url, recover = false }, 0
      assert(conn:connect())
      local timer = mr.every(30, function()
         looks = looks + 1
         assert(conn:ensure_connection())
      end)
      finally(function() timer:cancel() end)
      mr.log.configure "off"
      b:drop()
      within("the loss", 10, function() return conn.is_closed end)
      mr.testing.advance(29)
      assert.same({ 0, true }, { looks, conn.is_closed })
      mr.testing.advance(2)
      within("the connection", 10, function() return conn.is_open end)
      assert.same({ 1, 2 }, { looks, conn.epoch })
   end)

   it("is the robust consumer: all its options, a queue, a prefetch of 1, until it shall stop (O1, O2)", function()
      local b = broker()
      b:refuse_logins()
      mr.log.configure "off"
      local robust = { should_stop = false, got = {}, tries = 0 }
      function robust:connect()
         while not self.should_stop do
            self.connection = connect { url = b.url, heartbeat = 600, blocked_connection_timeout = 300,
               connection_attempts = 3, retry_delay = 5, on_event = function(ev)
                  if ev.type == "connecting" then self.tries = self.tries + 1 end
               end }
            local ch = self.connection:channel()
            if ch and ch:queue_declare { queue = "task_queue", durable = true } and ch:qos { prefetch_count = 1 } then
               self.channel = ch
               return true
            end
            mr.sleep(5)
         end
         return false
      end
      local result
      mr.spawn(function() result = robust:connect() end)
      within("two rounds of three tries", 20, function()
         mr.testing.advance(1)
         return robust.tries >= 6
      end)
      assert.is_nil(result)
      b:refuse_logins(false)
      within("the connection", 20, function()
         mr.testing.advance(1)
         return result
      end)
      assert.is_true(result)
      assert(robust.channel:consume("task_queue", function(msg) robust.got[msg.body] = true end))
      assert(robust.channel:publish("", "task_queue", "one"))
      within("the first", 10, function() return robust.got.one end)
      mr.testing.advance(11) -- open for ten seconds: the three tries count anew
      b:drop()
      within("the loss", 10, function() return robust.connection.is_closed end)
      mr.spawn(function() assert(robust.channel:publish("", "task_queue", "two", { timeout = 86400 })) end)
      within("both", 10, function()
         mr.testing.advance(1)
         return robust.got.two
      end)
      robust.should_stop = true
      robust.connection:release()
      assert.is_false(robust:connect())
   end)

   it("frees a channel whose number is taken again before its closer has gone on", function()
      local ffi, C = require "ffi", require("moonrabbit.base.ffi").C
      local b = broker()
      local conn = connect { url = b.url }
      local old, box = assert(conn:channel()), ffi.new "mr_error"
      local closed, new, was_there, is_freed
      mr.spawn(function() closed = old:close() end)
      mr.spawn(function()
         while old.handle and C.mr_channel_error(old.handle, box) == 0 do mr.sleep(0) end
         was_there = old.handle ~= nil -- the answer has come, in this very turn
         mr.spawn(function() new = conn:channel() end)
         is_freed = old.handle == nil
      end)
      within("both", 10, function() return closed and new end)
      assert.same({ true, true, 1, 1, true }, { was_there, is_freed, old.number, new.number, new.is_open })
      assert(conn:release())
   end)
end)
