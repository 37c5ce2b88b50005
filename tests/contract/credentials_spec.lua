--- Credentials: EXTERNAL, passwords that are asked for, secrets that are renewed.
-- Covers: lua/moonrabbit/connection/identity.lua by password
-- Covers: lua/moonrabbit/connection/passwords.lua by connect_timeout
local mr = require "moonrabbit"
local broker = require "broker"
local certificates = require "certificates"
local embedded = require "embedded"
local peer = require "peer"
local recovering = require "recovering"
local tls_peer = require "tls_peer"

local eventually, name = broker.eventually, broker.name

local function clean()
   peer.stop_all()
   recovering.clean()
end

describe("a login by client certificate", function()
   before_each(recovering.quiet)
   after_each(clean)

   broker.it_rabbitmq(it, "is the user of its common name, without a password", function()
      local certs = os.getenv "MR_RABBITMQ_CERTS"
      local ssl_options = { ca_certs = certs .. "/ca.pem", certfile = certs .. "/client.pem", keyfile = certs .. "/client.key" }
      local url = ("amqps://localhost:%s"):format(os.getenv "MR_RABBITMQ_TLS_PORT")
      local conn = broker.connect { url = url, auth = "external", ssl_options = ssl_options }
      local ok, err = conn:connect()
      assert.is_nil(ok) -- there is no such user yet
      assert.equal("authentication_failed", err.kind)
      finally(function()
         broker.close_all()
         broker.ctl "delete_user client"
      end)
      broker.ctl "add_user client secret"
      broker.ctl "set_permissions client '.*' '.*' '.*'"
      local ch = assert(conn:channel())
      assert(ch:queue_declare { exclusive = true })
      assert.truthy(broker.ctl("list_connections -q user auth_mechanism"):find "client%s+EXTERNAL")
   end)

   it("says EXTERNAL and shows the certificate; a broker that has no EXTERNAL is named", function()
      local certs = certificates.make()
      finally(function()
         clean()
         certs.remove()
      end)
      local said = {}
      local function serve(mechanisms)
         return tls_peer.start({ certfile = certs.path "good", keyfile = certs.key "good", client_ca = certs.path "ca" }, function(s)
            s:read(8)
            s:write(peer.start_method(mechanisms))
            local _, start_ok = s:expect(10, 11)
            if not start_ok then return end
            said.mechanism, said.client = start_ok:match "EXTERNAL", s.client
            s:write(peer.tune_method())
            s:expect(10, 40)
            s:write(peer.method(0, 10, 41, "\0"))
            s:drain()
         end)
      end
      local function options(served)
         return { url = ("amqps://localhost:%d"):format(served.port), auth = "external", recover = false, close_timeout = 0.2,
            ssl_options = { ca_certs = certs.path "ca", certfile = certs.path "client", keyfile = certs.key "client" } }
      end
      assert(broker.connect(options(serve "PLAIN EXTERNAL")):connect())
      assert.same({ "EXTERNAL", "/CN=client" }, { said.mechanism, said.client })
      local ok, err = broker.connect(options(serve "PLAIN AMQPLAIN")):connect()
      assert.is_nil(ok)
      assert.equal("authentication_failed", err.kind)
      assert.truthy(err.text:find("PLAIN AMQPLAIN", 1, true), err.text)
   end)
end)

