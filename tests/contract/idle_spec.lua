--- idle: a consumer without messages that the broker has dropped, or that only waits.
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local broker = require "broker"
local waits = require "waits"

local eventually = waits.eventually

-- RabbitMQ's queue process forgets its consumers, and nobody is told.
local DROP = [[{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"%s">>)),
[gen_server2:call(amqqueue:get_pid(Q), {basic_cancel, element(1, C), element(2, C), undefined, <<"test">>})
 || C <- rabbit_amqqueue:consumers(Q)].]]

describe("a consumer without messages", function()
   local conn, got, cancels

   before_each(function()
      got, cancels = {}, 0
      mr.log.configure "off"
      conn = broker.connect { consumer_check = 0.1 }
   end)
   after_each(function()
      broker.close_all()
      mr.log.configure "error"
   end)

   local function publish(q, body)
      local ch = assert(conn:channel())
      assert(ch:confirm_select())
      assert(ch:publish("", q, body))
      ch:close()
   end

   -- A look is three answers: to the open, the declare and the close.
   local function looks()
      local before = mr.stats().frames_in
      eventually("some looks", function() return mr.stats().frames_in >= before + 9 end)
   end

   local function consumer(q)
      local w = mr.consumer { connection = conn, queue = q, handler = function(msg) got[#got + 1] = msg.body end,
         on_cancel = function() cancels = cancels + 1 end }
      assert(w:wait(5))
      return w
   end

   local function remove(w)
      assert(w:cancel())
      local ch = assert(conn:channel())
      for _, q in ipairs { w.queue, w.dead_letter, w.queue .. ".retry-exit" } do ch:queue_delete { queue = q } end
   end

   broker.it_rabbitmq(it, "begins anew when the broker has dropped it without a word (FIELD-C13)", function()
      local q = broker.name "dropped"
      local w = consumer(q)
      broker.ctl("eval '" .. DROP:format(q) .. "'")
      publish(q, "while it is away")
      eventually("its message", function() return #got == 1 end)
      assert.equal(1, cancels)
      assert.equal("consuming", w.state)
      remove(w)
   end)

   it("is left alone, with its tag, while the broker knows it", function()
      local q = broker.name "waiting"
      local w = consumer(q)
      local tag = w.tag
      looks()
      publish(q, "one")
      eventually("its message", function() return #got == 1 end)
      assert.equal(0, cancels)
      assert.equal(tag, w.tag)
      remove(w)
   end)

   broker.it_rabbitmq(it, "is left alone if it reads a stream, whose consumers RabbitMQ does not count", function()
      local q = broker.name "stream"
      local ch = assert(conn:channel())
      assert(ch:queue_declare { queue = q, durable = true, arguments = { ["x-queue-type"] = "stream" } })
      local far = broker.connect { consumer_check = 0.1 } -- it does not know the type
      local reader = assert(far:channel())
      assert(reader:qos { prefetch_count = 10 })
      local c = assert(reader:consume(q, function(msg) got[#got + 1] = msg.body end))
      for n = 1, 3 do
         looks()
         publish(q, tostring(n))
         eventually("message " .. n, function() return #got == n end)
      end
      assert.equal("consuming", c.state)
      assert(ch:queue_delete { queue = q })
   end)
end)
