--- watched: what the log tells of the connections to Redis: reached, lost, found elsewhere, refusing.
-- Covers: runtime/broker/server/bulletin.c by count
-- Covers: runtime/health/stores.c by unacked
-- Covers: runtime/redis/hello.c by version
-- Covers: runtime/redis/view.c by version
-- SPDX-License-Identifier: MIT
local broker = require "broker"
local cjson = require "cjson"
local http = require "http"
local mr = require "moonrabbit"
local process = require "process"
local prometheus = require "prometheus"
local redis = require "redis"
local waits = require "waits"

local eventually = waits.eventually
local lines, conn, ch

-- The lines with this message, from the number `from` on.
local function told(msg, from)
   local found = {}
   for i = from or 1, #lines do
      if lines[i]:find(('msg="%s"'):format(msg), 1, true) then found[#found + 1] = lines[i] end
   end
   return found
end

-- The first of them.
local function line(msg, from)
   eventually(("the line %q"):format(msg), function() return told(msg, from)[1] end)
   return told(msg, from)[1]
end

local function has(text, ...)
   for _, part in ipairs { ... } do assert.is_truthy(text:find(part, 1, true), text) end
end

local function place_of(text) return text:match "server=(%S+)" end

describe("the log of a program with redis://", function()
   redis.around(setup, teardown)

   before_each(function()
      lines = {}
      mr.log.configure "info"
      mr.log.sink(function(_, text) lines[#lines + 1] = text end)
      redis.cli "FLUSHALL"
      conn = assert(mr.connect(redis.env.MR_REDIS_ACL_URL))
      ch = assert(conn:channel())
      assert(ch:confirm_select())
      assert(ch:queue_declare { queue = "q", durable = true })
   end)
   after_each(function()
      conn:close()
      mr.log.sink(nil)
      mr.log.configure "off"
      assert.is_nil(table.concat(lines, "\n"):find("hop", 1, true)) -- the password
   end)

   it("says where Redis is, its version and role, before it is connected", function()
      local reached = line "Redis is reached"
      has(reached, "level=info", "version=" .. redis.cli("INFO", "server"):match "redis_version:([%d.]+)", "role=master")
      assert.equal(redis.env.MR_REDIS_URL:match "//(.*)", place_of(reached))
      assert.is_truthy(table.concat(lines, "\n"):find "Redis is reached.*msg=connected")
   end)

   it("says that it is lost, why, and what waits, and that it is back", function()
      local pid = require "files".read(redis.dir .. "/pid"):match "%d+"
      os.execute("kill -STOP " .. pid)
      local done
      mr.spawn(function()
         ch:publish("", "q", "m")
         done = true
      end)
      mr.sleep(0.05) -- it is on its way then: else less is proven below
      redis.kill()
      local lost = line "Redis is lost"
      has(lost, "level=error", "kind=", "text=", "publishes=1")
      redis.start()
      has(line "Redis is reached again", "level=info", "version=", "seconds=")
      eventually("the publish", function() return done end)
      assert.equal(1, #told "Redis is lost")
      eventually("all lines, in their order", function()
         return table.concat(lines, "\n"):find 'Redis is lost.-msg=lost.-Redis is reached again.-msg=recovered'
      end)
   end)

   it("says nothing of a Redis that is lost after the connection was closed", function()
      local function open(query) return assert(mr.connect(redis.env.MR_REDIS_URL .. query):connect()) end
      assert(conn:close())
      assert(open "?health_check_interval=24":close())
      redis.kill()
      redis.start()
      local from = #lines + 1
      local second = open "?health_check_interval=23" -- a broker of its own: its line is the first since
      line("Redis is reached", from)
      assert(second:close())
      assert.is_nil(told("Redis is lost", from)[1])
   end)

   it("says what Redis refuses for now, and when it takes it again", function()
      finally(function() redis.cli("CONFIG", "SET", "maxmemory", 0) end)
      redis.cli("CONFIG", "SET", "maxmemory", 1)
      local done
      mr.spawn(function() done = ch:publish("", "q", "m") end)
      has(line "Redis takes no publishes", "level=warn", "kind=resource_error", "OOM", "maxmemory-policy")
      redis.cli("CONFIG", "SET", "maxmemory", 0)
      has(line "Redis takes publishes again", "seconds=")
      eventually("the publish", function() return done end)
      assert.equal(1, #told "Redis takes no publishes")
   end)

   it("names the header that the envelope cannot hold, and the error of the publish leads there", function()
      local ok, err = ch:publish("", "q", "m", { headers = { good = 1, bad = { inner = "\255" } } })
      assert.is_nil(ok)
      assert.equal("nacked", err.kind)
      has(err.hint, "the log says why")
      has(line "a message cannot be kept in Redis", "level=error", "connection=", 'exchange=""', "routing_key=q",
         "in the header 'bad', a text is not UTF-8", "type x")
      assert(ch:publish("", "q", "m"))
   end)

   it("says so ten times at most in ten seconds, if the reasons take turns", function()
      local function refuse(i) assert.is_nil(ch:publish("", "q", "m", { headers = { ["h" .. i] = "\255" } })) end
      for i = 1, 200 do refuse(i % 100) end
      line "a message cannot be kept in Redis"
      local count = #told "a message cannot be kept in Redis"
      assert.is_true(count < 40, count) -- more than ten if others were told before, and one reason came again
      eventually("another reason", function()
         refuse "other"
         return table.concat(lines, "\n"):find("'hother'", 1, true)
      end)
   end)

   it("says that it may not write, as one that lost its right: once", function()
      redis.cli("ACL", "SETUSER", "reader", "on", ">x", "~*", "&*", "+@all", "-lpush")
      local c = assert(mr.connect((redis.env.MR_REDIS_URL:gsub("://", "://reader:x@"))))
      local other = assert(c:channel())
      assert(other:confirm_select())
      for _ = 1, 3 do assert.is_nil(other:publish("", "q", "m")) end
      eventually("two lines", function() return #told "a message cannot be kept in Redis" == 2 end)
      has(told "a message cannot be kept in Redis"[1], "kind=access_refused", "routing_key=q", "NOPERM", "ACL", "count=1")
      has(told "a message cannot be kept in Redis"[2], "count=2")
      c:close()
   end)

   it("says that the second connection is lost, and that it is back", function()
      local function look(msg)
         assert(ch:queue_declare { queue = "q", durable = true }) -- lines are written when there is something to tell
         return told(msg)[1]
      end
      eventually("its loss", function()
         redis.cli("CLIENT", "KILL", "TYPE", "pubsub")
         return look "the second connection to Redis is lost"
      end)
      has(look "the second connection to Redis is lost", "level=warn", "kind=stream_lost")
      eventually("its return", function() return look "the second connection to Redis is back" end)
      assert.is_nil(told "Redis is lost"[1])
   end)
end)

describe("health of a program with redis://", function()
   redis.around(setup, teardown)

   local port, place

   local function ask(path)
      local _, body = http.ask(port, path)
      return body
   end

   local function metric(name)
      local found
      for _, s in ipairs((prometheus(ask "/metrics"))) do
         if s.name == "moonrabbit_" .. name and (not s.labels.server or s.labels.server == place) then found = s.value end
      end
      return found
   end

   -- The line of `moonrabbit status` is that of status_text_spec.
   it("shows Redis while it is there, and why it is not", function()
      port = assert(mr.health.listen "127.0.0.1:0")
      assert.is_nil(metric "redis_up")
      assert.is_nil(cjson.decode(ask "/status").stores)
      place = redis.env.MR_REDIS_URL:match "//(.*)"
      conn = assert(mr.connect(redis.env.MR_REDIS_ACL_URL))
      ch = assert(conn:channel())
      finally(function()
         conn:close()
         mr.health.close()
      end)
      assert(ch:confirm_select())
      assert(ch:queue_declare { queue = "q", durable = true })
      for i = 1, 5 do assert(ch:publish("", "q", "m" .. i)) end
      assert.is_nil(ch:publish("", "q", "m", { headers = { bad = "\255" } }))
      local held = { assert(ch:get "q"), assert(ch:get "q") }
      eventually("what it holds", function() return metric "redis_unacked_messages" == 2 end)
      assert.equal(2, #held)
      assert.same({ 1, 0, 0, 1, 0 }, { metric "redis_up", metric "redis_losses_total", metric "redis_publishes_waiting",
         metric "redis_publishes_refused_total", metric "connections_embedded" })
      for _, name in ipairs { "commands_total", "sent_bytes_total", "received_bytes_total", "round_trip_seconds" } do
         assert.is_true(metric("redis_" .. name) > 0, name)
      end
      assert.near(os.time(), metric "redis_since_timestamp_seconds", 60)
      local store = cjson.decode(ask "/status").stores[1]
      assert.same({ place, "reached", "master", 2 }, { store.server, store.state, store.role, store.unacked })
      assert.equal("connected", cjson.decode(ask "/health?verbose").broker)
      -- Another broker to the same server: one series for both.
      local losses, commands = metric "redis_losses_total", metric "redis_commands_total"
      local beside = assert(mr.connect(redis.env.MR_REDIS_URL .. "?health_check_interval=22"):connect())
      eventually("its commands", function() return metric "redis_commands_total" > commands end)
      assert.same({ losses, 1 }, { metric "redis_losses_total", #cjson.decode(ask "/status").stores })
      assert(beside:close())

      redis.kill()
      eventually("its loss", function() return metric "redis_up" == 0 end)
      assert.equal(1, metric "redis_losses_total")
      eventually("the reason", function() return ask "/health":find(("Redis at %s is lost: "):format(place), 1, true) end)
      assert.is_nil(ask "/health":find("hop", 1, true))
      store = cjson.decode(ask "/status").stores[1]
      assert.equal("lost", store.state)
      assert.is_truthy(store.error)
      redis.start()
      eventually("its return", function() return metric "redis_up" == 1 end)
      eventually("health", function() return ask "/health" == '{"status":"healthy"}' end)
   end)
end)

describe("the log of moonrabbit broker --store", function()
   redis.around(setup, teardown)

   it("says when Redis is reached, lost, and reached again, though no client is there", function()
      finally(process.end_all)
      local server = process.start(("%s broker --listen 127.0.0.1:0"):format(broker.command),
         "MOONRABBIT_STORE=" .. redis.env.MR_REDIS_ACL_URL)
      server:says 'msg="Redis is reached"'
      redis.kill()
      server:says 'msg="Redis is lost"'
      redis.start()
      server:says 'msg="Redis is reached again"'
      assert.is_nil(server:output():find("hop", 1, true), server:output())
      server:stop()
   end)

   it("says when Redis was never reached, and why", function()
      finally(process.end_all)
      local server = process.start(("%s broker --listen 127.0.0.1:0"):format(broker.command),
         "MOONRABBIT_STORE=redis://me:hop@127.0.0.1:1/2")
      server:says 'level=warn msg="Redis is not reached" server=127.0.0.1:1/2 kind=connection_refused'
      assert.is_nil(server:output():find("hop", 1, true), server:output())
      server:stop()
   end)
end)
