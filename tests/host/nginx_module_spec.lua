-- Tests of the nginx module in C: requests that become messages, each status code for real, reloads under load, the health
-- page, and configurations that are refused.
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local broker = require "broker"
local certificates = require "certificates"
local embedded = require "embedded"
local http = require "http"
local module = require "nginx_module"
local process = require "process"

local eventually = broker.eventually

local clean = module.end_all

-- A channel, and a queue that others may publish to.
local function queue_of(arguments)
   local ch = broker.channel()
   return ch, assert(ch:queue_declare { queue = broker.name "web", auto_delete = true, arguments = arguments }).queue
end

local start = module.start

-- nginx on a broker of the test's own, which can be made to do things, and a channel there.
local function own(server)
   local b = embedded.broker { listen = "127.0.0.1:0" }
   local url = ("amqp://guest:guest@127.0.0.1:%d/"):format(b.port)
   local ch = assert(embedded.connect { url = b.url }:channel())
   assert(ch:queue_declare { queue = "own" })
   return start(url, server), b, ch, url
end

local function curl(n, path, arguments)
   local out = broker.shell(("curl -s -o /dev/null -w '%%{http_code}' %s 'http://127.0.0.1:%d%s'"):format(arguments or "", n.port, path))
   return tonumber(out)
end

local function write(path, text)
   local file = assert(io.open(path, "w"))
   file:write(text)
   file:close()
end

local function milliseconds(fn)
   local began = mr.now()
   fn()
   return (mr.now() - began) * 1000
end

