--- Remote calls over direct reply-to, on whatever broker.
local mr = require "moonrabbit"
local broker = require "broker"

local function serve(conn, handler)
   local server = assert(mr.rpc.serve { queue = broker.name "rpc", connection = conn, handler = handler,
      queue_opts = { durable = false, exclusive = true } })
   return server.queue
end

describe("remote calls", function()
   after_each(broker.close_all)

   it("are answered: strings, tables, errors", function()
      local conn = broker.connect()
      local q = serve(conn, function(request)
         if request == "bad" then return nil, { kind = "overdrawn", text = "by 7" } end
         return request
      end)
      assert.equal("hello", mr.rpc.call(q, "hello", { connection = conn }))
      assert.same({ a = { 1, 2 } }, (mr.rpc.call(q, { a = { 1, 2 } }, { connection = conn })))
      local result, err = mr.rpc.call(q, "bad", { connection = conn })
      assert.same({ nil, "overdrawn", "by 7", "remote" }, { result, err.kind, err.text, err.scope })
   end)

   it("may have their answers among other deliveries of a channel", function()
      local ch, q = broker.confirming()
      local got = {}
      local function note(msg) got[#got + 1] = msg.delivery_tag .. msg.body end
      assert(ch:consume("amq.rabbitmq.reply-to", note, { no_ack = true }))
      local acked = assert(ch:consume(q, note))
      local requests = broker.queue(ch)
      assert(ch:consume(requests, function(msg) assert(msg:reply(msg.body)) end, { no_ack = true }))
      local function wait(n) broker.eventually("all", function() return #got == n end) end
      for i = 1, 2 do
         assert(ch:publish("", requests, "answer", { reply_to = "amq.rabbitmq.reply-to" }))
         wait(i)
      end
      assert.same({ "2answer", "3answer" }, got) -- the requests count, the answers do not
      for i = 1, 3 do
         assert(ch:publish("", requests, "answer", { reply_to = "amq.rabbitmq.reply-to", correlation_id = tostring(i) }))
         assert(ch:publish("", q, "other"))
      end
      wait(8)
      local others = 0
      for _, said in ipairs(got) do others = others + (said:find "other" and 1 or 0) end
      assert.equal(3, others) -- all came, none was refused
      assert(acked:cancel())
      assert.equal(0, broker.count(ch, q))
      assert.is_true(ch.is_open)
   end)

   it("have a queue for their answers that always is there", function()
      local ch = broker.channel()
      for _, passive in ipairs { true, false } do
         assert.same({ queue = "amq.rabbitmq.reply-to", message_count = 0, consumer_count = 1 },
            assert(ch:queue_declare { queue = "amq.rabbitmq.reply-to", passive = passive }))
      end
   end)

   it("come by the hundred, from one connection to another, each with its own answer", function()
      local q = serve(broker.connect(), function(request)
         mr.sleep(request % 5 / 1000)
         return request + 1000
      end)
      local client, left = broker.connect(), 100
      for i = 1, 100 do
         mr.spawn(function()
            assert.equal(i + 1000, mr.rpc.call(q, i, { connection = client }))
            left = left - 1
         end)
      end
      broker.eventually("all answers", function() return left == 0 end)
   end)

   broker.unless_redis(it, "a queue is a name", "to nobody come back at once; to somebody silent end at the deadline", function()
      local conn = broker.connect()
      local began = mr.now()
      local _, err = mr.rpc.call(broker.name "nobody", "x", { connection = conn, timeout = 30 })
      assert.equal("returned", err.kind)
      assert.is_true(mr.now() - began < 10)
      local q = broker.queue(assert(conn:channel()))
      _, err = mr.rpc.call(q, "x", { connection = conn, timeout = 0.05 })
      assert.equal("timeout", err.kind)
   end)

   broker.it_inside(it, "are lost with the connection, and answered after it came back", function()
      broker.quietly(function()
         local server = broker.connect { transport_options = { interval_max = 0 } }
         local release = false
         local q = broker.name "rpc"
         assert(mr.rpc.serve { queue = q, connection = server, queue_opts = { durable = false, auto_delete = true },
            handler = function(request)
               while request == "first" and not release do mr.sleep(0.01) end
               return "there"
            end })
         local conn = broker.connect { transport_options = { interval_max = 0 } }
         local err
         mr.spawn(function() err = select(2, mr.rpc.call(q, "first", { connection = conn, timeout = 60 })) end)
         broker.eventually("the request", function() return conn.rpc_client and next(conn.rpc_client.waiting) end)
         broker.close_connections "rpc"
         broker.eventually("the loss", function() return err end)
         assert.equal("lost", err.kind)
         release = true
         broker.eventually("an answer", function()
            return mr.rpc.call(q, "next", { connection = conn, timeout = 10 }) == "there"
         end, 30)
      end)
   end)
end)
