--- state: a Redis that does not serve for its state (READONLY, LOADING, MASTERDOWN): nobody is lost, all is tried again.
-- Feature: refusals of a Redis for its state
-- SPDX-License-Identifier: MIT
local files = require "files"
local mr = require "moonrabbit"
local redis = require "redis"
local waits = require "waits"

local eventually = waits.eventually

-- A connection that notes its losses and the reasons of its blocks.
local function open(query)
   local c = assert(mr.connect(redis.env.MR_REDIS_URL .. (query or "")))
   local seen = { blocked = {}, lost = {} }
   c.on_event = function(ev)
      if ev.type == "blocked" then seen.blocked[#seen.blocked + 1] = ev.err.text end
      if ev.type == "lost" then seen.lost[#seen.lost + 1] = ev.err.text end
   end
   local channel = assert(c:channel())
   assert(channel:queue_declare { queue = "q", durable = true })
   return c, channel, seen
end

local function number(...) return tonumber((redis.cli(...))) end

-- A replica of nobody that is there keeps its data, and refuses writes.
local function demote() assert.equal("OK", redis.cli("REPLICAOF", "127.0.0.1", "1")) end
local function promote()
   redis.cli("CONFIG", "SET", "replica-serve-stale-data", "yes")
   redis.cli("REPLICAOF", "NO", "ONE")
end

-- Publishes m1 to m3, and m4 to m6 from `begin` to `finish`, to an exchange or to the queue; a consumer acks all of them.
local function goes_on(word, exchange, begin, finish)
   local conn, ch, seen = open()
   local reader, second, of_reader = open()
   finally(function()
      finish()
      conn:close()
      reader:close()
   end)
   if exchange ~= "" then
      assert(ch:exchange_declare { exchange = exchange, type = "direct", durable = true })
      assert(ch:queue_bind { queue = "q", exchange = exchange, routing_key = "q" })
   end
   local got = {}
   assert(ch:confirm_select())
   assert(ch:publish("", "q", "held"))
   local held = assert(second:get "q")
   for i = 1, 3 do assert(ch:publish(exchange, "q", "m" .. i)) end
   assert(second:consume("q", function(msg)
      got[#got + 1] = msg.body
      assert(msg:ack())
   end))
   eventually("what was there", function() return #got == 3 and number("HLEN", "unacked") == 1 end)
   begin()
   local sent = waits.background(function()
      for i = 4, 6 do assert(ch:publish_async(exchange, "q", "m" .. i)) end
      return assert(ch:wait_for_confirms(60))
   end)
   assert(held:ack())
   eventually("the block", function() return conn.is_blocked end)
   assert.is_truthy(seen.blocked[1]:find(word, 1, true), seen.blocked[1])
   assert.is_nil(sent.done)
   finish()
   eventually("all of them", function() return sent.done and #got == 6 end)
   assert.is_nil(sent.err)
   assert.same({ "m1", "m2", "m3", "m4", "m5", "m6" }, got)
   eventually("the end of the block", function() return not conn.is_blocked end)
   eventually("the acks", function() return number("HLEN", "unacked") == 0 end)
   assert.same({}, seen.lost)
   assert.same({}, of_reader.lost)
end

-- So many commands, and a delay for each, that it takes seconds to load them.
local function slow_down()
   redis.cli("EVAL", "for i = 1, 20000 do redis.call('SET', 'k' .. i, i) end", 0)
   redis.cli("CONFIG", "SET", "key-load-delay", 150)
end

describe("A Redis that does not serve for its state", function()
   redis.around(setup, teardown)
   setup(function()
      local conf = redis.dir .. "/redis.conf"
      redis.stop()
      files.write(conf, files.read(conf) .. "enable-debug-command local\n")
      redis.start()
   end)
   before_each(function()
      redis.cli "FLUSHALL"
      redis.cli("CONFIG", "RESETSTAT")
   end)

   it("blocks publishers while it is read-only, tries again, and keeps its clients", function()
      goes_on("READONLY", "", demote, promote)
   end)

   it("does so while it has lost its master, too", function()
      goes_on("MASTERDOWN", "x", function()
         redis.cli("CONFIG", "SET", "replica-serve-stale-data", "no")
         demote()
      end, promote)
   end)

   it("does so while it loads its data, too", function()
      local done
      goes_on("LOADING", "", function()
         slow_down()
         done = io.popen(("timeout 60 redis-cli -s %s DEBUG LOADAOF"):format(redis.env.MR_REDIS_SOCKET))
         eventually("it loads", function() return redis.cli("INFO", "persistence"):find("loading:1", 1, true) end)
      end, function()
         if done then done:close() end
         done = nil
      end)
   end)

   it("tells a command that it refuses so to its client alone, which comes again", function()
      local conn, ch, seen = open()
      local other, _, of_other = open()
      finally(function()
         promote()
         conn:close()
         other:close()
      end)
      assert(ch:exchange_declare { exchange = "x", type = "direct", durable = true })
      demote()
      local ok, err = ch:queue_bind { queue = "q", exchange = "x", routing_key = "q" }
      assert.is_nil(ok)
      assert.is_truthy(tostring(err):find("READONLY", 1, true), tostring(err))
      eventually("its loss", function() return #seen.lost == 1 end)
      promote()
      eventually("its return", function() return conn.is_open end)
      assert.same({}, of_other.lost)
   end)

   it("is left when that has lasted, as its name may lead elsewhere by then", function()
      local conn, _, seen = open "?health_check_interval=2"
      local publisher = mr.publisher { connection = conn, exchange = "" }
      finally(function()
         promote()
         conn:close()
      end)
      demote()
      local sent = waits.background(function() return publisher:publish("m", { routing_key = "q" }) end)
      eventually("the block", function() return conn.is_blocked end)
      eventually("the loss", function() return #seen.lost > 0 end)
      assert.is_truthy(seen.lost[1]:find("READONLY", 1, true), seen.lost[1])
      promote()
      eventually("the confirm", function() return sent.done end)
      assert.is_nil(sent.err)
      assert.equal(1, number("LLEN", "q"))
   end)

   it("lets publishers go on when it refuses for good what it refused for its state", function()
      local conn, ch = open()
      finally(function()
         promote()
         conn:close()
      end)
      assert(ch:confirm_select())
      redis.cli("SET", "text", "no list")
      demote()
      local sent = waits.background(function() return ch:publish("", "text", "m") end)
      eventually("the block", function() return conn.is_blocked end)
      promote()
      eventually("the nack", function() return sent.done end)
      eventually("the end of the block", function() return not conn.is_blocked end)
      assert(ch:publish("", "q", "m"))
   end)

   it("has back what a process holds that ends meanwhile, if it serves again soon", function()
      local file = redis.dir .. "/holder.lua"
      finally(promote)
      files.write(file, ([[
         local conn = assert(require "moonrabbit".connect "%s")
         local ch = assert(conn:channel())
         assert(ch:confirm_select())
         assert(ch:queue_declare { queue = "q", durable = true })
         assert(ch:publish("", "q", "m"))
         assert(ch:get "q")
         os.execute "redis-cli -s %s REPLICAOF 127.0.0.1 1 >/dev/null"
         conn:close()
      ]]):format(redis.env.MR_REDIS_URL, redis.env.MR_REDIS_SOCKET))
      local ends = io.popen(("timeout 60 %s run %s 2>&1"):format(os.getenv "MOONRABBIT_COMMAND", file))
      eventually("the refusal", function() return redis.cli("INFO", "errorstats"):find("READONLY", 1, true) end)
      promote()
      assert.is_nil(ends:read("*a"):find("level=error", 1, true))
      ends:close()
      assert.equal(1, number("LLEN", "q"))
   end)

   it("is waited for at the start, while it loads its data, with the reason if that lasts", function()
      slow_down()
      redis.cli("CONFIG", "REWRITE")
      redis.stop()
      local starts = io.popen(("sh %s/tests/support/redis.sh start %s"):format(".", redis.dir))
      finally(function() starts:close() end)
      eventually("it loads", function() return redis.cli "PING":find("LOADING", 1, true) end)
      local first = mr.now()
      local _, err = mr.connect({ url = redis.env.MR_REDIS_URL, connection_attempts = 1 }):connect()
      assert.is_truthy(tostring(err):find("LOADING", 1, true), tostring(err))
      assert.is_true(mr.now() - first > 2.5) -- it may be over soon
      local conn = assert(mr.connect({ url = redis.env.MR_REDIS_URL, connection_attempts = 100 }):connect())
      assert.equal("PONG", redis.cli "PING")
      conn:close()
   end)
end)
