--- served: `moonrabbit broker --store`: AMQP clients of any language on queues of Redis, beside kombu's.
-- Covers: lua/moonrabbit/cli/broker.lua by store
-- SPDX-License-Identifier: MIT
local broker = require "broker"
local files = require "files"
local mr = require "moonrabbit"
local process = require "process"
local redis = require "redis"
local shell = require "shell"

-- By AMQP (py-amqp) to the broker, and straight to Redis.
local BOTH = [[
import kombu, sys
served, store = kombu.Connection(sys.argv[2]), kombu.Connection(sys.argv[1])
with served.Producer() as p:
    p.publish({'n': 1}, routing_key='served', declare=[kombu.Queue('served')], headers={'h': 'v'})
q = store.SimpleQueue('served')
m = q.get(timeout=20)
print(m.payload, m.headers)
m.ack()
q.put({'n': 2})
q.close()
q = served.SimpleQueue('served')
m = q.get(timeout=20)
print(m.payload)
m.ack()
q.close()
]]

-- Handles 25 messages, and ends as it is told while it holds more.
local HANDLER = [[
local mr = require "moonrabbit"
local handled = 0
local conn = mr.connect(os.getenv "STORE")
local function finish()
   %s
end
mr.spawn(function()
   local ch = assert(conn:channel())
   assert(ch:queue_declare { queue = "ends", durable = true })
   assert(ch:qos { prefetch_count = 10 })
   assert(ch:consume("ends", function(msg)
      if handled == 25 then return end
      handled = handled + 1
      assert(msg:ack())
      if handled == 25 then finish() end
   end))
end)
mr.every(60, function() end)
]]

-- Takes messages and never acks them.
local HOLDER = [[
local mr = require "moonrabbit"
local conn = mr.connect(os.getenv "STORE")
mr.spawn(function()
   local ch = assert(conn:channel())
   assert(ch:queue_declare { queue = "ends", durable = true })
   assert(ch:qos { prefetch_count = 10 })
   assert(ch:consume("ends", function() mr.sleep(3600) end))
end)
mr.every(60, function() end)
]]

describe("a process that consumes from Redis", function()
   redis.around(setup, teardown)

   for how, code in pairs { ["is stopped"] = "mr.stop()", ["closes its connection"] = "conn:close() mr.stop()",
      ["exits"] = "os.exit(0)" } do
      it("leaves nothing taken when it " .. how, function()
         redis.cli "FLUSHALL"
         local conn = assert(mr.connect(redis.env.MR_REDIS_URL):connect())
         local ch = assert(conn:channel())
         assert(ch:queue_declare { queue = "ends", durable = true })
         assert(ch:confirm_select())
         for i = 1, 50 do assert(ch:publish("", "ends", tostring(i))) end
         local path = os.tmpname()
         files.write(path, HANDLER:format(code))
         local said, ended = shell(("STORE=%s %s run --log-level error %s"):format(redis.env.MR_REDIS_URL, broker.command, path))
         os.remove(path)
         assert.equal(0, ended, said)
         assert.same({ "25", "0", "0" }, { redis.cli("LLEN", "ends"), redis.cli("HLEN", "unacked"), redis.cli("ZCARD", "unacked_index") })
         assert.equal("26", assert(ch:get("ends", { no_ack = true })).body)
         assert(conn:close())
      end)
   end
end)

describe("a process that is killed", function()
   redis.around(setup, teardown)

   it("loses nothing: what it had taken is delivered to others after the visibility timeout", function()
      local url = redis.env.MR_REDIS_URL .. "?visibility_timeout=2"
      local conn = assert(mr.connect(url):connect())
      local ch = assert(conn:channel())
      assert(ch:queue_declare { queue = "ends", durable = true })
      assert(ch:confirm_select())
      finally(process.end_all)
      local path, confirmed, seen = os.tmpname(), {}, {}
      files.write(path, HOLDER)
      for round = 1, 3 do
         for i = 1, 50 do
            local body = round .. "." .. i
            if ch:publish("", "ends", body) then confirmed[#confirmed + 1] = body end
         end
         local victim = process.start(("%s run --log-level error %s"):format(broker.command, path), "STORE='" .. url .. "'")
         broker.eventually("messages in its hands", function() return tonumber(redis.cli("HLEN", "unacked")) >= 10 end)
         victim:signal "KILL"
      end
      os.remove(path)
      assert(ch:consume("ends", function(msg)
         seen[msg.body] = true
         assert(msg:ack())
      end))
      assert.equal(150, #confirmed)
      broker.eventually("all of them", function() -- two questions to Redis would miss what is moved between them
         for _, body in ipairs(confirmed) do if not seen[body] then return false end end
         return true
      end)
      broker.eventually("the acks", function() return redis.cli("HLEN", "unacked") == "0" end)
      assert.equal("0", redis.cli("LLEN", "ends"))
      for _, body in ipairs(confirmed) do assert.is_true(seen[body], body) end
      assert.equal("0", redis.cli("ZCARD", "unacked_index"))
      assert(conn:close())
   end)
end)

describe("moonrabbit broker --store", function()
   redis.around(setup, teardown)

   it("serves what is in Redis to AMQP clients, which share it with kombu, and leaves it there", function()
      local server = process.start(("%s broker --listen 127.0.0.1:0"):format(broker.command),
         "MOONRABBIT_STORE=" .. redis.env.MR_REDIS_ACL_URL)
      server:says "serving clients"
      assert.truthy(server:output():find("the messages stay in redis://rabbit:***@127.0.0.1", 1, true), server:output())
      assert.is_nil(server:output():find("hop", 1, true))
      local url = server:output():match "amqp://[^;]+"
      assert.equal("{'n': 1} {'h': 'v'}\n{'n': 2}", redis.python(BOTH, url))
      local conn = assert(mr.connect(url):connect())
      local ch = assert(conn:channel())
      assert(ch:confirm_select())
      assert(ch:publish("", "served", "stays"))
      assert(conn:close())
      server:stop()
      assert.equal("1", redis.cli("LLEN", "served"))
   end)

   it("says what is no store, and what Redis has not", function()
      for _, case in ipairs {
         { "--store amqp://h:pass@x", "must be a URL of Redis, such as redis://localhost:6379/0, not \"amqp://h:***@x\"" },
         { "--store redis://localhost --vhost other", "a Redis has one virtual host, /" },
         { "--store 'redis://localhost/0?queue_order_strategy=best'", "queue_order_strategy" },
      } do
         local said, code = shell(("%s broker --listen 127.0.0.1:0 %s"):format(broker.command, case[1]))
         assert.truthy(said:find(case[2], 1, true), said)
         assert.is_true(code ~= 0)
      end
   end)
end)
