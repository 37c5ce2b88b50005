--- The queues beside a worker's own: declared as safe as that one is, taken as they are, or done without.
-- Covers: lua/moonrabbit/channel/companion.lua by quorum
local mr = require "moonrabbit"
local older = require "older"
local broker = require "broker"

local eventually, take = broker.eventually, broker.take

local made = {}

local function confirming()
   local ch = broker.channel()
   assert(ch:confirm_select())
   return ch
end

-- A worker whose handler fails twice.
local function failing(options)
   local attempts = {}
   options.connection = options.connection or broker.connect()
   options.retry = options.retry or mr.retry.fixed { delay = 0.2, attempts = 3 }
   options.handler = options.handler or function(msg)
      attempts[#attempts + 1] = msg.attempt
      if #attempts < 3 then error "no" end
   end
   local w = mr.consumer(options)
   assert(w:wait(20))
   for _, suffix in ipairs { "", ".dead", ".retry-exit", ".retry.200", ".retry.other.200" } do
      made[#made + 1] = w.queue .. suffix
   end
   return w, attempts
end

local function all_tries(w, attempts)
   eventually("all tries", function() return #attempts == 3 and w.running == 0 end, 60)
   assert.same({ 1, 2, 3 }, attempts)
end

-- Is there a queue of that type, declared without anything else?
local function is_of_type(queue, kind)
   local ch = broker.channel()
   local is_there = ch:queue_declare { queue = queue, passive = true }
   ch = broker.channel()
   return is_there and ch:queue_declare { queue = queue, durable = true, arguments = { ["x-queue-type"] = kind } } ~= nil
end

describe("the queue of", function()
   before_each(function() mr.log.configure "off" end)
   after_each(function()
      local ch = broker.channel()
      for _, queue in ipairs(made) do ch:queue_delete { queue = queue } end
      made = {}
      broker.close_all()
      mr.log.configure "warn"
   end)

   for what, options in pairs { limited = { durable = true, arguments = { ["x-max-length"] = 100 } }, transient = { durable = false } } do
      it("dead letters is taken as it is: " .. what .. " (part of C2)", function()
         local ch, queue = confirming(), broker.name "work"
         options.queue = queue .. ".dead"
         assert(ch:queue_declare(options))
         failing { queue = queue, retry = mr.retry.never }
         assert(ch:publish("", queue, "x"))
         assert.equal("x", take(ch, queue .. ".dead").body)
      end)

      it("what has waited is taken as it is: " .. what .. " (part of C2)", function()
         local ch, queue = confirming(), broker.name "work"
         options.queue = queue .. ".retry-exit"
         assert(ch:queue_declare(options))
         local w, attempts = failing { queue = queue }
         assert(ch:publish("", queue, "x"))
         all_tries(w, attempts)
      end)
   end

   it("a delay is another one where the name is taken, by that of an older version say (part of C2)", function()
      local ch, queue = confirming(), broker.name "work"
      local usual = { ["x-message-ttl"] = 200, ["x-expires"] = 60200, ["x-dead-letter-exchange"] = "",
         ["x-dead-letter-routing-key"] = queue }
      assert(ch:queue_declare { queue = queue .. ".retry.200", durable = true, arguments = usual })
      local w, attempts = failing { queue = queue }
      assert(ch:publish("", queue .. ".retry.200", "x", { headers = { ["x-mr-attempt"] = 1, ["x-mr-queue"] = queue } }))
      eventually("all tries", function() return #attempts == 2 end, 60)
      assert.same({ 2, 3 }, { attempts[1], attempts[2] }) -- what the older one had sent into it goes on
      assert(ch:publish("", queue, "y"))
      eventually("the other's end", function() return #attempts == 3 and w.running == 0 end)
   end)

   it("retries made by hand is left alone (part of C2)", function()
      local ch, queue = confirming(), broker.name "work"
      made[#made + 1] = queue .. ".retry"
      assert(ch:queue_declare { queue = queue .. ".retry", durable = true })
      local w, attempts = failing { queue = queue }
      assert(ch:publish("", queue .. ".retry", "of the program"))
      assert(ch:publish("", queue, "x"))
      all_tries(w, attempts)
      assert.equal("of the program", take(ch, queue .. ".retry").body)
   end)

   it("what has waited, and of dead letters, is a quorum queue where its own is (part of C2)", function()
      local ch, queue = confirming(), broker.name "work"
      local w, attempts = failing { queue = { queue = queue, arguments = { ["x-queue-type"] = "quorum" } },
         retry = mr.retry.fixed { delay = 0.2, attempts = 2 } }
      assert.is_true(is_of_type(queue .. ".dead", "quorum"))
      assert.is_true(is_of_type(queue .. ".retry-exit", "quorum"))
      assert.is_true(is_of_type(queue .. ".dead", "quorum"))
      assert(ch:queue_delete { queue = queue .. ".dead" })
      assert(ch:publish("", queue, "x"))
      eventually("the queue declared again", function() return is_of_type(queue .. ".dead", "quorum") end, 60)
      assert.equal("x", take(ch, queue .. ".dead").body)
      assert.same({ 1, 2 }, attempts)
      assert.equal(0, w.running)
   end)

   it("dead letters is taken as it is: quorum, or classic where its own is quorum (part of C2)", function()
      local ch = confirming()
      for _, kinds in ipairs { { "classic", "quorum" }, { "quorum", "classic" } } do
         local queue = broker.name "work"
         assert(ch:queue_declare { queue = queue .. ".dead", durable = true, arguments = { ["x-queue-type"] = kinds[2] } })
         failing { queue = { queue = queue, arguments = { ["x-queue-type"] = kinds[1] } }, retry = mr.retry.never }
         assert(ch:publish("", queue, "x"))
         assert.equal("x", take(ch, queue .. ".dead").body)
      end
   end)

   -- The type of a queue that a worker of these options declares.
   local function type_of(options, suffix)
      options.queue = broker.name "work"
      options.connection = broker.connect()
      options.handler = function() end
      local w = mr.consumer(options)
      assert(w:wait(20))
      for _, ending in ipairs { "", ".dead", ".retry-exit" } do made[#made + 1] = options.queue .. ending end
      for _, kind in ipairs { "classic", "quorum", "stream" } do
         if is_of_type(options.queue .. suffix, kind) then return kind end
      end
   end

   it("dead letters, and of what has waited, has the type of the queue, of the option, or of the process (FIELD-C2)", function()
      for _, suffix in ipairs { ".dead", ".retry-exit" } do
         assert.equal("classic", type_of({}, suffix))
         assert.equal("quorum", type_of({ queue_type = "quorum" }, suffix))
         assert.equal("classic", type_of({ queue_type = "quorum", companions = { queue_type = "classic" } }, suffix))
         assert.equal("quorum", type_of({ companions = { queue_type = "quorum" } }, suffix))
      end
      mr.defaults { queue_type = "quorum" }
      finally(function() mr.defaults { queue_type = false } end)
      assert.equal("quorum", type_of({}, ""))
      assert.equal("quorum", type_of({}, ".retry-exit"))
      assert.equal("classic", type_of({ queue_type = "classic" }, ".dead"))
   end)

   it("what has waited ends with an exclusive queue, also where quorum is the default (FIELD-C2)", function()
      mr.defaults { queue_type = "quorum" }
      finally(function() mr.defaults { queue_type = false } end)
      local conn = broker.connect()
      local ch, queue = assert(conn:channel()), broker.name "mine"
      local w, attempts = failing { connection = conn, queue = { queue = queue, exclusive = true } }
      assert(ch:publish("", queue, "x"))
      all_tries(w, attempts)
   end)

   it("a delay has the type of the queue, and holds its messages until the exit has them (FIELD-C2)", function()
      local ch, queue = confirming(), broker.name "work"
      local w, attempts = failing { queue = queue, queue_type = "quorum" }
      assert(ch:publish("", queue, "x"))
      all_tries(w, attempts)
      local ok, err = broker.channel():queue_declare { queue = queue .. ".retry.200", durable = true, queue_type = "quorum",
         arguments = { ["x-message-ttl"] = 200, ["x-expires"] = 3600200, ["x-dead-letter-exchange"] = "",
            ["x-dead-letter-routing-key"] = queue .. ".retry-exit", ["x-dead-letter-strategy"] = "at-least-once",
            ["x-overflow"] = "reject-publish" } }
      assert(ok, err and err.text)
   end)

   -- RabbitMQ 3.10 sets the arguments of a new quorum queue a moment after it accepts publishes of others: with a node that
   -- hangs, seconds later. What came before that has only its own time; without one it would stay for ever, in front of all others.
   it("a delay has its time in each message, too (FIELD-C2)", function()
      local ch, queue = confirming(), broker.name "work"
      local w = failing { queue = queue, queue_type = "quorum", retry = mr.retry.fixed { delay = 60 } }
      assert(ch:publish("", queue, "x", { expiration = "7000000" }))
      local waiting = queue .. ".retry.60000"
      made[#made + 1] = waiting
      eventually("the copy", function() return broker.channel():queue_declare { queue = waiting, passive = true } end)
      assert.equal("60000", take(ch, waiting).properties.expiration)
      assert(w:cancel())
   end)

   it("a delay is classic where the broker's quorum queues have no time to live, before RabbitMQ 3.10 (FIELD-C2)", function()
      older(finally)
      local ch, queue = confirming(), broker.name "work"
      local w, attempts = failing { queue = queue, queue_type = "quorum" }
      assert(ch:publish("", queue, "x"))
      all_tries(w, attempts)
      assert.is_true(broker.channel():queue_declare { queue = queue .. ".retry.200", durable = true,
         arguments = { ["x-message-ttl"] = 200, ["x-expires"] = 60200, ["x-dead-letter-exchange"] = "",
            ["x-dead-letter-routing-key"] = queue .. ".retry-exit" } } ~= nil)
   end)

   -- Reads and writes, and declares nothing.
   local function modest() return broker.connect_user "'^$' '.*' '.*'" end

   broker.it_rabbitmq(it, "a delay is done without by a user who may not declare it: tried again in the process (FIELD-C1)",
      function()
         local ch, queue = confirming(), broker.name "work"
         assert(ch:queue_declare { queue = queue, durable = true })
         assert(ch:queue_declare { queue = queue .. ".dead", durable = true })
         local w, attempts = failing { connection = modest(), queue = queue, declare = false }
         assert(ch:publish("", queue, "x"))
         all_tries(w, attempts)
         local last = {}
         w:cancel()
         failing { connection = modest(), queue = queue, declare = false, handler = function(msg)
            last[#last + 1] = msg.attempt
            error "no"
         end }
         assert(ch:publish("", queue, "y"))
         assert.equal("y", take(ch, queue .. ".dead").body)
         assert.same({ 1, 2, 3 }, last)
      end)

   broker.it_rabbitmq(it, "a delay, and what has waited, may be declared for a user who may not (FIELD-C1)", function()
      local ch, queue = confirming(), broker.name "work"
      assert(ch:queue_declare { queue = queue, durable = true })
      assert(ch:queue_declare { queue = queue .. ".dead", durable = true })
      assert(ch:queue_declare { queue = queue .. ".retry-exit", durable = true })
      assert(ch:queue_declare { queue = queue .. ".retry.200", durable = true, arguments = { ["x-message-ttl"] = 200,
         ["x-dead-letter-exchange"] = "", ["x-dead-letter-routing-key"] = queue .. ".retry-exit" } })
      local waited = 0
      local w, attempts = failing { connection = modest(), queue = queue, declare = false }
      assert(ch:publish("", queue, "x"))
      eventually("all tries", function()
         waited = math.max(waited, broker.count(ch, queue .. ".retry.200"))
         return #attempts == 3 and w.running == 0
      end, 60)
      assert.same({ 1, 2, 3 }, attempts)
      assert.equal(1, waited)
   end)

   broker.it_rabbitmq(it, "a worker that dies has its messages dead-lettered at the delivery limit, and warns of one without (FIELD-C1)",
      function()
         local ch, queue, lines, tries = confirming(), broker.name "limited", {}, 0
         local dlx = queue .. ".dlx"
         made[#made + 1] = dlx
         assert(ch:queue_declare { queue = dlx, durable = true })
         local limits = { ["x-queue-type"] = "quorum", ["x-delivery-limit"] = 1, ["x-dead-letter-exchange"] = "",
            ["x-dead-letter-routing-key"] = dlx }
         local log = require "moonrabbit.loop.log"
         local warn = log.warn
         log.warn = function(line) lines[#lines + 1] = line end
         finally(function() log.warn = warn end)
         for _ = 1, 3 do
            local before = tries
            local w = failing { queue = { queue = queue, arguments = limits }, handler = function()
               tries = tries + 1
               mr.sleep(60)
            end }
            if before == 0 then assert(ch:publish("", queue, "x", { delivery_mode = 2 })) end
            eventually("a try, or none any more", function() return tries > before or broker.count(ch, dlx) == 1 end)
            w:cancel()
            w.connection:release() -- nothing is settled, as by a kill -9
         end
         local msg = take(ch, dlx)
         assert.same({ "x", "delivery_limit", 2 }, { msg.body, msg.headers["x-death"][1].reason, tries })
         assert.is_nil(table.concat(lines, "\n"):find("delivery limit", 1, true))
         failing { queue = { queue = queue .. ".other", arguments = { ["x-queue-type"] = "quorum", ["x-delivery-limit"] = 1 } } }
         assert.truthy(table.concat(lines, "\n"):find("more often than its delivery limit", 1, true))
      end)
end)
