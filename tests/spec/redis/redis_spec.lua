--- redis: the same scripts on Redis, and with kombu on the same queues.
-- Covers: runtime/redis/store.c by LPUSH
-- Covers: runtime/redis/ask.c by SCRIPT
-- Covers: runtime/redis/scripts.c by unacked
-- Covers: runtime/redis/window.c by redelivered
-- Covers: runtime/redis/taken.c by unacked
-- Covers: runtime/redis/delayed.c by delayed
-- Covers: runtime/broker/server/gateway.c by redis
-- Feature: a Redis and kombu beside it
-- SPDX-License-Identifier: MIT
local files = require "files"
local mr = require "moonrabbit"
local redis = require "redis"
local waits = require "waits"

local eventually = waits.eventually
local conn, ch

local function connect(url, more)
   local options = more or {}
   options.url = url or redis.env.MR_REDIS_URL
   return assert(mr.connect(options))
end

local function queue(name, arguments)
   return assert(ch:queue_declare { queue = name or "q", durable = true, arguments = arguments })
end

-- Consumes a queue into a list; settle(msg) decides, else messages are acked.
local function collect(name, settle)
   local got = {}
   local consumer = assert(ch:consume(name or "q", function(msg)
      got[#got + 1] = { body = msg.body, headers = msg.headers, redelivered = msg.redelivered, exchange = msg.exchange,
         routing_key = msg.routing_key, correlation_id = msg.correlation_id, reply_to = msg.reply_to, decoded = msg:decode() }
      if settle then settle(msg, got) else assert(msg:ack()) end
   end))
   return got, consumer
end

local function bodies(list)
   local out = {}
   for i, msg in ipairs(list) do out[i] = msg.body end
   return out
end

local PUBLISH = [[
import kombu, sys
c = kombu.Connection(sys.argv[1])
ch = c.channel()
kombu.Queue(sys.argv[2], kombu.Exchange(sys.argv[3], type=sys.argv[4]) if sys.argv[3] else None, routing_key=sys.argv[5])(ch).declare()
p = kombu.Producer(ch)
for i in range(int(sys.argv[7])):
    p.publish({'n': i}, exchange=sys.argv[3], routing_key=sys.argv[6], headers={'x': [1, 2.5, None, 'é', {'y': True}]},
              correlation_id='c1', reply_to='answers', priority=0)
c.release()
]]

local CONSUME = [[
import kombu, sys, json
c = kombu.Connection(sys.argv[1])
got = []
def take(body, message):
    got.append([body if not isinstance(body, bytes) else body.decode('latin-1'), message.content_type, message.headers,
                message.properties.get('correlation_id'), message.delivery_info.get('routing_key')])
    message.ack()
with c.Consumer(kombu.Queue(sys.argv[2]), callbacks=[take], accept=['json', 'application/data', 'text/plain', 'application/octet-stream']):
    while len(got) < int(sys.argv[3]):
        c.drain_events(timeout=20)
print(json.dumps(got, sort_keys=True))
c.release()
]]

