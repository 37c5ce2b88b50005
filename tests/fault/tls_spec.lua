--- TLS: whom a client trusts, what it says of whom it does not, and TLS connections that are lost.
local mr = require "moonrabbit"
local broker = require "broker"
local embedded = require "embedded"
local certificates = require "certificates"
local peer = require "peer"
local recovering = require "recovering"
local tls_peer = require "tls_peer"

local eventually = broker.eventually

local certs

-- An embedded broker that serves TLS with the certificate of that name.
local function serve(certificate, port)
   local b, err = mr.testing.broker { listen = "127.0.0.1:" .. (port or 0), certfile = certs.path(certificate),
      keyfile = certs.key(certificate) }
   return b and embedded.keep(b), err
end

local function amqps(served, host) return ("amqps://%s:%d"):format(host or "localhost", served.port) end

-- Connects to a broker with this certificate; ca_certs (default "ca") and the like by the names of certificates.
local function options_for(url, ssl_options)
   local ssl = { ca_certs = certs.path "ca" }
   for k, v in pairs(ssl_options or {}) do ssl[k] = v end
   if ssl.ca_certs == "system" then ssl.ca_certs = nil end
   return { url = url, ssl_options = ssl, connect_timeout = 5, close_timeout = 0.1 }
end

local function connects(url, ssl_options)
   local conn = broker.connect(options_for(url, ssl_options))
   assert(conn:connect())
   assert.is_true(conn.is_open)
   return conn
end

local function refused(kind, part, url, ssl_options)
   local ok, err = broker.connect(options_for(url, ssl_options)):connect()
   assert.is_nil(ok)
   assert.same({ kind, "connection" }, { err.kind, err.scope }, tostring(err))
   assert.truthy(err.text:find(part, 1, true), err.text)
   return err
end

-- ... because of its certificate.
local function distrusted(part, certificate, ssl_options, host)
   local b = assert(serve(certificate))
   local err = refused("tls_failed", part, amqps(b, host), ssl_options)
   assert.truthy(err.hint:find("ca_certs must hold the CA", 1, true), err.hint)
   assert.truthy(err.text:find(tostring(b.port), 1, true), err.text)
   return err
end

local function clean()
   recovering.clean()
   peer.stop_all()
end

local quiet = recovering.quiet

setup(function() certs = certificates.make() end)
teardown(function() certs.remove() end)

