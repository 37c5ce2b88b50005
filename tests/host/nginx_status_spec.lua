-- Tests of the nginx module in C: which status a publish gets that fails: 4xx and 503 only for what was not published.
-- SPDX-License-Identifier: MIT
local broker = require "broker"
local embedded = require "embedded"
local module = require "nginx_module"
local waits = require "waits"

local eventually = broker.eventually

-- nginx on a broker of the test's own, and a channel there.
local function own(server, options)
   local b = embedded.broker { listen = "127.0.0.1:0" }
   local ch = assert(embedded.connect { url = b.url }:channel())
   assert(ch:queue_declare { queue = "own" })
   return module.start(("amqp://guest:guest@127.0.0.1:%d/ %s"):format(b.port, options or ""), server), b, ch
end

local function asked(n, path, body)
   return waits.background(function() return (n:ask(path, "POST", body or "x")) end)
end

local function answers(...)
   local list = {}
   for i, request in ipairs { ... } do
      eventually("an answer", function() return request.done end)
      list[i] = request.result
   end
   return list
end

describe("a publish from nginx that fails", function()
   after_each(module.end_all)

   it("is 403 where the exchange is forbidden, and 400 where a property is too long", function()
      local n, _, ch = own [[location /internal { moonrabbit_publish secret key; }
         location /own { moonrabbit_publish "" own content_type=$arg_type; }]]
      assert(ch:exchange_declare { exchange = "secret", type = "topic", internal = true })
      assert.equal(403, (n:ask("/internal", "POST", "x")))
      assert.equal(204, (n:ask("/own?type=" .. ("t"):rep(255), "POST", "x")))
      assert.equal(400, (n:ask("/own?type=" .. ("t"):rep(256), "POST", "x")))
      assert.equal(204, (n:ask("/own", "POST", "x")))
   end)

   it("is 413 where it is too large for us, or for the broker", function()
      local body = ("x"):rep(1000)
      local n = own('client_max_body_size 1m; location /own { moonrabbit_publish "" own; }', "max_message_size=1000")
      assert.equal(204, (n:ask("/own", "POST", body)))
      assert.equal(413, (n:ask("/own", "POST", body .. "x")))
      local other = own('client_max_body_size 200m; location /own { moonrabbit_publish "" own; }', "max_message_size=200000000")
      local out = broker.shell(("head -c 134217729 /dev/zero | curl -s -o /dev/null -w '%%{http_code}' -H Expect: "
         .. "--data-binary @- http://127.0.0.1:%d/own"):format(other.port), 60)
      assert.equal("413", out)
      assert.equal(204, (other:ask("/own", "POST", body)))
   end)

   it("is 503 where no connection comes in time", function()
      local b = embedded.broker { listen = "127.0.0.1:0" }
      local n = module.start(("amqp://guest:guest@127.0.0.1:%d/"):format(b.port),
         'location /own { moonrabbit_publish "" own timeout=300ms; }')
      b:silent()
      local first, second = asked(n, "/own"), asked(n, "/own")
      assert.same({ 503, 503 }, answers(first, second))
      b:silent(false)
      eventually("the connection", function() return n:ask("/own", "POST", "x") == 404 end) -- there is no such queue
   end)

   it("is 503 where too much waits already, and what waits is confirmed later", function()
      local n, b, ch = own 'client_max_body_size 2m; location /own { moonrabbit_publish "" own; }'
      assert.equal(204, (n:ask("/own", "POST", "x")))
      b:silent()
      local waiting, body = {}, ("x"):rep(1024 * 1024)
      for i = 1, 30 do waiting[i] = asked(n, "/own", body) end
      local function count(status)
         local found = 0
         for _, request in ipairs(waiting) do found = found + (request.done and request.result == status and 1 or 0) end
         return found
      end
      eventually("the first refusals", function() return count(503) > 0 end)
      b:silent(false)
      eventually("the others", function() return count(503) + count(204) == 30 end)
      assert.is_true(count(204) >= 8, count(204) .. " published")
      assert.equal(1 + count(204), broker.count(ch, "own"))
   end)

   it("is 503 where channel_max allows no channel more and all are busy; of idle ones, one makes place", function()
      local n, b, ch = own([[location /own { moonrabbit_publish $arg_x own message=x; } location /busy { stub_status; }
]], "channel_max=2")
      for _, exchange in ipairs { "one", "two", "three" } do
         assert(ch:exchange_declare { exchange = exchange, type = "fanout" })
         assert(ch:queue_bind { queue = "own", exchange = exchange })
      end
      for _ = 1, 3 do
         for _, exchange in ipairs { "one", "two", "three", "" } do assert.equal(204, (n:ask("/own?x=" .. exchange))) end
      end
      assert.equal(404, (n:ask "/own?x=missing"))
      local several = {}
      for i, exchange in ipairs { "one", "two", "three", "one" } do several[i] = asked(n, "/own?x=" .. exchange) end
      for _, status in ipairs(answers(unpack(several))) do assert.is_true(status == 204 or status == 503, status) end
      for _, exchange in ipairs { "one", "two" } do assert.equal(204, (n:ask("/own?x=" .. exchange))) end
      b:silent()
      local first, second = asked(n, "/own?x=one"), asked(n, "/own?x=two")
      eventually("both to be sent", function() return select(2, n:ask "/busy"):find("Writing: 3", 1, true) end)
      assert.equal(503, (n:ask "/own?x=three"))
      b:silent(false)
      assert.same({ 204, 204 }, answers(first, second))
      assert.equal(204, (n:ask "/own?x=three"))
      n:stop()
      assert.is_true(broker.count(ch, "own") >= 12 + 2 + 3, broker.count(ch, "own"))
   end)

   it("is 404 again and again where an exchange is missing, also while others take the numbers of its channels", function()
      local n = module.start(broker.tcp_url .. " channel_max=3",
         "location /any { moonrabbit_publish $arg_x none message=x mandatory=off; }")
      local file = assert(io.open(n.dir .. "/any.lua", "w"))
      file:write [[local names = { "amq.topic", "amq.direct", "amq.fanout", "amq.headers", "missing", "" }
         function request() return wrk.format("GET", "/any?x=" .. names[math.random(#names)]) end]]
      file:close()
      local out = broker.shell(("wrk -t1 -c2 -d2 -s %s/any.lua http://127.0.0.1:%d/"):format(n.dir, n.port), 60)
      assert.falsy(out:find "Socket errors", out)
      for _, name in ipairs { "amq.topic", "amq.direct", "amq.fanout", "amq.headers", "" } do
         assert.equal(204, (n:ask("/any?x=" .. name)))
      end
      assert.equal(404, (n:ask "/any?x=missing"))
      for reason in n:log():gmatch 'not published[^\n]*key "none": ([^,]+)' do assert.equal("there is no such queue", reason) end
   end)

   it("is 404 for all while an exchange was never there, and 504 for those of whom nobody knows which one failed", function()
      local n, b, ch = own "location /own { moonrabbit_publish news key mandatory=off; } location /busy { stub_status; }"
      local function two()
         b:silent()
         local first, second = asked(n, "/own"), asked(n, "/own")
         eventually("both to be sent", function() return select(2, n:ask "/busy"):find("Writing: 3", 1, true) end)
         b:silent(false)
         return answers(first, second)
      end
      assert.equal(404, (n:ask("/own", "POST", "x")))
      assert.same({ 404, 404 }, two())
      assert(ch:exchange_declare { exchange = "news", type = "topic" })
      assert.equal(204, (n:ask("/own", "POST", "x")))
      assert(ch:exchange_delete { exchange = "news" })
      assert.same({ 504, 504 }, two())
      assert.same({ 404, 404 }, two())
      assert(ch:exchange_declare { exchange = "news", type = "topic" })
      assert.equal(204, (n:ask("/own", "POST", "x")))
      assert(ch:exchange_delete { exchange = "news" })
      assert.equal(404, (n:ask("/own", "POST", "x"))) -- it was the only one
   end)
end)
