--- TLS over a network that breaks: cuts and silence at any byte of the handshake, trickles, ends without a farewell.
local mr = require "moonrabbit"
local broker = require "broker"
local certificates = require "certificates"
local embedded = require "embedded"
local peer = require "peer"
local proxy = require "proxy"
local recovering = require "recovering"

if broker.kind ~= "memory" then return end

local eventually = broker.eventually

describe("TLS over a network that breaks", function()
   local certs, b, between
   setup(function() certs = certificates.make() end)
   teardown(function() certs.remove() end)
   before_each(function()
      recovering.quiet()
      b = embedded.broker { listen = "127.0.0.1:0", certfile = certs.path "good", keyfile = certs.key "good" }
      between = proxy.start(b.port)
   end)
   after_each(function()
      recovering.clean()
      peer.stop_all()
   end)

   local function options(more)
      local all = { url = ("amqps://127.0.0.1:%d"):format(between.port), ssl_options = { ca_certs = certs.path "ca" },
         connect_timeout = 5, close_timeout = 0.3 }
      for k, v in pairs(more or {}) do all[k] = v end
      return all
   end

   -- How many bytes pass either way until the connection is open; if `is_resumed`, when it is opened again.
   local function measure(is_resumed)
      between.down, between.up = 0, 0
      local conn = embedded.connect(options())
      assert(conn:connect())
      if is_resumed then
         assert(conn:close())
         eventually("the end", function() return #b:report().connections == 0 end)
         between.down, between.up = 0, 0
         assert(conn:connect())
         assert.is_true(conn:info().agreed.tls_resumed)
      end
      local down, up = between.down, between.up
      conn:release()
      return down, up
   end

   -- A connect that must fail, and how.
   local function fails(more)
      local conn = embedded.connect(options(more))
      local began = mr.now()
      local ok, err = conn:connect()
      local took = mr.now() - began
      conn:release()
      return ok, err, took
   end

   for _, way in ipairs { "down", "up" } do
      for _, how in ipairs { "end", "reset" } do
         it(("that cuts by %s after any number of bytes %s fails the try at once, with a reason (T36)"):format(how, way),
            function()
               local down, up = measure()
               local size, kinds, n = way == "down" and down or up, {}, 0
               assert.is_true(size > 500, size)
               between.resets = how == "reset"
               for bytes = 0, size - 1, 13 do
                  between["cut_" .. way] = bytes
                  local ok, err, took = fails { recover = false }
                  if ok then
                     assert.is_true(bytes > size - 300, "open after " .. bytes) -- session tickets are not needed
                  else
                     kinds[err.kind] = tostring(err)
                     assert.is_true(took < 2, ("%d bytes: %g s"):format(bytes, took))
                     assert.is_true(#err.text > 0 and #err.hint > 0 and err.recoverable)
                     n = n + 1
                  end
               end
               assert.is_true(n > 30, n)
               for kind, text in pairs(kinds) do
                  assert.truthy(kind == "stream_lost" or kind == "tls_failed" or kind == "authentication_failed"
                     or kind == "vhost_access_refused", text)
               end
            end)
      end
   end

   it("that falls silent after any number of bytes fails the try after its time, and costs nothing meanwhile (T36)", function()
      local down = measure()
      between.holds = true
      local busy, n = os.clock(), 0
      for bytes = 0, down - 1, math.floor(down / 12) do
         between.cut_down = bytes
         local ok, err, took = fails { recover = false, connect_timeout = 0.3 }
         if not ok then
            assert.equal("connect_timeout", err.kind, tostring(err))
            assert.is_true(took >= 0.29 and took < 1.5, ("%d bytes: %g s"):format(bytes, took))
            n = n + 1
         end
      end
      assert.is_true(n >= 8, n)
      assert.is_true(os.clock() - busy < 0.1 * n * 0.3 + 0.1, os.clock() - busy)
   end)

   it("that cuts every try at another byte recovers when it cuts no more (T36, T17)", function()
      local _, up = measure()          -- a session that is offered takes more bytes up,
      local down = measure(true)       -- and fewer down
      local ch, seen = recovering.open(options())
      local handler, got = recovering.counter()
      assert(ch:queue_declare { queue = "q", durable = true })
      assert(ch:consume("q", handler))
      for round, cut in ipairs { { "down", 5 }, { "down", 700 }, { "up", 100 }, { "down", down - 200 }, { "up", up - 20 },
         { "down", 1 } } do
         local tries = seen.count.retrying
         between["cut_" .. cut[1]] = cut[2]
         b:drop()
         eventually("tries that fail", function() return seen.count.retrying >= tries + 3 end)
         local n = seen.count.recovered
         between["cut_" .. cut[1]] = nil
         recovering.recovered(seen, n + 1)
         assert(ch:publish("", "q", tostring(round)))
         eventually("the message", function() return got[tostring(round)] end)
      end
   end)

   it("that carries one byte at a time carries everything (T36)", function()
      between.is_trickling = true
      local conn = embedded.connect(options { heartbeat = 2 })
      local ch = assert(conn:channel())
      local q = assert(ch:queue_declare { exclusive = true }).queue
      assert(ch:confirm_select())
      local body = ("0123456789abcdef"):rep(1024)
      assert(ch:publish("", q, body))
      assert.is_true(assert(ch:get(q, { no_ack = true })).body == body)
      assert.equal(1, conn.epoch)
   end)

   it("that brings a burst and then nothing leaves the loop asleep (T36)", function()
      local conn = embedded.connect(options())
      local ch, got = assert(conn:channel()), 0
      local q = assert(ch:queue_declare { exclusive = true }).queue
      assert(ch:consume(q, function(msg) got = got + #msg.body end))
      assert(ch:publish("", q, ("x"):rep(65536)))
      eventually("the burst", function() return got == 65536 end)
      mr.sleep(0.05)
      local busy = os.clock()
      mr.sleep(1)
      assert.is_true(os.clock() - busy < 0.02, os.clock() - busy)
      assert.is_true(conn.is_open)
   end)

   it("that ends without close_notify is a loss, and nothing confirmed is missing after it (T36)", function()
      local ch, seen = recovering.open(options())
      assert(ch:queue_declare { queue = "q", durable = true })
      assert(ch:confirm_select())
      assert(ch:publish("", "q", "kept"))
      recovering.through(seen, function()
         between.cut_down = between.down + 1 -- the next byte is one too many
         b:drop()
         eventually("the loss", function() return seen.lost end)
         between.cut_down = nil
      end)
      assert.equal("stream_lost", seen.lost.err.kind)
      assert.equal("kept", assert(ch:get("q", { no_ack = true })).body)
   end)
end)

describe("the embedded broker", function()
   after_each(recovering.clean)

   it("ends a TLS connection by close_notify", function()
      local certs = certificates.make()
      finally(function() certs.remove() end)
      local b = embedded.broker { listen = "127.0.0.1:0", certfile = certs.path "good", keyfile = certs.key "good" }
      for _, version in ipairs { "-tls1_2", "-tls1_3" } do
         -- It is no AMQP: the broker says which it speaks, and good-bye.
         local out = broker.shell(("printf 'HTTP/1.1' | openssl s_client -connect 127.0.0.1:%d -CAfile %s -quiet -ign_eof %s"):format(
            b.port, certs.path "ca", version))
         assert.truthy(out:find("AMQP", 1, true), out)
         assert.falsy(out:find("unexpected eof", 1, true), out)
      end
   end)
end)

describe("a peer that is gone in the middle of a write", function()
   after_each(recovering.clean)

   -- In a process of its own, in which SIGPIPE does what it does by default.
   for _, scheme in ipairs { "amqp", "amqps" } do
      it(("does not end the process, by %s (T38)"):format(scheme), function()
         recovering.quiet()
         local certs = certificates.make()
         finally(function() certs.remove() end)
         local script = broker.script(([[
            local mr = require "moonrabbit"
            mr.log.configure "off"
            local tls = %q == "amqps"
            local b = assert(mr.testing.broker { listen = "127.0.0.1:0", certfile = tls and %q or nil, keyfile = tls and %q or nil })
            local losses = 0
            local conn = mr.connect { url = ("%s://localhost:%%d"):format(b.port), ssl_options = tls and { ca_certs = %q } or nil,
               transport_options = { interval_start = 0, interval_step = 0 }, on_event = function(ev)
                  if ev.type == "lost" then losses = losses + 1 end
               end }
            local ch = assert(conn:channel())
            assert(ch:queue_declare { queue = "q", arguments = { ["x-max-length"] = 1 } })
            local body = ("x"):rep(100000)
            local timer = mr.every(0.02, function() b:drop() end)
            while losses < 15 do ch:publish("", "q", body, { timeout = 5 }) mr.sleep(0) end
            timer:cancel()
            mr.sleep(0.1)
            assert(ch:publish("", "q", "last", { timeout = 5 }))
            print("alive after " .. losses)
            conn:release()
            b:close()
         ]]):format(scheme, certs.path "good", certs.key "good", scheme, certs.path "ca"))
         local out, code = broker.shell(("env --default-signal=PIPE %s run %s"):format(broker.command, script))
         assert.equal(0, code, out)
         assert.truthy(out:find("alive after %d"), out)
      end)
   end
end)