describe("a request that is published from nginx", function()
   after_each(clean)

   it("is answered 204 when the broker has it, with the type and the encoding of the body", function()
      local ch, q = queue_of()
      local n = start(broker.tcp_url, 'location /publish { moonrabbit_publish "" ' .. q .. ' message_id=$request_id; }')
      assert.equal(204, curl(n, "/publish", "-H 'Content-Type: application/json' -H 'Content-Encoding: br' -d '{\"a\":1}'"))
      local msg = broker.take(ch, q)
      assert.same({ '{"a":1}', "application/json", "br", 2 },
         { msg.body, msg.properties.content_type, msg.properties.content_encoding, msg.properties.delivery_mode })
      assert.equal(32, #msg.properties.message_id)
      assert.equal(204, n:ask("/publish", "POST", ""))
      assert.equal("", broker.take(ch, q).body)
   end)

   it("has its exchange, key and message from variables", function()
      local ch, q = queue_of()
      local n = start(broker.tcp_url,
         "location /any { moonrabbit_publish $arg_x $arg_k message=$arg_m persistent=$arg_p content_type=text/a; }")
      assert.equal(204, n:ask("/any?x=&k=" .. q .. "&m=one&p=off"))
      local msg = broker.take(ch, q)
      assert.same({ "one", "text/a", 1 }, { msg.body, msg.properties.content_type, msg.properties.delivery_mode })
      assert(ch:queue_bind { queue = q, exchange = "amq.direct", routing_key = "two" })
      assert.equal(204, n:ask "/any?x=amq.direct&k=two&m=two&p=1")
      msg = broker.take(ch, q)
      assert.same({ "two", 2 }, { msg.body, msg.properties.delivery_mode })
   end)

   it("may be larger than nginx keeps in memory, and the copy of another request", function()
      local ch, q = queue_of()
      local n = start(broker.tcp_url, ([[client_body_buffer_size 1k; client_max_body_size 200k;
         location /publish { moonrabbit_publish "" %s; }
         location /mirrored { mirror /publish; proxy_pass http://127.0.0.1:%%PORT%%/; }]]):format(q))
      local body = ("0123456789"):rep(15000)
      assert.equal(204, n:ask("/publish", "POST", body))
      assert.equal(body, broker.take(ch, q).body)
      assert.equal(200, n:ask("/mirrored", "POST", body))
      assert.equal(body, broker.take(ch, q).body)
      assert.equal(413, n:ask("/publish", "POST", body:rep(2)))
   end)

   it("is answered 404 when no queue takes it or the exchange is missing, and nobody else suffers", function()
      local _, q = queue_of()
      local n = start(broker.tcp_url, ([[location /any { moonrabbit_publish $arg_x $arg_k message=x; }
         location /careless { moonrabbit_publish "" nowhere message=x mandatory=off; }
         location /publish { moonrabbit_publish "" %s; }]]):format(q))
      write(n.dir .. "/post.lua", "wrk.method, wrk.body = 'POST', 'x'")
      local load = process.start(("wrk -t1 -c4 -d2 -s %s/post.lua http://127.0.0.1:%d/publish"):format(n.dir, n.port))
      for _ = 1, 10 do
         assert.equal(404, n:ask "/any?x=&k=nowhere")
         assert.equal(404, n:ask "/any?x=missing&k=a")
      end
      for i = 1, 80 do assert.equal(404, n:ask("/any?x=missing" .. i .. "&k=a")) end -- more than there are lanes
      assert.equal(204, n:ask "/careless")
      local out = load:wait()
      assert.falsy(out:find "Non%-2xx", out)
   end)

   it("is answered 400, 403, 405 or 503 when the request or the broker does not allow it", function()
      local _, full = queue_of { ["x-max-length"] = 1, ["x-overflow"] = "reject-publish" }
      local n = start(broker.tcp_url, ([[location /any { moonrabbit_publish $arg_x $arg_k message=x; }
         location /internal { moonrabbit_publish amq.topic key message=x; }
         location /full { moonrabbit_publish "" %s; }]]):format(full))
      assert.equal(400, n:ask("/any?x=&k=" .. ("k"):rep(256)))
      assert.equal(400, n:ask("/any?k=a&x=" .. ("x"):rep(256)))
      assert.equal(405, n:ask "/full")
      assert.equal(204, n:ask("/full", "POST", "fits"))
      assert.equal(503, n:ask("/full", "POST", "does not"))
   end)

   it("is answered 503 at once while there is no connection, and other pages do not wait", function()
      local n, b, ch = own [[location /publish { moonrabbit_publish "" own; }
         location /health { moonrabbit_health; }]]
      assert.equal(204, n:ask("/publish", "POST", "a"))
      assert.equal(200, n:ask "/health")
      local port = b.port
      b:unlisten()
      b:drop()
      eventually("the loss", function() return n:ask("/publish", "POST", "b") == 503 end)
      local slowest = 0
      for _ = 1, 20 do
         slowest = math.max(slowest, milliseconds(function() assert.equal(503, n:ask("/publish", "POST", "c")) end))
         assert.equal(200, n:ask "/")
      end
      assert.is_true(slowest < 2000, slowest .. " ms")
      local status, body = n:ask "/health"
      assert.equal(503, status)
      assert.truthy(body:find('"status":"unhealthy"', 1, true), body)
      assert(b:listen("127.0.0.1:" .. port))
      eventually("the recovery", function() return n:ask("/publish", "POST", "d") == 204 end)
      assert.equal(200, n:ask "/health")
      assert.truthy(broker.take(ch, "own").body == "a")
   end)

   it("is answered 503 by a worker that has never had a connection, until there is one", function()
      local b = embedded.broker { listen = "127.0.0.1:0" }
      local port = b.port
      b:unlisten()
      local n = start(("amqp://guest:guest@127.0.0.1:%d/"):format(port), [[location /publish { moonrabbit_publish "" own; }
         location /health { moonrabbit_health; }]])
      assert.equal(503, n:ask("/publish", "POST", "a"))
      local status, body = n:ask "/health"
      assert.equal(503, status)
      assert.truthy(body:find("connection to amqp://guest", 1, true), body)
      assert.falsy(body:find "guest:guest")
      assert(b:listen("127.0.0.1:" .. port))
      eventually("the connection", function() return n:ask("/publish", "POST", "b") == 404 end) -- there is no such queue
      assert.equal(200, n:ask "/health")
   end)

   it("is answered 503 while the broker blocks publishers", function()
      local n, b = own 'location /publish { moonrabbit_publish "" own timeout=2s; }'
      assert.equal(204, n:ask("/publish", "POST", "a"))
      b:block()
      eventually("the block", function() return n:ask("/publish", "POST", "b") == 503 end)
      b:block(false)
      eventually("its end", function() return n:ask("/publish", "POST", "c") == 204 end)
   end)

   it("is answered 504 when the confirm does not come, or the connection goes before it", function()
      local n, b = own [[location /publish { moonrabbit_publish "" own timeout=200ms; }
         location /patient { moonrabbit_publish "" own timeout=20s; }]]
      assert.equal(204, n:ask("/publish", "POST", "a"))
      b:silent()
      local took = milliseconds(function() assert.equal(504, n:ask("/publish", "POST", "b")) end)
      assert.is_true(took >= 190 and took < 5000, took .. " ms")
      local status
      mr.spawn(function() status = n:ask("/patient", "POST", "c") end)
      eventually("the publish", function() return n:log():find("/patient", 1, true) or mr.sleep(0.2) or true end)
      b:drop()
      b:silent(false)
      eventually("an answer", function() return status end, 10)
      assert.equal(504, status)
      eventually("the recovery", function() return n:ask("/publish", "POST", "d") == 204 end)
   end)

   it("may lose its client before the answer", function()
      local n, b, ch = own 'location /publish { moonrabbit_publish "" own; }'
      assert.equal(204, n:ask("/publish", "POST", "first"))
      b:silent()
      local clients = {}
      for i = 1, 50 do
         clients[i] = http.connect(n.port)
         clients[i]:send(("POST /publish HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%d"):format(#tostring(i), i))
      end
      -- It has read them once it has answered a later one: an end that comes with its request is not looked at.
      for _ = 1, 2 do assert.equal(200, n:ask "/elsewhere") end
      for _, client in ipairs(clients) do client:close() end
      eventually("nginx to see them go", function() return select(2, n:log():gsub("prematurely closed", "")) > 0 end)
      b:silent(false)
      assert.equal(204, n:ask("/publish", "POST", "last"))
      local seen = {}
      repeat
         local body = broker.take(ch, "own").body
         seen[body] = (seen[body] or 0) + 1
         assert.equal(1, seen[body])
      until body == "last"
   end)
end)

describe("a worker of nginx that has nothing to do", function()
   after_each(clean)

   it("is not taken for a stalled one, and uses no processor", function()
      local n = own [[location /publish { moonrabbit_publish "" own; }
         location /health { moonrabbit_health; }]]
      local function ticks() -- of all its threads, in hundredths of a second
         local stat = io.open(("/proc/%d/stat"):format(n:workers()[1])):read "*a"
         local user, system = stat:match "%) . [-%d]+ [-%d]+ [-%d]+ [-%d]+ [-%d]+ %d+ %d+ %d+ %d+ %d+ (%d+) (%d+)"
         return user + system
      end
      assert.equal(204, n:ask("/publish", "POST", "a"))
      local before = ticks()
      mr.sleep(12) -- the watchdog's limit is 10 s
      assert.is_true(ticks() - before <= 5, ticks() - before .. " ticks")
      local status, body = n:ask "/health"
      assert.equal(200, status, body)
      assert.falsy(n:log():find("stall", 1, true))
   end)
end)

describe("a reload of nginx", function()
   after_each(clean)

   it("fails no request under load, and loses no message that was answered 204", function()
      local ch, q = queue_of()
      local n = start(broker.tcp_url, 'location /publish { moonrabbit_publish "" ' .. q .. '; }', { workers = 2 })
      write(n.dir .. "/post.lua", [[wrk.method, wrk.body = "POST", "x"
         wrk.headers.Connection = "close" -- nginx may close an idle connection at any time
         function done(summary)
            local e = summary.errors
            print(("answered %d, errors %d"):format(summary.requests, e.status + e.connect + e.read + e.write + e.timeout))
         end]])
      local load = process.start(("wrk -t1 -c16 -d4 --timeout 20s -s %s/post.lua http://127.0.0.1:%d/publish"):format(n.dir, n.port))
      for _ = 1, 3 do
         mr.sleep(0.8) -- a reload every so often
         n:reload()(30)
      end
      local out = load:wait()
      local answered, errors = out:match "answered (%d+), errors (%d+)"
      assert.equal("0", errors, out)
      assert.equal(0, n:stop())
      answered = tonumber(answered)
      local count = broker.count(ch, q)
      assert.is_true(answered > 100, out)
      assert.is_true(count >= answered and count <= answered + 16, ("%d messages, %d answered"):format(count, answered))
   end)

   it("lets the old worker wait for its confirms", function()
      local n, b = own 'location /publish { moonrabbit_publish "" own; }'
      assert.equal(204, n:ask("/publish", "POST", "a"))
      b:silent()
      local status
      mr.spawn(function() status = n:ask("/publish", "POST", "b") end)
      mr.sleep(0.1) -- it is on its way
      local drained = n:reload()
      assert.is_nil(status)
      b:silent(false)
      drained(20)
      eventually("the answer", function() return status end)
      assert.equal(204, status)
   end)
end)

describe("the configuration of the nginx module", function()
   after_each(clean)

   local function refused(http_part, server, ...)
      local out, code = module.test { http = http_part, server = server, environment = nil }
      assert.equal(1, code, out)
      for _, text in ipairs { ... } do assert.truthy(out:find(text, 1, true), out) end
   end

   it("is checked by nginx -t, with the reason", function()
      local url = "moonrabbit_url amqp://127.0.0.1/;"
      local publish = 'location /p { moonrabbit_publish "" q; }'
      refused("", publish, "moonrabbit_publish needs moonrabbit_url or AMQP_URL")
      refused("moonrabbit_url http://a/;", publish, 'moonrabbit_url: bad URL: unknown scheme "http"')
      refused("moonrabbit_url amqp://a/ hartbeat=3;", publish, "hartbeat", "heartbeat")
      refused("moonrabbit_url amqp://a/ heartbeat=-3;", publish, "heartbeat")
      refused("moonrabbit_url amqp://a/ heartbeat;", publish, 'not NAME=VALUE: "heartbeat"')
      refused("moonrabbit_url amqp://a/ connection_attempts=3 transport_options.max_retries=1;", publish, "moonrabbit_url:")
      refused(url .. url, publish, '"moonrabbit_url" directive is duplicate')
      refused(url, "location /p { moonrabbit_publish q; }", "invalid number of arguments")
      refused(url, 'location /p { moonrabbit_publish "" q tiemout=3; }', 'invalid parameter "tiemout..."')
      refused(url, 'location /p { moonrabbit_publish "" q timeout=soon; }', 'invalid time "soon"')
      refused(url, 'location /p { moonrabbit_publish "" q mandatory=no; }', 'neither "on" nor "off": "no"')
      refused(url, 'location /p { moonrabbit_publish "" q message=a message=b; }', 'given twice: "b"')
      refused(url, 'location /p { moonrabbit_publish "" $no_such_variable; }', "no_such_variable")
      refused(url, 'location /p { moonrabbit_publish "" q; moonrabbit_subscribe q; }', "conflicts")
      refused(url, "location /p { moonrabbit_health; moonrabbit_subscribe q; }", "conflicts")
      refused(url, "location /s { moonrabbit_subscribe q prefetch=0; }", 'not from 1 to 65535: "0"')
      refused(url, "location /s { moonrabbit_subscribe q exchange=e; }", "either a queue or exchange=")
      refused(url, 'location /s { moonrabbit_subscribe ""; }', "needs a queue, or exchange=")
      refused(url, "location /s { moonrabbit_subscribe q key=k; }", "key= without exchange=")
   end)

   it("shows no password", function()
      local publish = 'location / { moonrabbit_publish "" q; }'
      for _, url in ipairs { "amqp://me:verysecret@a:99999/", "amqp://a/ amqp://me:verysecret@a/", "amqp://a/ password:verysecret",
         "amqp://a/ hartbeat=verysecret", "amqp://a/ heartbeat=verysecret" } do
         local out = module.test { http = "moonrabbit_url " .. url .. ";", server = publish }
         assert.truthy(out:find("[emerg]", 1, true), out)
         assert.falsy(out:find("verysecret", 1, true), out)
      end
      for _, option in ipairs { "amqp://me:verysecret@a/", "password=verysecret", "timeout=amqp://me:verysecret@a/" } do
         local out = module.test { http = "moonrabbit_url amqp://a/;", server = publish:gsub("q;", "q " .. option .. ";") }
         assert.truthy(out:find("[emerg]", 1, true), out)
         assert.falsy(out:find("verysecret", 1, true), out)
      end
   end)

   it("keeps each complaint and each name of a client on its line", function()
      local out = module.test { http = 'moonrabbit_url amqp://a/ "hart\nbeat\27[2J";', server = 'location / { moonrabbit_publish "" q; }' }
      assert.truthy(out:find('not NAME=VALUE: "hart..." in', 1, true), out)
      out = module.test { http = 'moonrabbit_url amqp://a/ "hart\nbeat\27[2J=1";', server = 'location / { moonrabbit_publish "" q; }' }
      assert.truthy(out:find("a blank or control character", 1, true), out)
      assert.falsy(out:find("\27", 1, true), out)
      local n = start(broker.tcp_url, [[location ~ ^/key/([^/]*)$ { moonrabbit_publish "" $1; }
         location ~ ^/events/([^/]*)$ { moonrabbit_subscribe $1; }]])
      assert.equal(404, n:ask("/key/a%0Aforged%22%C2%9B%1Bline%C3%A9", "POST", "x"))
      assert.equal(404, n:ask "/events/b%0Aforged%1Bline")
      assert.truthy(n:log():find('key "a?forged?\194??line\195\169"', 1, true), n:log())
      assert.truthy(n:log():find('queue "b?forged?line"', 1, true), n:log())
      assert.falsy(n:log():find "\27", n:log())
   end)

   it("takes a CA beside nginx.conf, and without it trusts no broker of an unknown one", function()
      local certs = certificates.make()
      local b = embedded.broker { listen = "127.0.0.1:0", certfile = certs.path "good", keyfile = certs.key "good" }
      local ch = assert(embedded.connect { url = b.url }:channel())
      assert(ch:queue_declare { queue = "q" })
      local url = ("amqps://guest:guest@127.0.0.1:%d/"):format(b.port)
      local file = assert(io.open(certs.path "ca"))
      local files = { ["ca.pem"] = file:read "*a" }
      file:close()
      certs.remove()
      local n = start(url .. " ssl_options.ca_certs=ca.pem", 'location /p { moonrabbit_publish "" q; }', { files = files })
      assert.equal(204, n:ask("/p", "POST", "a"))
      local doubtful = start(url, 'location /p { moonrabbit_publish "" q; }')
      assert.equal(503, doubtful:ask("/p", "POST", "a"))
      doubtful:says "tls_failed"
   end)

   it("inherits the URL, and lets a location have its own", function()
      local n, b, ch = own ""
      n:stop()
      assert(ch:queue_declare { queue = "q" })
      local other = embedded.broker { listen = "127.0.0.1:0" }
      n = start(("amqp://guest:guest@127.0.0.1:%d/"):format(b.port), ([[
         location /outer { moonrabbit_publish "" q; }
         location /own { moonrabbit_url amqp://guest:guest@127.0.0.1:%d/; moonrabbit_publish "" q; }]]):format(other.port))
      assert.equal(204, n:ask("/outer", "POST", "a"))
      assert.equal(404, n:ask("/own", "POST", "a")) -- the other broker has no such queue
   end)
end)
