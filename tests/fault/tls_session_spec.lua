--- Sessions of TLS: a connection that comes back resumes its own, with the same host and the same trust, and no other.
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local broker = require "broker"
local certificates = require "certificates"
local embedded = require "embedded"
local peer = require "peer"
local proxy = require "proxy"
local recovering = require "recovering"
local tls_peer = require "tls_peer"

local eventually = broker.eventually

local certs

local function clean()
   recovering.clean()
   peer.stop_all()
end

-- A connection to a host and port that retries at once.
local function open(port, ssl_options, more)
   local options = { url = "amqps://localhost:" .. port, ssl_options = { ca_certs = certs.path "ca" }, close_timeout = 0.2 }
   for k, v in pairs(ssl_options or {}) do options.ssl_options[k] = v end
   for k, v in pairs(more or {}) do options[k] = v end
   return recovering.open(options)
end

local function resumed(conn) return conn:info().agreed.tls_resumed end

local function serve(certificate, port)
   local b, err = mr.testing.broker { listen = "127.0.0.1:" .. (port or 0), certfile = certs.path(certificate),
      keyfile = certs.key(certificate) }
   return b and embedded.keep(b), err
end

-- A scripted peer: shakes hands, serves on, and notes of each session whether it was resumed, and its client's certificate.
local function scripted(options, judge)
   local state = { resumed = {}, clients = {} }
   options.certfile, options.keyfile = certs.path "good", certs.key "good"
   state.peer = tls_peer.start(options, function(s)
      state.resumed[#state.resumed + 1] = s.resumed
      state.clients[#state.clients + 1] = s.client
      state.session = s
      if judge and not judge(s) then return end
      if s:handshake() and s:open_channel() then s:drain() end
   end)
   return state
end

setup(function() certs = certificates.make() end)
teardown(function() certs.remove() end)

describe("the TLS session of a connection", function()
   before_each(recovering.quiet)
   after_each(clean)

   it("is resumed after each loss, and after a close", function()
      local b = assert(serve "good")
      local ch, seen, conn = open(b.port)
      assert.is_false(resumed(conn))
      assert.equal("TLSv1.3", conn:info().agreed.tls)
      for round = 1, 4 do
         recovering.through(seen, function()
            if round % 2 == 0 then b:close_connections() else b:drop() end
         end)
         assert.is_true(resumed(conn))
      end
      assert.is_true(conn:info().agreed.certificate_end > os.time()) -- it is known, though it was not sent again
      assert(ch:queue_declare { exclusive = true })
      assert(conn:close())
      assert(conn:connect())
      assert.is_true(resumed(conn))
   end)

   it("of TLS 1.2 is resumed, too", function()
      local state = scripted { max_version = "1.2" }
      local _, seen, conn = open(state.peer.port)
      for _ = 1, 3 do recovering.through(seen, function() state.session:cut() end) end
      assert.equal("TLSv1.2", conn:info().agreed.tls)
      assert.same({ false, true, true, true }, state.resumed)
   end)

   it("is its own: another connection to the same broker shakes hands in full", function()
      local b = assert(serve "good")
      local _, _, first = open(b.port)
      assert(first:close())
      local _, _, second = open(b.port)
      assert.is_false(resumed(second))
   end)

   it("is not known to a broker that has started anew: the handshake is full, and the next one resumes again", function()
      local b = assert(serve "good")
      local _, seen, conn = open(b.port)
      local port = b.port
      recovering.through(seen, function()
         b:drop()
         b:close()
         b = eventually("the port", function() return serve("good", port) end)
      end)
      assert.is_false(resumed(conn))
      recovering.through(seen, function() b:drop() end)
      assert.is_true(resumed(conn))
   end)

   it("does not help a broker whose certificate is now another's", function()
      local b = assert(serve "good")
      local _, seen, conn = open(b.port, nil, { transport_options = { interval_start = 3600, interval_max = 3600 } })
      local port = b.port
      b:drop()
      eventually("the loss", function() return seen.retrying end)
      b:close()
      for _, name in ipairs { "elsewhere", "foreign", "expired" } do
         b = eventually("the port", function() return serve(name, port) end)
         local ok, err = conn:connect()
         assert.same({ nil, "tls_failed" }, { ok, err.kind })
         b:close()
      end
   end)

   it("is forgotten when a file of the CAs changes, although the broker knows it", function()
      certs.copy("ca", "bundle")
      local b = assert(serve "good")
      local _, seen, conn = open(b.port, { ca_certs = certs.path "bundle" },
         { transport_options = { interval_start = 3600, interval_max = 3600 } })
      local function lose()
         local n = seen.count.retrying
         b:drop()
         eventually("the loss", function() return seen.count.retrying > n end)
      end
      lose()
      certs.copy("ca", "bundle")        -- the same CA, by a new file
      assert(conn:connect())
      assert.is_false(resumed(conn))
      lose()
      assert(conn:connect())
      assert.is_true(resumed(conn))
      lose()
      certs.copy("other_ca", "bundle")      -- the broker's CA is trusted no more
      local ok, err = conn:connect()
      assert.same({ nil, "tls_failed" }, { ok, err.kind })
      assert.truthy(err.text:find("unknown CA", 1, true), err.text)
   end)

   it("is not offered to the next host of the list, whose name is verified as ever", function()
      local b = assert(serve "name_only")   -- for localhost, not for 127.0.0.1
      local between = proxy.start(b.port)
      local _, seen, conn = open(between.port, nil, { hosts = "in_order",
         url = ("amqps://localhost:%d,127.0.0.1:%d"):format(between.port, b.port),
         transport_options = { interval_start = 3600, interval_max = 3600 } })
      assert.equal("localhost:" .. between.port, conn:info().host)
      between.cut_up = 0                    -- the first host is gone from now on
      b:drop()
      eventually("the loss", function() return seen.retrying end)
      local ok, err = conn:connect()
      assert.same({ nil, "tls_failed" }, { ok, err.kind })
      assert.truthy(err.text:find("another host name", 1, true), err.text)
      between.cut_up = nil
      assert(conn:connect())
      assert.is_false(resumed(conn))        -- the second host was the last one to be asked
   end)

   for _, version in ipairs { "1.2", "1.3" } do
      it("is not kept with a client certificate, which is shown each time (TLS " .. version .. ")", function()
         local state = scripted { client_ca = certs.path "ca", max_version = version }
         local _, seen = open(state.peer.port, { certfile = certs.path "client", keyfile = certs.key "client" })
         for _ = 1, 2 do recovering.through(seen, function() state.session:cut() end) end
         assert.same({ false, false, false }, state.resumed)
         assert.same({ "/CN=client", "/CN=client", "/CN=client" }, state.clients)
      end)

      it("may be what a handshake fails for: the host is asked again at once, without one (TLS " .. version .. ")", function()
         local state = scripted { asks = true, max_version = version }
         local _, seen, conn = open(state.peer.port, nil, { transport_options = { interval_start = 3600, interval_max = 3600 } })
         state.session:cut()
         eventually("the loss", function() return seen.retrying end)
         assert(conn:connect())
         assert.equal(1, state.peer.refused)
         assert.same({ false, false }, state.resumed)
         assert.equal(1, seen.count.retrying) -- that was no try that failed
      end)
   end

   it("may be what AMQP fails for: the next try goes without one", function()
      local failed = 0
      local state = scripted({}, function(s)
         if s.resumed then failed = failed + 1 end
         return not s.resumed
      end)
      local _, seen = open(state.peer.port)
      recovering.through(seen, function() state.session:cut() end)
      assert.equal(1, failed)
      assert.same({ false, true, false }, state.resumed)
   end)

   -- One address: a second one would leave this one half of the time, and be the next try.
   it("may be why AMQP never comes: after connect_timeout the next try goes without one", function()
      local state = scripted({}, function(s)
         if s.resumed then s:drain() end
         return not s.resumed
      end)
      local _, seen = open(state.peer.port, nil, { connect_timeout = 2, url = "amqps://127.0.0.1:" .. state.peer.port })
      recovering.through(seen, function() state.session:cut() end)
      assert.is_true(state.resumed[2])
      assert.is_false(state.resumed[3])
   end)
end)

-- RabbitMQ offers sessions of TLS 1.2, and of TLS 1.3 if it is told to; its usual port does not.
describe("the TLS session with RabbitMQ", function()
   before_each(recovering.quiet)
   after_each(clean)

   local certs_of_broker = os.getenv "MR_RABBITMQ_CERTS"

   local function eval(expression) return broker.ctl(([[-q eval "%s"]]):format(expression)) end

   -- Opens a port of it with more options for TLS.
   local function listen(more)
      local port = peer.closed_port()
      local said = eval(([[rabbit_networking:start_ssl_listener({\"127.0.0.1\", %d, inet},
         [%s | proplists:get_value(ssl_options, application:get_all_env(rabbit))], 1).]]):format(port, more))
      assert.truthy(said:find("ok", 1, true), said)
      finally(function()
         clean()
         eval(([[rabbit_networking:stop_tcp_listener({\"127.0.0.1\", %d, inet}).]]):format(port))
      end)
      return port
   end

   -- What happens in three connects: the version of TLS, and which of them were resumed.
   local function story(port, more)
      local options = { url = "amqps://localhost:" .. port, ssl_options = { ca_certs = certs_of_broker .. "/ca.pem" } }
      if more then
         options.auth = "external"
         options.ssl_options.certfile = certs_of_broker .. "/client.pem"
         options.ssl_options.keyfile = certs_of_broker .. "/client.key"
      end
      local conn, told = broker.connect(options), {}
      for i = 1, 3 do
         local ch = assert(conn:channel())
         assert(ch:queue_declare { exclusive = true })
         told.tls, told[i] = conn:info().agreed.tls, resumed(conn)
         assert(conn:close())
      end
      return told
   end

   broker.it_rabbitmq(it, "is none by TLS 1.3, as it is by default", function()
      assert.same({ false, false, false, tls = "TLSv1.3" }, story(os.getenv "MR_RABBITMQ_TLS_PORT"))
   end)

   broker.it_rabbitmq(it, "is resumed by TLS 1.2", function()
      assert.same({ false, true, true, tls = "TLSv1.2" }, story(listen "{versions, ['tlsv1.2']}"))
   end)

   broker.it_rabbitmq(it, "is resumed by TLS 1.3 with session_tickets, but not with a client certificate", function()
      local port = listen "{session_tickets, stateless}"
      assert.same({ false, true, true, tls = "TLSv1.3" }, story(port))
      finally(function()
         clean()
         broker.ctl "-q delete_user client"
         eval(([[rabbit_networking:stop_tcp_listener({\"127.0.0.1\", %d, inet}).]]):format(port))
      end)
      broker.ctl "-q add_user client secret"
      broker.ctl "-q set_permissions client '.*' '.*' '.*'"
      assert.same({ false, false, false, tls = "TLSv1.3" }, story(port, "EXTERNAL"))
   end)
end)
