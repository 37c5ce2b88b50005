--- Losing a connection: everybody who waits is told why, and nothing hangs.
local mr = require "moonrabbit"
local broker = require "broker"
local peer = require "peer"

local eventually, take, quietly = broker.eventually, broker.take, broker.quietly
local b64 = ("\0"):rep(7)

-- Fails with an error of this kind, for the original reason.
local function check(err, kind, code)
   assert.equal(kind, err and err.kind, tostring(err))
   if code then assert.equal(code, err.code) end
end

-- Runs scenario(events) with the log off: it loses connections on purpose.
local function losing(scenario)
   local events = {}
   quietly(function()
      scenario(events, function(ev) events[ev.type] = ev end)
   end)
end

describe("when the broker closes the connection", function()
   after_each(broker.close_all)

   it("every waiter, ticket, consumer and delivery is told why", function()
      losing(function(events, on_event)
         local admin = broker.channel()
         local q = assert(admin:queue_declare { queue = broker.name "lost", durable = true }).queue
         for i = 1, 4 do assert(admin:publish("", q, tostring(i))) end

         local conn = broker.connect { on_event = on_event, recover = false }
         local ch, pub, other = assert(conn:channel()), assert(conn:channel()), assert(conn:channel())
         assert(pub:confirm_select())
         local kept = take(ch, q, {})
         local handled = {}
         local consumer = assert(ch:consume(q, function(msg)
            local body = msg.body
            eventually("the loss", function() return events.lost end, 30)
            handled[body] = select(2, msg:ack()).kind
         end))
         local iterator, reader = assert(other:messages(assert(other:queue_declare { exclusive = true }).queue))
         local ended, asked, acked = {}, 0, 0
         mr.spawn(function()
            iterator()
            ended.reader = reader.err
         end)
         mr.spawn(function()
            while not ended.asker do
               local ok, err = other:queue_declare { queue = q, passive = true }
               if ok then asked = asked + 1 else ended.asker = err end
            end
         end)
         mr.spawn(function()
            while not ended.publisher do
               local ok, err = pub:publish("", q, "x")
               if ok then acked = acked + 1 else ended.publisher = err end
            end
         end)
         eventually("some work", function() return asked > 3 and acked > 3 end)
         broker.close_connections "maintenance"
         eventually("the loss", function() return events.lost end, 30)
         eventually("all waiters", function() return ended.reader and ended.asker and ended.publisher end)

         check(events.lost.err, "connection_forced", 320)
         assert.equal("connection", events.lost.err.scope)
         assert.is_true(events.lost.err.recoverable)
         local why = broker.is_redis and "connection" or "maintenance" -- Redis says no reason
         assert.truthy(events.lost.err.text:find(why, 1, true), events.lost.err.text)
         assert.is_true(#events.lost.err.hint > 0)
         check(ended.asker, "connection_forced", 320)
         check(ended.reader, "connection_forced", 320)
         assert.truthy(ended.publisher.kind == "lost" or ended.publisher.kind == "connection_forced", ended.publisher.kind)
         assert.truthy(ended.publisher.text:find(why, 1, true), ended.publisher.text)
         assert.equal("failed", consumer.state)
         assert.equal("failed", reader.state)
         check(consumer.err, "connection_forced")
         eventually("the handlers", function() return handled["4"] end)
         assert.same({ ["2"] = "stale", ["3"] = "stale", ["4"] = "stale" },
            { ["2"] = handled["2"], ["3"] = handled["3"], ["4"] = handled["4"] })
         assert.equal("stale", select(2, kept:ack()).kind)
         assert.is_false(kept.is_live)
         assert.equal("1", kept.body)

         assert.equal("lost", conn.state)
         assert.is_false(conn.is_open)
         check(conn.last_error, "connection_forced", 320)
         for _, dead in ipairs { ch, pub, other } do
            assert.is_false(dead.is_open)
            check(select(2, dead:publish("", q, "x")), "connection_forced", 320)
            check(select(2, dead:queue_declare { queue = q, passive = true }), "connection_forced", 320)
            check(select(2, dead:get(q)), "connection_forced", 320)
            assert.is_true(dead:close())
         end
         assert.is_true(consumer:cancel())

         local again = assert(conn:channel()) -- the same object connects again
         assert.equal(2, conn.epoch)
         assert.is_true(take(again, q).redelivered)
         assert.equal("settled", select(2, kept:nack()).kind)
         assert(again:queue_delete { queue = q })
      end)
   end)
end)

describe("when a peer (S1)", function()
   after_each(function()
      broker.close_all()
      peer.stop_all()
   end)

   -- A connection to a peer that opens one channel, then does as serve(session) says.
   local function connect(serve, options)
      local served = peer.start(function(session)
         if session:handshake(options and options.tune) and session:open_channel() then serve(session) end
      end)
      local all = { url = "amqp://127.0.0.1:" .. served.port }
      for k, v in pairs(options or {}) do if k ~= "tune" then all[k] = v end end
      all.recover = false
      local conn = broker.connect(all)
      return conn, assert(conn:channel())
   end

   -- Confirm mode, three publishes that nobody confirms, a question that nobody answers.
   local function waiting(ch)
      assert(ch:confirm_select())
      local tickets, asker = {}, {}
      for i = 1, 3 do tickets[i] = assert(ch:publish_async("", "q", "x" .. i)) end
      mr.spawn(function() asker.err = select(2, ch:queue_declare { queue = "q" }) end)
      return tickets, asker
   end

   local function after_question(what)
      return function(session)
         session:expect(85, 10)
         session:write(peer.method(1, 85, 11))
         session:expect(50, 10)
         what(session)
      end
   end

   for _, case in ipairs {
      { "hangs up", "stream_lost", nil, function() end },
      { "resets the connection", "stream_lost", nil, function(s) s:reset() end },
      { "closes with a reason", "connection_forced", 320, function(s)
         s:write(peer.method(0, 10, 50, peer.u16(320) .. peer.short "CONNECTION_FORCED - going down" .. "\0\0\0\0"))
         s:expect(10, 51)
      end },
      { "closes for an internal error", "internal_error", 541, function(s)
         s:write(peer.method(0, 10, 50, peer.u16(541) .. peer.short "INTERNAL_ERROR" .. "\0\0\0\0"))
         s:expect(10, 51)
      end },
      { "sends a frame without its end", "frame_error", 501, function(s)
         s:write "\8\0\0\0\0\0\0\0"
         s:drain()
      end },
      { "sends a frame of an unknown type", "frame_error", 501, function(s)
         s:write(peer.frame(7, 0, "x"))
         s:drain()
      end },
      { "sends a frame larger than agreed", "frame_error", 501, function(s)
         s:write(peer.frame(3, 1, ("x"):rep(131073)))
         s:drain()
      end },
      { "sends for a channel that is not open", "channel_error", 504, function(s)
         s:write(peer.method(9, 50, 11, peer.short "q" .. peer.u32(0) .. peer.u32(0)))
         s:drain()
      end },
      { "sends a body without a header, and does not close the channel for it", "unexpected_frame", 505, function(s)
         s:write(peer.frame(3, 1, "x"))
         s:drain()
      end },
   } do
      it(case[1] .. ", all who wait are told " .. case[2], function()
         losing(function(events, on_event)
            local conn, ch = connect(after_question(case[4]), { on_event = on_event })
            local tickets, asker = waiting(ch)
            eventually("the loss", function() return events.lost and asker.err end)
            check(events.lost.err, case[2], case[3])
            check(asker.err, case[2], case[3])
            for i = 1, 3 do
               assert.equal("lost", tickets[i].state)
               local ok, err = tickets[i]:wait()
               assert.is_nil(ok)
               assert.equal("lost", err.kind)
               assert.truthy(err.text:find(events.lost.err.text, 1, true), err.text)
            end
            assert.equal("lost", conn.state)
            check(select(2, ch:publish("", "q", "x")), case[2], case[3])
            assert.falsy(tostring(events.lost.err):find("%c"))
            assert.is_true(#events.lost.err.hint > 0)
         end)
      end)
   end

   it("says what means nothing, it is ignored, counted and logged, and the connection goes on (FIELD-R19)", function()
      local function answers(s, what, id, arguments)
         s:expect(50, 10)
         s:write(what)
         s:write(peer.method(1, 50, id, arguments))
      end
      local declared = peer.short "q" .. peer.u32(0) .. peer.u32(0)
      local conn, ch = connect(function(s)
         answers(s, peer.method(1, 50, 99), 11, declared)                                     -- no such method
         answers(s, peer.method(0, 10, 99), 11, declared)                                     -- likewise
         answers(s, peer.method(1, 60, 80, b64 .. "\9" .. "\0"), 11, declared)                -- a confirm of nothing
         answers(s, peer.method(1, 50, 11, peer.short "z" .. peer.u32(0) .. peer.u32(0)), 11, declared) -- of another queue
         s:drain()
      end, { close_timeout = 0.2 })
      local before = mr.stats().violations
      quietly(function()
         for n = 1, 4 do
            assert.equal("q", assert(ch:queue_declare { queue = "q" }).queue)
            assert.equal(before + n, mr.stats().violations)
         end
      end)
      assert.same({ true, true }, { conn.is_open, ch.is_open })
   end)

   it("sends a message for a consumer that is not there, it goes back, and is counted (FIELD-R19)", function()
      local given_back
      local before = mr.stats().violations
      local conn, ch = connect(function(s)
         s:write(peer.method(1, 60, 60, peer.short "stranger" .. b64 .. "\1" .. "\0" .. peer.short "" .. peer.short "q"))
         s:write(peer.frame(2, 1, peer.u16(60) .. peer.u16(0) .. b64 .. "\1" .. peer.u16(0)))
         s:write(peer.frame(3, 1, "x"))
         given_back = select(2, s:expect(60, 120))
         s:drain()
      end, { close_timeout = 0.2 })
      quietly(function() eventually("its nack", function() return given_back end) end)
      assert.equal(b64 .. "\1" .. "\2", given_back:sub(-9)) -- its tag, and requeue
      assert.equal(before + 1, mr.stats().violations)
      assert.same({ true, true }, { conn.is_open, ch.is_open })
   end)

   it("makes a mess on a channel, it costs that channel alone (FIELD-R19)", function()
      local ch, other
      local conn
      conn, ch = connect(function(s)
         assert(s:open_channel())
         s:write(peer.frame(3, 1, "x"))
         s:expect(20, 40)
         s:write(peer.method(1, 20, 41))
         s:expect(50, 10)
         s:write(peer.method(2, 50, 11, peer.short "q" .. peer.u32(0) .. peer.u32(0)))
         s:drain()
      end, { close_timeout = 0.2 })
      quietly(function()
         other = assert(conn:channel())
         eventually("the end of the channel", function() return not ch.is_open end)
         assert(other:queue_declare { queue = "q" })
      end)
      check(ch.last_error, "unexpected_frame", 505)
      assert.same({ true, true, 1 }, { conn.is_open, other.is_open, conn.epoch })
   end)

   it("falls silent, its heartbeats are missed and the waiters told", function()
      losing(function(events, on_event)
         local conn, ch = connect(after_question(function(s) s:drain() end), { on_event = on_event, heartbeat = 1,
            tune = { 0, 131072, 1 }, rpc_timeout = 30 })
         local tickets, asker = waiting(ch)
         eventually("the loss", function() return events.lost and asker.err end)
         check(events.lost.err, "heartbeat_timeout")
         check(asker.err, "heartbeat_timeout")
         assert.equal("lost", tickets[1].state)
         assert.equal("lost", conn.state)
      end)
   end)

   it("does not answer, each wait ends in its own time", function()
      quietly(function()
         local _, ch = connect(after_question(function(s) s:drain() end), { rpc_timeout = 2, close_timeout = 0.3 })
         local tickets, asker = waiting(ch)
         local soon, err = tickets[1]:wait(0.01)
         assert.is_nil(soon)
         assert.equal("timeout", err.kind)
         assert.equal("waiting", tickets[1].state)
         eventually("the end of the question", function() return asker.err end)
         check(asker.err, "timeout")
         eventually("the end of the tickets", function() return tickets[3].state ~= "waiting" end)
         assert.equal("timeout", tickets[1].state)
      end)
   end)

   it("does not agree to a close, it is closed by force in time", function()
      local conn = connect(function(s) s:drain() end, { close_timeout = 0.3 })
      local began = mr.now()
      conn:close()
      assert.is_true(mr.now() - began < 10)
      assert.equal("closed", conn.state)
   end)

   it("stops reading, publishing ends with backpressure in the time given", function()
      local done = false
      local _, ch = connect(function() eventually("the test's end", function() return done end, 20) end,
         { close_timeout = 0.2, max_message_size = 64 * 2 ^ 20 })
      local body = ("x"):rep(2 ^ 20)
      local ok, err
      local began = mr.now()
      for _ = 1, 500 do
         began = mr.now()
         ok, err = ch:publish("", "q", body, { timeout = 0.2 })
         if not ok then break end
      end
      local took = mr.now() - began
      quietly(function()
         done = true
         ch.connection:release()
      end)
      assert.is_nil(ok)
      check(err, "backpressure")
      assert.is_true(took < 10)
   end)

   it("blocks publishing, publishes wait for its word, at most their time (K5)", function()
      local go = false
      local events = {}
      local conn, ch = connect(function(s)
         s:write(peer.method(0, 10, 60, peer.short "low on memory"))
         eventually("the word", function() return go end)
         s:write(peer.method(0, 10, 61))
         s:expect(60, 40)
         s:drain()
      end, { on_event = function(ev) events[ev.type] = ev end, close_timeout = 0.2 })
      eventually("the block", function() return conn.is_blocked and events.blocked end)
      assert.truthy(events.blocked.err.text:find("low on memory", 1, true), tostring(events.blocked.err))
      local ok, err = ch:publish("", "q", "x", { timeout = 0.05 })
      assert.is_nil(ok)
      check(err, "blocked_timeout")
      local result
      mr.spawn(function() result = { ch:publish("", "q", "y", { timeout = 10 }) } end)
      assert.is_nil(result)
      go = true
      eventually("the publish", function() return result end)
      assert.is_true(result[1])
      assert.is_false(conn.is_blocked)
      eventually("the event", function() return events.unblocked end)
   end)
end)

describe("moonrabbit run", function()
   after_each(function()
      broker.close_all()
      peer.stop_all()
   end)

   it("exits with 1 when the connection is lost; its log says code, text and hint", function()
      local served = peer.start(function(session)
         if not (session:handshake() and session:open_channel()) then return end
         session:take_consumer()
         session:write(peer.method(0, 10, 50, peer.u16(320) .. peer.short "CONNECTION_FORCED - going down" .. "\0\0\0\0"))
         session:expect(10, 51)
      end)
      local path = broker.script [[
         local mr = require "moonrabbit"
         local ch = assert(mr.connect { recover = false }:channel())
         assert(ch:consume("q", function() end))
         print "it consumes"
      ]]
      local out, code = broker.shell(("AMQP_URL='amqp://guest:sEcReT@127.0.0.1:%d' %s run %s"):format(served.port,
         broker.command, path))
      assert.equal(1, code, out)
      for _, part in ipairs { "it consumes", "level=error", "msg=lost ", "kind=connection_forced", "code=320", "going down", "hint=" } do
         assert.truthy(out:find(part, 1, true), part .. " is missing in " .. out)
      end
      assert.falsy(out:find("sEcReT", 1, true), out)
   end)

   it("exits with 1, too, when the main chunk is at a messages() loop", function()
      local served = peer.start(function(session)
         if not (session:handshake() and session:open_channel()) then return end
         session:take_consumer()
      end)
      local path = broker.script [[
         local mr = require "moonrabbit"
         local ch = assert(mr.connect { recover = false }:channel())
         local messages = assert(ch:messages("q"))
         print "it reads"
         for msg in messages do msg:ack() end
         print "the loop has ended"
      ]]
      local out, code = broker.shell(("AMQP_URL='amqp://guest:guest@127.0.0.1:%d' %s run %s"):format(served.port,
         broker.command, path))
      assert.equal(1, code, out)
      for _, part in ipairs { "it reads", "stream_lost" } do assert.truthy(out:find(part, 1, true), out) end
   end)
end)

describe("why the broker closed the connection", function()
   after_each(broker.close_all)

   broker.unless_redis(it, "queue arguments", "is told to who publishes without a pause, each time (FIELD-R13)", function()
      losing(function()
         local q = assert(broker.channel():queue_declare { queue = broker.name "flood", exclusive = false, auto_delete = true,
            arguments = { ["x-max-length"] = 10 } }).queue
         for round = 1, broker.kind == "memory" and 5 or 1 do
            local lost = {}
            for i = 1, 3 do
               local conn = broker.connect { recover = false, on_event = function(ev) if ev.type == "lost" then lost[i] = ev.err end end }
               local ch = assert(conn:channel())
               mr.spawn(function()
                  while not lost[i] and ch:publish("", q, ("x"):rep(2000)) do
                     if mr.stats().published % 16 == 0 then mr.sleep(0.001) end
                  end
               end)
            end
            broker.close_connections "maintenance"
            eventually("the losses", function() return lost[1] and lost[2] and lost[3] end, 120) -- under TSan beside others
            for i = 1, 3 do
               check(lost[i], "connection_forced", 320)
               assert.truthy(lost[i].text:find("maintenance", 1, true), round .. ": " .. lost[i].text)
            end
         end
      end)
   end)
end)

describe("after losses", function()
   it("no connection is left at the broker", broker.none_left)
end)
