--- Every program of examples/c, as CMake builds it: on the embedded broker or on RabbitMQ.
local broker = require "broker"
local peer = require "peer"
local process = require "process"

local FOLDER = os.getenv("MOONRABBIT_LIBRARY"):match "^(.*)/lib/" .. "/example/"

-- Runs a program that ends by itself; returns its output and its exit code.
local function run(name, ...)
   local words = { FOLDER .. name }
   for _, word in ipairs { ... } do words[#words + 1] = ("'%s'"):format(word) end
   return broker.shell(table.concat(words, " ") .. " 2>&1", 120)
end

describe("the example in C", function()
   local queue
   before_each(function() queue = broker.name "c-example" end)
   after_each(function()
      process.end_all()
      broker.channel():queue_delete { queue = queue }
      broker.close_all()
   end)
   teardown(broker.none_left)

   it("publisher.c has every message confirmed, consumer.c gets each and acknowledges it", function()
      local out, code = run("publisher", broker.tcp_url, queue, 3)
      assert.equal(0, code, out)
      assert.truthy(out:find("3 published, 3 confirmed", 1, true), out)
      local consumer = process.start(("%sconsumer %s %s"):format(FOLDER, broker.tcp_url, queue))
      consumer:says("waiting for messages in " .. queue)
      for i = 1, 3 do consumer:says("received message " .. i) end
      out, code = consumer:stop()
      assert.equal(0, code, out)
      assert.equal(0, broker.count(broker.channel(), queue), "what was not acknowledged is in the queue again")
   end)

   it("consumer.c outlives its connection", function()
      local consumer = process.start(("%sconsumer %s %s"):format(FOLDER, broker.tcp_url, queue))
      consumer:says("waiting for messages in " .. queue)
      broker.close_connections "test"
      assert.equal(0, select(2, run("publisher", broker.tcp_url, queue, 2)))
      consumer:says "received message 2"
      local out, code = consumer:stop()
      assert.equal(0, code, out)
   end)

   it("consumer.c outlives its queue, and gets what comes when that is there again", function()
      local consumer = process.start(("%sconsumer %s %s"):format(FOLDER, broker.tcp_url, queue))
      consumer:says("waiting for messages in " .. queue)
      local ch = broker.channel()
      assert(ch:queue_delete { queue = queue }) -- the broker tells it before it answers the next request
      assert(ch:queue_declare { queue = queue, durable = true })
      broker.eventually("its consumer", function()
         return ch:queue_declare({ queue = queue, passive = true }).consumer_count == 1
      end)
      assert(ch:publish("", queue, "message 1"))
      consumer:says "received message 1"
      local out, code = consumer:stop()
      assert.equal(0, code, out)
   end)

   it("consumer.c ends when what it lost does not come back", function()
      local losses = {
         function() broker.close_connections "test" end,
         function() assert(broker.channel():queue_delete { queue = queue }) end,
      }
      for _, lose in ipairs(losses) do
         local consumer = process.start(("%sconsumer \"%s?recover=false\" %s"):format(FOLDER, broker.tcp_url, queue))
         consumer:says("waiting for messages in " .. queue)
         lose()
         local out, code = consumer:wait()
         assert.equal(1, code, out)
      end
   end)

   broker.it_inside(it, "publisher.c waits while the broker blocks it", function()
      finally(function() broker.block(false) end)
      broker.block(true)
      local publisher = process.start(("%spublisher %s %s 50000"):format(FOLDER, broker.tcp_url, queue))
      publisher:says "blocked by the broker"
      broker.block(false)
      local out, code = publisher:wait()
      assert.equal(0, code, out)
      assert.truthy(out:find("50000 published, 50000 confirmed", 1, true), out)
   end)

   it("publisher.c goes on with the rest after a lost connection", function()
      local publisher = process.start(("%spublisher %s %s 300000"):format(FOLDER, broker.tcp_url, queue))
      local ch = broker.channel()
      assert(ch:queue_declare { queue = queue, durable = true })
      broker.eventually("messages", function() return broker.count(ch, queue) > 0 end)
      broker.close_all()
      broker.close_connections "test"
      local out = publisher:wait()
      assert.truthy(out:find("300000 published, ", 1, true), out)
   end)

   it("publisher.c publishes more at once than the runtime takes", function()
      local out, code = run("publisher", broker.tcp_url, queue, 10000)
      assert.equal(0, code, out)
      assert.truthy(out:find("10000 published, 10000 confirmed", 1, true), out)
   end)

   it("game_loop.c keeps its frames, and gets back what it sends", function()
      local out, code = run("game_loop", broker.tcp_url, 90)
      assert.equal(0, code, out)
      local sent, received = out:match "90 frames in [%d.]+ s, (%d+) places sent, (%d+) received"
      assert.is_true(tonumber(sent) > 0 and tonumber(received) > 0, out)
   end)

   it("game_loop.c gets back what it sends after a lost connection, too", function()
      local ch = broker.channel()
      local places = broker.queue(ch)
      assert(ch:queue_bind { queue = places, exchange = "amq.fanout" })
      local game = process.start(("%sgame_loop %s 360"):format(FOLDER, broker.tcp_url))
      broker.eventually("its places", function() return broker.count(ch, places) > 3 end)
      broker.close_all()
      broker.close_connections "test"
      local out, code = game:wait()
      assert.equal(0, code, out)
      local sent, received = out:match "(%d+) places sent, (%d+) received"
      assert.is_true(tonumber(sent) > 20 and tonumber(received) >= tonumber(sent) - 5, out)
   end)

   it("each says what to look at when no broker is there", function()
      local nobody = ("amqp://127.0.0.1:%d"):format(peer.closed_port())
      for _, name in ipairs { "consumer", "publisher", "game_loop" } do
         local out, code = run(name, nobody, name == "game_loop" and "30" or queue)
         assert.equal(1, code, name)
         assert.truthy(out:find("is RabbitMQ running", 1, true), out)
      end
   end)

   it("is in the index, and has a program", function()
      local index = assert(io.open "examples/README.md"):read "*a"
      local list = assert(io.popen "cd examples/c && ls *.c")
      local count = 0
      for file in list:lines() do
         count = count + 1
         assert.truthy(index:find("](c/" .. file .. ")", 1, true), "examples/README.md does not tell of " .. file)
         assert(io.open(FOLDER .. file:match "^[^.]+")):close()
      end
      list:close()
      assert.is_true(count >= 3, tostring(count))
   end)
end)
