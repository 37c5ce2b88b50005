--- Connecting: how a connection shows itself, options, TLS, several hosts, closing and opening again.
local mr = require "moonrabbit"
local broker = require "broker"
local peer = require "peer"

local eventually = broker.eventually
local TLS = os.getenv "MR_RABBITMQ_TLS_URL"
local CERTS = os.getenv "MR_RABBITMQ_CERTS"
local CA = CERTS .. "/ca.pem"

-- An error as the user must get it: of this kind, with a text and a hint that says what to check.
local function check(err, kind, hint)
   assert.equal(kind, err and err.kind, tostring(err))
   assert.is_true(#err.text > 0)
   assert.truthy(err.hint:find(hint or ".", 1, hint ~= nil), err.hint)
end

-- Connects to what must fail; returns the error and how long it took.
local function failing(options, scope)
   local conn = mr.connect(options)
   local began = mr.now()
   local ok, err
   broker.quietly(function() ok, err = conn:connect() end)
   local took = mr.now() - began
   assert.is_nil(ok)
   assert.equal(scope or "connection", err.scope)
   assert.is_false(conn.is_open)
   assert.equal(err.kind, conn.last_error.kind)
   conn:release()
   return err, took
end

describe("a connection", function()
   after_each(function()
      broker.close_all()
      peer.stop_all()
   end)

   broker.it_inside(it, "is seen at the broker under its name, with what it says of itself (D1, D2, D3, D4, I7)", function()
      local name = broker.name "billing"
      assert(broker.connect { name = name, client_properties = { team = "ops", nested = { a = 1 } } }:connect())
      assert(broker.connect():connect())
      local _, line = broker.connection_with(name)
      assert.truthy(line)
      for _, part in ipairs { '"product","Moonrabbit"', '"version","' .. mr.version, '"platform","C; Linux', '"team","ops"',
         '"connection_name","' .. name, '"connection.blocked",true', '"authentication_failure_close",true',
         '"publisher_confirms",true', '"consumer_cancel_notify",true', '"basic.nack",true', '"per_consumer_qos",true',
         '"exchange_exchange_bindings",true' } do
         assert.truthy(line:find(part, 1, true), part .. " is missing in " .. line)
      end
      local host = assert(io.open("/proc/sys/kernel/hostname")):read "*l"
      assert.truthy((broker.connection_with('@' .. host .. '"'))) -- SCRIPT@HOST
   end)

   it("opens nothing before it is used (Q12)", function()
      local served = peer.start(function(session) session:drain() end)
      local conn = broker.connect { url = "amqp://127.0.0.1:" .. served.port }
      assert.equal("idle", conn.state)
      assert.is_false(conn.is_open)
      assert.is_nil(conn.last_error)
      assert.is_nil(conn.server_properties)
      assert.equal(0, conn.epoch)
      mr.sleep(0)
      assert.is_true(conn:close())
      assert.equal(0, served.count)
   end)

   it("tells of the broker and of itself, never of its password", function()
      local conn = broker.connect { url = "amqp://127.0.0.1:" .. broker.port, userid = "guest", password = "guest" }
      assert.equal("127.0.0.1:" .. broker.port, conn.host)
      assert.equal(conn, assert(conn:connect()))
      assert.equal(conn, assert(conn:connect())) -- again: at once
      assert.equal("open", conn.state)
      assert.equal("RabbitMQ", conn.server_properties.product) -- clients switch on it (FIELD-F1)
      assert.truthy(conn.server_properties.version:find "^3%.%d+%.%d+$")
      assert.equal(not broker.is_rabbitmq and mr.version or nil, conn.server_properties.moonrabbit)
      assert.is_true(conn.server_properties.capabilities.publisher_confirms)
      local info = conn:info()
      assert.is_nil(info.password)
      assert.equal("open", info.state)
      for k, v in pairs(info) do
         assert.falsy(tostring(v):find(":guest@", 1, true), k)
      end
      assert.falsy(tostring(conn):find(":guest@", 1, true))
   end)

   it("is closed once, however often it is asked to be, and by many tasks at once (Q27)", function()
      local conn = broker.connect()
      assert(conn:channel())
      local done = 0
      for _ = 1, 3 do
         mr.spawn(function()
            assert.is_true(conn:close())
            done = done + 1
         end)
      end
      assert.is_true(conn:close())
      eventually("all closes", function() return done == 3 end)
      assert.equal("closed", conn.state)
      assert.is_true(conn:close())
      assert.is_true(conn:release())
      assert.is_true(conn:release())
      assert.is_true(conn:close())
      local ok, err = conn:connect()
      assert.is_nil(ok)
      assert.equal("closed", err.kind)
      assert.equal("closed", select(2, conn:channel()).kind)
   end)

   it("connects again after a close, by itself when a channel is asked for (Q13)", function()
      local events = {}
      local conn = broker.connect { on_event = function(ev) events[#events + 1] = ev.type end }
      local old = assert(conn:channel())
      assert.is_true(conn:close())
      assert.is_false(old.is_open)
      assert.equal("closed", select(2, old:queue_declare { queue = "x" }).kind)
      local new = assert(conn:channel())
      assert.is_true(new.is_open)
      assert.is_false(old.is_open)
      assert.equal(2, conn.epoch)
      assert(conn:close())
      eventually("the last event", function() return #events == 6 end)
      assert.same({ "connecting", "connected", "closed", "connecting", "connected", "closed" }, events)
   end)

   it("is shared by tasks that ask for it at the same time", function()
      local conn = broker.connect()
      local channels = {}
      for _ = 1, 10 do
         mr.spawn(function()
            local ch = assert(conn:channel())
            channels[ch.id] = (channels[ch.id] or 0) + 1
         end)
      end
      eventually("ten channels", function() return #channels == 10 end)
      for i = 1, 10 do assert.equal(1, channels[i]) end
      assert.equal(1, conn.epoch)
   end)

   it("may be closed while it connects", function()
      local served = peer.start(function(session) session:drain() end)
      local conn = broker.connect { url = "amqp://127.0.0.1:" .. served.port }
      local result
      mr.spawn(function() result = { conn:connect() } end)
      eventually("the connect", function() return served.count == 1 end)
      assert.equal("connecting", conn.state)
      assert.is_true(conn:close())
      eventually("the end of the wait", function() return result end)
      assert.is_nil(result[1])
      assert.equal("closed", result[2].kind)
      assert.equal("closed", conn.state)
   end)

   it("gives channels up to channel_max, and their numbers again (Q24)", function()
      local conn = broker.connect { channel_max = 3 }
      local list = {}
      for i = 1, 3 do list[i] = assert(conn:channel()) end
      local ch, err = conn:channel()
      assert.is_nil(ch)
      check(err, "channel_limit_reached", "channel_max")
      assert.is_true(list[2]:close())
      assert.is_true(list[2]:close())
      assert.equal(list[2].id, assert(conn:channel()).id)
   end)

   it("goes on to the next host when the first is dead (X9)", function()
      local conn = broker.connect { hosts = "in_order", url = ("amqp://guest:guest@127.0.0.1:%d,127.0.0.1:%d/"):format(peer.closed_port(),
         broker.port) }
      assert(conn:connect())
      assert.equal("127.0.0.1:" .. broker.port, conn.host)
   end)

   it("goes on to the next host when the first hangs up or is none at all", function()
      local rude = peer.start(function() end)
      local conn = broker.connect { hosts = "in_order", url = ("amqp://guest:guest@127.0.0.1:%d,no-such-host.invalid,127.0.0.1:%d/"):format(
         rude.port, broker.port) }
      broker.quietly(function() assert(conn:connect()) end)
      assert.equal("127.0.0.1:" .. broker.port, conn.host)
      assert.equal(1, rude.count)
   end)

   it("goes on to the next host when the first is silent", function()
      local silent = peer.start(function(session) session:drain() end)
      local conn = broker.connect { socket_timeout = 0.3, connect_timeout = 4, hosts = "in_order",
         url = ("amqp://guest:guest@127.0.0.1:%d,127.0.0.1:%d/"):format(silent.port, broker.port) }
      broker.quietly(function() assert(conn:connect()) end)
      assert.equal("127.0.0.1:" .. broker.port, conn.host)
   end)

   it("tells the most telling reason when no host serves, and whose it is", function()
      local rude = peer.start(function() end)
      local err = failing(("amqp://127.0.0.1:%d,127.0.0.1:%d?hosts=in_order"):format(rude.port, peer.closed_port()))
      check(err, "stream_lost")
      assert.truthy(err.text:find("127.0.0.1:" .. rude.port, 1, true), err.text)
      assert.equal(1, rude.count)
   end)

   it("names all hosts that it tried, as far as there is room (X9)", function()
      local rude, ports, list = peer.start(function() end), {}, {}
      for i = 1, 3 do ports[i] = peer.closed_port() end
      local err = failing(("amqp://127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d,no-such.invalid:7,127.0.0.1:%d"):format(ports[1],
         rude.port, ports[2], ports[3]))
      check(err, "stream_lost")
      for _, port in ipairs(ports) do
         assert.truthy(err.text:find(("127.0.0.1:%d connection_refused"):format(port), 1, true), err.text)
      end
      assert.truthy(err.text:find("no-such.invalid:7 dns_failed", 1, true), err.text)
      assert.truthy(err.text:find("tried 5: ", 1, true), err.text)
      for i = 1, 40 do list[i] = "127.0.0.1:" .. ports[1] end
      err = failing("amqp://" .. table.concat(list, ","))
      check(err, "connection_refused")
      assert.truthy(err.text:find("tried 40: ", 1, true), err.text)
      assert.is_true(#err.text < 503 and err.text:sub(-1) == ")", err.text)
      assert.falsy(failing("amqp://127.0.0.1:" .. ports[1]).text:find("tried", 1, true))
   end)

   broker.it_inside(it, "takes the heartbeat that was proposed, when the broker agrees (B3)", function()
      local name = broker.name "beating"
      assert(broker.connect { heartbeat = 7, name = name }:connect())
      assert.equal(7, broker.connection_with(name).timeout)
   end)
end)

describe("wrong options", function()
   local function refused(options, ...)
      local ok, why = pcall(function() mr.connect(options) end)
      assert.is_false(ok, "was not refused")
      for _, part in ipairs { ... } do assert.truthy(tostring(why):find(part, 1, true), why) end
      local conn, err = mr.try_connect(options)
      assert.is_nil(conn)
      assert.equal("config", err.scope)
      return err
   end

   it("are named, with the nearest", function()
      assert.equal("bad_option", refused({ hearbeat = 5 }, "hearbeat", "heartbeat", "connect_spec").kind)
      refused({ ssl_options = { ca_cert = "x" } }, "ca_certs")
      refused({ url = "amqp://localhost?hartbeat=5" }, "heartbeat")
      refused({ vhost = "/" }, "vhost")
   end)

   it("of a wrong type or out of range are named", function()
      refused({ heartbeat = "60" }, "heartbeat", "number")
      refused({ heartbeat = -1 }, "heartbeat")
      refused({ heartbeat = 65536 }, "heartbeat")
      refused({ heartbeat = 0 / 0 }, "heartbeat")
      refused({ connect_timeout = 0 }, "connect_timeout")
      refused({ connect_timeout = 1 / 0 }, "connect_timeout")
      refused({ port = 70000 }, "port")
      refused({ port = 5672.5 }, "port")
      refused({ ssl = "yes" }, "ssl")
      refused({ auth = "kerberos" }, "auth")
      refused({ heartbeat_mode = "never" }, "heartbeat_mode")
      refused({ ssl_options = { min_version = "1.0" } }, "min_version")
      refused({ frame_max = 100 }, "frame_max")
   end)

   it("in a URL are named, and the password is not", function()
      for _, url in ipairs { "amqp://guest:sEcReT@h:x", "http://guest:sEcReT@localhost", "amqp://guest:sEcReT@h:99999",
         "amqp://guest:sEcReT@[::1", "guest:sEcReT@localhost", "amqp://guest:sEcReT@h/%zz", "amqp://guest:sEcReT@h/a/b" } do
         local err = refused({ url = url })
         assert.equal("bad_uri", err.kind, url)
         assert.falsy(tostring(err):find("sEcReT", 1, true), tostring(err))
      end
   end)
end)

describe("connecting fails with (T34)", function()
   after_each(peer.stop_all)
   local plain = "amqp://guest:guest@127.0.0.1:"

   it("connection_refused at a closed port (K1, H5)", function()
      local err, took = failing(plain .. peer.closed_port())
      check(err, "connection_refused", "is RabbitMQ running")
      assert.equal(111, err.errno)
      assert.is_true(err.recoverable)
      assert.is_true(took < 2)
   end)

   it("dns_failed for a host that is not there", function()
      local err, took = failing { url = "amqp://no-such-host.invalid", connect_timeout = 3 }
      check(err, "dns_failed", "spelled right")
      assert.truthy(err.text:find("no-such-host.invalid", 1, true), err.text)
      assert.is_true(took < 4)
   end)

   it("authentication_failed for a wrong password, which nobody sees (L6, S4)", function()
      local err = failing(("amqp://guest:sEcReT@127.0.0.1:%d"):format(broker.port))
      check(err, "authentication_failed", "user and password")
      assert.equal(403, err.code)
      assert.falsy(tostring(err):find("sEcReT", 1, true))
   end)

   it("vhost_access_refused for a virtual host that is not there (H5)", function()
      local err = failing(plain .. broker.port .. "/no-such-vhost")
      check(err, "vhost_access_refused", "list_vhosts")
      assert.truthy(err.text:find("no-such-vhost", 1, true), err.text)
   end)

   it("protocol_mismatch when TLS is spoken to a plain port", function()
      local err, took = failing { url = "amqps://127.0.0.1:" .. broker.port, connect_timeout = 3 }
      check(err, "protocol_mismatch", "5671")
      assert.is_true(took < 3.5)
   end)

   it("protocol_mismatch when the plain protocol is spoken to a TLS port", function()
      local err, took = failing { url = (TLS:gsub("^amqps", "amqp")), connect_timeout = 3 }
      check(err, "protocol_mismatch", "5671")
      assert.is_true(took < 3.5)
   end)

   -- name, kind, part of the text or hint, how the peer behaves
   for _, case in ipairs {
      { "a web server", "protocol_mismatch", "15672", function(s)
         s:read(8)
         s:write "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
      end },
      { "an SSH server", "protocol_mismatch", "SSH", function(s)
         s:write "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"
         s:drain()
      end },
      { "a mail server", "protocol_mismatch", "5672", function(s)
         s:write "220 mail.example.org ESMTP\r\n"
         s:drain()
      end },
      { "a broker that speaks AMQP 0-9-0 only", "protocol_mismatch", "0-9", function(s)
         s:read(8)
         s:write "AMQP\1\1\0\9"
      end },
      { "a broker that speaks AMQP 1.0 only", "protocol_mismatch", "1", function(s)
         s:read(8)
         s:write "AMQP\0\1\0\0"
      end },
      { "a silent peer", "connect_timeout", "firewall", function(s) s:drain() end },
      { "a peer that stops in the middle of a frame", "connect_timeout", "", function(s)
         s:read(8)
         s:write(peer.start_method():sub(1, 20))
         s:drain()
      end },
      { "a peer that hangs up at once", "stream_lost", "", function() end },
      { "a peer that resets", "stream_lost", "", function(s)
         s:read(8)
         s:reset()
      end },
      { "a peer that hangs up after the login", "authentication_failed", "password", function(s)
         s:read(8)
         s:write(peer.start_method())
         s:expect(10, 11)
      end },
      { "a peer that hangs up after connection.open", "vhost_access_refused", "vhost", function(s)
         s:read(8)
         s:write(peer.start_method())
         s:expect(10, 11)
         s:write(peer.tune_method())
         s:expect(10, 40)
      end },
      { "a peer that offers no mechanism of ours", "authentication_failed", "", function(s)
         s:read(8)
         s:write(peer.start_method "GSSAPI SCRAM-SHA-256")
         s:drain()
      end },
      { "a peer that starts with another method", "command_invalid", "tune", function(s)
         s:read(8)
         s:write(peer.tune_method())
         s:drain()
      end },
      { "a peer that sends a frame without its end", "frame_error", "", function(s)
         s:read(8)
         s:write((peer.start_method():gsub("\206$", "\0")))
         s:drain()
      end },
      { "a peer that announces a frame of 4 GiB", "frame_error", "", function(s)
         s:read(8)
         s:write "\1\0\0\255\255\255\255\0\10\0\10"
         s:drain()
      end },
      { "a peer that sends noise", "protocol_mismatch", "", function(s)
         s:read(8)
         s:write(("\0\255\7x"):rep(1000))
         s:drain()
      end },
      { "a frame_max that is too small to be true", "frame_error", "", function(s)
         s:read(8)
         s:write(peer.start_method())
         s:expect(10, 11)
         s:write(peer.tune_method(10, 100))
         s:drain()
      end },
   } do
      it(case[2] .. " at " .. case[1], function()
         local served = peer.start(case[4])
         local err, took = failing { url = plain .. served.port, connect_timeout = 1 }
         check(err, case[2])
         local said = err.text .. err.hint
         assert.truthy(said:find(case[3], 1, true), said)
         assert.is_true(took < 2, "took " .. took)
         assert.equal(1, served.count)
         assert.falsy(err.text:find("%c"), "control characters in the text")
      end)
   end

   it("the reason that the broker gives, escaped (S8)", function()
      local served = peer.start(function(s)
         s:read(8)
         s:write(peer.start_method())
         s:expect(10, 11)
         s:write(peer.method(0, 10, 50, peer.u16(320) .. peer.short "GO AWAY\27[31m\r\nnow" .. "\0\0\0\0"))
         s:expect(10, 51)
      end)
      local err = failing { url = plain .. served.port, connect_timeout = 2 }
      check(err, "connection_forced")
      assert.equal(320, err.code)
      assert.truthy(err.text:find("GO AWAY", 1, true))
      assert.falsy(err.text:find("%c"), "control characters in the text")
   end)
end)

describe("TLS", function()
   after_each(function()
      broker.close_all()
      peer.stop_all()
   end)

   local function connects(options)
      options.url = options.url or TLS
      local conn = broker.connect(options)
      assert(conn:connect())
      local ch = assert(conn:channel())
      local q = assert(ch:queue_declare { exclusive = true }).queue
      local body = ("tls\0"):rep(100000)
      assert(ch:confirm_select())
      assert(ch:publish("", q, body))
      assert.is_true(assert(ch:get(q, { no_ack = true })).body == body)
      return conn
   end

   local function refused(ssl_options, part, scope)
      local err = failing({ url = TLS, ssl_options = ssl_options, connect_timeout = 3 }, scope)
      check(err, "tls_failed", "ssl_options")
      assert.truthy(err.text:find(part, 1, true), err.text)
   end

   it("works with the CA that signed the broker's certificate (E1, E3)", function()
      connects { ssl_options = { ca_certs = CA } }
   end)

   it("works by the options of a URL", function()
      connects { url = TLS .. "?ssl_options.ca_certs=" .. CA }
   end)

   it("works with ssl = true and a host name (E2)", function()
      connects { url = (TLS:gsub("^amqps", "amqp")), ssl = true, ssl_options = { ca_certs = CA } }
   end)

   it("refuses a certificate of an unknown CA (S5)", function() refused({}, "certificate") end)

   it("takes any certificate when it shall not verify", function() connects { ssl_options = { verify = false } } end)

   it("refuses a certificate for another name", function()
      refused({ ca_certs = CA, server_name = "elsewhere.example" }, "another host name")
   end)

   it("takes the name to expect from server_name", function()
      connects { url = (TLS:gsub("localhost", "127.0.0.1")), ssl_options = { ca_certs = CA, server_name = "localhost" } }
   end)

   it("verifies an address, too", function()
      connects { url = (TLS:gsub("localhost", "127.0.0.1")), ssl_options = { ca_certs = CA } }
   end)

   broker.it_rabbitmq(it, "shows a client certificate (E4, E5)", function()
      local conn = connects { ssl_options = { ca_certs = CA, certfile = CERTS .. "/client.pem", keyfile = CERTS .. "/client.key" } }
      broker.eventually("its subject", function()
         return broker.ctl("list_connections -q peer_cert_subject"):find("CN=client", 1, true)
      end)
      conn:close()
   end)

   it("names a file that is not there", function()
      refused({ ca_certs = "/nowhere/ca.pem" }, "/nowhere/ca.pem", "config")
      refused({ ca_certs = CA, certfile = "/nowhere/client.pem" }, "/nowhere/client.pem", "config")
      refused({ ca_certs = CA, certfile = CERTS .. "/client.pem", keyfile = CERTS .. "/server.key" }, "key", "config")
   end)

   it("works with TLS 1.3 as the least", function()
      connects { ssl_options = { ca_certs = CA, min_version = "1.3" } }
   end)

   it("ends with connect_timeout at a peer that does not answer the hello", function()
      local served = peer.start(function(session) session:drain() end)
      local err, took = failing { url = "amqps://127.0.0.1:" .. served.port, connect_timeout = 0.5 }
      check(err, "connect_timeout")
      assert.is_true(took < 2)
   end)

   it("ends with stream_lost or tls_failed at a peer that hangs up", function()
      local served = peer.start(function(session) session:read(5) end)
      local err = failing { url = "amqps://127.0.0.1:" .. served.port, connect_timeout = 2 }
      assert.truthy(err.kind == "tls_failed" or err.kind == "stream_lost" or err.kind == "protocol_mismatch", err.kind)
   end)
end)

describe("declaring", function()
   after_each(broker.close_all)

   it("with other arguments fails naming the argument, and the connection lives (H7)", function()
      local conn = broker.connect()
      local ch, other = assert(conn:channel()), assert(conn:channel())
      local q = assert(ch:queue_declare { queue = broker.name "declared", exclusive = true }).queue
      local ok, err = ch:queue_declare { queue = q, exclusive = true, arguments = { ["x-max-length"] = 3 } }
      assert.is_nil(ok)
      check(err, "precondition_failed", "names the argument")
      assert.equal(406, err.code)
      assert.equal("channel", err.scope)
      assert.is_false(err.recoverable)
      assert.truthy(err.text:find("x-max-length", 1, true), err.text)
      assert.is_false(ch.is_open)
      assert.equal("precondition_failed", ch.last_error.kind)
      assert.equal("precondition_failed", select(2, ch:publish("", q, "x")).kind)
      assert.equal("precondition_failed", select(2, ch:queue_purge { queue = q }).kind)
      assert.is_true(conn.is_open)
      assert(other:queue_purge { queue = q })
   end)

   it("an exchange of another type says which", function()
      local ch = broker.channel()
      local exchange = broker.name "exchange"
      assert(ch:exchange_declare { exchange = exchange, type = "topic", auto_delete = true })
      local again = assert(ch.connection:channel())
      local ok, err = again:exchange_declare { exchange = exchange, type = "direct", auto_delete = true }
      assert.is_nil(ok)
      assert.equal("precondition_failed", err.kind)
      assert.truthy(err.text:find("type", 1, true), err.text)
      assert.is_true(ch:exchange_delete { exchange = exchange })
   end)

   it("goes round: queues, exchanges, bindings, purge, delete", function()
      local ch = broker.channel()
      local a, b = broker.name "a", broker.name "b"
      assert.is_true(ch:exchange_declare { exchange = a, type = "direct" })
      assert.is_true(ch:exchange_declare { exchange = b, type = "headers", internal = true })
      assert.is_true(ch:exchange_bind { destination = b, source = a, routing_key = "k" })
      local declared = assert(ch:queue_declare { exclusive = true })
      assert.same({ 0, 0 }, { declared.message_count, declared.consumer_count })
      local q = declared.queue
      assert.truthy(q:find("^amq.gen"))
      assert.is_true(ch:queue_bind { queue = q, exchange = b, arguments = { ["x-match"] = "all", colour = "red" } })
      assert(ch:confirm_select())
      assert.is_true(ch:publish(a, "k", "1", { headers = { colour = "red" }, mandatory = true }))
      assert.equal("returned", select(2, ch:publish(a, "k", "2", { headers = { colour = "blue" }, mandatory = true })).kind)
      assert.equal(1, ch:queue_purge { queue = q })
      assert.is_true(ch:queue_unbind { queue = q, exchange = b, arguments = { ["x-match"] = "all", colour = "red" } })
      assert.is_true(ch:exchange_unbind { destination = b, source = a, routing_key = "k" })
      assert.is_true(ch:publish("", q, "3"))
      assert.equal(1, ch:queue_delete { queue = q })
      assert.is_true(ch:exchange_delete { exchange = a })
      assert.is_true(ch:exchange_delete { exchange = b, if_unused = true })
   end)

   it("asks only: passive", function()
      local ch = broker.channel()
      local ok, err = ch:queue_declare { queue = broker.name "nowhere", passive = true }
      assert.is_nil(ok)
      check(err, "not_found", "declare it first")
   end)

   it("a name that is reserved is refused", function()
      local ok, err = broker.channel():queue_declare { queue = "amq.mine" }
      assert.is_nil(ok)
      check(err, "access_refused", "permission")
   end)

   it("what is in use or not empty is not deleted when so asked", function()
      local ch = broker.channel()
      local q = assert(ch:queue_declare { exclusive = true }).queue
      assert(ch:publish("", q, "x"))
      local ok, err = ch:queue_delete { queue = q, if_empty = true }
      assert.is_nil(ok)
      assert.equal("precondition_failed", err.kind)
   end)

   it("with wrong options is refused before anything is asked", function()
      local ch = broker.channel()
      for _, case in ipairs {
         { "queue_declare", { durabel = true }, 'did you mean "durable"' },
         { "queue_declare", { durable = 1 }, "boolean" },
         { "exchange_declare", { type = "topic" }, '"exchange" is missing' },
         { "queue_bind", { queue = "q" }, '"exchange" is missing' },
         { "qos", { prefetch_count = 65536 }, "prefetch_count" },
      } do
         local ok, why = pcall(function() ch[case[1]](ch, case[2]) end)
         assert.is_false(ok)
         assert.truthy(why:find(case[3], 1, true), why)
         assert.truthy(why:find("connect_spec", 1, true), why)
      end
      local ok, err = ch:queue_declare { queue = ("q"):rep(256) }
      assert.is_nil(ok)
      assert.equal("bad_argument", err.kind)
      assert.is_true(ch.is_open)
   end)
end)

describe("after connecting", function()
   it("no connection is left at the broker", broker.none_left)
end)