describe("a password that is a function", function()
   before_each(recovering.quiet)
   after_each(clean)

   it("is asked before each connect, so that a token that has changed meanwhile works (Q3)", function()
      local b, asked, token = embedded.broker { users = { ann = "one" } }, 0, "one"
      local ch, seen, conn = recovering.open { url = b.url, userid = "ann", password = function()
         asked = asked + 1
         return token
      end }
      assert.equal(1, asked)
      token = "two"
      b:add_user("ann", "two")
      recovering.through(seen, function() b:drop() end)
      assert.is_true(asked >= 2, asked)
      assert(ch:queue_declare { exclusive = true })
      assert(conn:close())
      local n = asked
      assert(conn:connect())
      assert.equal(n + 1, asked)
      assert.is_nil(conn:info().password)
      assert.falsy(tostring(conn):find("two", 1, true))
   end)

   it("that fails, or gives no string, is why there is no connection", function()
      local b = embedded.broker()
      for _, fn in ipairs { function() error "no vault" end, function() return 5 end, function() end,
         function() mr.event():wait() end } do
         local conn = broker.connect { url = b.url, password = fn, connect_timeout = 0.5 }
         local ok, err = conn:connect()
         assert.is_nil(ok)
         assert.same({ "bad_option", "config" }, { err.kind, err.scope })
         assert.truthy(err.text:find("password function", 1, true), err.text)
      end
   end)

   it("may wait, and one for a key's password that waits for ever is given up, too (FIELD-R5)", function()
      local b = embedded.broker { users = { ann = "one" } }
      local function later()
         mr.sleep(0.01)
         return "one"
      end
      assert(broker.connect { url = b.url, userid = "ann", password = later }:connect())
      local conn = broker.connect { url = "amqps://127.0.0.1:1", connect_timeout = 0.3,
         ssl_options = { password = function() mr.event():wait() end } }
      local ok, err = conn:connect()
      assert.same({ nil, "bad_option", "the ssl_options.password function gave no string within 0.3 s" },
         { ok, err.kind, err.text })
   end)
end)

