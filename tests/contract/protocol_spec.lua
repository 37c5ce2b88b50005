--- The protocol as RabbitMQ speaks it, byte by byte, to clients that know it badly.
-- Covers: runtime/broker/store/reply_error.c by UNEXPECTED_FRAME
local mr = require "moonrabbit"
local broker = require "broker"
local wire = require "wire"

local u16, u32, short, long = wire.u16, wire.u32, wire.short, wire.long
local method, frame, header = wire.method, wire.frame, wire.header

local NO_TABLE = wire.table {}
local DECLARE = method(1, 40, 10, u16(0) .. short "amq.direct" .. short "direct" .. "\2" .. NO_TABLE)
local PUBLISH = method(1, 60, 40, u16(0) .. short "amq.direct" .. short "no such key" .. "\0")
local CLOSE = u16(200) .. short "bye" .. u16(0) .. u16(0)

local function close_all()
   wire.close_all()
   broker.close_all()
end

--- A delivery tag.
local function tag(n) return wire.u64(n) end

--- Fails unless these bytes, on channel 1 of a connection of their own, end it with this code and text.
-- @tparam ?table at class and id of the method that is named
local function ends(bytes, code, text, at)
   local w = wire.channel()
   w:send(bytes)
   local got, why, class, id = w:expect_close(0)
   assert.equal(text, why)
   assert.equal(code, got)
   assert.same(at or { 0, 0 }, { class, id })
   w:expect_end()
end

--- The same, where the text is known by its beginning only.
local function ends_like(bytes, code, pattern, class, id)
   local w = wire.channel()
   w:send(bytes)
   local got, text, got_class, got_id = w:expect_close(0)
   assert.equal(code, got)
   assert.truthy(text:find(pattern), text)
   assert.same({ class or 0, id or 0 }, { got_class, got_id })
end

--- Fails unless these bytes end the connection, whether or not the broker says why.
local function ends_somehow(bytes)
   local w = wire.channel()
   w:send(bytes)
   local said, why = w:frame()
   if said then
      assert.equal("connection.close", said.name)
      local code = said.arguments:u16()
      assert.is_true(code >= 500 and code < 600, ("code %d"):format(code))
   else
      assert.equal("closed", why)
   end
end

--- Fails unless these bytes close channel 1 and nothing else.
local function closes_channel(bytes, code, text, class, id)
   local w = wire.channel()
   w:open_channel(2)
   w:send(bytes)
   local got, why, got_class, got_id = w:expect_close(1)
   assert.equal(text, why)
   assert.equal(code, got)
   assert.same({ class, id }, { got_class, got_id })
   w:check(2)
   w:open_channel(1)
   w:check(1)
   return w
end

--- Fails unless the next thing the broker has to say is the answer to a question asked now.
local function silent(w, channel)
   w:say(channel, 20, 20, "\1")
   w:expect("channel.flow-ok", channel)
end

--- A connection with channel 1 in confirm mode.
local function confirming(options)
   local w = wire.channel(options)
   w:say(1, 85, 10, "\0")
   w:expect("confirm.select-ok", 1)
   return w
end

--- Publishes and waits for the confirm.
local function publish(w, exchange, key, body, parts)
   w:send(wire.publish(1, exchange, key, body, parts))
   w:expect("basic.ack", 1)
end

