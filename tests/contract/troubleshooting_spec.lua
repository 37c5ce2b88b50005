--- docs/troubleshooting.md: each entry from its real cause: the kind, a hint, and a section that tells of it.
local mr = require "moonrabbit"
local broker = require "broker"
local peer = require "peer"

local eventually, name = broker.eventually, broker.name
local TLS = os.getenv "MR_RABBITMQ_TLS_URL"
local AT = "amqp://guest:guest@127.0.0.1:"

local page = assert(io.open "docs/troubleshooting.md"):read "*a"

-- Is it of this kind, does it say what to look at, does the page have a section for it?
local function told(err, kind, part)
   assert.equal(kind, err and err.kind, tostring(err))
   assert.is_true(#err.text > 0 and #err.hint > 0)
   assert.truthy(page:find("\n### " .. kind .. "\n", 1, true), "no section on " .. kind)
   if part then assert.truthy(err.text:find(part, 1, true), err.text) end
   return err
end

-- Connects in vain.
local function refused(kind, options, part)
   local ok, err = broker.connect(options):connect()
   assert.is_nil(ok)
   return told(err, kind, part)
end

-- What a call gave that failed.
local function failed(kind, ok, err, part)
   assert.is_nil(ok)
   return told(err, kind, part)
end

-- A peer that lets a connection in and opens its channel; then serve(session, channel).
local function half_a_broker(serve, heartbeat)
   local served = peer.start(function(session)
      if not session:handshake { 2047, 131072, heartbeat or 0 } then return end
      local channel = session:open_channel()
      if channel then serve(session, channel) end
   end)
   return { url = AT .. served.port, recover = false, close_timeout = 0.2 }
end

local function with_events(options)
   local seen = {}
   options.on_event = function(ev) seen[ev.type] = ev end
   local conn = broker.connect(options)
   return assert(conn:channel()), seen, conn
end

-- rabbitmqctl, then fn, then rabbitmqctl again, whatever happens.
local function between(before, after, fn)
   finally(function()
      broker.close_all()
      for _, command in ipairs(after) do broker.ctl(command) end
      mr.log.configure "warn"
   end)
   for _, command in ipairs(before) do
      local out, code = broker.ctl(command)
      assert.equal(0, code, out)
   end
   fn()
end

describe("troubleshooting:", function()
   before_each(function() mr.log.configure "off" end)
   after_each(function()
      broker.close_all()
      peer.stop_all()
      mr.log.configure "warn"
   end)

   describe("connecting:", function()
      it("connection_refused", function()
         local err = refused("connection_refused", { url = AT .. peer.closed_port() })
         assert.equal(111, err.errno)
      end)

      it("dns_failed", function()
         refused("dns_failed", { url = "amqp://no-such-host.invalid", connect_timeout = 10 }, "no-such-host.invalid")
      end)

      it("connect_timeout", function()
         local served = peer.start(function(session) session:drain() end)
         refused("connect_timeout", { url = AT .. served.port, connect_timeout = 0.3 }, "no AMQP handshake")
      end)

      it("tls_failed", function()
         refused("tls_failed", { url = TLS }, "unknown CA")
         refused("tls_failed", { url = TLS, ssl_options = { ca_certs = os.getenv "MR_RABBITMQ_CERTS" .. "/ca.pem",
            server_name = "elsewhere.example" } }, "another host name")
      end)

      it("protocol_mismatch", function()
         refused("protocol_mismatch", { url = "amqps://127.0.0.1:" .. broker.port }, "plain port")
         refused("protocol_mismatch", { url = (TLS:gsub("^amqps", "amqp")) }, "TLS port")
      end)

      it("authentication_failed", function()
         refused("authentication_failed", { url = "amqp://guest:wrong@127.0.0.1:" .. broker.port }, "Login was refused")
      end)

      it("vhost_access_refused", function()
         refused("vhost_access_refused", { url = AT .. broker.port .. "/no-such" }, "vhost no-such not found")
      end)

      broker.it_rabbitmq(it, "connection_limit_reached", function()
         local vhost = name "limited"
         between({ "add_vhost " .. vhost, ("set_permissions -p %s guest '.*' '.*' '.*'"):format(vhost),
            ([[set_vhost_limits -p %s '{"max-connections": 1}']]):format(vhost) },
            { "clear_vhost_limits -p " .. vhost, "delete_vhost " .. vhost }, function()
            local url = AT .. broker.port .. "/" .. vhost
            assert(broker.connect({ url = url }):connect())
            -- RabbitMQ counts a connection a moment after it has let it in.
            eventually("the first to be counted", function()
               local conn = broker.connect { url = url }
               local ok, err = conn:connect()
               if ok then return conn:close() and nil end
               return told(err, "connection_limit_reached", "connection limit (1)")
            end)
         end)
      end)
   end)

   describe("on a channel:", function()
      it("precondition_failed, which names the argument (H7)", function()
         local ch, q = broker.channel(), name "q"
         assert(ch:queue_declare { queue = q, exclusive = true })
         local ok, err = ch:queue_declare { queue = q, exclusive = true, arguments = { ["x-max-length"] = 5 } }
         failed("precondition_failed", ok, err, "inequivalent arg 'x-max-length'")
         assert.same({ 406, "channel", true }, { err.code, err.scope, ch.connection.is_open })
      end)

      it("not_found", function()
         local ok, err = broker.channel():consume(name "missing", function() end)
         failed("not_found", ok, err, "no queue")
      end)

      it("resource_locked", function()
         local q = assert(broker.channel():queue_declare { queue = name "mine", exclusive = true }).queue
         local ok, err = broker.channel():queue_declare { queue = q, exclusive = true }
         failed("resource_locked", ok, err, "exclusive access")
      end)

      it("access_refused, by a reserved name", function()
         local ok, err = broker.channel():queue_declare { queue = "amq.mine" }
         failed("access_refused", ok, err, "reserved prefix")
      end)

      broker.it_rabbitmq(it, "access_refused, for want of a permission; in confirm mode the publish is lost (L7)", function()
         local user = name "few"
         between({ ("add_user %s secret"):format(user), ("set_permissions %s '^$' '^$' '.*'"):format(user) },
            { "delete_user " .. user }, function()
            local ch, seen, conn = with_events { url = ("amqp://%s:secret@127.0.0.1:%d/"):format(user, broker.port) }
            local ok, err = ch:queue_declare { queue = name "other" }
            failed("access_refused", ok, err, "refused for user")
            ch = assert(conn:channel())
            assert(ch:confirm_select())
            ok, err = ch:publish("amq.direct", "k", "x")
            failed("lost", ok, err, "ACCESS_REFUSED")
            eventually("the event", function() return seen.channel_closed and seen.channel_closed.channel == ch end)
            told(ch.last_error, "access_refused")
         end)
      end)
   end)

   describe("losing the connection:", function()
      it("heartbeat_timeout", function()
         local options = half_a_broker(function(session) session:drain() end, 1)
         options.heartbeat = 1
         local _, seen = with_events(options)
         eventually("the loss", function() return seen.lost end)
         told(seen.lost.err, "heartbeat_timeout", "nothing came from the broker")
      end)

      it("stream_lost", function()
         local _, seen, conn = with_events(half_a_broker(function(session) session:reset() end))
         eventually("the loss", function() return seen.lost end)
         told(conn.last_error, "stream_lost")
      end)

      broker.it_inside(it, "connection_forced", function()
         local _, seen = with_events { recover = false }
         broker.close_connections "maintenance"
         eventually("the loss", function() return seen.lost end)
         assert.equal(320, told(seen.lost.err, "connection_forced").code)
      end)
   end)

   describe("publishing:", function()
      broker.it_inside(it, "blocked_timeout", function()
         local ch, _, conn = with_events {}
         local q = assert(ch:queue_declare { exclusive = true }).queue
         broker.block(true)
         assert(ch:publish("", q, "noticed")) -- the broker tells those who publish
         eventually("the block", function() return conn.is_blocked end)
         failed("blocked_timeout", ch:publish("", q, "x", { timeout = 0.1 }))
      end)

      it("backpressure", function()
         local is_over = false
         local ch = with_events(half_a_broker(function() eventually("the end", function() return is_over end, 60) end))
         local body, ok, err = ("x"):rep(2 ^ 20), true, nil
         for _ = 1, 200 do
            ok, err = ch:publish("", "q", body, { timeout = 0.1 })
            if not ok then break end
         end
         failed("backpressure", ok, err)
         assert.is_true(mr.stats().outbound > 2 ^ 20)
         is_over = true
      end)

      it("timeout, of an answer, of a confirm, of a pool", function()
         local ch = with_events(half_a_broker(function(session, channel)
            session:expect(85, 10)
            session:write(peer.method(channel, 85, 11))
            session:drain()
         end))
         assert(ch:confirm_select())
         local ok, err = ch:publish("", "q", "x", { timeout = 0.1 })
         failed("timeout", ok, err, "did not confirm")
         ok, err = ch:queue_declare { queue = "q", timeout = 0.1 }
         failed("timeout", ok, err, "queue.declare-ok")
         local pool = assert(mr.pool { url = broker.url, max_connections = 1 })
         local item = assert(pool:acquire())
         failed("timeout", pool:acquire { timeout = 0.1 })
         pool:release(item)
         pool:close()
      end)

      it("lost", function()
         local ch = with_events(half_a_broker(function(session, channel)
            session:expect(85, 10)
            session:write(peer.method(channel, 85, 11))
            session:expect(60, 40)
         end))
         assert(ch:confirm_select())
         failed("lost", ch:publish("", "q", "x"))
      end)

      it("nacked and returned", function()
         local ch = broker.channel()
         local q = assert(ch:queue_declare { exclusive = true,
            arguments = { ["x-max-length"] = 1, ["x-overflow"] = "reject-publish" } }).queue
         assert(ch:confirm_select())
         local ok, err = true, nil
         for _ = 1, 3 do
            if ok then ok, err = ch:publish("", q, "x") end
         end
         failed("nacked", ok, err)
         failed("returned", ch:publish("", name "nowhere", "x", { mandatory = true }))
      end)
   end)

   describe("a consumer receives nothing: (K4)", function()
      it("the prefetch is used up: it consumes, and more waits", function()
         assert.truthy(page:find("\n### A consumer receives nothing\n", 1, true))
         local ch, other, q = broker.channel(), broker.channel(), name "q"
         assert(other:queue_declare { queue = q, auto_delete = true })
         assert(ch:qos { prefetch_count = 2 })
         local begun, is_over = 0, false
         local consumer = assert(ch:consume(q, function()
            begun = begun + 1
            eventually("the end", function() return is_over end, 60)
         end))
         for _ = 1, 5 do assert(other:publish("", q, "x")) end
         eventually("two handlers", function() return begun == 2 end)
         eventually("the rest", function() return other:queue_declare { queue = q, passive = true }.message_count == 3 end)
         assert.same({ "consuming", 2 }, { consumer.state, mr.stats().in_flight })
         is_over = true
         eventually("all", function() return begun == 5 end)
      end)

      it("cancelled: its queue was deleted", function()
         local ch, seen = with_events {}
         local q, other = name "q", broker.channel()
         assert(other:queue_declare { queue = q })
         local consumer = assert(ch:consume(q, function() end))
         assert(other:queue_delete { queue = q })
         eventually("the event", function() return seen.consumer_cancelled end)
         told(seen.consumer_cancelled.err, "cancelled")
         told(consumer.err, "cancelled")
         assert.equal("recovering", consumer.state)
         assert(consumer:cancel())
      end)

      broker.it_inside(it, "recovering: its connection is away, and comes back", function()
         -- Away for longer than a look at it takes.
         local ch, seen, conn = with_events { transport_options = { interval_start = 60, interval_max = 60 } }
         local consumer = assert(ch:consume(assert(ch:queue_declare { exclusive = true }).queue, function() end))
         broker.close_connections "x"
         eventually("the loss", function() return consumer.state == "recovering" end)
         told(consumer.err, "connection_forced")
         assert(conn:connect()) -- at once
         eventually("the recovery", function() return seen.recovered and consumer.state == "consuming" end, 30)
         assert.is_nil(consumer.err)
      end)

      it("stale and settled: acks that come too late or twice", function()
         local ch, q = broker.channel(), name "q"
         assert(ch:queue_declare { queue = q, exclusive = true })
         for _ = 1, 2 do assert(ch:publish("", q, "x")) end
         local first, second = broker.take(ch, q, {}), broker.take(ch, q, {})
         assert(first:ack())
         failed("settled", first:ack())
         assert(ch:close())
         failed("stale", second:ack())
      end)
   end)

   it("a publisher hangs: the page says what it waits for (K5)", function()
      local section = page:match "\n### A publisher hangs\n(.-)\n### "
      for _, kind in ipairs { "blocked_timeout", "backpressure", "timeout", "stream_lost" } do
         assert.truthy(section:find("`" .. kind .. "`", 1, true), kind)
      end
   end)

   it("pool_exhausted", function()
      local pool = assert(mr.pool { url = broker.url, max_connections = 1 })
      local item = assert(pool:acquire())
      failed("pool_exhausted", pool:acquire { block = false })
      failed("pool_exhausted", pool:acquire { timeout = 0 })
      pool:release(item)
      pool:close()
   end)

   it("no connection is left at the broker", broker.none_left)
end)