describe("the certificate of a broker", function()
   before_each(quiet)
   after_each(clean)

   it("is trusted when a CA of ca_certs signed it, and it is for the host", function()
      local b = assert(serve "good")
      local conn = connects(amqps(b))
      assert.equal(1, #b:report().connections)
      assert(conn:close())
      connects(amqps(b) .. "?ssl_options.ca_certs=" .. certs.path "ca")
   end)

   it("is refused when it has expired", function() distrusted("expired", "expired") end)

   it("is refused when it is for another host", function() distrusted("another host name", "elsewhere") end)

   it("is refused when another CA signed it", function() distrusted("unknown CA", "foreign") end)

   it("is refused when it signed itself", function() distrusted("unknown CA", "self") end)

   it("is refused when the system's CAs, which are the default, do not know it (S5)", function()
      distrusted("unknown CA", "good", { ca_certs = "system" })
      distrusted("unknown CA", "self", { ca_certs = "system" })
   end)

   it("is trusted when it signed itself and is what ca_certs holds", function()
      connects(amqps(assert(serve "self")), { ca_certs = certs.path "self" })
   end)

   it("is trusted when one of several CAs in ca_certs signed it", function()
      for _, name in ipairs { "good", "foreign" } do
         connects(amqps(assert(serve(name))), { ca_certs = certs.path "both_cas" })
      end
   end)

   it("must hold the address when the host is one (S5)", function()
      connects(amqps(assert(serve "good"), "127.0.0.1"))
      distrusted("another host name", "name_only", nil, "127.0.0.1")
      distrusted("another host name", "elsewhere", nil, "127.0.0.1")
   end)

   it("must hold server_name, where one is given, instead of the host", function()
      connects(amqps(assert(serve "name_only"), "127.0.0.1"), { server_name = "localhost" })
      connects(amqps(assert(serve "elsewhere")), { server_name = "elsewhere.example" })
      distrusted("another host name", "good", { server_name = "elsewhere.example" })
      distrusted("another host name", "elsewhere", { server_name = "example" })
   end)

   it("is asked for by name: server_name, the host, and none for an address", function()
      local asked = {}
      local served = tls_peer.start({ certfile = certs.path "good", keyfile = certs.key "good" }, function(s)
         asked[#asked + 1] = s.sni or "(none)"
         if s:handshake() then s:drain() end
      end)
      connects(amqps(served))
      connects(amqps(served, "127.0.0.1"))
      connects(amqps(served, "127.0.0.1"), { server_name = "localhost" })
      assert.same({ "localhost", "(none)", "localhost" }, asked)
   end)

   it("is not looked at without verification, of which the log warns (S5)", function()
      local script = broker.script(([[
         local mr = require "moonrabbit"
         for _, name in ipairs { "expired", "elsewhere", "foreign", "self" } do
            local path = %q
            local b = assert(mr.testing.broker { listen = "127.0.0.1:0", certfile = path:gsub("NAME", name),
               keyfile = path:gsub("NAME", name):gsub("%%.pem$", ".key") })
            local conn = mr.connect { url = "amqps://localhost:" .. b.port, name = name, ssl_options = { verify = false } }
            assert(conn:connect())
            conn:release()
            b:close()
         end
      ]]):format(certs.path "NAME"))
      local out, code = broker.shell(("%s run --log-level warn %s"):format(broker.command, script))
      assert.equal(0, code, out)
      local warnings = select(2, out:gsub("level=warn[^\n]*TLS does not verify the peer", ""))
      assert.equal(4, warnings, out)
      assert.truthy(out:find("connection=foreign", 1, true), out)
   end)
end)

describe("the version of TLS", function()
   before_each(quiet)
   after_each(clean)

   local function old_peer()
      return tls_peer.start({ certfile = certs.path "good", keyfile = certs.key "good", max_version = "1.2" }, function(s)
         if s:handshake() then s:drain() end
      end)
   end

   it("1.2 is taken from who can no more", function() connects(amqps(old_peer())) end)

   it("1.2 is refused when 1.3 is the least, naming the version", function()
      local served = old_peer()
      local err = refused("tls_failed", "version", amqps(served), { min_version = "1.3" })
      assert.truthy(err.hint ~= "")
      assert.equal(1, served.refused)
   end)

   it("1.3 is spoken by the embedded broker", function() connects(amqps(assert(serve "good")), { min_version = "1.3" }) end)
end)

describe("a port of the other kind", function()
   before_each(quiet)
   after_each(clean)

   it("is protocol_mismatch for a plain client on a TLS port", function()
      local b = assert(serve "good")
      local err = refused("protocol_mismatch", tostring(b.port), (amqps(b):gsub("^amqps", "amqp")))
      assert.truthy(err.hint:find("5671", 1, true), err.hint)
      connects(amqps(b)) -- and the port serves on
   end)

   it("is protocol_mismatch for a TLS client on a plain port", function()
      local b = embedded.broker { listen = "127.0.0.1:0" }
      local err = refused("protocol_mismatch", "TLS", amqps(b))
      assert.truthy(err.hint:find("5671", 1, true), err.hint)
      connects((amqps(b):gsub("^amqps", "amqp")))
   end)
end)

describe("a broker that requires a client certificate", function()
   before_each(quiet)
   after_each(clean)

   local seen
   local function demanding(version)
      seen = {}
      return tls_peer.start({ certfile = certs.path "good", keyfile = certs.key "good", client_ca = certs.path "ca",
         max_version = version }, function(s)
         seen[#seen + 1] = s.client
         if s:handshake() then s:drain() end
      end)
   end

   local function client(name) return { certfile = certs.path(name), keyfile = certs.key(name) } end

   for _, version in ipairs { "1.2", "1.3" } do
      it("is shown it by TLS " .. version, function()
         connects(amqps(demanding(version)), client "client")
         assert.same({ "/CN=client" }, seen)
      end)

      it("refuses who has none by TLS " .. version .. ", which says so", function()
         local served = demanding(version)
         local err = refused("tls_failed", version == "1.3" and "client certificate" or "handshake failure", amqps(served))
         assert.truthy(err.hint ~= "")
         assert.same({ 1, {} }, { served.refused, seen })
      end)

      it("refuses one of another CA by TLS " .. version .. ", which says so", function()
         local served = demanding(version)
         refused("tls_failed", "refused our client certificate", amqps(served), client "foreign_client")
         assert.same({ 1, {} }, { served.refused, seen })
      end)
   end
end)

-- A connection that is brought back when conn:connect() is called, and not before.
local function patient(url, ssl_options)
   local options = options_for(url, ssl_options)
   options.transport_options = { interval_start = 3600, interval_max = 3600 }
   local seen
   options.on_event, seen = recovering.recorder()
   local conn = broker.connect(options)
   return assert(conn:channel()), seen, conn
end

-- The broker goes, and one with another certificate takes its port.
local function replaced(b, certificate, seen)
   local port = b.port
   b:drop()
   eventually("the wait for another try", function() return seen.retrying end)
   b:close()
   return eventually("the port", function() return serve(certificate, port) end)
end

describe("certificate files that are replaced on disk", function()
   before_each(quiet)
   after_each(clean)

   it("are used at the next reconnect: the CA's", function()
      certs.copy("ca", "bundle")
      local b = assert(serve "good")
      local ch, seen, conn = patient(amqps(b), { ca_certs = certs.path "bundle" })
      replaced(b, "foreign", seen)
      local ok, err = conn:connect()
      assert.is_nil(ok)
      assert.equal("tls_failed", err.kind)
      assert.truthy(err.text:find("unknown CA", 1, true), err.text)
      assert.equal("retrying", conn.state) -- that a certificate is mended is worth waiting for
      certs.copy("other_ca", "bundle")
      assert(conn:connect())
      assert.same({ true, 2 }, { ch.is_open, conn.epoch })
      assert(ch:queue_declare { exclusive = true })
   end)

   it("are used at the next reconnect: the client's", function()
      local subjects, session = {}, nil
      local served = tls_peer.start({ certfile = certs.path "good", keyfile = certs.key "good",
         client_ca = certs.path "ca" }, function(s)
         subjects[#subjects + 1] = s.client
         session = s
         if s:handshake() and s:open_channel() then s:drain() end
      end)
      certs.copy("client", "mine")
      local _, seen, conn = patient(amqps(served), { certfile = certs.path "mine", keyfile = certs.key "mine" })
      certs.copy("client2", "mine")
      assert.same({ "/CN=client" }, subjects)
      session:cut()
      eventually("the loss", function() return seen.retrying end)
      assert(conn:connect())
      assert.same({ "/CN=client", "/CN=client2" }, subjects)
   end)

   it("may be missing for a while: that is an error of a try, and the next one finds them", function()
      certs.copy("ca", "bundle")
      local b = assert(serve "good")
      local _, seen, conn = patient(amqps(b), { ca_certs = certs.path "bundle" })
      assert(os.remove(certs.path "bundle"))
      b:drop()
      eventually("the loss", function() return seen.retrying end)
      local ok, err = conn:connect()
      assert.is_nil(ok)
      assert.same({ "tls_failed", "config" }, { err.kind, err.scope })
      assert.truthy(err.text:find(certs.path "bundle", 1, true), err.text)
      certs.copy("ca", "bundle")
      assert(conn:connect())
      assert.equal(2, conn.epoch)
   end)
end)

describe("a TLS connection", function()
   before_each(quiet)
   after_each(clean)

   it("that is lost comes back with its consumers, and nothing confirmed is missing", function()
      local b = assert(serve "good")
      local options = options_for(amqps(b))
      local ch, seen, conn = recovering.open(options)
      assert(ch:queue_declare { queue = "work", durable = true })
      assert(ch:confirm_select())
      local handler, got = recovering.counter()
      local consumer = assert(ch:consume("work", handler))
      for round = 1, 5 do
         for i = 1, 20 do assert(ch:publish("", "work", ("%d.%d"):format(round, i))) end
         local ev = recovering.through(seen, function()
            if round % 2 == 0 then b:close_connections() else b:drop() end
         end)
         assert.same({ {}, 1 + round }, { ev.failed, conn.epoch })
      end
      assert(ch:publish("", "work", "last"))
      eventually("the last", function() return got.last end)
      eventually("an empty queue", function() local q = b:queue "work"; return q.messages_ready + q.messages_unacknowledged == 0 end)
      for round = 1, 5 do for i = 1, 20 do assert.truthy(got[("%d.%d"):format(round, i)]) end end
      assert.equal("consuming", consumer.state)
   end)

   it("that is cut while AMQP shakes hands comes back when it is cut no more", function()
      local b = assert(serve "good")
      local ch, seen = recovering.open(options_for(amqps(b)))
      for _, bytes in ipairs { 0, 1, 8, 100, 400 } do
         local tries = seen.count.retrying
         b:cut_after(bytes)
         b:drop()
         eventually("a try that fails after " .. bytes, function() return seen.count.retrying >= tries + 2 end)
         local n = seen.count.recovered
         b:cut_after(nil)
         recovering.recovered(seen, n + 1)
         assert(ch:queue_declare { exclusive = true })
      end
   end)

   it("carries messages of 1 MiB both ways", function()
      local b = assert(serve "good")
      local ch = assert(connects(amqps(b)):channel())
      local q = assert(ch:queue_declare { exclusive = true }).queue
      assert(ch:confirm_select())
      local bodies = {}
      for i = 1, 8 do
         bodies[i] = (string.char(64 + i) .. "\0\255\206"):rep(262144 - i) .. i
         assert(ch:publish("", q, bodies[i]))
      end
      local n = 0
      assert(ch:consume(q, function(msg)
         n = n + 1
         assert(msg.body == bodies[n], "message " .. n .. " differs")
      end))
      eventually("all", function() return n == 8 end, 30)
      assert(ch:close())
   end)

   it("takes new keys in the middle of a body, and goes on with new ones of its own (T36)", function()
      local size, part = 1048576, 65536
      local body, received = ("0123456789abcdef"):rep(size / 16), {}
      local served = tls_peer.start({ certfile = certs.path "good", keyfile = certs.key "good" }, function(s)
         if not s:handshake() then return end
         local channel = s:open_channel()
         s:expect(60, 70)
         s:write(peer.method(channel, 60, 71, ("\0"):rep(7) .. "\1\0" .. peer.short "" .. peer.short "q" .. peer.u32(0)))
         s:write(peer.frame(2, channel, peer.u16(60) .. peer.u16(0) .. peer.u32(0) .. peer.u32(size) .. peer.u16(0)))
         for at = 1, size, part do
            local frame = peer.frame(3, channel, body:sub(at, at + part - 1))
            s:write(frame:sub(1, 1000))
            s:update_keys()
            s:write(frame:sub(1001))
         end
         s:expect(60, 40)
         local count = 0
         while count < size do
            local type_, _, payload = s:frame()
            if not type_ then return end
            if type_ == 3 then
               received[#received + 1] = payload
               count = count + #payload
               s:update_keys()
            end
         end
         received.is_whole = true
         s:drain()
      end)
      local ch = assert(connects(amqps(served)):channel())
      local msg = assert(ch:get("q", { no_ack = true }))
      assert.is_true(msg.body == body)
      assert(ch:publish("", "q", body))
      eventually("the body at the peer", function() return received.is_whole end, 30)
      assert.is_true(table.concat(received) == body)
   end)

   it("waits without spinning while a renegotiation keeps its writes back, and goes on with them (FIELD-R23)", function()
      local state, got = {}, 0
      local served = tls_peer.start({ certfile = certs.path "good", keyfile = certs.key "good", max_version = "1.2" }, function(s)
         if not s:handshake() then return end
         s:open_channel()
         assert(s:renegotiate())
         state.asked = true
         mr.sleep(2)                       -- the client has answered, and waits for us
         state.over = true
         while got < 200 and s:expect(60, 40) do got = got + 1 end
         s:drain()
      end)
      local ch = assert(connects(amqps(served)):channel())
      eventually("the question", function() return state.asked end)
      mr.sleep(0.1)
      local began = os.clock()
      for i = 1, 200 do assert(ch:publish_async("", "q", "message " .. i)) end
      eventually("the end of the pause", function() return state.over end, 10)
      assert.is_true(os.clock() - began < 0.8, os.clock() - began) -- CPU of all threads: a spin takes all there is, 2 s
      eventually("all messages", function() return got == 200 end, 20)
      assert.is_true(ch.is_open)
   end)
end)
