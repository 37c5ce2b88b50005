--- sentinel: a Redis that is found by Sentinels, and its failovers.
-- Feature: failover of a Redis
-- SPDX-License-Identifier: MIT
local broker = require "broker"
local mr = require "moonrabbit"
local build = require "build"
local process = require "process"
local redis = require "redis"
local sentinels = require "sentinels"
local waits = require "waits"

-- It waits for failovers, a minute and a half of them; unit.redis.test_sentinel plays them under the sanitizers.
if build.is_sanitized then return end

local eventually = waits.eventually
local open = {}

local function connect(url, more)
   local options = more or {}
   options.url = url or sentinels.url()
   local conn = assert(mr.connect(options))
   open[#open + 1] = conn
   local ch = assert(conn:channel())
   assert(ch:confirm_select())
   assert(ch:queue_declare { queue = "q", durable = true })
   return conn, ch
end

-- The error of the only try to connect.
local function refused(url)
   local conn = mr.connect { url = url, connection_attempts = 1 }
   local ok, err = conn:connect()
   conn:close()
   assert.is_nil(ok)
   assert.is_nil(tostring(err):find("hop", 1, true), tostring(err))
   assert.is_nil(tostring(err):find("skip", 1, true), tostring(err))
   return err
end

local function has(text, part) assert.is_truthy(text:find(part, 1, true), text) end

-- What we have open at a server.
local function connections(server)
   local _, count = sentinels.cli(server, "client", "list"):gsub("name=moonrabbit ", "")
   return count
end

-- A consumer of q that counts what it has got, by body.
local function reader(ch)
   local seen = { count = 0 }
   assert(ch:consume("q", function(msg)
      if not seen[msg.body] then seen.count = seen.count + 1 end
      seen[msg.body] = true
      msg:ack()
   end))
   return seen
end

-- A task that publishes one after the other until it is stopped, and what was confirmed.
local function writer(conn)
   local publisher = mr.publisher { connection = conn, routing_key = "q" }
   local w = { confirmed = {} }
   mr.spawn(function()
      local i = 0
      while not w.stop do
         i = i + 1
         if publisher:publish("w" .. i) then w.confirmed[#w.confirmed + 1] = "w" .. i end
      end
      w.done = true
   end)
   return w
end

local function all_seen(seen, bodies, from)
   for i = from or 1, #bodies do if not seen[bodies[i]] then return false end end
   return true
end

local KOMBU = [[
import kombu, sys
c = kombu.Connection(sys.argv[1], transport_options={'master_name': 'rabbits', 'sentinel_kwargs': {'password': 'skip'}})
q = c.SimpleQueue('q')
q.put('from kombu')
r = c.SimpleQueue('r')
m = r.get(timeout=20)
print(m.payload)
m.ack()
c.release()
]]

describe("a Redis that Sentinels watch", function()
   setup(function()
      mr.log.configure "off"
      sentinels.start()
   end)
   teardown(function()
      sentinels.clean()
      mr.log.configure "warn"
   end)
   before_each(function()
      sentinels.settle()
      sentinels.cli(sentinels.master(), "flushall")
   end)
   after_each(function()
      for _, conn in ipairs(open) do conn:close() end
      open = {}
      process.end_all()
   end)

   it("is reached by the address that they give, and no password is shown", function()
      local conn, ch = connect()
      assert(ch:publish("", "q", "found"))
      assert.equal("1", sentinels.cli(sentinels.master(), "llen", "q"))
      assert.equal("found", assert(ch:get("q", { no_ack = true })).body)
      eventually("both connections at the master", function() return connections(sentinels.master()) == 2 end)
      assert.equal(0, connections(select(2, sentinels.master())))
      for _, text in ipairs { conn.host, tostring(conn) } do
         has(text, "sentinel://:***@127.0.0.1:" .. sentinels.port.sentinel1 .. ",")
         assert.is_nil(text:find("hop", 1, true))
         assert.is_nil(text:find("skip", 1, true))
      end
   end)

   it("is reached by kombu's form of the URL, and by options behind a semicolon", function()
      local one, two = sentinels.port.sentinel1, sentinels.port.sentinel2
      for _, url in ipairs {
         ("sentinel://:hop@127.0.0.1:%d;sentinel://:hop@127.0.0.1:%d?master_name=rabbits&sentinel_password=skip"):format(one, two),
         ("sentinel://:hop@127.0.0.1:%d,localhost:%d;service_name=rabbits;sentinel_password=skip"):format(one, two),
      } do
         local _, ch = connect(url)
         assert(ch:publish("", "q", "m"))
         assert.equal("m", assert(ch:get("q", { no_ack = true })).body)
      end
   end)

   it("is the one that kombu finds by the same Sentinels", function()
      local _, ch = connect()
      assert(ch:queue_declare { queue = "r", durable = true })
      assert(ch:publish("", "r", "for kombu", { content_type = "text/plain", content_encoding = "utf-8" }))
      local one, two = sentinels.port.sentinel1, sentinels.port.sentinel2
      redis.env = { MR_REDIS_URL = ("sentinel://:hop@127.0.0.1:%d/0;sentinel://:hop@127.0.0.1:%d/0"):format(one, two) }
      assert.equal("for kombu", redis.python(KOMBU))
      local msg = assert(ch:get("q", { no_ack = true }))
      assert.equal("from kombu", msg:decode())
   end)

   it("is served to others by moonrabbit broker --store", function()
      local server = process.start(("%s broker --listen 127.0.0.1:0"):format(broker.command),
         ("MOONRABBIT_STORE='%s'"):format(sentinels.url()))
      server:says "serving clients"
      local _, ch = connect((server:output():match "amqp://[^;]+"))
      assert(ch:publish("", "q", "m"))
      assert.equal("1", sentinels.cli(sentinels.master(), "llen", "q"))
      assert.is_nil(server:output():find("hop", 1, true), server:output())
      assert.is_nil(server:output():find("skip", 1, true), server:output())
      assert(ch:get("q", { no_ack = true }))
      server:stop()
   end)

   it("is found when the first Sentinel is dead", function()
      sentinels.kill "sentinel1"
      local _, ch = connect(sentinels.url { "sentinel1", "sentinel2" })
      assert(ch:publish("", "q", "m"))
      assert.equal("m", assert(ch:get("q", { no_ack = true })).body)
      sentinels.revive "sentinel1"
   end)

   it("is not found by a wrong name or a wrong password, nor where there is no Sentinel, and the error says why", function()
      local url = sentinels.url()
      local err = refused((url:gsub("rabbits", "rabbit")))
      has(err.text, "knows no master \"rabbit\"")
      has(err.hint, "sentinel monitor")
      err = refused((url:gsub("skip", "skipp")))
      has(err.text, "WRONGPASS")
      has(err.hint, "sentinel_password")
      err = refused((url:gsub("&sentinel_password=skip", "")))
      has(err.text, "NOAUTH")
      err = refused((url:gsub(":hop@", ":hopp@")))
      has(err.text, "WRONGPASS")
      err = refused "sentinel://:hop@127.0.0.1:1,127.0.0.1:2?service_name=rabbits"
      has(err.text, "no Sentinel was reached: Sentinel at 127.0.0.1:2: nothing listens")
      has(err.hint, "26379")
      err = refused(("sentinel://:hop@127.0.0.1:%d?service_name=rabbits&sentinel_password=hop"):format(sentinels.port.server1))
      has(err.text, "unknown command")
      has(err.hint, "no Sentinel")
   end)

   it("fails over when its master is killed: what the replica had is there, and the same connection goes on", function()
      local master, replica = sentinels.master()
      local conn, ch = connect(nil, { name = "writer" })
      for i = 1, 100 do assert(ch:publish("", "q", "before" .. i)) end
      eventually("the replica", function() return sentinels.cli(replica, "llen", "q") == "100" end)
      local open_before = connections(master)
      local lines = {}
      finally(function()
         mr.log.sink(nil)
         mr.log.configure "off"
      end)
      mr.log.configure "warn"
      mr.log.sink(function(_, line) lines[#lines + 1] = line end)
      sentinels.kill(master)
      local w = writer(conn) -- into the loss
      eventually("confirms of the new master", function() return #w.confirmed >= 50 end, 120)
      local moved = ('msg="another Redis is the master" server=127.0.0.1:%d/0 was=127.0.0.1:%d/0 version='):format(
         sentinels.port[replica], sentinels.port[master])
      eventually("the line about it", function() return table.concat(lines, "\n"):find(moved, 1, true) end)
      assert.equal(replica, (sentinels.master()))
      local _, reading = connect(nil, { name = "reader" })
      local seen = reader(reading)
      w.stop = true
      eventually("the end of the writer", function() return w.done end)
      eventually("all that was confirmed", function() return all_seen(seen, w.confirmed) end, 120)
      for i = 1, 100 do assert.is_true(seen["before" .. i]) end
      eventually("the acks", function() return sentinels.cli(replica, "hlen", "unacked") == "0" end)
      eventually("all connections", function() return connections(replica) == open_before end, 60)
      sentinels.revive(master)
      sentinels.settle()
      assert.equal(0, connections(master))
   end)

   it("fails over while messages are consumed: the same consumer goes on, and what was not acked comes again", function()
      local master, replica = sentinels.master()
      local conn, ch = connect(sentinels.url(nil, "&visibility_timeout=6"))
      assert(ch:queue_declare { queue = "idle", durable = true })
      local live = {}
      assert(ch:consume("idle", function(msg) live[msg.body] = true end))
      for i = 1, 10 do assert(ch:publish("", "q", "m" .. i)) end
      assert.equal("m1", assert(ch:get "q").body)
      eventually("the replica", function()
         return sentinels.cli(replica, "hlen", "unacked") == "1" and sentinels.cli(replica, "llen", "q") == "9"
      end)
      waits.loss(conn, function() sentinels.kill(master) end)
      local got = {}
      local function take(msg) got[msg.body] = msg.redelivered and "again" or "new" end
      eventually("a consumer", function() return ch:consume("q", take) end, 120)
      eventually("all of them", function()
         for i = 1, 10 do if not got["m" .. i] then return false end end
         return true
      end, 120)
      assert.equal("again", got.m1)
      assert.equal("new", got.m10)
      assert(ch:publish("", "idle", "alive"))
      eventually("a message by the consumer of before", function() return live.alive end)
      eventually("the acks", function() return sentinels.cli(replica, "hlen", "unacked") == "0" end, 60)
   end)

   it("fails over by hand, and both connections end at the new master", function()
      local master, replica = sentinels.master()
      local conn, ch = connect()
      local seen = reader(ch)
      local w = writer(conn)
      eventually("messages", function() return #w.confirmed > 50 and seen.count > 50 end)
      local open_before = connections(master)
      assert.equal("OK", sentinels.cli("sentinel2", "sentinel", "failover", "rabbits"))
      eventually("the new master", function() return connections(replica) == open_before and connections(master) == 0 end, 120)
      local from = #w.confirmed + 1
      eventually("messages by the new master", function() return #w.confirmed > from + 50 end, 120)
      w.stop = true
      eventually("the end of the writer", function() return w.done end)
      eventually("what it has confirmed", function() return all_seen(seen, w.confirmed, from) end, 120)
      assert.equal(replica, (sentinels.master()))
   end)

   it("does not confirm what too few replicas would have, if it is told so, before enough would", function()
      local master = sentinels.master()
      local conn, ch = connect()
      sentinels.cli(master, "config", "set", "min-replicas-to-write", "2")
      finally(function() sentinels.cli(master, "config", "set", "min-replicas-to-write", "0") end)
      local published = waits.background(function() return ch:publish("", "q", "m") end)
      eventually("the block", function() return conn.is_blocked end)
      assert.is_nil(published.done)
      sentinels.cli(master, "config", "set", "min-replicas-to-write", "0")
      eventually("the confirm", function() return published.done end)
      assert.is_nil(published.err)
   end)

   it("is left when it turns into a replica, and refused while its Sentinels have not noticed", function()
      local master, replica = sentinels.master()
      local refusal
      local conn = connect(nil, { on_event = function(ev)
         local text = tostring(ev.err)
         if text:find("is a replica, and not the master", 1, true) then refusal = ev.err end
      end })
      local w = writer(conn)
      eventually("messages", function() return #w.confirmed > 50 end)
      sentinels.cli(master, "replicaof", "127.0.0.1", sentinels.port[replica]) -- unlike a Sentinel's, this closes nothing
      eventually("the refusal", function() return refusal end, 60)
      has(refusal.text, "127.0.0.1:" .. sentinels.port[master])
      local before = #w.confirmed
      eventually("a failover", function() return sentinels.cli("sentinel1", "sentinel", "failover", "rabbits") == "OK" end, 60)
      eventually("messages by the new master", function() return #w.confirmed > before + 50 end, 120)
      w.stop = true
      eventually("the end of the writer", function() return w.done end)
      assert.equal(replica, (sentinels.master()))
   end)
end)
