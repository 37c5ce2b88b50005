--- fanout: fanout exchanges on Redis: several gateways, and kombu beside them.
-- Feature: fanout exchanges of kombu
-- SPDX-License-Identifier: MIT
local files = require "files"
local mr = require "moonrabbit"
local process = require "process"
local redis = require "redis"
local waits = require "waits"

local eventually = waits.eventually
local conn, ch, opened

local function connect(query)
   local c = assert(mr.connect(redis.env.MR_REDIS_URL .. (query or "")))
   opened[#opened + 1] = c
   local channel = assert(c:channel())
   assert(channel:confirm_select())
   return c, channel
end

-- A queue that is bound to "x", or to what `more` says; returns its name.
local function bound(channel, more)
   more = more or {}
   assert(channel:exchange_declare { exchange = more.exchange or "x", type = "fanout" })
   local queue = assert(channel:queue_declare { queue = more.queue, exclusive = true }).queue
   assert(channel:queue_bind { queue = queue, exchange = more.exchange or "x", routing_key = more.key })
   return queue
end

-- Consumes a queue into a list; settle(msg, list) decides, else messages are acked.
local function collect(channel, queue, settle)
   local got = {}
   assert(channel:consume(queue, function(msg)
      got[#got + 1] = msg.body
      if settle then settle(msg, got) else assert(msg:ack()) end
   end))
   return got
end

local function patterns() return tonumber(redis.cli("PUBSUB", "NUMPAT")) end

-- A message that is known to come last has come: those before it have, too.
local function until_last(channel, exchange, lists)
   assert(channel:publish(exchange, "", "last"))
   eventually("the last message", function()
      for _, list in ipairs(lists) do if list[#list] ~= "last" then return false end end
      return true
   end)
end

local SEND = [=[
import kombu, sys
c = kombu.Connection(sys.argv[1])
ch = c.channel()
x = kombu.Exchange(sys.argv[2], type='fanout')(ch)
x.declare()
p = kombu.Producer(ch, exchange=x)
p.publish({'n': 1}, routing_key=sys.argv[3], headers={'h': 'v'}, correlation_id='c')
p.publish('é', routing_key=sys.argv[3])
p.publish(b'\x00\xff', routing_key=sys.argv[3])
c.release()
]=]

local RECEIVE = [=[
import kombu, kombu.common, sys, json
c = kombu.Connection(sys.argv[1])
got = []
def take(body, message):
    got.append([body if not isinstance(body, bytes) else body.decode('latin-1'), message.headers, message.delivery_info['exchange'],
                message.delivery_info['routing_key']])
    message.ack()
q = kombu.Queue(sys.argv[2], kombu.Exchange(sys.argv[3], type='fanout'), routing_key=sys.argv[4], auto_delete=True)
if not sys.argv[4]:
    q = kombu.common.Broadcast(sys.argv[3])
with c.Consumer(q, callbacks=[take], accept=['json', 'application/data', 'text/plain', 'application/octet-stream']):
    while len(got) < int(sys.argv[5]):
        c.drain_events(timeout=60)
with open(sys.argv[6] + '.new', 'w') as out:
    out.write(json.dumps(got, sort_keys=True, ensure_ascii=False))
import os
os.rename(sys.argv[6] + '.new', sys.argv[6])
c.release()
]=]

-- A kombu that receives `count` messages in the background; returns where it writes them.
local function kombu(queue, exchange, key, count)
   local path, out = redis.dir .. "/receive.py", redis.dir .. "/" .. queue .. ".out"
   local before = patterns()
   files.write(path, RECEIVE)
   process.start(("/usr/bin/python3 %s %s %s %s \"%s\" %d %s"):format(path, redis.env.MR_REDIS_URL, queue, exchange, key, count, out))
   eventually("kombu's subscription", function() return patterns() > before end, 60)
   return function()
      local ok, text = pcall(files.read, out)
      return ok and text
   end
end

describe("a fanout exchange in Redis", function()
   setup(function()
      mr.log.configure "off"
      redis.start()
   end)
   teardown(function()
      process.end_all()
      redis.clean()
      mr.log.configure "warn"
   end)
   before_each(function()
      redis.cli "FLUSHALL"
      opened = {}
      conn, ch = connect()
   end)
   after_each(function()
      for _, c in ipairs(opened) do c:close() end
      eventually("no subscription", function() return patterns() == 0 end)
   end)

   it("gives each queue of each process a copy, in order", function()
      local _, second = connect "?visibility_timeout=3601"
      local lists = { collect(ch, bound(ch)), collect(ch, bound(ch)), collect(second, bound(second)) }
      for i = 1, 300 do assert(ch:publish("x", i % 2 == 0 and "key" or "", "m" .. i)) end
      until_last(second, "x", lists)
      for _, list in ipairs(lists) do
         assert.equal(301, #list)
         for i = 1, 300 do assert.equal("m" .. i, list[i]) end
      end
      assert.equal("", redis.cli("KEYS", "unacked*"))
   end)

   it("is kombu's: what kombu publishes arrives, as text, JSON and bytes", function()
      for _, key in ipairs { "", "a.b" } do
         local queue = bound(ch, { exchange = "kx", key = key })
         local got = {}
         assert(ch:consume(queue, function(msg)
            got[#got + 1] = { body = msg.body, h = msg.headers and msg.headers.h, correlation_id = msg.correlation_id,
               exchange = msg.exchange, routing_key = msg.routing_key, decoded = #got == 0 and msg:decode() }
            assert(msg:ack())
         end))
         redis.python(SEND, "kx", key)
         eventually("all of them", function() return #got == 3 end)
         assert.same({ n = 1 }, got[1].decoded)
         assert.equal("v", got[1].h)
         assert.equal("c", got[1].correlation_id)
         assert.equal("kx", got[1].exchange)
         assert.equal(key, got[1].routing_key)
         assert.equal("é", got[2].body)
         assert.equal("\0\255", got[3].body)
         assert(ch:queue_delete { queue = queue })
      end
   end)

   it("is kombu's: kombu gets what is published here, by its patterns, too", function()
      assert(ch:exchange_declare { exchange = "kx", type = "fanout" })
      local all, some = kombu("kall", "kx", "", 2), kombu("ksome", "kx", "a.#", 1)
      assert(ch:publish("kx", "", '{"n": 1}', { content_type = "application/json", content_encoding = "utf-8", headers = { h = "v" } }))
      assert(ch:publish("kx", "", "é", { content_type = "text/plain", content_encoding = "utf-8" }))
      assert(ch:publish("kx", "b.a", "x", { content_type = "text/plain", content_encoding = "utf-8" }))
      assert(ch:publish("kx", "a.b", "x", { content_type = "text/plain", content_encoding = "utf-8" }))
      eventually("both", function() return all() and some() end, 60)
      assert.equal('[[{"n": 1}, {"h": "v"}, "kx", ""], ["é", {}, "kx", ""]]', all())
      assert.equal('[["x", {}, "kx", "a.b"]]', some())
   end)

   it("notes a binding where kombu does, under kombu's names, with a prefix or without", function()
      local _, far = connect "?global_keyprefix=far.&fanout_prefix=false&fanout_patterns=false"
      local queue = bound(ch, { key = "a.#" })
      assert.equal("a.#\6\22\6\22" .. queue, redis.cli("SMEMBERS", "_kombu.binding.x"))
      local other = bound(far, { key = "a.#" })
      assert.equal("a.#\6\22\6\22" .. other, redis.cli("SMEMBERS", "far._kombu.binding.x"))
      local lists = { collect(ch, queue), collect(far, other) }
      -- Both are said by hand, to be sure of their channels.
      local envelope = '{"body": "m", "properties": {"delivery_tag": "t"}}'
      assert.equal("1", redis.cli("PUBLISH", "/0.x/a.b", envelope))
      assert.equal("1", redis.cli("PUBLISH", "far.x", envelope))
      eventually("both", function() return #lists[1] == 1 and #lists[2] == 1 end)
      assert(far:publish("x", "any", "n"))
      eventually("the next", function() return lists[2][2] == "n" end)
      assert.equal("0", redis.cli("PUBLISH", "/0.y/a.b", envelope))
   end)

   it("gives a queue those messages whose keys fit its binding's, once, and all without a key", function()
      local one = bound(ch, { key = "a.*" })
      local both = bound(ch, { key = "a.*" })
      assert(ch:queue_bind { queue = both, exchange = "x", routing_key = "*.b" })
      assert(ch:queue_bind { queue = both, exchange = "x", routing_key = "a.b" })
      assert(ch:queue_bind { queue = both, exchange = "x", routing_key = "a.b" })
      local lists = { collect(ch, one), collect(ch, both), collect(ch, bound(ch)) }
      for _, list in ipairs { one, both } do assert(ch:queue_bind { queue = list, exchange = "x", routing_key = "" }) end
      for _, list in ipairs { one, both } do assert(ch:queue_unbind { queue = list, exchange = "x", routing_key = "" }) end
      for _, key in ipairs { "a.b", "a.c", "c.b", "c.c", "", "a.b" } do assert(ch:publish("x", key, key)) end
      assert(ch:publish("x", "a.b", "last"))
      eventually("the last one", function() return lists[1][3] and lists[2][4] and lists[3][7] end)
      assert.same({ "a.b", "a.c", "a.b", "last" }, lists[1])
      assert.same({ "a.b", "a.c", "c.b", "a.b", "last" }, lists[2])
      assert.same({ "a.b", "a.c", "c.b", "c.c", "", "a.b", "last" }, lists[3])
   end)

   it("returns a mandatory message for nobody", function()
      assert(ch:exchange_declare { exchange = "x", type = "fanout" })
      local ok, err = ch:publish("x", "k", "m", { mandatory = true })
      assert.is_nil(ok)
      assert.equal("returned", err.kind)
      assert(ch:publish("x", "k", "m"))
      local queue = bound(ch)
      assert(ch:publish("x", "k", "m", { mandatory = true }))
      assert(ch:queue_delete { queue = queue })
      ok, err = ch:publish("x", "k", "m", { mandatory = true })
      assert.is_nil(ok)
      assert.equal("returned", err.kind)
   end)

   it("is unsubscribed from by an unbind, the end of the queue, of the exchange, or of the connection", function()
      local function unsubscribed() eventually("the end", function() return patterns() == 0 and redis.cli("KEYS", "_kombu*") == "" end) end
      local queue = bound(ch, { key = "k" })
      local second = bound(ch, { key = "k" })
      assert.equal(1, patterns())
      assert(ch:queue_unbind { queue = queue, exchange = "x", routing_key = "k" })
      local got, other = collect(ch, queue), collect(ch, second)
      assert(ch:publish("x", "k", "m"))
      eventually("the message", function() return #other == 1 end)
      assert.equal(0, #got)
      assert(ch:queue_unbind { queue = second, exchange = "x", routing_key = "k" })
      unsubscribed()
      queue = bound(ch)
      assert.equal(2, patterns())
      assert(ch:queue_delete { queue = queue })
      unsubscribed()
      assert(ch:exchange_declare { exchange = "short", type = "fanout", auto_delete = true })
      queue = bound(ch, { exchange = "y", key = "k" })
      assert(ch:queue_bind { queue = queue, exchange = "short", routing_key = "k" })
      assert(ch:queue_unbind { queue = queue, exchange = "short", routing_key = "k" })
      assert(ch:exchange_delete { exchange = "y" })
      eventually("the end", function() return patterns() == 0 end)
      local c, last = connect()
      bound(last)
      c:close()
      eventually("the end", function() return patterns() == 0 end)
   end)

   it("has its messages in this process: counted, got, given back, purged", function()
      local queue = bound(ch)
      local function count() return assert(ch:queue_declare { queue = queue, passive = true }).message_count end
      for i = 1, 5 do assert(ch:publish("x", "", "m" .. i)) end
      eventually("all of them", function() return count() == 5 end)
      local msg = assert(ch:get(queue))
      assert.equal("m1", msg.body)
      assert.is_false(msg.redelivered)
      assert(msg:nack { requeue = true })
      eventually("its return", function() return count() == 5 end)
      msg = assert(ch:get(queue))
      assert.equal("m1", msg.body)
      assert.is_true(msg.redelivered)
      assert(msg:ack())
      local got = collect(ch, queue, function(m, list)
         if #list == 1 then assert(m:nack { requeue = true }) else assert(m:ack()) end
      end)
      eventually("the rest", function() return #got == 5 end)
      table.sort(got)
      assert.same({ "m2", "m2", "m3", "m4", "m5" }, got)
      assert.equal(0, ch:queue_purge { queue = queue })
      assert.equal("", redis.cli("KEYS", "unacked*"))
   end)

   it("has messages that expire where they wait", function()
      local queue = bound(ch)
      assert(ch:publish("x", "", "gone", { expiration = "0" }))
      assert(ch:publish("x", "", "here", { expiration = "600000" }))
      local msg
      eventually("the second", function()
         msg = ch:get(queue)
         return msg
      end)
      assert.equal("here", msg.body)
      assert(msg:ack())
   end)

   it("fills a queue that has messages of its list, too, and dead-letters what is rejected there", function()
      assert(ch:queue_declare { queue = "dead" })
      assert(ch:exchange_declare { exchange = "x", type = "fanout" })
      assert(ch:queue_declare { queue = "mixed",
         arguments = { ["x-dead-letter-exchange"] = "", ["x-dead-letter-routing-key"] = "dead" } })
      assert(ch:queue_bind { queue = "mixed", exchange = "x" })
      assert(ch:publish("", "mixed", "kept"))
      assert(ch:publish("x", "", "passed on"))
      eventually("both", function()
         return assert(ch:queue_declare { queue = "mixed", passive = true }).message_count == 2
      end)
      local bad = collect(ch, "mixed", function(msg) assert(msg:reject { requeue = false }) end)
      local dead = {}
      assert(ch:consume("dead", function(msg)
         dead[msg.body] = msg.headers["x-death"][1].queue
         assert(msg:ack())
      end))
      eventually("the dead letters", function() return dead.kept and dead["passed on"] end)
      assert.same({ kept = "mixed", ["passed on"] = "mixed" }, dead)
      assert.equal(2, #bad)
      assert(ch:queue_delete { queue = "mixed" })
   end)

   it("gets a dead letter when it is due, and one that is rejected", function()
      local got = collect(ch, bound(ch))
      assert(ch:queue_declare { queue = "later", arguments = { ["x-message-ttl"] = 300, ["x-dead-letter-exchange"] = "x" } })
      assert(ch:queue_declare { queue = "mortal", arguments = { ["x-dead-letter-exchange"] = "x" } })
      assert(ch:publish("", "later", "due"))
      assert(ch:publish("", "mortal", "rejected"))
      collect(ch, "mortal", function(msg) assert(msg:reject { requeue = false }) end)
      eventually("both", function() return #got == 2 end)
      table.sort(got)
      assert.same({ "due", "rejected" }, got)
      assert.equal("0", redis.cli("ZCARD", "moonrabbit.delayed"))
   end)

   it("is subscribed to again, before anything is published, when Redis is killed and comes back", function()
      assert(ch:exchange_declare { exchange = "x", type = "fanout" })
      assert(ch:queue_declare { queue = "steady", durable = true })
      assert(ch:queue_bind { queue = "steady", exchange = "x" })
      local seen, returned, confirmed = {}, 0, 0
      local w = mr.consumer { connection = conn, queue = "steady", handler = function(msg) seen[msg.body] = true end }
      assert(w:wait(30))
      local writer = mr.publisher { connection = conn, exchange = "x" }
      local function publish(body)
         local ok, err = writer:publish(body, { mandatory = true, routing_key = "k" })
         if ok then confirmed = confirmed + 1 elseif err.kind == "returned" then returned = returned + 1 end
         return ok
      end
      for round = 1, 3 do
         redis.kill()
         redis.start()
         eventually("a confirm", function() return publish("first" .. round) end, 120)
         for i = 1, 100 do assert(publish(("m%d.%d"):format(round, i))) end
         eventually("all of them", function()
            for i = 1, 100 do if not seen[("m%d.%d"):format(round, i)] then return false end end
            return true
         end, 120)
      end
      assert.equal(0, returned)
      assert.is_true(confirmed >= 303)
      w:cancel()
      eventually("the queue's end", function() return ch.is_open and ch:queue_delete { queue = "steady" } end, 60)
   end)

   it("is bound to again by a consumer that declares a queue of its own", function()
      local seen = {}
      local c = connect "?visibility_timeout=3601"
      local w = mr.consumer { connection = c, queue = { exclusive = true },
         bindings = { { exchange = "news", type = "fanout", durable = false } }, handler = function(msg) seen[msg.body] = true end }
      assert(w:wait(30))
      assert(ch:exchange_declare { exchange = "news", type = "fanout" })
      for round = 1, 2 do
         eventually("a message", function()
            return ch.is_open and ch:publish("news", "k", "m" .. round) and seen["m" .. round]
         end, 120)
         redis.kill()
         redis.start()
      end
      w:cancel()
   end)

   it("is heard again when only the connection for it is lost", function()
      local got = collect(ch, bound(ch))
      redis.cli("CLIENT", "KILL", "TYPE", "pubsub")
      eventually("a message", function() return ch:publish("x", "k", "m") and #got > 0 end, 60)
      assert.equal("m", got[1])
   end)

   it("gives once more what a kombu process did not ack, after the visibility timeout", function()
      local _, quick = connect "?visibility_timeout=3"
      local got = collect(quick, bound(quick, { exchange = "kx", key = "k" }))
      redis.python([=[
import kombu, sys, os
c = kombu.Connection(sys.argv[1])
x = kombu.Exchange('kx', type='fanout')
def die(body, message): os._exit(0)
with c.Consumer(kombu.Queue('dying', x, routing_key='k'), callbacks=[die]):
    kombu.Producer(c.channel(), exchange=x).publish('m', routing_key='none')
    try: c.drain_events(timeout=1)
    except OSError: pass
    kombu.Producer(c.channel(), exchange=x).publish('m', routing_key='k')
    c.drain_events(timeout=20)
]=])
      eventually("both", function() return #got == 2 end, 60)
      assert.same({ "m", "m" }, got)
      redis.cli("DEL", "dying")
   end)

   it("leaves out what is no envelope", function()
      local got = collect(ch, bound(ch))
      for _, bad in ipairs { "no json", "{}", "[1]", "" } do assert.equal("1", redis.cli("PUBLISH", "/0.x", bad)) end
      assert(ch:publish("x", "", "good"))
      eventually("the good one", function() return #got == 1 end)
      assert.equal("good", got[1])
   end)

   it("is refused to a user without the right to its channel, and the error says so", function()
      redis.cli("ACL", "SETUSER", "deaf", "on", ">hop", "allkeys", "allcommands", "resetchannels", "&__redis__:invalidate")
      local c = assert(mr.connect((redis.env.MR_REDIS_URL:gsub("//", "//deaf:hop@", 1))))
      opened[#opened + 1] = c
      local channel = assert(c:channel())
      assert(channel:exchange_declare { exchange = "x", type = "fanout" })
      assert(channel:queue_declare { queue = "q" })
      local ok, err = channel:queue_bind { queue = "q", exchange = "x" }
      assert.is_nil(ok)
      assert.equal("access_refused", err.kind)
      redis.cli("ACL", "SETUSER", "deaf", "allchannels")
      channel = assert(c:channel())
      assert(channel:queue_bind { queue = "q", exchange = "x" })
      assert(ch:exchange_declare { exchange = "x", type = "fanout" })
      local got = collect(channel, "q")
      assert(ch:publish("x", "", "m"))
      eventually("the message", function() return got[1] == "m" end)
      assert(channel:queue_delete { queue = "q" })
   end)
end)
