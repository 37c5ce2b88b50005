--- large: messages of 100 MB: they arrive, what is none of kombu's is put aside, and others go on.
-- Covers: runtime/redis/scripts.c by delivery_tag
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local build = require "build"
local peer = require "peer"
local proxy = require "proxy"
local redis = require "redis"
local waits = require "waits"

if build.is_tsan then return end -- ASan has it all; what runs in two threads is in redis_spec and trouble_spec

local eventually = waits.eventually
local MB = 2 ^ 20
local gives_back = not build.is_sanitized -- a sanitizer keeps what is freed

-- From kombu, as base64; its consumer gets what ours publishes.
local KOMBU = [[
import kombu, sys
c = kombu.Connection(sys.argv[1])
body = b'0123456789abcdef' * (int(sys.argv[2]) // 16)
ch = c.channel()
kombu.Producer(ch).publish(body, routing_key='q', exchange='', content_type='application/data', content_encoding='binary')
got = []
with kombu.Consumer(ch, [kombu.Queue('from', routing_key='from')], callbacks=[lambda b, m: (got.append(b), m.ack())],
                    accept=['application/data']):
    c.drain_events(timeout=50)
print(got == [body])
]]

local function memory() -- MiB that the process has
   local file = assert(io.open "/proc/self/status")
   local text = file:read "*a"
   file:close()
   return tonumber(text:match "VmRSS:%s+(%d+)") / 1024
end

describe("Large messages on Redis", function()
   local conn, ch
   redis.around(setup, teardown)
   before_each(function()
      redis.cli "FLUSHALL"
      conn = assert(mr.connect(redis.env.MR_REDIS_URL .. "?socket_timeout=60"))
      ch = assert(conn:channel())
      assert(ch:confirm_select())
      assert(ch:queue_declare { queue = "q", durable = true })
   end)
   after_each(function() conn:close() end)

   local function consume()
      local got = {}
      assert(ch:consume("q", function(msg)
         got[#got + 1] = msg.body
         assert(msg:ack())
      end))
      return got
   end

   it("go from us to us, with 100 MB, and leave no memory behind", function()
      local body = ("0123456789abcdef"):rep(100 * MB / 16)
      local before = memory()
      assert(ch:publish("", "q", body, { timeout = 60 }))
      local got = consume()
      eventually("it", function() return got[1] end, 60)
      assert.is_true(got[1] == body)
      eventually("its ack", function() return redis.cli("HLEN", "unacked") == "0" end, 60)
      got[1] = nil
      collectgarbage()
      collectgarbage()
      eventually("its memory", function() return memory() < before + 150 or not gives_back end) -- allocators keep some
   end)

   it("come from kombu, and go to it", function()
      local body = ("0123456789abcdef"):rep(MB)
      assert(ch:publish("", "from", body, { content_type = "application/data", content_encoding = "binary" }))
      assert.equal("True", redis.python(KOMBU, #body))
      local got = consume()
      eventually("it", function() return got[1] end, 60)
      assert.is_true(got[1] == body)
   end)

   it("are put aside if they are no envelopes, and consumption goes on", function()
      local path = os.tmpname()
      for _, text in ipairs { "no envelope { ", 'no "delivery_tag": \n', '{"body": "\\' } do
         require "files".write(path, text:rep(20 * MB / #text))
         redis.shell(("timeout 60 redis-cli -s %s -x LPUSH q <%s"):format(redis.env.MR_REDIS_SOCKET, path))
      end
      os.remove(path)
      assert(ch:publish("", "q", "good", { timeout = 60 }))
      local got = consume()
      eventually("what is behind them", function() return got[1] end, 60)
      assert.equal("good", got[1])
      eventually("all three", function() return redis.cli("LLEN", "moonrabbit.invalid") == "3" end, 60)
      eventually("the acks", function() return redis.cli("HLEN", "unacked") == "0" end, 60)
   end)

   it("are refused over the limit, and the channel tells so", function()
      local ok, err = ch:publish("", "q", ("x"):rep(128 * MB + 1))
      assert.is_nil(ok)
      assert.equal("content_too_large", err.kind)
      assert(ch:publish("", "q", "small"))
   end)

   it("of 1 MB do not fill the memory, whatever the prefetch", function()
      local body = ("x"):rep(MB)
      local tickets = {}
      for i = 1, 150 do tickets[i] = assert(ch:publish_async("", "q", body)) end
      for _, ticket in ipairs(tickets) do assert(ticket:wait(60)) end
      local other = assert(conn:channel())
      assert(other:qos { prefetch_count = 1000 })
      local before, most, count = memory(), 0, 0
      assert(other:consume("q", function(msg)
         count = count + 1
         most = math.max(most, memory())
         assert(msg:ack())
      end, { concurrency = 1 }))
      eventually("all of them", function() return count == #tickets end, 120)
      assert.is_true(most < before + 120 or not gives_back, ("%.0f MiB, before %.0f"):format(most, before))
   end)

   it("may take longer on their way than an answer may", function()
      local between = assert(proxy.start(tonumber(redis.env.MR_REDIS_URL:match ":(%d+)")))
      local slow = assert(mr.connect((redis.env.MR_REDIS_URL:gsub(":%d+", ":" .. between.port) .. "?socket_timeout=1")))
      local out = assert(slow:channel())
      assert(out:confirm_select())
      between.rate = 8 * MB
      local began = mr.now()
      assert(out:publish("", "q", ("x"):rep(24 * MB), { timeout = 60 }))
      assert.is_true(mr.now() - began > 3)
      between.rate = nil
      assert.equal(24 * MB, #assert(ch:get("q", { no_ack = true })).body)
      slow:close()
      peer.stop_all()
   end)
end)
