--- settings and mr.connect: what is wrong is said before anything connects.
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"

describe("mr.connect", function()
   after_each(function()
      mr.set_default_url(nil)
      require("moonrabbit.loop.loop").close(1)
   end)

   local function complaint(where)
      local ok, why = pcall(function() mr.connect(where) end)
      assert.is_false(ok)
      assert.is_string(why)
      assert.is_truthy(why:find("settings_spec.lua:%d+: "), why)
      return why
   end

   it("makes a connection that is not open, from a URL or a table", function()
      local conn = mr.connect "amqp://user:secret@broker.example:5673/shop"
      assert.same({ "idle", false, true, "broker.example:5673", 0 },
         { conn.state, conn.is_open, conn.is_closed, conn.host, conn.epoch })
      assert.is_nil(conn.last_error)
      assert.is_nil(conn.server_properties)
      conn = mr.connect { hostname = "other.example", port = 5674 }
      assert.equal("other.example:5674", conn.host)
   end)

   it("never shows a password (S4)", function()
      local conn = mr.connect { url = "amqp://user:s3cret@broker.example/shop", name = "n" }
      local info = conn:info()
      assert.is_nil(info.url:find("s3cret", 1, true))
      assert.is_truthy(info.url:find("broker.example", 1, true))
      assert.equal("n", info.name)
      assert.is_nil(mr.redact("amqp://user:s3cret@broker.example"):find("s3cret", 1, true))
      assert.is_nil(mr.connect({ hostname = "h", password = "s3cret" }):info().password)
      assert.is_nil(complaint("http://user:s3cret@broker.example"):find("s3cret", 1, true))
   end)

   it("goes to the usual place when it is not told where", function()
      mr.set_default_url "amqp://usual.example"
      assert.equal("usual.example:5672", mr.connect().host)
      assert.equal("usual.example:5672", mr.connect({ heartbeat = 5 }).host)
      assert.equal("localhost:5672", mr.connect({ virtual_host = "/" }).host)
   end)

   it("names an unknown option and the nearest valid one", function()
      assert.is_truthy(complaint({ hearbeat = 5 }):find('"heartbeat"', 1, true))
      assert.is_truthy(complaint({ ssl = true, ssl_options = { ca_cert = "x" } }):find("ca_certs", 1, true))
      complaint { "amqp://localhost" }
   end)

   it("names the option of a wrong type", function()
      assert.is_truthy(complaint({ heartbeat = "soon" }):find("heartbeat", 1, true))
      assert.is_truthy(complaint({ hostname = 5 }):find("hostname", 1, true))
      assert.is_truthy(complaint({ heartbeat = print }):find('option "heartbeat" cannot be a function', 1, true))
      assert.is_truthy(complaint({ ssl_options = { verify = print } }):find("ssl_options.verify", 1, true))
      assert.is_truthy(complaint({ on_event = "x" }):find('option "on_event" must be a function', 1, true))
      assert.is_truthy(complaint({ client_properties = { f = print } }):find('key "f"', 1, true))
      complaint(5)
   end)

   it("names what is wrong with a URL", function()
      for _, url in ipairs { "", "http://x", "amqp://host:99999/", "amqp://host/a/b/%zz" } do
         assert.is_truthy(complaint(url):find("bad_", 1, true), url)
      end
   end)

   it("gives wrong options as a result when asked to try", function()
      local conn, err = mr.try_connect { hearbeat = 5 }
      assert.is_nil(conn)
      assert.same({ "bad_option", "config" }, { err.kind, err.scope })
      conn, err = mr.try_connect "http://x"
      assert.is_nil(conn)
      assert.equal("bad_uri", err.kind)
   end)

   it("gives nil and an error for everything on a released connection", function()
      local conn = mr.connect "amqp://localhost:1"
      assert.is_true(conn:release())
      assert.is_true(conn:release())
      assert.is_true(conn:close())
      assert.equal("closed", conn.state)
      for _, method in ipairs { "connect", "channel" } do
         local result, err = conn[method](conn)
         assert.is_nil(result)
         assert.equal("closed", err.kind)
      end
      assert.equal("connection (released) (closed)", tostring(conn))
   end)

   it("gives a refused connection its kind, in time", function()
      mr.log.configure "off"
      local conn = mr.connect "amqp://127.0.0.1:1"
      local ch, err = conn:channel()
      assert.is_nil(ch)
      assert.same({ "connection_refused", "connection", true, 111 }, { err.kind, err.scope, err.recoverable, err.errno })
      assert.is_truthy(err.hint:find("is RabbitMQ running there", 1, true))
      assert.equal("connection_refused", conn.last_error.kind)
   end)
end)
