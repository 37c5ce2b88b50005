-- Tests of the nginx module in C: a queue as server-sent events: what is acked, what goes back, what survives.
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local broker = require "broker"
local embedded = require "embedded"
local http = require "http"
local module = require "nginx_module"
local process = require "process"
local waits = require "waits"

local eventually = broker.eventually
local SERVER = [[location /events { moonrabbit_subscribe $arg_q keepalive=200ms retry=1s prefetch=4; }
   location /topic { moonrabbit_subscribe "" exchange=amq.topic key=$arg_k; }]]

-- A browser's side of it: curl, and what has come.
local function subscribe(n, path) return process.start(("curl -sN http://127.0.0.1:%d%s"):format(n.port, path)) end

local function queue_of(ch, name)
   return assert(ch:queue_declare { queue = name or broker.name "events" }).queue
end

local function publish(ch, q, bodies, properties)
   for _, body in ipairs(bodies) do assert(ch:publish("", q, body, properties)) end
end

describe("a queue as server-sent events", function()
   local ch, q, n

   before_each(function()
      ch = broker.channel()
      assert(ch:confirm_select())
      q = queue_of(ch)
      n = module.start(broker.tcp_url, SERVER, { workers = 1 })
   end)
   after_each(function()
      ch:queue_delete { queue = q }
      module.end_all()
   end)

   it("has an event for each message, acks it, and shows that it is alive", function()
      local page = subscribe(n, "/events?q=" .. q)
      page:says "retry: 1000\n\n"
      publish(ch, q, { "one" }, { message_id = "id-1", type = "order.paid" })
      page:says "id: id-1\nevent: order.paid\ndata: one\n\n"
      publish(ch, q, { "two" })
      page:says "id\ndata: two\n\n"
      page:says(":\n\n", 2)
      page:stop()
      n:says "prematurely closed"
      mr.sleep(0.05)
      assert.equal(0, broker.count(ch, q))
   end)

   it("keeps lines, and what is no text comes as base64", function()
      local page = subscribe(n, "/events?q=" .. q)
      publish(ch, q, { "a\nb\n\nc\n", "", "caf\xc3\xa9 \xe2\x82\xac" })
      page:says "id\ndata: a\ndata: b\ndata: \ndata: c\ndata: \n\nid\ndata: \n\nid\ndata: caf\xc3\xa9 \xe2\x82\xac\n\n"
      publish(ch, q, { "a\rb", "\xff\xfe", "\xed\xa0\x80", "\xc0\xaf" }, { type = "raw" })
      page:says "event: raw+base64\ndata: YQ1i\n\n"
      page:says "event: raw+base64\ndata: //4=\n\n"
      page:says "event: raw+base64\ndata: 7aCA\n\n"
      page:says "event: raw+base64\ndata: wK8=\n\n"
      publish(ch, q, { "\xff" }, { message_id = "two\nlines", type = "two\rlines" })
      page:says "id\nevent: message+base64\ndata: /w==\n\n"
      page:stop()
   end)

   it("gives back what was not written when the client leaves", function()
      local body = ("x"):rep(100000)
      local client = http.connect(n.port)
      client:send("GET /events?q=" .. q .. " HTTP/1.1\r\nHost: a\r\n\r\n") -- and never reads
      for _ = 1, 200 do assert(ch:publish("", q, body)) end
      local left = eventually("the client's buffers to be full", function()
         local before = broker.count(ch, q)
         mr.sleep(0.3)
         return before < 200 and before == broker.count(ch, q) and before
      end)
      assert.is_true(left > 20, left)
      local status = n:ask "/"
      assert.equal(200, status) -- nobody else waits
      client:close()
      local page = subscribe(n, "/events?q=" .. q)
      page:says("data: x", left)
      eventually("all to be acked", function() return broker.count(ch, q) == 0 end)
      local _, events = page:output():gsub("data: x", "")
      assert.is_true(events >= left and events <= left + 4, events .. " of " .. left) -- up to the prefetch came back
      page:stop()
   end)

   -- What was written and not read is lost with a client, so these leave, and read what nginx has written until then.
   it("loses nothing when clients come and go", function()
      local seen, text, total, is_over = {}, "", 0, false
      local publisher = waits.background(function()
         while not is_over do
            total = total + 1
            assert(ch:publish("", q, ("<%d>"):format(total)))
         end
      end)
      for _ = 1, 6 do
         local client = http.connect(n.port)
         client:send("GET /events?q=" .. q .. " HTTP/1.1\r\nHost: a\r\n\r\n")
         text = text .. assert(client:read(10, function(part) return select(2, part:gsub("<%d+>", "")) >= 15 end))
         client:finish()
         text = text .. assert(client:read())
         client:close()
      end
      is_over = true
      eventually("the last publish", function() return publisher.done end)
      local page = subscribe(n, "/events?q=" .. q)
      eventually("the rest", function()
         for number in (text .. page:output()):gmatch "<(%d+)>" do seen[tonumber(number)] = true end
         return #seen == total
      end)
      page:stop()
      assert.equal(0, broker.count(ch, q))
   end)

   it("goes on after a loss of the connection, and ends with a reload", function()
      local page = subscribe(n, "/events?q=" .. q)
      publish(ch, q, { "before" })
      page:says "data: before"
      broker.quietly(function()
         broker.close_connections "test"
         n:says "msg=recovered"
         ch = broker.channel() -- the one before was closed, too
         assert(ch:confirm_select())
      end)
      publish(ch, q, { "after" })
      page:says "data: after"
      local drained = n:reload()
      drained(20)
      local _, code = page:wait()
      assert.equal(0, code) -- the response has its end
   end)

   it("may have a queue of its own at an exchange: each client gets all", function()
      local one, two, other = subscribe(n, "/topic?k=orders.*"), subscribe(n, "/topic?k=orders.*"), subscribe(n, "/topic?k=stock")
      local pages = { one, two, other }
      for _, page in ipairs(pages) do page:says "\n\n" end
      assert(ch:publish("amq.topic", "orders.new", "to both"))
      one:says "data: to both"
      two:says "data: to both"
      assert(ch:publish("amq.topic", "stock", "to one"))
      other:says "data: to one"
      assert.falsy(other:output():find "both")
      for _, page in ipairs(pages) do page:stop() end
   end)

   it("is what the shortest configuration of docs/embedding.md gives, with publishes and health", function()
      local file = assert(io.open "docs/embedding.md")
      local block = file:read "*a":match "## nginx, in C\n.-```nginx\n(.-)```"
      file:close()
      local locations = {}
      for line in block:gmatch "[^\n]+" do locations[#locations + 1] = line:match "^%s*(location .*)$" end
      assert.equal(3, #locations)
      local documented = module.start(broker.tcp_url, table.concat(locations, "\n"))
      local page = subscribe(documented, "/events")
      page:says "\n\n"
      assert.equal(204, documented:ask("/orders", "POST", "one coffee"))
      page:says "data: one coffee"
      page:stop()
      assert.equal(200, documented:ask "/health")
      eventually("the queue's end", function() return documented:ask("/orders", "POST", "x") == 404 end)
   end)

   -- The stream's channel has the number of the one that the publish has lost.
   it("may stand in for a publish that failed, by error_page", function()
      local other = module.start(broker.tcp_url, ([[location /orders { moonrabbit_publish missing key; error_page 404 = /events; }
         location /events { moonrabbit_subscribe %s; }]]):format(q))
      for i = 1, 3 do
         local page = process.start(("curl -sN -d x http://127.0.0.1:%d/orders"):format(other.port))
         assert(ch:publish("", q, "event " .. i))
         page:says("data: event " .. i)
         page:stop()
      end
   end)

   it("is answered 404, 405 or 400 where there is no such queue", function()
      assert.equal(404, n:ask("/events?q=" .. broker.name "missing"))
      assert.equal(405, n:ask("/events?q=" .. q, "POST", "x"))
      assert.equal(400, n:ask("/events?q=" .. ("q"):rep(256)))
   end)

   it("is answered 503 without a broker, and ends when its queue is deleted", function()
      local b = embedded.broker { listen = "127.0.0.1:0" }
      local own = assert(embedded.connect { url = b.url }:channel())
      queue_of(own, "own")
      local other = module.start(("amqp://guest:guest@127.0.0.1:%d/"):format(b.port), SERVER)
      local page = subscribe(other, "/events?q=own")
      page:says "retry:"
      b:unlisten()
      b:drop()
      eventually("the loss", function() return other:ask "/events?q=own" == 503 end)
      page:says(":\n\n", 2) -- its stream stays
      page:stop()
   end)
end)