describe("a secret that is renewed", function()
   before_each(recovering.quiet)
   after_each(clean)

   it("is told to the open connection, and is what the next connect says", function()
      local b = embedded.broker { users = { ann = "one" } }
      local ch, seen, conn = recovering.open { url = b.url, userid = "ann", password = "one" }
      b:add_user("ann", "two")
      assert.is_true(conn:update_secret "two")
      local failures = 0
      for _, ev in ipairs(seen) do if ev.type == "retrying" then failures = failures + 1 end end
      recovering.through(seen, function() b:drop() end)
      assert.equal(failures + 1, seen.count.retrying) -- the loss itself, no refusal
      assert(ch:queue_declare { exclusive = true })
   end)

   it("is used by clones, and for the copies of retried messages, too", function()
      local b = embedded.broker { users = { ann = "one" } }
      local conn = embedded.connect { url = b.url, userid = "ann", password = "one" }
      local ch, tries = assert(conn:channel()), 0
      local w = mr.consumer { queue = "q", connection = conn, retry = mr.retry.fixed { delay = 0.01 }, handler = function()
         tries = tries + 1
         if tries % 2 == 1 then error "no" end
      end }
      assert(w:wait(10))
      for round, secret in ipairs { "two", "three" } do
         b:add_user("ann", secret)
         assert.is_true(conn:update_secret(secret))
         if round == 2 then assert(conn.side.connection:close()) end
         assert(ch:publish("", "q", "x"))
         eventually("its second try", function() return tries == round * 2 end)
         local clone = conn:clone()
         assert(clone:connect())
         clone:release()
      end
      assert(w:cancel())
   end)

   it("is kept for the next connect while the connection is away, and that comes at once (FIELD-W14)", function()
      local b = embedded.broker { users = { ann = "one" } }
      local ch, seen, conn = recovering.open { url = b.url, userid = "ann", password = "one",
         transport_options = { interval_start = 60, interval_max = 60 } }
      b:add_user("ann", "two")
      local clone = conn:clone() -- never connected
      assert(conn.state == "open")
      b:drop()
      eventually("the loss", function() return conn.state == "retrying" end)
      assert.is_true(conn:update_secret "two")
      assert(conn:connect())
      assert(ch:queue_declare { exclusive = true })
      assert.equal(1, seen.count.recovered)
      assert(clone:connect())
      clone:release()
      assert.is_true(conn:close())
      assert.is_true(conn:update_secret "three") -- closed, and idle:
      b:add_user("ann", "three")
      assert(conn:connect())
      local fresh = conn:clone()
      assert.is_true(fresh:update_secret "four")
      b:add_user("ann", "four")
      assert(fresh:connect())
      assert(conn:close())
      assert(conn:connect())
      fresh:release()
      conn:release()
      assert.equal("closed", select(2, conn:update_secret "five").kind)
   end)

   it("ends at once the wait of a connection whose old secret was refused (FIELD-W14)", function()
      local b = embedded.broker { users = { ann = "one" } }
      local _, seen, conn = recovering.open { url = b.url, userid = "ann", password = "one", transport_options = false }
      b:add_user("ann", "two")
      b:drop()
      eventually("the refusal", function() return seen.retrying and seen.retrying.err.kind == "authentication_failed" end)
      assert.is_true(conn:update_secret "two")
      recovering.recovered(seen, 1)
   end)

   it("reaches each connection of its identity, also when the telling one is away, and no other (FIELD-W14)", function()
      local b = embedded.broker { users = { ann = "one", bob = "one" } }
      local conn = embedded.connect { url = b.url, userid = "ann", password = "one", transport_options = recovering.at_once }
      local tries, done = 0, 0
      local w = mr.consumer { queue = "q", connection = conn, retry = mr.retry.fixed { delay = 0.01 }, handler = function()
         tries = tries + 1
         if tries % 2 == 1 then error "no" end
         done = done + 1
      end }
      assert(w:wait(10))
      local ch = assert(conn:channel())
      assert(ch:publish("", "q", "x"))
      eventually("a copy's handling", function() return done == 1 end)
      local clone, bob = conn:clone(), conn:clone { userid = "bob", password = "one" }
      assert(clone:connect())
      assert(bob:connect())
      b:refuse_logins()
      b:drop()
      eventually("the losses", function() return conn.state ~= "open" and conn.side.connection.state ~= "open" end)
      b:add_user("ann", "two")
      assert.is_true(conn:update_secret "two")
      b:refuse_logins(false)
      for _, c in ipairs { conn, clone, bob } do
         eventually("its return", function() return c:connect() end)
      end
      eventually("consuming", function() return w.state == "consuming" end)
      eventually("a publish", function() return ch:publish("", "q", "y") end)
      eventually("its copy's handling", function() return done == 2 end)
      assert(w:cancel())
      clone:release()
      bob:release()
   end)

   it("is that of a pool's connections, those to come as well (FIELD-W14)", function()
      for _, strategy in ipairs { "pooled", "shared" } do
         local b = embedded.broker { users = { ann = "one" } }
         local pool = assert(mr.pool { url = b.url, userid = "ann", password = "one", strategy = strategy, max_connections = 3 })
         local first, second = assert(pool:acquire()), assert(pool:acquire())
         local conn = strategy == "pooled" and first or first.connection
         if strategy == "pooled" then
            assert(first:connect())
            assert(second:connect())
         end
         b:drop()
         b:add_user("ann", "two")
         assert.is_true(conn:update_secret "two")
         eventually("the first is back", function() return conn:connect() end)
         if strategy == "pooled" then eventually("the second is back", function() return second:connect() end) end
         local third = assert(pool:acquire { purpose = "consume" })
         if strategy == "pooled" then assert(third:connect()) end
         for _, given in ipairs { first, second, third } do given:release() end
         assert(pool:close())
         assert(pool:with(function() return true end)) -- made anew
         assert(pool:close())
      end
   end)

   it("is taken by the broker while messages flow", function()
      local conn = broker.connect()
      local ch, got = assert(conn:channel()), 0
      local q = assert(ch:queue_declare { queue = name "q", exclusive = true }).queue
      assert(ch:consume(q, function() got = got + 1 end))
      for i = 1, 20 do
         assert(ch:publish("", q, "x"))
         if i == 10 then assert.is_true(conn:update_secret "guest") end
      end
      eventually("all", function() return got == 20 end)
      assert.same({ 1, true }, { conn.epoch, conn.is_open })
   end)
end)

describe("after logins", function()
   it("no connection is left at the broker", broker.none_left)
end)