describe("the beginning of a connection", function()
   after_each(close_all)

   it("with another protocol is answered by the one that is spoken, and ends", function()
      for _, hello in ipairs { "HTTP/1.1", "AMQP\0\1\0\0", "AMQP\3\1\0\0", "AMQP\0\0\8\0", "AMQP\0\0\9\2",
         "GET / HT", ("\0"):rep(8) } do
         local w = wire.connect()
         w:send(hello)
         assert.equal("AMQP\0\0\9\1", w:read(8))
         w:expect_end()
      end
   end)

   it("tells version, mechanisms, locales and capabilities", function()
      local w = wire.connect()
      w:send "AMQP\0\0\9\1"
      local start = w:expect("connection.start", 0).arguments
      assert.equal(0, start:u8())
      assert.equal(9, start:u8())
      local server = start:table()
      local mechanisms = " " .. start:long() .. " "
      assert.truthy(mechanisms:find(" PLAIN ", 1, true))
      assert.truthy(mechanisms:find(" AMQPLAIN ", 1, true))
      assert.equal("en_US", start:long())
      for _, name in ipairs { "product", "version", "platform", "copyright", "information", "cluster_name" } do
         assert.equal("string", type(server[name]), name)
      end
      for _, name in ipairs { "publisher_confirms", "exchange_exchange_bindings", "basic.nack", "consumer_cancel_notify",
         "connection.blocked", "consumer_priorities", "authentication_failure_close", "per_consumer_qos", "direct_reply_to" } do
         assert.is_true(server.capabilities[name], name)
      end
   end)

   it("tells clients that switch on product and version whose behaviour they get (FIELD-F1)", function()
      local server = wire.login().server
      assert.equal("RabbitMQ", server.product)
      assert.truthy(server.version:find "^3%.10%.%d+$")
      if broker.is_rabbitmq then return end
      assert.equal(mr.version, server.moonrabbit)
      assert.truthy(server.information:find("Not RabbitMQ: the embedded broker of Moonrabbit", 1, true))
   end)

   it("offers limits by connection.tune", function()
      local w = wire.login()
      assert.equal(2047, w.channel_max)
      assert.equal(131072, w.frame_max)
      assert.equal(60, w.heartbeat)
   end)

   it("may be said in one breath", function()
      local w = wire.connect()
      w:send("AMQP\0\0\9\1" .. wire.start_ok {} .. method(0, 10, 31, u16(10) .. u32(131072) .. u16(0))
         .. method(0, 10, 40, short "/" .. short "" .. "\0") .. method(1, 20, 10, short "") .. DECLARE)
      for _, name in ipairs { "connection.start", "connection.tune", "connection.open-ok", "channel.open-ok", "exchange.declare-ok" } do
         w:expect(name)
      end
   end)

   it("may be said one byte at a time", function()
      local w = wire.connect()
      local bytes = "AMQP\0\0\9\1" .. wire.start_ok {} .. method(0, 10, 31, u16(10) .. u32(131072) .. u16(0))
         .. method(0, 10, 40, short "/" .. short "" .. "\0") .. method(1, 20, 10, short "") .. DECLARE
      for i = 1, #bytes do w:send(bytes:sub(i, i)) end
      for _, name in ipairs { "connection.start", "connection.tune", "connection.open-ok", "channel.open-ok", "exchange.declare-ok" } do
         w:expect(name)
      end
   end)

   it("takes a login by AMQPLAIN", function()
      local response = wire.table { { "LOGIN", "S", long "guest" }, { "PASSWORD", "S", long "guest" } }
      local w = wire.channel { mechanism = "AMQPLAIN", response = response:sub(5) }
      w:check(1)
   end)

   it("refuses a wrong login with a reason to those who can take it", function()
      local amqplain = wire.table { { "LOGIN", "S", long "guest" }, { "PASSWORD", "S", long "wrong" } }
      for _, login in ipairs {
         { "PLAIN", wire.plain("guest", "wrong") },
         { "PLAIN", wire.plain("nobody", "guest") },
         { "AMQPLAIN", amqplain:sub(5) },
      } do
         local w = wire.connect()
         w:send "AMQP\0\0\9\1"
         w:expect("connection.start", 0)
         w:send(wire.start_ok { mechanism = login[1], response = login[2] })
         local code, text, class, id = w:expect_close(0)
         assert.equal(403, code)
         assert.equal(("ACCESS_REFUSED - Login was refused using authentication mechanism %s. For details see the broker "
            .. "logfile."):format(login[1]), text)
         assert.same({ 0, 0 }, { class, id })
         w:expect_end()
      end
   end)

   it("that goes wrong halfway ends without a word", function()
      local all = {}
      local function started(bytes)
         local w = wire.connect()
         w:send "AMQP\0\0\9\1"
         w:expect("connection.start", 0)
         w:send(bytes)
         all[#all + 1] = w
      end
      local function tuned(options)
         local w = wire.login()
         w:tune(options)
         all[#all + 1] = w
      end
      started(wire.start_ok { capabilities = {}, response = wire.plain("guest", "wrong") })
      started(wire.start_ok { mechanism = "NONSENSE" })
      started(wire.start_ok { response = "guest" })
      started(wire.start_ok { mechanism = "AMQPLAIN", response = wire.table({ { "LOGIN", "S", long "guest" } }):sub(5) })
      started(method(0, 10, 31, u16(0) .. u32(0) .. u16(0)))
      started(method(1, 20, 10, short ""))
      tuned { frame_max = 4095 }
      tuned { frame_max = 131073 }
      tuned { frame_max = 0 }
      tuned { channel_max = 2048 }
      tuned { channel_max = 0 }
      local early = wire.login()
      early:say(0, 10, 40, short "/" .. short "" .. "\0")
      all[#all + 1] = early
      for _, w in ipairs(all) do w:expect_end() end
   end)

   it("takes limits that are lower than the offer", function()
      wire.channel({ frame_max = 4096, channel_max = 1 }):check(1)
   end)

   it("at an unknown virtual host is refused", function()
      for _, vhost in ipairs { "nope", "" } do
         local w = wire.login()
         w:tune { vhost = vhost }
         local code, text, class, id = w:expect_close(0)
         assert.equal(530, code)
         assert.equal(("NOT_ALLOWED - vhost %s not found"):format(vhost), text)
         assert.same({ 10, 40 }, { class, id })
         w:expect_end()
      end
   end)
end)

describe("channels", function()
   after_each(close_all)

   local OPEN = short ""

   it("must be opened before they are used", function()
      local text = "CHANNEL_ERROR - expected 'channel.open'"
      ends(method(3, 50, 10, u16(0) .. short "" .. "\4" .. NO_TABLE), 504, text, { 50, 10 })
      ends(method(3, 20, 40, CLOSE), 504, text, { 20, 40 })
      ends(method(3, 20, 41), 504, text, { 20, 41 })
      ends(method(3, 10, 40, short "/" .. short "" .. "\0"), 504, text, { 10, 40 })
      ends(header(3, 1), 505, "UNEXPECTED_FRAME - expected method frame, got non method frame instead")
   end)

   it("are opened once", function()
      ends(method(1, 20, 10, OPEN), 504, "CHANNEL_ERROR - second 'channel.open' seen", { 20, 10 })
   end)

   it("do not include channel 0, which is the connection's", function()
      local text = "CHANNEL_ERROR - unexpected method in connection state running"
      ends(method(0, 20, 10, OPEN), 504, text, { 20, 10 })
      ends(method(0, 50, 10, u16(0) .. short "" .. "\4" .. NO_TABLE), 504, text, { 50, 10 })
      ends(method(0, 10, 40, short "/" .. short "" .. "\0"), 504, text, { 10, 40 })
      ends(method(0, 10, 51), 504, text, { 10, 51 })
      ends_like(header(0, 3), 505, "^UNEXPECTED_FRAME %- type 2, all octets = <<0,60,0,0,")
      ends(frame(3, 0, "abc"), 505, 'UNEXPECTED_FRAME - type 3, all octets = <<"abc">>')
   end)

   it("do not take the connection's methods", function()
      ends(method(1, 10, 40, short "/" .. short "" .. "\0"), 503, "COMMAND_INVALID - unimplemented method", { 10, 40 })
      ends(method(1, 10, 50, CLOSE), 503, "COMMAND_INVALID - unimplemented method", { 10, 50 })
   end)

   it("are no more than channel_max, whatever their numbers", function()
      local w = wire.channel { channel_max = 3 }
      w:open_channel(2047)
      w:open_channel(65535)
      w:say(2, 20, 10, OPEN)
      local code, text, class, id = w:expect_close(0)
      assert.equal("NOT_ALLOWED - number of channels opened (3) has reached the negotiated channel_max (3)", text)
      assert.equal(530, code)
      assert.same({ 0, 0 }, { class, id })
      w:expect_end()
   end)

   it("that were closed give way to others", function()
      local w = wire.channel { channel_max = 1 }
      for number = 2, 20 do
         w:say(number - 1, 20, 40, CLOSE)
         w:expect("channel.close-ok", number - 1)
         w:open_channel(number)
      end
      w:check(20)
   end)

   it("are closed, and opened again under the same number", function()
      local w = wire.channel()
      for _ = 1, 10 do
         w:say(1, 20, 40, CLOSE)
         w:expect("channel.close-ok", 1)
         w:open_channel(1)
      end
      w:check(1)
   end)

   it("lose their consumers and unsettled messages when they are closed", function()
      local w = wire.channel()
      local q = w:queue(1)
      w:open_channel(2)
      w:say(1, 85, 10, "\0")
      w:expect("confirm.select-ok", 1)
      publish(w, "", q, "x")
      w:say(2, 60, 20, u16(0) .. short(q) .. short "t" .. "\0" .. NO_TABLE)
      w:expect("basic.consume-ok", 2)
      w:expect("basic.deliver", 2)
      w:expect("header", 2)
      w:expect("body", 2)
      w:say(2, 20, 40, CLOSE)
      w:expect("channel.close-ok", 2)
      broker.eventually("the message to come back", function() return w:get(1, q) == "x" end)
   end)

   it("may be closed twice at once, but not when they are closed already", function()
      local w = wire.channel()
      w:send(method(1, 20, 40, CLOSE) .. method(1, 20, 40, CLOSE))
      w:expect("channel.close-ok", 1)
      w:expect("channel.close-ok", 1)
      w:say(1, 20, 40, CLOSE)
      local code, text = w:expect_close(0)
      assert.equal("CHANNEL_ERROR - expected 'channel.open'", text)
      assert.equal(504, code)
   end)

   local FAIL = method(1, 50, 10, u16(0) .. short "no such queue" .. "\1" .. NO_TABLE)

   it("that the broker closes swallow what comes before the answer", function()
      local w = wire.channel()
      w:send(FAIL .. DECLARE .. method(1, 50, 10, u16(0) .. short "" .. "\4" .. NO_TABLE)
         .. wire.publish(1, "", "no such queue", "abc", { bits = 1 }) .. DECLARE)
      w:expect("channel.close", 1)
      w:send(DECLARE .. wire.publish(1, "", "no such queue", "abc", { bits = 1 }))
      w:say(1, 20, 41)
      w:open_channel(1)
      silent(w, 1)
   end)

   it("that both sides close at once are closed", function()
      local w = wire.channel()
      w:send(FAIL)
      w:expect("channel.close", 1)
      w:say(1, 20, 40, CLOSE)
      w:expect("channel.close-ok", 1)
      w:say(1, 20, 41)
      w:open_channel(1)
      silent(w, 1)
   end)

   it("are not opened while the broker waits for the answer to its close", function()
      local w = wire.channel()
      w:send(FAIL)
      w:expect("channel.close", 1)
      w:say(1, 20, 10, OPEN)
      local code, text = w:expect_close(0)
      assert.equal("CHANNEL_ERROR - second 'channel.open' seen", text)
      assert.equal(504, code)
   end)

   it("take no close-ok that was not asked for", function()
      ends(method(1, 20, 41), 503, "COMMAND_INVALID - unimplemented method", { 20, 41 })
      local w = wire.channel()
      w:send(FAIL)
      w:expect("channel.close", 1)
      w:send(method(1, 20, 41) .. method(1, 20, 41))
      local code, text = w:expect_close(0)
      assert.equal("CHANNEL_ERROR - expected 'channel.open'", text)
      assert.equal(504, code)
   end)

   it("know flow, but cannot be stopped", function()
      silent(wire.channel(), 1)
      ends(method(1, 20, 20, "\0"), 540, "NOT_IMPLEMENTED - active=false", { 20, 20 })
   end)

   it("answer access.request, which means nothing", function()
      local w = wire.channel()
      w:say(1, 30, 10, short "/data" .. "\0")
      local answer = assert(w:frame())
      assert.same({ 30, 11, 1 }, { answer.class, answer.id, answer.arguments:u16() })
   end)
end)

describe("a frame", function()
   after_each(close_all)

   it("must end with the octet that ends frames", function()
      ends_like(DECLARE:sub(1, -2) .. "\0", 501, "^FRAME_ERROR %- type 1, .*invalid_frame_end_marker")
      ends_like(PUBLISH .. header(1, 3) .. frame(3, 1, "abc"):sub(1, -2) .. "x", 501,
         '^FRAME_ERROR %- type 3, all octets = <<"abc">>: {invalid_frame_end_marker,120}$')
   end)

   it("must not be larger than frame_max", function()
      ends_like("\1\0\1" .. u32(0x7fffffff), 501, "^FRAME_ERROR %- type 1, all octets = <<>>: {frame_too_large,2147483647,131064}$")
      ends_like(frame(3, 1, ("x"):rep(131073)), 501, "^FRAME_ERROR %- type 3, all octets = <<>>: {frame_too_large,131073,131064}$")
      local w = wire.channel { frame_max = 4096 }
      w:send(PUBLISH .. header(1, 5000) .. frame(3, 1, ("x"):rep(5000)))
      local code, text = w:expect_close(0)
      assert.equal(501, code)
      assert.equal("FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,5000,4088}", text)
   end)

   it("may be as large as frame_max", function()
      local w = confirming()
      local q, body = w:queue(1), ("x"):rep(131064)
      publish(w, "", q, body)
      local got, sizes = w:get(1, q)
      assert.is_true(got == body)
      assert.same({ 131064 }, sizes)
   end)

   it("of an unknown type ends the connection", function()
      for _, type_ in ipairs { 0, 4, 7, 9, 255 } do
         ends(frame(type_, 1, "abc"), 501, ('FRAME_ERROR - type %d, all octets = <<"abc">>: unknown_frame'):format(type_))
      end
      ends(frame(5, 0, "abc"), 501, 'FRAME_ERROR - type 5, all octets = <<"abc">>: unknown_frame')
   end)

   it("with a heartbeat is empty, and on channel 0", function()
      local w = wire.channel()
      for _ = 1, 10 do w:send(frame(8, 0, "")) end
      w:check(1)
      ends(frame(8, 1, ""), 505, "UNEXPECTED_FRAME - type 8, all octets = <<>>")
      ends(frame(8, 0, "abc"), 501, 'FRAME_ERROR - type 8, all octets = <<"abc">>: unknown_frame')
   end)

   it("with a method that is too short ends the connection", function()
      ends(frame(1, 1, ""), 501, "FRAME_ERROR - type 1, all octets = <<>>: unknown_frame")
      ends(frame(1, 1, "\0"), 501, "FRAME_ERROR - type 1, all octets = <<0>>: unknown_frame")
      ends(method(1, 50, 10, u16(0)), 501, "FRAME_ERROR - cannot decode <<0,0>>", { 50, 10 })
   end)

   it("with a method that is too long ends the connection", function()
      ends_like(method(1, 40, 10, u16(0) .. short "amq.direct" .. short "direct" .. "\3" .. NO_TABLE .. "xx"), 501,
         "^FRAME_ERROR %- cannot decode <<0,0,10,97,109,113,", 40, 10)
   end)

   it("with a name that is no UTF-8 ends the connection", function()
      ends(method(1, 50, 10, u16(0) .. short "\255" .. "\4" .. NO_TABLE), 501, "FRAME_ERROR - Malformed UTF-8 in shortstr")
   end)

   it("with a table that is malformed ends the connection", function()
      local function declare(arguments) return method(1, 50, 10, u16(0) .. short "" .. "\4" .. arguments) end
      ends(declare(u32(100)), 501, "FRAME_ERROR - cannot decode <<0,0,0,4,0,0,0,100>>", { 50, 10 })
      ends(declare(u32(5) .. "\1aS"), 501, "FRAME_ERROR - cannot decode <<0,0,0,4,0,0,0,5,1,97,83>>", { 50, 10 })
      ends_somehow(declare(long "\1a?x"))
      ends_somehow(declare(long "\1a"))
      ends_somehow(declare(long("\1aS" .. u32(100) .. "x")))
      ends_somehow(declare(long "\200a"))
      ends_somehow(declare(long("\1aF" .. u32(3) .. "\1bS")))
   end)

   it("may hold tables with fields of every type", function()
      local w = wire.channel()
      local fields = {}
      for type_, value in pairs { t = "\1", b = "\255", B = "\255", s = "\255\1", u = "\255\1", I = u32(7), i = u32(7), l = wire.u64(7),
         f = u32(0x40a00000), d = wire.u64(0), D = "\2" .. u32(314), S = long "text", x = long "\0\255",
         A = long("t\1S" .. long "two"), T = wire.u64(1700000000), F = wire.table { { "deep", "S", long "er" } }, V = "" } do
         fields[#fields + 1] = { "field " .. type_, type_, value }
      end
      w:say(1, 50, 10, u16(0) .. short "" .. "\4" .. wire.table(fields))
      w:expect("queue.declare-ok", 1)
   end)
end)

describe("a method", function()
   after_each(close_all)

   it("that is unknown ends the connection", function()
      ends_somehow(method(1, 77, 10, ""))
      ends_somehow(method(1, 50, 99, ""))
      ends_somehow(method(1, 0, 0, ""))
      ends_somehow(method(0, 77, 10, ""))
      ends_somehow(method(3, 77, 10, ""))
   end)

   it("that only a broker may say ends the connection", function()
      local text = "COMMAND_INVALID - unimplemented method"
      for _, m in ipairs {
         { 60, 60, short "t" .. tag(1) .. "\0" .. short "" .. short "", header(1, 0) }, -- basic.deliver
         { 60, 50, u16(312) .. short "" .. short "" .. short "", header(1, 0) },        -- basic.return
         { 60, 71, tag(1) .. "\0" .. short "" .. short "" .. u32(0), header(1, 0) },    -- basic.get-ok
         { 60, 72, short "" }, { 60, 21, short "t" }, { 60, 31, short "t" }, { 60, 11, "" }, { 50, 11, short "q" .. u32(0) .. u32(0) },
         { 40, 11, "" }, { 20, 11, long "" }, { 20, 21, "\1" }, { 85, 11, "" }, { 90, 11, "" }, { 10, 60, short "why" },
      } do
         ends(method(1, m[1], m[2], m[3]) .. (m[4] or ""), 503, text, { m[1], m[2] })
      end
   end)

   it("with no-wait gets no answer, but does its work", function()
      local w = confirming()
      local q, x = broker.name "nowait-q", broker.name "nowait-x"
      w:say(1, 50, 10, u16(0) .. short(q) .. "\20" .. NO_TABLE)                       -- exclusive, no-wait
      w:say(1, 40, 10, u16(0) .. short(x) .. short "fanout" .. "\20" .. NO_TABLE)     -- auto-delete, no-wait
      w:say(1, 50, 20, u16(0) .. short(q) .. short(x) .. short "" .. "\1" .. NO_TABLE)
      publish(w, x, "", "x")
      assert.equal("x", w:get(1, q))
      w:say(1, 60, 20, u16(0) .. short(q) .. short "tag" .. "\10" .. NO_TABLE)        -- no-ack, no-wait
      w:send(wire.publish(1, x, "", "to the consumer"))
      local acked, delivered
      repeat                         -- the confirm and the delivery come in any order
         local said = assert(w:frame())
         acked = acked or said.name == "basic.ack"
         delivered = delivered or said.payload == "to the consumer"
      until acked and delivered
      w:say(1, 60, 30, short "tag" .. "\1")
      publish(w, x, "", "purged")
      w:say(1, 50, 30, u16(0) .. short(q) .. "\1")
      assert.is_nil(w:get(1, q))
      w:say(1, 85, 10, "\1")
      w:say(1, 40, 30, u16(0) .. short "amq.fanout" .. short(x) .. short "" .. "\1" .. NO_TABLE)
      w:say(1, 40, 40, u16(0) .. short "amq.fanout" .. short(x) .. short "" .. "\1" .. NO_TABLE)
      w:say(1, 50, 40, u16(0) .. short(q) .. "\4")
      w:say(1, 40, 20, u16(0) .. short(x) .. "\2")
      silent(w, 1)
   end)

   it("with no-wait that fails closes the channel all the same", function()
      closes_channel(method(1, 40, 10, u16(0) .. short "amq.direct" .. short "topic" .. "\18" .. NO_TABLE), 406,
         "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'amq.direct' in vhost '/': received 'topic' but current is "
         .. "'direct'", 40, 10)
   end)

   it("may ask for what is not implemented", function()
      ends(method(1, 60, 10, u32(1) .. u16(0) .. "\0"), 540, "NOT_IMPLEMENTED - prefetch_size!=0 (1)", { 60, 10 })
      ends(method(1, 60, 110, "\0"), 540, "NOT_IMPLEMENTED - requeue=false", { 60, 110 })
      ends(method(1, 60, 100, "\0"), 540, "NOT_IMPLEMENTED - requeue=false", { 60, 100 })
      for bits = 2, 3 do
         local bytes = method(1, 60, 40, u16(0) .. short "" .. short "k" .. string.char(bits)) .. header(1, 3) .. frame(3, 1, "abc")
         ends(bytes, 540, "NOT_IMPLEMENTED - immediate=true", { 60, 40 })
      end
   end)

   it("that recovers is answered unless it is the asynchronous one", function()
      local w = wire.channel()
      w:say(1, 60, 110, "\1")
      w:expect("basic.recover-ok", 1)
      w:say(1, 60, 100, "\1")
      silent(w, 1)
   end)

   it("that settles an unknown tag closes the channel", function()
      for _, m in ipairs { { 80, 1, "\0" }, { 80, 7, "\1" }, { 80, 0, "\0" }, { 90, 1, "\1" }, { 90, 0, "\0" },
         { 120, 1, "\0" }, { 120, 5, "\1" } } do
         closes_channel(method(1, 60, m[1], tag(m[2]) .. m[3]), 406,
            ("PRECONDITION_FAILED - unknown delivery tag %d"):format(m[2]), 60, m[1])
      end
   end)

   it("that settles all of nothing is nothing", function()
      local w = wire.channel()
      w:say(1, 60, 80, tag(0) .. "\1")
      w:say(1, 60, 120, tag(0) .. "\1")
      w:say(1, 60, 120, tag(0) .. "\3")
      silent(w, 1)
   end)

   it("that settles tag 0 with multiple settles all there is", function()
      local w = confirming()
      local q = w:queue(1)
      for _ = 1, 3 do publish(w, "", q, "x") end
      for _ = 1, 3 do
         w:say(1, 60, 70, u16(0) .. short(q) .. "\0")
         w:expect("basic.get-ok", 1)
         w:expect("header", 1)
         w:expect("body", 1)
      end
      w:say(1, 60, 80, tag(0) .. "\1")
      w:say(1, 60, 110, "\1")
      w:expect("basic.recover-ok", 1)
      assert.is_nil(w:get(1, q))
   end)

   it("of transactions needs a transactional channel, which cannot confirm", function()
      closes_channel(method(1, 90, 20), 406, "PRECONDITION_FAILED - channel is not transactional", 90, 20)
      closes_channel(method(1, 90, 30), 406, "PRECONDITION_FAILED - channel is not transactional", 90, 30)
      local w = wire.channel()
      w:say(1, 90, 10)
      w:expect("tx.select-ok", 1)
      w:say(1, 85, 10, "\0")
      local code, text = w:expect_close(1)
      assert.equal("PRECONDITION_FAILED - cannot switch from tx to confirm mode", text)
      assert.equal(406, code)
      w = confirming()
      w:say(1, 90, 10)
      code, text = w:expect_close(1)
      assert.equal("PRECONDITION_FAILED - cannot switch from confirm to tx mode", text)
      assert.equal(406, code)
   end)

   it("that consumes under a tag in use ends the connection", function()
      local w = wire.channel()
      local q = w:queue(1)
      local consume = u16(0) .. short(q) .. short "same" .. "\0" .. NO_TABLE
      w:say(1, 60, 20, consume)
      w:expect("basic.consume-ok", 1)
      w:say(1, 60, 20, consume)
      local code, text = w:expect_close(0)
      assert.equal("NOT_ALLOWED - attempt to reuse consumer tag 'same'", text)
      assert.equal(530, code)
   end)

   it("that cancels an unknown consumer is answered", function()
      local w = wire.channel()
      w:say(1, 60, 30, short "nobody" .. "\0")
      assert.equal("nobody", w:expect("basic.cancel-ok", 1).arguments:short())
   end)

   it("that renews a secret is answered", function()
      local w = wire.channel()
      w:say(0, 10, 70, long "guest" .. short "why not")
      local answer = assert(w:frame())
      assert.same({ 10, 71, 0 }, { answer.class, answer.id, answer.channel })
   end)
end)

describe("content", function()
   after_each(close_all)

   it("does not come without a method", function()
      local text = "UNEXPECTED_FRAME - expected method frame, got non method frame instead"
      ends(header(1, 3), 505, text)
      ends(frame(3, 1, "abc"), 505, text)
      ends(PUBLISH .. header(1, 0) .. frame(3, 1, "ab"), 505, text)
      ends(PUBLISH .. header(1, 0) .. frame(3, 1, ""), 505, text)
      ends(PUBLISH .. header(1, 3) .. frame(3, 1, "abc") .. frame(3, 1, "d"), 505, text)
   end)

   it("follows its method at once", function()
      local text = "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead"
      ends(PUBLISH .. DECLARE, 505, text, { 60, 40 })
      ends(PUBLISH .. PUBLISH, 505, text, { 60, 40 })
      ends(PUBLISH .. frame(3, 1, "abc"), 505, text, { 60, 40 })
   end)

   it("follows its header at once", function()
      local text = "UNEXPECTED_FRAME - expected content body, got non content body frame instead"
      ends(PUBLISH .. header(1, 3) .. DECLARE, 505, text, { 60, 40 })
      ends(PUBLISH .. header(1, 3) .. header(1, 3), 505, text, { 60, 40 })
      ends(PUBLISH .. header(1, 3) .. frame(3, 1, "a") .. method(1, 20, 40, CLOSE), 505, text, { 60, 40 })
   end)

   it("has a header of its method's class", function()
      for _, class in ipairs { 50, 0, 61 } do
         ends(PUBLISH .. header(1, 3, nil, class), 505,
            ("UNEXPECTED_FRAME - expected content header for class 60, got one for class %d instead"):format(class), { 60, 40 })
      end
   end)

   it("must not be longer than its header says", function()
      local w = confirming()
      local q = w:queue(1)
      w:open_channel(2)
      w:send(wire.publish(1, "", q, "abcd", { size = 3 }) .. DECLARE)
      local code = w:expect_close(0)
      assert.is_true(code == 501 or code == 505, ("code %d"):format(code))
   end)

   it("may lie between other channels' frames", function()
      local w = confirming()
      w:open_channel(2)
      w:open_channel(3)
      local q = w:queue(1)
      local function part(channel, bytes) w:send(frame(3, channel, bytes)) end
      for channel = 1, 3 do w:send(method(channel, 60, 40, u16(0) .. short "" .. short(q) .. "\0")) end
      for channel = 1, 3 do w:send(header(channel, channel * 2)) end
      part(3, "c")
      part(2, "bbb")
      part(3, "cc")
      part(1, "a")
      w:send(frame(8, 0, ""))
      part(2, "b")
      part(3, "ccc")
      part(1, "a")
      w:expect("basic.ack", 1)
      local got = {}
      broker.eventually("three messages", function()
         got[#got + 1] = (w:get(1, q))
         return #got == 3
      end)
      table.sort(got)
      assert.same({ "aa", "bbbb", "cccccc" }, got)
   end)

   it("may come in frames of any size, also empty ones", function()
      local w = confirming()
      local q = w:queue(1)
      local body, parts, at, n = ("0123456789abcdef"):rep(20000), {}, 1, 1
      while at <= #body do
         parts[#parts + 1] = frame(3, 1, body:sub(at, at + n - 1))
         at, n = at + n, (n * 7) % 1009
      end
      publish(w, "", q, body, { body = table.concat(parts) })
      assert.is_true(w:get(1, q) == body)
      publish(w, "", q, "abc", { body = frame(3, 1, "") .. frame(3, 1, "a") .. frame(3, 1, "") .. frame(3, 1, "bc") })
      assert.equal("abc", w:get(1, q))
   end)

   it("goes out in frames of the size that was agreed", function()
      local w = confirming { frame_max = 4096 }
      local q, body = w:queue(1), ("x"):rep(10000)
      local parts = {}
      for at = 1, #body, 4088 do parts[#parts + 1] = frame(3, 1, body:sub(at, math.min(at + 4087, #body))) end
      publish(w, "", q, body, { body = table.concat(parts) })
      local got, sizes = w:get(1, q)
      assert.is_true(got == body)
      assert.same({ 4088, 4088, 1824 }, sizes)
   end)

   it("may be empty, and then has no body frame", function()
      local w = confirming()
      local q = w:queue(1)
      publish(w, "", q, "")
      local got, sizes = w:get(1, q)
      assert.equal("", got)
      assert.same({}, sizes)
   end)

   it("keeps its properties byte by byte", function()
      local w = confirming()
      local q = w:queue(1)
      local headers = wire.table { { "b", "b", "\255" }, { "s", "s", "\1\0" }, { "I", "I", u32(9) }, { "l", "l", wire.u64(2 ^ 40) },
         { "d", "d", "\64\9\33\251\84\68\45\24" }, { "f", "f", "\64\73\15\219" }, { "V", "V", "" }, { "x", "x", long "\0\1" },
         { "T", "T", wire.u64(1700000000) }, { "A", "A", long("I" .. u32(1) .. "S" .. long "two") }, { "D", "D", "\2" .. u32(314) },
         { "b", "S", long "the same name again" } }
      for _, properties in ipairs {
         u16(0),
         u16(0x8000) .. short "text/plain",
         u16(0x2000) .. headers,
         u16(0x2000) .. NO_TABLE,
         u16(0xfffc) .. short "ct" .. short "ce" .. headers .. "\1\9" .. short "c" .. short "r" .. short "1000" .. short "m"
            .. wire.u64(1) .. short "t" .. short "guest" .. short "a" .. short "k",
      } do
         publish(w, "", q, "x", { properties = properties })
         local body, _, got = w:get(1, q)
         assert.equal("x", body)
         assert.is_true(got == properties)
      end
   end)

   it("with malformed properties ends the connection", function()
      for _, properties in ipairs {
         u16(1) .. u16(0),                       -- says that more flags follow
         u16(0x8000),                            -- says that there is a content type
         u16(0x8000) .. "\5ab",
         u16(0x8000) .. "\1aXX",
         u16(0x2000) .. long "\1a?x",
         "",
      } do
         ends(PUBLISH .. header(1, 0, properties), 541, "INTERNAL_ERROR")
      end
      ends(PUBLISH .. frame(2, 1, u16(60)), 501, "FRAME_ERROR - type 2, all octets = <<0,60>>: unknown_frame")
   end)

   it("is refused in the name of another user, and with an expiration that is no number", function()
      closes_channel(PUBLISH .. header(1, 0, u16(0x10) .. short "eve"), 406,
         "PRECONDITION_FAILED - user_id property set to 'eve' but authenticated user was 'guest'", 60, 40)
      closes_channel(PUBLISH .. header(1, 0, u16(0x100) .. short "soon"), 406,
         "PRECONDITION_FAILED - invalid expiration 'soon': no_integer", 60, 40)
   end)

   it("is confirmed once for each publish, in their order or several at once", function()
      local w = confirming()
      local q = w:queue(1)
      for _ = 1, 100 do w:send(wire.publish(1, "", q, "x")) end
      local done = 0
      while done < 100 do
         local args = w:expect("basic.ack", 1).arguments
         local number, multiple = args:u64(), args:u8()
         assert.is_true(multiple == 1 and number > done or number == done + 1, ("tag %d after %d"):format(number, done))
         done = number
      end
      assert.equal(100, done)
   end)

   it("that is returned comes back before its confirm", function()
      local w = confirming()
      w:send(wire.publish(1, "amq.direct", "no such key", "abc", { bits = 1, properties = u16(0x8000) .. short "text/plain" }))
      local args = w:expect("basic.return", 1).arguments
      assert.same({ 312, "NO_ROUTE", "amq.direct", "no such key" }, { args:u16(), args:short(), args:short(), args:short() })
      assert.equal(u16(60) .. u16(0) .. wire.u64(3) .. u16(0x8000) .. short "text/plain", w:expect("header", 1).payload)
      assert.equal("abc", w:expect("body", 1).payload)
      local number = w:expect("basic.ack", 1).arguments:u64()
      assert.equal(1, number)
   end)

   it("goes to a headers exchange by numbers of whatever type", function()
      local w = confirming()
      local five = { I = u32(5), l = wire.u64(5), b = "\5", B = "\5", s = "\0\5", u = "\0\5", i = u32(5), T = wire.u64(5),
         d = "\64\20\0\0\0\0\0\0", f = "\64\160\0\0" }
      local other = { D = "\0" .. u32(5), t = "\1", S = long "5", V = "" }
      for _, bound in ipairs { "I", "d" } do
         local q = w:queue(1)
         w:say(1, 50, 20, u16(0) .. short(q) .. short "amq.headers" .. short "" .. "\0" .. wire.table { { q, bound, five[bound] } })
         w:expect("queue.bind-ok", 1)
         local function got(type_, value)
            publish(w, "amq.headers", "", "x", { properties = u16(0x2000) .. wire.table { { q, type_, value } } })
            return w:get(1, q) == "x"
         end
         for type_, value in pairs(five) do assert.is_true(got(type_, value), bound .. " is not " .. type_) end
         for type_, value in pairs(other) do assert.is_false(got(type_, value), bound .. " is " .. type_) end
      end
   end)
end)

describe("heartbeats", function()
   after_each(close_all)

   it("come from the broker, which hangs up on a client without any", function()
      local silent_one, live = wire.open { heartbeat = 1 }, wire.open { heartbeat = 1 }
      local ended, beats
      local count = 0
      broker.eventually("the end of the silent one", function()
         local said, why = silent_one:frame(0.1)
         if said then
            assert.equal("heartbeat", said.name)
            assert.equal(0, said.channel)
            assert.equal("", said.payload)
            count = count + 1
         elseif why == "closed" then
            ended = true
         end
         live:send(frame(8, 0, ""))
         said = live:frame(0.1)
         beats = beats or said and said.name == "heartbeat"
         return ended and beats
      end, 15)
      assert.is_true(count >= 1)
      live:open_channel(1)
   end)

   it("are replaced by anything else that is sent", function()
      local w = wire.channel { heartbeat = 1 }
      local till = mr.now() + 4      -- a silent one is dropped after three seconds
      while mr.now() < till do
         w:say(1, 20, 20, "\1")
         w:expect("channel.flow-ok", 1)
         w:frame(0.1)
      end
      w:check(1)
   end)
end)

describe("the end of a connection", function()
   after_each(close_all)

   it("is answered, with open channels or without", function()
      for _, w in ipairs { wire.open(), wire.channel() } do
         w:say(0, 10, 50, CLOSE)
         w:expect("connection.close-ok", 0)
      end
   end)

   it("is answered before anything that came later", function()
      local w = wire.channel()
      w:send(method(0, 10, 50, CLOSE) .. DECLARE .. PUBLISH)
      w:expect("connection.close-ok", 0)
   end)

   it("comes after what was asked before", function()
      local w = wire.channel()
      w:send(DECLARE)
      w:expect("exchange.declare-ok", 1)
      w:send(method(0, 10, 50, CLOSE))
      w:expect("connection.close-ok", 0)
   end)

   it("takes the exclusive queues along, without a farewell as well", function()
      local watcher = wire.channel()
      local function missing(name)
         watcher:say(1, 50, 10, u16(0) .. short(name) .. "\1" .. NO_TABLE)
         local answer = assert(watcher:frame())
         if answer.name == "queue.declare-ok" then return false end
         local code = answer.arguments:u16()
         watcher:say(1, 20, 41)
         watcher:open_channel(1)
         return code == 404
      end
      local rude, polite = wire.channel(), wire.channel()
      local a, b = rude:queue(1), polite:queue(1)
      assert.is_false(missing(a))
      rude:close()
      polite:say(0, 10, 50, CLOSE)
      polite:expect("connection.close-ok", 0)
      broker.eventually("both queues to go", function() return missing(a) and missing(b) end)
   end)

   it("requeues what was not settled", function()
      local keeper = wire.channel()
      local name = broker.name "requeued"
      keeper:say(1, 50, 10, u16(0) .. short(name) .. "\0" .. NO_TABLE)
      keeper:expect("queue.declare-ok", 1)
      keeper:say(1, 85, 10, "\0")
      keeper:expect("confirm.select-ok", 1)
      publish(keeper, "", name, "x")
      local rude = wire.channel()
      rude:say(1, 60, 70, u16(0) .. short(name) .. "\0")
      rude:expect("basic.get-ok", 1)
      assert.is_nil(keeper:get(1, name))
      rude:close()
      broker.eventually("the message to come back", function() return keeper:get(1, name) end)
      keeper:say(1, 50, 40, u16(0) .. short(name) .. "\0")
      keeper:expect("queue.delete-ok", 1)
   end)
end)

describe("a client that misbehaves", function()
   after_each(close_all)

   it("does not disturb another", function()
      local ch = broker.channel()
      assert(ch:confirm_select())
      local q = assert(ch:queue_declare { exclusive = true }).queue
      local function works()
         assert.is_true(ch:publish("", q, "still here", { mandatory = true }))
         assert.equal("still here", broker.take(ch, q).body)
      end
      local bad = {
         "", "\0", DECLARE:sub(1, 9), DECLARE:sub(1, -2) .. "\0", "\1\0\1\255\255\255\255", frame(9, 9, "abc"), frame(3, 1, "abc"),
         PUBLISH, PUBLISH .. header(1, 2 ^ 50), PUBLISH .. header(1, 10) .. frame(3, 1, "abc"), PUBLISH .. DECLARE, method(1, 77, 10),
         method(1, 50, 10, u16(0) .. short "" .. "\4" .. long "\1a?x"), PUBLISH .. header(1, 0, u16(1)), method(7, 50, 10, ""),
         method(1, 60, 80, tag(99) .. "\1"), method(1, 20, 10, short ""), method(0, 10, 51), "AMQP\0\0\9\1", ("\255"):rep(1000),
      }
      for _, bytes in ipairs(bad) do
         local w = wire.channel()
         w:queue(1)
         w:send(bytes)
         works()
         w:close()
         works()
      end
      for _, bytes in ipairs(bad) do
         local w = wire.connect()
         w:send(bytes)
         works()
         w:close()
      end
      assert.is_true(ch.is_open)
      works()
   end)

   it("that does not read does not stop another", function()
      local ch = broker.channel()
      assert(ch:confirm_select())
      local q = assert(ch:queue_declare { queue = broker.name "unread", auto_delete = true }).queue
      local deaf = wire.channel()
      deaf:say(1, 60, 20, u16(0) .. short(q) .. short "deaf" .. "\2" .. NO_TABLE) -- no-ack
      deaf:expect("basic.consume-ok", 1)
      local body = ("x"):rep(100000)
      for _ = 1, 300 do assert(ch:publish_async("", q, body)) end
      assert.is_true(ch:wait_for_confirms(20))
      local other = assert(ch:queue_declare { exclusive = true }).queue
      assert.is_true(ch:publish("", other, "x"))
      assert.equal("x", broker.take(ch, other).body)
      deaf:close()
   end)
end)
