--- testing: the embedded broker as a test double.
local mr = require "moonrabbit"
local embedded = require "embedded"
local within = require("waits").within

local testing = mr.testing
local broker, clean = embedded.broker, embedded.close_all

local function connect(url, options)
   local all = { url = url }
   for k, v in pairs(options or {}) do all[k] = v end
   return embedded.connect(all)
end

local function channel(b, options) return assert(connect(b.url, options):channel()) end

-- The clock of mr.now() is moved by these tests.
local function eventually(what, condition) return within(what, 10, condition) end

local function quietly(fn)
   mr.log.configure "off"
   local ok, why = pcall(fn)
   mr.log.configure "error"
   if not ok then error(why, 0) end
end

describe("an embedded broker", function()
   after_each(clean)

   it("is shared by its name, and forgets everything with its last connection and handle", function()
      local b = broker { name = "shared" }
      local ch = channel(b)
      assert(ch:queue_declare { queue = "kept", durable = true })
      assert.equal(0, assert(channel { url = "memory://shared" }:queue_declare { queue = "kept", passive = true }).message_count)
      assert.is_nil((channel(broker {}):queue_declare { queue = "kept", passive = true }))
      local pause = 0
      eventually("it to go", function()
         clean() -- a released connection lets go of its broker a moment later; whoever asks holds it, too
         pause = pause + 0.01
         mr.sleep(pause)
         return not channel(broker { name = "shared" }):queue_declare { queue = "kept", passive = true }
      end)
   end)

   it("without a name is the runtime's own", function()
      local one, two = connect "memory://", connect "memory://"
      assert(assert(one:channel()):queue_declare { queue = "own" })
      assert(assert(two:channel()):queue_declare { queue = "own", passive = true })
      assert.equal("memory", one.transport)
      assert.equal("memory://", one.host)
      assert(assert(one:channel()):queue_delete { queue = "own" })
   end)

   it("tells what it has", function()
      local b = broker { vhosts = { "shop" } }
      local ch = channel(b, { name = "teller", virtual_host = "shop", heartbeat = 9 })
      assert(ch:queue_declare { queue = "q", auto_delete = true })
      assert(ch:confirm_select())
      assert(ch:publish("", "q", ("x"):rep(1000)))
      local q = b:queue("q", "shop")
      assert.same({ 1, 0, true, false }, { q.messages_ready, q.consumers, q.auto_delete, q.durable })
      assert.is_nil(b:queue "q")
      local report = b:report()
      assert.is_true(report.memory >= 1000 and report.memory < 2000)
      assert.equal(1, #report.connections)
      local c = report.connections[1]
      assert.same({ "guest", "shop", "running", 1, 9, "teller" },
         { c.user, c.vhost, c.state, c.channels, c.timeout, c.client_properties.connection_name })
   end)

   it("knows users and virtual hosts that it was given, and no others", function()
      local b = broker { users = { ann = "secret" }, vhosts = { "shop" } }
      assert(connect(b.url, { userid = "ann", password = "secret", virtual_host = "shop" }):connect())
      quietly(function()
         local _, err = connect(b.url, { userid = "ann", password = "wrong" }):connect()
         assert.same({ "authentication_failed", 403 }, { err.kind, err.code })
         _, err = connect(b.url, { virtual_host = "nowhere" }):connect()
         assert.equal("vhost_access_refused", err.kind)
      end)
   end)

   it("serves TCP too, beyond loopback only with a user of its own", function()
      local b = broker { listen = "127.0.0.1:0" }
      assert(connect(("amqp://127.0.0.1:%d"):format(b.port)):connect())
      local port, err = b:listen "0.0.0.0:0"
      assert.is_nil(port)
      assert.truthy(tostring(err):find("needs a user other than guest", 1, true), tostring(err))
      b:add_user("ann", "secret")
      assert(b:listen "0.0.0.0:0")
      quietly(function()
         assert.equal("authentication_failed", select(2, connect(("amqp://127.0.0.1:%d"):format(b.port)):connect()).kind)
      end)
      assert(connect(("amqp://ann:secret@127.0.0.1:%d"):format(b.port)):connect())
   end)

   it("closes its ports, keeps its connections, and may listen again", function()
      local b = broker { listen = "127.0.0.1:0" }
      local url = ("amqp://127.0.0.1:%d/"):format(b.port)
      local conn = connect(url)
      assert(conn:connect())
      b:unlisten()
      local ok, err = connect(url):connect()
      assert.same({ nil, "connection_refused", true }, { ok, err.kind, conn.is_open })
      assert(b:listen("127.0.0.1:" .. b.port))
      assert(connect(url):connect())
   end)

   it("says when it cannot listen", function()
      local b = broker { listen = "127.0.0.1:0" }
      local _, err = testing.broker { listen = "127.0.0.1:" .. b.port }
      assert.equal("connection_refused", err.kind)
      assert.truthy(err.text:find("Address already in use", 1, true), err.text)
      for _, where in ipairs { "nonsense", "127.0.0.1:99999", "" } do
         assert.equal("bad_argument", select(2, testing.broker { listen = where }).kind)
      end
      assert.equal("tls_failed", select(2, testing.broker { listen = "127.0.0.1:0", certfile = "/nowhere.pem" }).kind)
   end)

   it("refuses what it cannot mean", function()
      assert.has_error(function() testing.broker { nam = "x" } end, 'unknown option "nam": did you mean "name"?')
      local b = broker {}
      b:close()
      b:close()
      assert.has_error(function() b:report() end, "the broker's handle was closed")
      for _, url in ipairs { "memory://a,b", "memory://a;memory://b" } do
         assert.equal("bad_uri", select(2, mr.try_connect(url)).kind)
      end
      assert.equal("bad_option", select(2, mr.try_connect { url = "memory://", ssl = true }).kind)
   end)
end)

describe("a broker that is made to fail", function()
   after_each(clean)

   local function lossy(b, recover)
      local seen = {}
      local conn = connect(b.url, { on_event = function(ev) seen[ev.type] = ev end, heartbeat = 10, recover = recover })
      return assert(conn:channel()), seen
   end

   it("cuts every connection", function()
      local b = broker {}
      local _, seen = lossy(b, false) -- one that recovers may be back before the report
      quietly(function()
         b:drop()
         eventually("the loss", function() return seen.lost end)
      end)
      assert.equal("stream_lost", seen.lost.err.kind)
      assert.equal(0, #b:report().connections)
   end)

   it("cuts after so many bytes, in the middle of a message", function()
      local b = broker {}
      local ch, seen = lossy(b, false) -- one that came back would be cut, too
      assert(ch:queue_declare { queue = "q" })
      for _ = 1, 20 do assert(ch:publish("", "q", ("x"):rep(1000))) end
      eventually("them to be there", function() return b:queue("q").messages_ready == 20 end)
      local before = mr.stats().delivered
      quietly(function()
         b:cut_after(5500)
         ch:consume("q", function() end)
         eventually("the loss", function() return seen.lost end)
      end)
      assert.equal(5, mr.stats().delivered - before)
      b:cut_after(nil)
      assert(channel(b):queue_declare { queue = "q", passive = true })
   end)

   it("closes with any code", function()
      local b = broker {}
      local _, seen = lossy(b)
      quietly(function()
         b:close_connections(541, "INTERNAL_ERROR - as a test asked for")
         eventually("the loss", function() return seen.lost end)
      end)
      assert.same({ "internal_error", 541, "INTERNAL_ERROR - as a test asked for" },
         { seen.lost.err.kind, seen.lost.err.code, seen.lost.err.text })
   end)

   it("refuses logins as long as it is told to", function()
      local b = broker {}
      b:refuse_logins()
      quietly(function() assert.equal("authentication_failed", select(2, connect(b.url):connect()).kind) end)
      b:refuse_logins(false)
      assert(connect(b.url):connect())
   end)

   it("blocks publishers, by hand and by its memory limit", function()
      local b = broker {}
      local ch, seen = lossy(b)
      assert(ch:queue_declare { queue = "q" })
      b:block()
      assert(ch:publish("", "q", "noticed"))
      eventually("the block", function() return seen.blocked end)
      assert.equal("blocked_timeout", select(2, ch:publish("", "q", "x", { timeout = 0.05 })).kind)
      b:block(false)
      eventually("the end of it", function() return seen.unblocked end)
      seen.blocked, seen.unblocked = nil, nil
      b:memory_limit(1000)
      for _ = 1, 2 do assert(ch:publish("", "q", ("x"):rep(2000))) end -- the second one is noticed
      eventually("the block", function() return seen.blocked end)
      assert(channel(b):queue_purge { queue = "q" })
      eventually("the end of it", function() return seen.unblocked end)
   end)

   it("fails the next declare, and only that", function()
      local b = broker {}
      b:fail_next_declare(405, "no such luck")
      local _, err = channel(b):queue_declare { queue = "q" }
      assert.same({ "resource_locked", "RESOURCE_LOCKED - no such luck" }, { err.kind, err.text })
      assert(channel(b):queue_declare { queue = "q" })
      b:fail_next_declare(404)
      assert.equal("not_found", select(2, channel(b):exchange_declare { exchange = "x" }).kind)
   end)

   it("pauses deliveries", function()
      local b = broker {}
      local ch, got = channel(b), 0
      assert(ch:queue_declare { queue = "q" })
      b:pause_deliveries()
      assert(ch:consume("q", function() got = got + 1 end))
      for _ = 1, 3 do assert(ch:publish("", "q", "x")) end
      eventually("them to be there", function() return b:queue("q").messages_ready == 3 end)
      assert.equal(0, got)
      b:pause_deliveries(false)
      eventually("the messages", function() return got == 3 end)
   end)

   it("holds back what it says", function()
      local b = broker {}
      local ch = channel(b)
      b:delay(0.2)
      local begun = mr.now()
      assert(ch:queue_declare { exclusive = true })
      assert.is_true(mr.now() - begun >= 0.19, mr.now() - begun)
      b:delay(0)
   end)

   it("goes silent, which the heartbeat finds out", function()
      local b = broker {}
      local _, seen = lossy(b)
      quietly(function()
         b:silent()
         testing.advance(25)
         eventually("the loss", function() return seen.lost end)
      end)
      assert.equal("heartbeat_timeout", seen.lost.err.kind)
      b:silent(false)
      assert(connect(b.url):connect())
   end)
end)

describe("a clock that is moved", function()
   after_each(clean)

   it("keeps heartbeats going for an hour in no time", function()
      local b = broker {}
      local conn = connect(b.url, { heartbeat = 10 })
      assert(conn:connect())
      local begun = os.time()
      testing.advance(3600)
      assert.is_true(os.time() - begun <= 10)
      assert.is_true(conn.is_open)
      assert.equal(1, conn.epoch)
      assert.is_true(mr.stats().heartbeats_out >= 600)
   end)

   it("may be moved by several tasks at once, each to its time", function()
      local b, ended = broker {}, 0
      local begun = mr.now()
      assert(connect(b.url):connect())
      for seconds = 1, 3 do
         mr.spawn(function()
            testing.advance(seconds, 0.5)
            assert.is_true(mr.now() - begun >= seconds)
            ended = ended + 1
         end)
      end
      eventually("all", function() return ended == 3 end)
   end)

   it("fires what is due on the way, in order", function()
      local seen, begun = {}, mr.now()
      mr.after(120, function() seen[#seen + 1] = "late" end)
      mr.after(60, function() seen[#seen + 1] = "early" end)
      testing.advance(61)
      assert.same({ "early" }, seen)
      testing.advance(60)
      assert.same({ "early", "late" }, seen)
      assert.is_true(mr.now() - begun >= 121)
   end)

   it("lets an hour of retries through a delay queue pass at once, each after its time", function()
      local b = broker {}
      local ch, at = channel(b), {}
      assert(ch:queue_declare { queue = "work", arguments = { ["x-dead-letter-exchange"] = "", ["x-dead-letter-routing-key"] = "delay" } })
      assert(ch:queue_declare { queue = "delay", arguments = { ["x-message-ttl"] = 600000,
         ["x-dead-letter-exchange"] = "", ["x-dead-letter-routing-key"] = "work" } })
      assert(ch:consume("work", function(msg)
         at[#at + 1] = mr.now()
         if #at < 7 then msg:reject { requeue = false } end
      end))
      assert(ch:publish("", "work", "x"))
      eventually("the first try", function() return #at == 1 end)
      testing.advance(3650)
      eventually("the last try", function() return #at == 7 end)
      for i = 2, 7 do
         local gap = at[i] - at[i - 1]
         assert.is_true(gap >= 600 and gap < 606, gap) -- a step of the clock is a second, and there are three hops
      end
   end)

   it("has each handler's last word at the broker when the clock has moved", function()
      local b = assert(testing.broker {})
      local conn = assert(mr.connect(b.url))
      local ch, delayed = assert(conn:channel()), assert(conn:channel())
      local dead_letter = { ["x-message-ttl"] = 1000, ["x-dead-letter-exchange"] = "", ["x-dead-letter-routing-key"] = "first" }
      assert(delayed:queue_declare { queue = "delay", arguments = dead_letter })
      for _, queue in ipairs { "first", "second" } do assert(ch:queue_declare { queue = queue }) end
      local handled = 0
      assert(ch:consume("first", function() assert(ch:publish("", "second", "y")) end))
      assert(ch:consume("second", function() handled = handled + 1 end))
      assert(delayed:confirm_select())
      for round = 1, 50 do
         assert(delayed:publish("", "delay", "x"))
         testing.advance(1.1, 2)
         assert.equal(round, handled)
         for _, queue in ipairs { "first", "second" } do assert.equal(0, b:queue(queue).messages_unacknowledged) end
      end
      conn:close()
      b:close()
   end)

   it("lengthens the times of leading by a factor from 1 to 10000, and refuses others", function()
      finally(function() testing.lead_patience(1) end)
      testing.lead_patience(10000)
      for _, wrong in ipairs { 0, 10001 } do
         assert.has_error(function() testing.lead_patience(wrong) end, "lead_patience: the factor is 1 to 10000")
      end
      assert.has_error(function() testing.lead_patience "long" end)
   end)
end)
