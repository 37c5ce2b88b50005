--- sentinel_tls: a Redis and its Sentinels that speak TLS only.
-- Covers: runtime/redis/seek.c by Sentinel
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local build = require "build"
local redis = require "redis"
local sentinels = require "sentinels"
local waits = require "waits"

if build.is_tsan then return end -- ASan has it all; what runs in two threads is in redis_spec and trouble_spec

local eventually = waits.eventually

local function url(more) return sentinels.url(nil, "&" .. more) end
local function trusted(more) return url("ssl_ca_certs=" .. sentinels.ca .. "&" .. more) end

local function refused(text)
   local conn = mr.connect { url = text, connection_attempts = 1 }
   local ok, err = conn:connect()
   conn:close()
   assert.is_nil(ok)
   return err
end

local function has(text, part) assert.is_truthy(text:find(part, 1, true), text) end

local KOMBU = [[
import kombu, ssl, sys
tls = {'ssl_cert_reqs': ssl.CERT_REQUIRED, 'ssl_ca_certs': sys.argv[2]}
c = kombu.Connection(sys.argv[1], ssl=tls, transport_options={'master_name': 'rabbits',
    'sentinel_kwargs': {'password': 'skip', 'ssl': True, 'ssl_ca_certs': sys.argv[2]}})
q = c.SimpleQueue('q')
m = q.get(timeout=20)
print(m.payload)
m.ack()
q.put('from kombu')
c.release()
]]

describe("a Redis and Sentinels that speak TLS", function()
   setup(function()
      mr.log.configure "off"
      sentinels.start "tls"
   end)
   teardown(function()
      sentinels.clean()
      mr.log.configure "warn"
   end)

   it("are reached with ssl=true, by certificates that are verified, and shared with kombu", function()
      local conn = assert(mr.connect(trusted "ssl=true"):connect())
      local ch = assert(conn:channel())
      assert(ch:confirm_select())
      assert(ch:queue_declare { queue = "q", durable = true })
      assert(ch:publish("", "q", "for kombu", { content_type = "text/plain", content_encoding = "utf-8" }))
      redis.env = { MR_REDIS_URL = ("sentinel://:hop@127.0.0.1:%d/0"):format(sentinels.port.sentinel1) }
      assert.equal("for kombu", redis.python(KOMBU, sentinels.ca))
      assert.equal("from kombu", assert(ch:get("q", { no_ack = true })):decode())
      conn:close()
   end)

   it("are not trusted without their CA, nor by another name than the certificate's", function()
      local err = refused(url "ssl=true")
      has(err.text, "no Sentinel was reached: Sentinel at 127.0.0.1:")
      has(err.text, "unknown CA")
      err = refused((trusted("ssl=true"):gsub("127%.0%.0%.1", "[::ffff:127.0.0.1]")))
      has(err.text, "another host name")
   end)

   it("say which of them was asked without TLS, or with it in vain", function()
      has(refused(trusted "ssl=true&sentinel_ssl=false").text, "no Sentinel was reached: Sentinel at 127.0.0.1:")
      local text = refused(trusted "sentinel_ssl=true").text
      has(text, "the connection broke") -- by the master: they have named it
      assert.is_nil(text:find("Sentinel at", 1, true), text)
   end)

   it("are found again after a failover", function()
      sentinels.settle()
      local master, replica = sentinels.master()
      local conn = assert(mr.connect(trusted "ssl=true"):connect())
      local publisher = mr.publisher { connection = conn, routing_key = "r" }
      assert(publisher:publish "before")
      waits.loss(conn, function() assert.equal("OK", sentinels.cli("sentinel2", "sentinel", "failover", "rabbits")) end)
      eventually("a confirm", function() return publisher:publish "after" end, 120)
      assert.equal(replica, (sentinels.master()))
      assert.not_equal(master, replica)
      eventually("both messages", function() return sentinels.cli(replica, "llen", "r") == "2" end)
      conn:close()
   end)
end)