describe("a queue in Redis", function()
   redis.around(setup, teardown)
   before_each(function()
      redis.cli "FLUSHALL"
      conn = connect()
      ch = assert(conn:channel())
      assert(ch:confirm_select())
   end)
   after_each(function()
      conn:close()
      assert.equal("", redis.cli("HKEYS", "unacked"))
   end)

   it("is consumed in order, and an ack leaves nothing of a message", function()
      queue()
      for i = 1, 500 do assert(ch:publish("", "q", "m" .. i)) end
      assert.equal(500, queue().message_count)
      local got = collect()
      eventually("all of them", function() return #got == 500 end)
      for i = 1, 500 do assert.equal("m" .. i, got[i].body) end
      eventually("the acks", function() return redis.cli("HLEN", "unacked") == "0" end)
      assert.equal("", redis.cli("KEYS", "*"))
   end)

   it("keeps bodies and properties as they were: bytes, headers of all kinds, large ones", function()
      queue()
      local body = {}
      for i = 0, 255 do body[#body + 1] = string.char(i) end
      body = table.concat(body):rep(4096) -- a megabyte
      local headers = { text = "é\n\"\\", whole = 12345678901, part = 0.1, list = { 1, "two" }, yes = true, deep = { a = { b = 1 } } }
      assert(ch:publish("", "q", body, { headers = headers, content_type = "image/png", content_encoding = "gzip",
         correlation_id = "c", reply_to = "r", message_id = "m", type = "t", app_id = "a", delivery_mode = 2, timestamp = 1700000000 }))
      local msg = assert(ch:get "q")
      assert.is_true(body == msg.body)
      for key, value in pairs(headers) do assert.same(value, msg.headers[key]) end
      assert.equal("image/png", msg.content_type)
      assert.equal("gzip", msg.content_encoding)
      assert.equal("c", msg.correlation_id)
      assert.equal("r", msg.reply_to)
      assert.equal("m", msg.message_id)
      assert.equal("t", msg.type)
      assert.equal("a", msg.app_id)
      assert.equal(2, msg.delivery_mode)
      assert.equal(1700000000, msg.timestamp)
      assert(msg:ack())
   end)

   it("has what a consumer has requeued first again, marked as redelivered", function()
      queue()
      for i = 1, 3 do assert(ch:publish("", "q", "m" .. i)) end
      assert(ch:qos { prefetch_count = 1 })
      local got = collect("q", function(msg, list)
         if #list == 1 then assert(msg:nack { requeue = true }) else assert(msg:ack()) end
      end)
      eventually("all of them", function() return #got == 4 end)
      assert.same({ "m1", "m1", "m2", "m3" }, bodies(got))
      assert.is_false(got[1].redelivered)
      assert.is_true(got[2].redelivered)
      assert.is_false(got[3].redelivered)
      assert.same(got[1].headers, got[2].headers) -- the mark is none of them
   end)

   it("has what was not acked again when its channel or its connection ends", function()
      queue()
      for i = 1, 10 do assert(ch:publish("", "q", "m" .. i)) end
      local other = assert(conn:channel())
      for _ = 1, 10 do assert(other:get "q") end
      assert.equal("10", redis.cli("HLEN", "unacked"))
      assert(other:close())
      eventually("their return", function() return redis.cli("LLEN", "q") == "10" end)
      local got = collect()
      eventually("all of them again", function() return #got == 10 end)
      assert.is_true(got[1].redelivered)
   end)

   it("has all its messages again from consumers that end while they ask for some", function()
      queue()
      for i = 1, 100 do assert(ch:publish("", "q", "m" .. i)) end
      for _ = 1, 30 do
         local other = assert(conn:channel())
         local consumer = assert(other:consume("q", function(msg) msg:nack { requeue = true } end))
         consumer:cancel()
         other:close()
      end
      eventually("their return", function() return redis.cli("LLEN", "q") == "100" and redis.cli("HLEN", "unacked") == "0" end)
      assert.equal(100, ch:queue_purge { queue = "q" })
   end)

   it("gives one message after the other to a get, and says when it is empty", function()
      queue()
      assert(ch:publish("", "q", "one"))
      local msg = assert(ch:get "q")
      assert.equal("one", msg.body)
      assert(msg:ack())
      assert.is_nil((ch:get "q"))
   end)

   it("takes messages of priority 0 first, as kombu does", function()
      queue()
      for _, priority in ipairs { 9, 3, 0, 6, 1 } do assert(ch:publish("", "q", "p" .. priority, { priority = priority })) end
      local got = collect()
      eventually("all of them", function() return #got == 5 end)
      assert.same({ "p0", "p1", "p3", "p6", "p9" }, bodies(got))
   end)

   it("gets what a topic or a direct exchange has for it, and a mandatory message for nobody comes back", function()
      for _, kind in ipairs { "direct", "topic" } do
         assert(ch:exchange_declare { exchange = "x" .. kind, type = kind, durable = true })
         queue("q" .. kind)
         assert(ch:queue_bind { queue = "q" .. kind, exchange = "x" .. kind, routing_key = kind == "topic" and "a.*" or "a.b" })
         assert(ch:publish("x" .. kind, "a.b", kind))
         local ok, err = ch:publish("x" .. kind, "b", "nobody", { mandatory = true })
         assert.is_nil(ok)
         assert.equal("returned", err.kind)
         assert.equal(kind, assert(ch:get("q" .. kind, { no_ack = true })).body)
         assert.is_nil((ch:get("q" .. kind)))
         assert(ch:queue_unbind { queue = "q" .. kind, exchange = "x" .. kind, routing_key = kind == "topic" and "a.*" or "a.b" })
         assert.equal("0", redis.cli("SCARD", "_kombu.binding.x" .. kind))
      end
   end)

   it("is emptied by a purge, and a delete removes its bindings", function()
      assert(ch:exchange_declare { exchange = "x", type = "direct", durable = true })
      queue()
      assert(ch:queue_bind { queue = "q", exchange = "x", routing_key = "k" })
      for _ = 1, 5 do assert(ch:publish("x", "k", "m", { priority = 9 })) end
      assert.equal(5, ch:queue_purge { queue = "q" })
      assert.equal(0, queue().message_count)
      assert(ch:publish("x", "k", "m"))
      assert.equal(1, ch:queue_delete { queue = "q" })
      assert.equal("", redis.cli("KEYS", "*"))
   end)

   it("sends what is rejected to its dead-letter exchange, with x-death", function()
      queue "dead"
      queue("mortal", { ["x-dead-letter-exchange"] = "", ["x-dead-letter-routing-key"] = "dead" })
      assert(ch:publish("", "mortal", "bad"))
      collect("mortal", function(msg) assert(msg:reject { requeue = false }) end)
      local dead = collect "dead"
      eventually("the dead letter", function() return #dead == 1 end)
      assert.equal("bad", dead[1].body)
      assert.equal("rejected", dead[1].headers["x-death"][1].reason)
   end)

   it("has a delayed message when it is due, from a queue with a time to live and a dead-letter exchange", function()
      queue()
      queue("later", { ["x-message-ttl"] = 1500, ["x-dead-letter-exchange"] = "", ["x-dead-letter-routing-key"] = "q" })
      local got = collect()
      local began = mr.now()
      assert(ch:publish("", "later", "second"))
      assert(ch:publish("", "later", "first", { expiration = "300" }))
      eventually("both", function() return #got == 2 end)
      assert.is_true(mr.now() - began >= 1.5)
      assert.same({ "first", "second" }, bodies(got))
      assert.equal("expired", got[1].headers["x-death"][1].reason)
      assert.equal("0", redis.cli("ZCARD", "moonrabbit.delayed"))
   end)

   it("serves simple queues, pools and publishers with a topology, as RabbitMQ does", function()
      local simple = assert(conn:simple_queue "simple")
      assert(simple:put { n = 7 })
      assert.equal(1, simple:qsize())
      local msg = assert(simple:get { timeout = 10 })
      assert.equal(7, msg:decode().n)
      assert(msg:ack())
      simple:close()
      local pool = mr.pool { url = redis.env.MR_REDIS_URL, max_connections = 2 }
      local from_pool = pool:with(function(lent)
         assert(lent:queue_declare { queue = "pooled", durable = true })
         return "lent"
      end)
      assert.equal("lent", from_pool)
      pool:close()
      local writer = mr.publisher { connection = conn, routing_key = "made", topology = mr.topology { queues = { "made" } } }
      assert(writer:publish { n = 8 })
      local got
      local w = mr.consumer { connection = conn, queue = "made", handler = function(m) got = m:decode().n end }
      eventually("the message", function() return got == 8 end)
      w:cancel()
   end)

   it("has a delayed publish when it is due, by queue and by exchange", function()
      queue()
      assert(ch:exchange_declare { exchange = "dx", type = "topic", durable = true })
      assert(ch:queue_bind { queue = "q", exchange = "dx", routing_key = "a.*" })
      local p = mr.publisher { connection = conn }
      assert(p:publish("by queue", { routing_key = "q", delay = 0.3, headers = { h = "v" } }))
      assert(p:publish("by exchange", { exchange = "dx", routing_key = "a.b", delay = 0.3 }))
      assert.equal("2", redis.cli("ZCARD", "moonrabbit.delayed"))
      assert.equal("0", redis.cli("LLEN", "q"))
      eventually("both", function() return redis.cli("LLEN", "q") == "2" end)
      local got = collect()
      eventually("them here", function() return #got == 2 end)
      table.sort(got, function(a, b) return a.body < b.body end)
      assert.same({ "by exchange", "dx", "by queue", "", "v" }, { got[1].body, got[1].exchange, got[2].body, got[2].exchange,
         got[2].headers.h })
      local ok, err = p:publish("x", { exchange = "none", routing_key = "a.b", delay = 0.3 })
      assert.same({ nil, "returned" }, { ok, err and err.kind })
      p:close()
   end)

   it("retries a handler that fails, after a delay, and gives up at last", function()
      local tries = {}
      local w = mr.consumer { connection = conn, queue = "jobs", retry = mr.retry.exponential { first = 0.2, attempts = 3 },
         handler = function(msg)
            tries[#tries + 1] = { mr.now(), msg.body }
            error "not yet"
         end }
      assert(w:wait(10))
      assert(ch:publish("", "jobs", "job"))
      eventually("the tries", function() return #tries >= 3 end)
      assert.is_true(tries[2][1] - tries[1][1] >= 0.2)
      eventually("the end", function() return redis.cli("HLEN", "unacked") == "0" and redis.cli("ZCARD", "moonrabbit.delayed") == "0" end)
      assert.equal("job", tries[3][2])
      w:cancel()
   end)

   it("puts aside what is no envelope, and goes on", function()
      queue()
      for _, bad in ipairs { "no json", "{}", '{"body": "%%%", "properties": {"body_encoding": "base64", "delivery_tag": "t"}}',
         '{"body": "x", "properties": {"body_encoding": "rot13", "delivery_tag": "u"}}', "[1]", '"text"' } do
         redis.cli("LPUSH", "q", bad)
      end
      assert(ch:publish("", "q", "good"))
      local got = collect()
      eventually("the good one", function() return #got == 1 end)
      assert.equal("good", got[1].body)
      eventually("the bad ones", function() return redis.cli("LLEN", "moonrabbit.invalid") == "6" end)
      eventually("the acks", function() return redis.cli("HLEN", "unacked") == "0" end)
   end)

   it("wakes a consumer that waits, for a message of kombu's", function()
      queue()
      local got = collect()
      redis.python(PUBLISH, "q", "", "direct", "", "q", 3)
      eventually("all of them", function() return #got == 3 end)
      assert.same({ n = 0 }, got[1].decoded)
      assert.same(1, got[1].headers.x[1])
      assert.equal("é", got[1].headers.x[4])
      assert.is_true(got[1].headers.x[5].y)
      assert.equal("c1", got[1].correlation_id)
      assert.equal("answers", got[1].reply_to)
   end)

   it("wakes a consumer at once for each of its own messages", function()
      queue()
      local turns = 0
      assert(ch:consume("q", function()
         turns = turns + 1
         if turns < 200 then assert(ch:publish_async("", "q", "m")) end
      end))
      local began = mr.now()
      assert(ch:publish("", "q", "m"))
      eventually("all turns", function() return turns == 200 end, 120)
      assert.is_true(mr.now() - began < 100) -- queues are looked at once in a second: 200 s of looks alone
   end)

   it("hears of changes again when either of its connections was lost and has come back", function()
      local function clients(flag)
         local ids = {}
         for line in redis.cli("CLIENT", "LIST"):gmatch "[^\n]+" do
            if line:find "name=moonrabbit" and line:match " flags=(%S+)":find(flag) then ids[#ids + 1] = line:match "id=(%d+)" end
         end
         return ids
      end
      queue()
      local got = collect()
      for _, flag in ipairs { "t", "P" } do
         eventually("both", function() return #clients "t" == 1 and #clients "P" == 1 and conn.is_open end)
         local id = clients(flag)[1]
         redis.cli("CLIENT", "KILL", "ID", id)
         eventually("the loss", function() return clients(flag)[1] ~= id end)
      end
      eventually("both", function() return #clients "t" == 1 and #clients "P" == 1 and conn.is_open end)
      assert(ch:publish("", "q", "m"))
      eventually("the message", function() return #got == 1 end)
   end)

   it("gets messages by an exchange and a binding that kombu has made", function()
      redis.python(PUBLISH, "q", "kx", "topic", "a.*", "a.b", 2)
      queue()
      local got = collect()
      eventually("all of them", function() return #got == 2 end)
      assert.equal("kx", got[1].exchange)
      assert.equal("a.b", got[1].routing_key)
      assert(ch:exchange_declare { exchange = "kx", type = "topic", durable = true })
      assert(ch:publish("kx", "a.c", "by kombu's binding"))
      eventually("one more", function() return #got == 3 end)
   end)

   it("is read by kombu: text, JSON and bytes", function()
      queue()
      assert(ch:publish("", "q", '{"a": 1}', { content_type = "application/json", content_encoding = "utf-8", correlation_id = "c",
         headers = { h = "v" } }))
      assert(ch:publish("", "q", "plain", { content_type = "text/plain", content_encoding = "utf-8" }))
      local said = redis.python(CONSUME, "q", 2)
      assert.equal('[[{"a": 1}, "application/json", {"h": "v"}, "c", "q"], ["plain", "text/plain", {}, null, "q"]]', said)
   end)

   it("is not declared with what Redis has not, and the error says so", function()
      for key, value in pairs { ["x-message-ttl"] = 1000, ["x-expires"] = 1000, ["x-max-length"] = 1,
         ["x-queue-type"] = "quorum" } do
         local ok, err = assert(conn:channel()):queue_declare { queue = "r", durable = true, arguments = { [key] = value } }
         assert.is_nil(ok)
         assert.equal("precondition_failed", err.kind)
         assert.is_truthy(err.text:find(key, 1, true), err.text)
      end
      local ok, err = assert(conn:channel()):exchange_declare { exchange = "rh", type = "headers" }
      assert.is_nil(ok)
      assert.equal("precondition_failed", err.kind)
   end)

   it("does not deliver what has expired, which becomes a dead letter", function()
      queue("mortal", { ["x-dead-letter-exchange"] = "", ["x-dead-letter-routing-key"] = "dead" })
      queue "dead"
      for _, ms in ipairs { "0", "0", "600000", "0" } do assert(ch:publish("", "mortal", ms, { expiration = ms })) end
      local msg = assert(ch:get "mortal") -- the first two have expired
      assert.same({ "600000", "600000" }, { msg.body, msg.expiration })
      assert.is_nil(ch:get "mortal")
      assert(msg:ack())
      local letters = collect "dead"
      eventually("the dead letters", function() return #letters == 3 end)
      assert.same({ "expired", "0", "mortal" }, { letters[1].headers["x-death"][1].reason,
         letters[1].headers["x-death"][1]["original-expiration"], letters[1].headers["x-death"][1].queue })
      assert(ch:publish("", "mortal", "late", { expiration = "0" }))
      assert(ch:publish("", "mortal", "in time", { expiration = "600000" }))
      local got = collect "mortal"
      eventually("those in time", function() return #got == 1 end)
      eventually("the last dead letter", function() return #letters == 4 end)
      assert.equal("in time", got[1].body)
      eventually("the acks", function() return redis.cli("HLEN", "unacked") == "0" end)
      assert.equal("", redis.cli("KEYS", "*"))
   end)

   it("carries calls between processes: requests expire, and answers leave nothing behind", function()
      local served = connect(redis.env.MR_REDIS_SOCKET_URL) -- the broker of another process, to Redis
      local server = mr.rpc.serve { connection = served, queue = "sums", handler = function(body) return body.a + body.b end }
      assert.equal(5, assert(mr.rpc.call("sums", { a = 2, b = 3 }, { connection = conn, timeout = 30 })))
      server:close()
      local _, err = mr.rpc.call("sums", { a = 2, b = 3 }, { connection = conn, timeout = 0.05 })
      assert.equal("timeout", err.kind)
      assert(served:close())
      assert(conn:close())
      eventually("nothing but a request that has expired", function() return redis.cli("KEYS", "*") == "sums" end)
   end)

   it("goes on when somebody flushes the scripts of Redis", function()
      queue()
      local got = collect()
      for round = 1, 3 do
         redis.cli("SCRIPT", "FLUSH")
         eventually("a publish", function() return ch.is_open and ch:publish("", "q", "m" .. round) end)
         eventually("the message", function() return #got >= round end)
      end
   end)

   it("is shared: each message goes to one of two processes' connections", function()
      queue()
      local other = connect(redis.env.MR_REDIS_SOCKET_URL)
      local second = assert(other:channel())
      local seen, count = {}, 0
      local function take(msg)
         count = count + 1
         seen[msg.body] = (seen[msg.body] or 0) + 1
         assert(msg:ack())
      end
      assert(second:queue_declare { queue = "q", durable = true })
      for _, c in ipairs { ch, second } do
         assert(c:qos { prefetch_count = 5 })
         assert(c:consume("q", take))
      end
      for i = 1, 300 do assert(ch:publish("", "q", "m" .. i)) end
      eventually("all of them", function() return count == 300 end)
      for i = 1, 300 do assert.equal(1, seen["m" .. i]) end
      other:close()
   end)

   it("loses nothing that was confirmed when Redis is killed and comes back, and consumes again", function()
      queue()
      local confirmed, seen, stop = {}, {}, false
      local count = 0
      -- What Redis has given in an answer that was lost comes again after this time.
      local consumer = connect(redis.env.MR_REDIS_URL .. "?visibility_timeout=6", { name = "reader" })
      local reading = assert(consumer:channel())
      assert(reading:queue_declare { queue = "q", durable = true })
      assert(reading:qos { prefetch_count = 20 })
      assert(reading:consume("q", function(msg)
         if not seen[msg.body] then count = count + 1 end
         seen[msg.body] = true
         msg:ack()
      end))
      local writer = mr.publisher { connection = conn, routing_key = "q" }
      mr.spawn(function()
         local i = 0
         while not stop do
            i = i + 1
            local body = "m" .. i
            if writer:publish(body) then confirmed[#confirmed + 1] = body end
         end
      end)
      for round = 1, 3 do
         local before = #confirmed
         eventually("confirms", function() return #confirmed > before + 50 end, 120)
         redis.kill()
         redis.start()
         eventually("confirms after the kill", function() return #confirmed > before + 100 end, 120)
         assert.is_true(round > 0)
      end
      stop = true
      eventually("all that was confirmed", function()
         for _, body in ipairs(confirmed) do if not seen[body] then return false end end
         return true
      end, 120)
      eventually("the acks", function() return redis.cli("HLEN", "unacked") == "0" end, 120)
      consumer:close()
   end)

   it("blocks its publishers while Redis takes nothing, and loses nothing of theirs", function()
      local patient = assert(mr.connect(redis.env.MR_REDIS_URL .. "?socket_timeout=600"):connect())
      local channel = assert(patient:channel())
      assert(channel:queue_declare { queue = "q", durable = true })
      assert(channel:confirm_select())
      local pid, body, count = files.read(redis.dir .. "/pid"):match "%d+", ("x"):rep(100000), 600
      os.execute("kill -STOP " .. pid)
      eventually("it stands still", function() return files.read("/proc/" .. pid .. "/stat"):find("%) T ") end)
      finally(function()
         os.execute("kill -CONT " .. pid)
         patient:close()
      end)
      local sent = waits.background(function()
         for i = 1, count do assert(channel:publish_async("", "q", i .. " " .. body)) end
         return assert(channel:wait_for_confirms(300))
      end)
      eventually("the block", function() return patient.is_blocked end, 120)
      os.execute("kill -CONT " .. pid)
      eventually("the confirms", function() return sent.done end, 300)
      assert.is_nil(sent.err)
      assert.is_false(patient.is_blocked)
      assert.equal(tostring(count), redis.cli("LLEN", "q"))
   end)

   it("blocks its publishers while Redis has no memory, and goes on consuming", function()
      queue()
      local reason
      conn.on_event = function(ev) if ev.type == "blocked" then reason = ev.err.text end end
      for i = 1, 20 do assert(ch:publish("", "q", "m" .. i)) end
      redis.cli("CONFIG", "SET", "maxmemory", "1")
      finally(function() redis.cli("CONFIG", "SET", "maxmemory", "0") end)
      local sent = waits.background(function()
         for i = 21, 40 do assert(ch:publish_async("", "q", "m" .. i)) end
         return assert(ch:wait_for_confirms(60))
      end)
      eventually("the block", function() return conn.is_blocked end)
      local got, reader = {}, connect() -- a blocked connection is not read, as with RabbitMQ
      assert(assert(reader:channel()):consume("q", function(msg)
         got[#got + 1] = msg.body
         assert(msg:ack())
      end))
      eventually("what was there", function() return #got == 20 end)
      assert.is_nil(sent.done)
      redis.cli("CONFIG", "SET", "maxmemory", "0")
      eventually("all of them", function() return sent.done and #got == 40 end)
      assert.is_nil(sent.err)
      for i = 1, 40 do assert.equal("m" .. i, got[i]) end
      eventually("its end", function() return not conn.is_blocked end)
      assert.truthy(reason:find("OOM", 1, true), reason)
      eventually("the acks", function() return redis.cli("HLEN", "unacked") == "0" end)
      assert(reader:close())
   end)

   it("says why Redis is not reached, and which password is wrong", function()
      local _, err = mr.connect({ url = "redis://127.0.0.1:1/0", connection_attempts = 1 }):connect()
      assert.equal("connection_forced", err.kind)
      assert.is_truthy(err.text:find("nothing listens", 1, true), err.text)
      local wrong = redis.env.MR_REDIS_ACL_URL:gsub(":hop@", ":hup-secret@")
      _, err = mr.connect({ url = wrong, connection_attempts = 1 }):connect()
      assert.is_truthy(err.text:find("WRONGPASS", 1, true), err.text)
      assert.is_nil(tostring(err):find("hup-secret", 1, true))
      connect(redis.env.MR_REDIS_ACL_URL):close()
   end)

   it("is reached by TLS, which verifies the server's certificate", function()
      local url = redis.env.MR_REDIS_TLS_URL
      local _, err = mr.connect({ url = url, connection_attempts = 1 }):connect()
      assert.is_truthy(err.text:find("certificate", 1, true), err.text)
      local safe = connect(url .. "?ssl_ca_certs=" .. redis.env.MR_REDIS_CA)
      local c = assert(safe:channel())
      assert(c:queue_declare { queue = "q", durable = true })
      assert(c:confirm_select())
      assert(c:publish("", "q", "by TLS"))
      assert.equal("by TLS", assert(ch:get("q", { no_ack = true })).body)
      safe:close()
   end)

   it("has options by kombu's names, and an unknown one is an error", function()
      local url = redis.env.MR_REDIS_URL
      local far = connect(url .. "?global_keyprefix=far.&priority_steps=0,5&visibility_timeout=60")
      local c = assert(far:channel())
      assert(c:queue_declare { queue = "q", durable = true })
      assert(c:confirm_select())
      assert(c:publish("", "q", "m", { priority = 7 }))
      assert.equal("1", redis.cli("LLEN", "far.q\6\0225"))
      assert.equal("m", assert(c:get("q", { no_ack = true })).body)
      far:close()
      for key, value in pairs { hostname = "h", password = "p", virtual_host = "v", ssl = true } do
         local ok, err = pcall(mr.connect, { url = url, [key] = value })
         assert.is_false(ok)
         assert.is_truthy(tostring(err):find(key, 1, true), tostring(err))
      end
      for text, what in pairs { ["?visibility_timeot=5"] = "visibility_timeout", ["?priority_steps=3,0"] = "priority_steps",
         ["?socket_timeout=0"] = "socket_timeout", ["x"] = "number" } do
         local ok, err = pcall(mr.connect, { url = url .. text })
         assert.is_false(ok)
         assert.is_truthy(tostring(err):find(what, 1, true), tostring(err))
      end
   end)

   it("has what a dead process has taken again after the visibility timeout, from kombu and for kombu", function()
      local url = redis.env.MR_REDIS_URL .. "?visibility_timeout=4"
      local quick = connect(url)
      local c = assert(quick:channel())
      assert(c:queue_declare { queue = "lost", durable = true })
      redis.python([[
import kombu, sys, os
c = kombu.Connection(sys.argv[1])
kombu.Producer(c.channel()).publish("left", exchange="", routing_key="lost")
c.SimpleQueue("lost").get(timeout=20)
os._exit(0)
]])
      assert.equal("1", redis.cli("HLEN", "unacked"))
      local got
      assert(c:consume("lost", function(msg) got = { msg.body, msg.redelivered } end))
      eventually("its return", function() return got end, 60)
      assert.same({ "left", true }, got)
      eventually("the ack", function() return redis.cli("HLEN", "unacked") == "0" end)
      quick:close()
   end)

   it("keeps what a slow handler holds, however long it takes", function()
      local quick = connect(redis.env.MR_REDIS_URL .. "?visibility_timeout=2")
      local c = assert(quick:channel())
      assert(c:queue_declare { queue = "slow", durable = true })
      assert(c:confirm_select())
      assert(c:publish("", "slow", "m"))
      local calls, done = 0, mr.event()
      assert(c:consume("slow", function()
         calls = calls + 1
         mr.sleep(7)
         done:set()
      end))
      assert(done:wait(60))
      assert.equal(1, calls)
      eventually("the ack", function() return redis.cli("HLEN", "unacked") == "0" end)
      quick:close()
   end)
end)
