--- trouble: what Redis does in bad order, with odd names, with errors: nothing is lost, nothing waits for an hour.
-- Covers: runtime/redis/scripts.c by unacked
-- Covers: runtime/redis/taken.c by unacked
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local redis = require "redis"
local waits = require "waits"

local eventually = waits.eventually
local conn, ch

local function open(query)
   local c = assert(mr.connect(redis.env.MR_REDIS_URL .. (query or "")))
   local channel = assert(c:channel())
   assert(channel:confirm_select())
   return c, channel
end

-- Another process, as far as Redis can tell: another URL has a broker of its own, which begins with a restore.
local others = 0
local function other_process(query)
   others = others + 1
   return open((("?health_check_interval=%d&%s"):format(100 + others, query or ""):gsub("&$", "")))
end

local function queue(name, arguments) return assert(ch:queue_declare { queue = name or "q", durable = true, arguments = arguments }) end

local function collect(name, settle)
   local got = {}
   local consumer = assert(ch:consume(name or "q", function(msg)
      got[#got + 1] = msg.body
      if settle then settle(msg, got) else assert(msg:ack()) end
   end))
   return got, consumer
end

local function number(...) return tonumber((redis.cli(...))) end

-- Puts messages into `unacked` as a dead kombu leaves them: long ago, the first the oldest.
local LEAVE = [[
import kombu, sys, json, time
c = kombu.Connection(sys.argv[1])
ch = c.channel()
step = ch.client.pipeline() # all at once: somebody may restore meanwhile
exchange, key, count = sys.argv[2], sys.argv[3], int(sys.argv[4])
for i in range(count):
    m = ch.prepare_message('m%d' % (i + 1), content_type='text/plain', content_encoding='utf-8', headers={}, properties={})
    tag = 'tag-%s-%d' % (key, i)
    m['properties'].update(delivery_tag=tag, delivery_info={'exchange': exchange, 'routing_key': key}, body_encoding=None)
    step.hset('unacked', tag, json.dumps([m, exchange, key]))
    step.zadd('unacked_index', {tag: time.time() - 90000 + i})
step.execute()
c.release()
]]

describe("Redis in trouble", function()
   redis.around(setup, teardown)
   before_each(function()
      redis.cli "FLUSHALL"
      conn, ch = open()
   end)
   after_each(function() conn:close() end)

   for _, name in ipairs { 'a"b', "back\\slash", "tab\tname", "{brace}", "é" } do
      it("gives back and restores what came from a queue named " .. name, function()
         queue(name)
         assert(ch:publish("", name, "m"))
         local other = assert(conn:channel())
         assert(other:get(name))
         assert(other:close())
         eventually("its return", function() return number("HLEN", "unacked") == 0 end)
         local msg = assert(ch:get(name))
         assert.equal("m", msg.body)
         local second, another = other_process "visibility_timeout=4"
         eventually("its restore", function()
            redis.cli("ZADD", "unacked_index", "XX", 1, (redis.cli("HKEYS", "unacked"))) -- its holder renews it
            return number("HLEN", "unacked") == 0
         end)
         assert(another:queue_declare { queue = name, durable = true })
         local again = assert(another:get(name))
         assert.equal("m", again.body)
         assert.is_true(again.redelivered)
         assert(again:ack())
         second:close()
         redis.python(LEAVE, "", name, 1)
         second, another = other_process()
         assert(another:queue_declare { queue = name, durable = true })
         eventually("the restore of kombu's", function() return number("HLEN", "unacked") == 0 end)
         assert.equal("m1", assert(another:get(name, { no_ack = true })).body)
         second:close()
      end)
   end

   it("restores what was taken from one of two queues of an exchange to that one only", function()
      assert(ch:exchange_declare { exchange = "x", type = "direct", durable = true })
      for _, name in ipairs { "one", "two" } do
         queue(name)
         assert(ch:queue_bind { queue = name, exchange = "x", routing_key = "k" })
      end
      assert(ch:publish("x", "k", "m"))
      assert(ch:get "one")
      assert(ch:queue_unbind { queue = "one", exchange = "x", routing_key = "k" })
      local second = other_process "visibility_timeout=4"
      eventually("its restore", function()
         redis.cli("ZADD", "unacked_index", "XX", 1, (redis.cli("HKEYS", "unacked")))
         return number("HLEN", "unacked") == 0
      end)
      assert.equal(1, number("LLEN", "one"))
      assert.equal(1, number("LLEN", "two"))
      second:close()
   end)

   it("keeps what cannot be restored, and restores the others", function()
      redis.python(LEAVE, "nowhere", "k", 2)
      redis.cli("HSET", "unacked", "odd", "no envelope")
      redis.cli("ZADD", "unacked_index", 1, "odd")
      redis.cli("ZADD", "unacked_index", 1, "nothing")
      redis.python(LEAVE, "", "q", 1)
      local second = other_process()
      eventually("the restore", function() return number("LLEN", "q") == 1 end)
      assert.equal(3, number("HLEN", "unacked"))
      assert.equal(3, number("ZCARD", "unacked_index"))
      assert.is_true(number("ZSCORE", "unacked_index", "odd") > 1)
      second:close()
   end)

   it("marks a message once, however often it comes back", function()
      queue()
      assert(ch:publish("", "q", "m", { headers = { own = 1 } }))
      local sizes = {}
      for round = 1, 3 do
         assert(assert(ch:get "q"):nack { requeue = true })
         eventually("its return", function() return number("LLEN", "q") == 1 end)
         sizes[round] = #redis.cli("LINDEX", "q", 0)
      end
      assert.equal(sizes[1], sizes[3])
      local msg = assert(ch:get("q", { no_ack = true }))
      assert.is_true(msg.redelivered)
      assert.equal(1, msg.headers.own)
   end)

   it("gives back to the list of its priority, and in the order in which it was taken", function()
      local c, channel = other_process()
      assert(channel:queue_declare { queue = "q", durable = true })
      for i = 1, 3 do assert(channel:publish("", "q", "m" .. i, { priority = 9 })) end
      local taken = {}
      for i = 1, 3 do taken[i] = assert(channel:get "q") end
      assert.equal(0, number("LLEN", "q\6\0229"))
      assert(taken[3]:nack { multiple = true, requeue = true })
      eventually("all of them", function() return number("LLEN", "q\6\0229") == 3 end)
      for i = 1, 3 do
         local msg = assert(channel:get "q")
         assert.equal("m" .. i, msg.body)
         assert(msg:ack())
      end
      assert(c:close())
   end)

   it("gives back what Redis has refused to take back, when it takes it", function()
      queue()
      assert(ch:publish("", "q", "m"))
      local msg = assert(ch:get "q")
      redis.cli("SCRIPT", "FLUSH")
      assert(msg:nack { requeue = true })
      eventually("its return", function() return number("LLEN", "q") == 1 end)
      assert.equal("m", assert(ch:get("q", { no_ack = true })).body)
   end)

   it("acks again what Redis has refused to remove", function()
      queue()
      assert(ch:publish("", "q", "m"))
      local msg = assert(ch:get "q")
      redis.cli("CONFIG", "RESETSTAT")
      redis.cli("CONFIG", "SET", "min-replicas-to-write", 1)
      assert(msg:ack())
      eventually("the refusal", function() return redis.cli("INFO", "errorstats"):find("NOREPLICAS", 1, true) end)
      assert.equal(1, number("HLEN", "unacked"))
      redis.cli("CONFIG", "SET", "min-replicas-to-write", 0)
      eventually("the ack", function() return number("HLEN", "unacked") == 0 end)
   end)

   it("keeps what is no envelope as long as it cannot put it aside", function()
      queue()
      redis.cli("LPUSH", "q", "no envelope")
      assert(ch:publish("", "q", "good"))
      redis.cli("CONFIG", "SET", "maxmemory", 1)
      local got = collect()
      eventually("the good one", function() return #got == 1 end)
      eventually("its ack", function() return number("HLEN", "unacked") == 1 end)
      redis.cli("CONFIG", "SET", "maxmemory", 0)
      assert.is_truthy(redis.cli("HVALS", "unacked"):find("no envelope", 1, true))
   end)

   it("gives back what is requeued though Redis has no memory for more", function()
      queue()
      assert(ch:publish("", "q", "m"))
      local msg = assert(ch:get "q")
      redis.cli("CONFIG", "SET", "maxmemory", 1)
      assert(msg:nack { requeue = true })
      eventually("its return", function() return number("LLEN", "q") == 1 end)
      local ok = ch:publish("", "q", "more")
      redis.cli("CONFIG", "SET", "maxmemory", 0)
      assert.is_nil(ok)
      assert.equal("m", assert(ch:get("q", { no_ack = true })).body)
   end)

   it("keeps dead letters that Redis has no memory for, and takes no more of their queue meanwhile", function()
      queue "dead"
      queue("letters", { ["x-dead-letter-exchange"] = "", ["x-dead-letter-routing-key"] = "dead" })
      for n = 1, 50 do assert(ch:publish("", "letters", tostring(n))) end
      assert(ch:qos { prefetch_count = 5 })
      local may, handled = mr.event(), 0
      assert(ch:consume("letters", function(msg)
         may:wait()
         handled = handled + 1
         msg:reject()
      end))
      eventually("what it may hold", function() return number("HLEN", "unacked") >= 5 end)
      finally(function() redis.cli("CONFIG", "SET", "maxmemory", 0) end)
      redis.cli("CONFIG", "SET", "maxmemory", 1)
      redis.cli("CONFIG", "RESETSTAT")
      may:set()
      local function rounds() return tonumber(redis.cli("INFO", "commandstats"):match "zrangebyscore:calls=(%d+)") or 0 end
      eventually("some rounds", function() return rounds() >= 3 end)
      local in_time = handled
      redis.cli("CONFIG", "SET", "maxmemory", 0)
      eventually("all of them", function() return number("LLEN", "dead") == 50 and number("HLEN", "unacked") == 0 end)
      assert.is_true(in_time < 50, "taken without end: " .. in_time)
      assert.equal(50, handled) -- each once
   end)

   it("keeps what a slow handler holds though Redis has no memory", function()
      local c, channel = other_process "visibility_timeout=4"
      assert(channel:queue_declare { queue = "q", durable = true })
      assert(channel:publish("", "q", "m"))
      local msg = assert(channel:get "q")
      finally(function() redis.cli("CONFIG", "SET", "maxmemory", 0) end)
      redis.cli("CONFIG", "SET", "maxmemory", 1)
      local function score() return tonumber(redis.cli("ZRANGE", "unacked_index", 0, 0, "WITHSCORES"):match "\n(.+)$") end
      local first = score()
      eventually("its renewal", function() return score() > first end)
      assert(msg:ack())
      assert(c:close())
   end)

   it("puts aside what is delayed for a name that is no list, or is no message, and moves the others", function()
      queue()
      redis.cli("SET", "text", "no list")
      redis.cli("SET", "_kombu.binding.odd", "no set")
      redis.cli("ZADD", "moonrabbit.delayed", 1, "no message")
      redis.cli("ZADD", "moonrabbit.delayed", 2, "odd\6\022key\6\0220\6\022of no queue")
      redis.cli("ZADD", "moonrabbit.delayed", 3, "\6\022text\6\0220\6\022for a text")
      assert(mr.publisher({ connection = conn, routing_key = "q" }):publish("m", { delay = 0.1 }))
      local got = collect()
      eventually("the one behind them", function() return got[1] == "m" end)
      assert.equal("for a text\nno message", redis.cli("LRANGE", "moonrabbit.invalid", 0, -1))
      assert.equal(0, number("ZCARD", "moonrabbit.delayed"))
   end)

   it("puts aside what goes back to a name that is no list any more", function()
      queue()
      assert(ch:publish("", "q", "m"))
      local msg = assert(ch:get "q")
      redis.cli("SET", "q", "no list")
      assert(msg:nack { requeue = true })
      eventually("it", function() return number("LLEN", "moonrabbit.invalid") == 1 end)
      eventually("the end of it", function() return redis.cli("KEYS", "unacked*") == "" end)
   end)

   it("does not try without end to give back what cannot be read any more", function()
      queue()
      assert(ch:publish("", "q", "m"))
      local msg = assert(ch:get "q")
      redis.cli("HSET", "unacked", redis.cli("HKEYS", "unacked"), "odd")
      redis.cli("CONFIG", "RESETSTAT")
      assert(msg:nack { requeue = true })
      local function calls(name) return tonumber(redis.cli("INFO", "commandstats"):match("cmdstat_" .. name .. ":calls=(%d+)")) or 0 end
      eventually("some rounds", function() return calls "zrangebyscore" >= 3 end)
      assert.equal(1, calls "hget")
      assert.equal("odd", redis.cli("HVALS", "unacked"))
   end)

   it("ends the channel, and not the connection, for a command that Redis refuses", function()
      redis.cli("SET", "text", "no list")
      local other = assert(conn:channel())
      local ok, err = other:queue_declare { queue = "text", durable = true }
      assert.is_nil(ok)
      assert.equal("precondition_failed", err.kind)
      assert.is_truthy(err.text:find("WRONGTYPE", 1, true), err.text)
      assert.is_true(ch.is_open)
      queue()
   end)

   it("consumes though it may not ask Redis what there is", function()
      redis.cli("ACL", "SETUSER", "blind", "on", ">x", "~*", "&*", "+@all", "-exists")
      redis.cli("CONFIG", "RESETSTAT")
      local blind = assert(mr.connect((redis.env.MR_REDIS_URL:gsub("://", "://blind:x@"))))
      local c = assert(blind:channel())
      assert(c:queue_declare { queue = "q", durable = true })
      local got
      assert(c:consume("q", function(msg)
         got = msg.body
         assert(msg:ack())
      end))
      eventually("the refusal", function() return redis.cli("INFO", "errorstats"):find("NOPERM", 1, true) end)
      assert(ch:publish("", "q", "m"))
      eventually("the message", function() return got == "m" end)
      blind:close()
   end)

   it("answers by direct reply-to, which leaves nothing in Redis", function()
      queue "ask"
      local got
      assert(ch:consume("amq.rabbitmq.reply-to", function(msg) got = msg.body end, { no_ack = true }))
      assert(ch:consume("ask", function(msg)
         assert(ch:publish("", msg.reply_to, "answer to " .. msg.body))
         assert(msg:ack())
      end))
      assert(ch:publish("", "ask", "question", { reply_to = "amq.rabbitmq.reply-to" }))
      eventually("the answer", function() return got end)
      assert.equal("answer to question", got)
      eventually("the ack", function() return redis.cli("KEYS", "*") == "" end)
   end)

   it("gives a consumer large messages as they come, not all at once", function()
      local body = ("x"):rep(1024 * 1024)
      queue()
      for _ = 1, 40 do assert(ch:publish("", "q", body)) end
      local other = assert(conn:channel())
      local most, count = 0, 0
      assert(other:consume("q", function(msg)
         most = math.max(most, number("HLEN", "unacked"))
         count = count + 1
         assert(#msg.body == #body and msg:ack())
      end))
      eventually("all of them", function() return count == 40 end, 120)
      assert.is_true(most < 40, most)
   end)

   it("takes again at once what was in an answer that was lost", function()
      queue()
      for i = 1, 20 do assert(ch:publish("", "q", "m" .. i)) end
      local pid = require "files".read(redis.dir .. "/pid"):match "%d+"
      require "files".write(redis.dir .. "/killer", "")
      local killer = assert(io.popen(("timeout 60 redis-cli -s %s >>%s/killer"):format(redis.env.MR_REDIS_SOCKET, redis.dir), "w"))
      killer:write "PING\n"
      killer:flush()
      eventually("the killer", function() return require "files".read(redis.dir .. "/killer"):find "PONG" end)
      os.execute("kill -STOP " .. pid)
      local seen, count = {}, 0
      assert(ch:consume("q", function(msg)
         if not seen[msg.body] then count = count + 1 end
         seen[msg.body] = true
         msg:ack()
      end)) -- Redis will execute what it asks for, and lose the answer with the connection
      killer:write "CLIENT KILL TYPE normal SKIPME yes\n"
      killer:flush()
      -- The pause only lets the killer's command arrive; too short a one proves less, and fails nothing.
      os.execute("sleep 0.3; kill -CONT " .. pid)
      eventually("all of them", function() return count == 20 end)
      eventually("the acks", function() return number("HLEN", "unacked") == 0 end)
      killer:close()
   end)

   it("restores all that a dead process has taken at once, in the order in which it was taken", function()
      redis.python(LEAVE, "", "q", 350)
      local second = other_process()
      eventually("all of them", function() return number("LLEN", "q") == 350 end)
      queue()
      local got = collect()
      eventually("their consumption", function() return #got == 350 end)
      for i = 1, 350 do assert.equal("m" .. i, got[i]) end
      second:close()
   end)
end)
