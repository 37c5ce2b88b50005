--- Channels that the broker closes: told of in the log, always, whatever they were used for; and what consumer_timeout
--- does to slow handlers.
-- Covers: lua/moonrabbit/channel/late.lua by handled
local mr = require "moonrabbit"
local broker = require "broker"
local waits = require "waits"

local eventually = broker.eventually

-- The log lines of a script at level error and above, and its exit code.
local function run(text, options)
   return broker.shell(("AMQP_URL='%s' %s run --log-level %s %s"):format(broker.tcp_url, broker.command,
      options or "error", broker.script(text)))
end

local function has(out, ...)
   for _, part in ipairs { ... } do assert.truthy(out:find(part, 1, true), part .. " is missing in " .. out) end
end

describe("a channel that the broker closes", function()
   teardown(broker.none_left)

   local closes = {
      ["a publish without confirms"] = { [[
         local ch = assert(mr.connect():channel())
         for _ = 1, 100 do ch:publish("NAME", "key", "x") end
         while ch.is_open do mr.sleep(0.01) end]], "exchange=NAME", "kind=not_found" },
      ["a publisher without confirms"] = { [[
         local out = mr.publisher { exchange = "NAME", routing_key = "key", confirm = false }
         for _ = 1, 100 do out:publish "x" end
         mr.sleep(0.5)]], "exchange=NAME", "kind=not_found" },
      ["a consumer"] = { [[
         local ch = assert(mr.connect():channel())
         ch:queue_declare { queue = "NAME", exclusive = true }
         ch:consume("NAME", print)
         ch:publish("nowhere at all", "key", "x")
         while ch.is_open do mr.sleep(0.01) end
         mr.stop()]], "queue=NAME", "kind=not_found", "nowhere at all" },
      ["a wrong ack"] = { [[
         local ch = assert(mr.connect():channel())
         ch:queue_declare { queue = "NAME", exclusive = true }
         ch:consume("NAME", print)
         ch:queue_bind { queue = "NAME", exchange = "no such exchange" }
         mr.stop()]], "kind=not_found", "no such exchange" },
      ["a channel of a pool"] = { [[
         local pool = mr.pool { url = os.getenv "AMQP_URL", strategy = "shared" }
         pool:with(function(ch)
            ch:publish("NAME", "key", "x")
            while ch.is_open do mr.sleep(0.01) end
         end)
         pool:close()]], "exchange=NAME", "kind=not_found" },
   }
   for what, case in pairs(closes) do
      it("is told of at level error with what it was at: " .. what .. " (FIELD-W6)", function()
         local name = broker.name "closed"
         local out = run('local mr = require "moonrabbit"\n' .. case[1]:gsub("NAME", name))
         has(out, 'level=error msg="the broker closed a channel"', "text=\"")
         for i = 2, #case do has(out, (case[i]:gsub("NAME", name))) end
      end)
   end

   it("is not called a fault where it was asked whether something is there (FIELD-W6)", function()
      local out = run [[
         local mr = require "moonrabbit"
         local ch = assert(mr.connect():channel())
         print(select(2, ch:queue_declare { queue = "there is none", passive = true }).kind)]]
      assert.truthy(out:find "not_found")
      assert.is_nil(out:find("level=error", 1, true), out)
   end)
end)

describe("a handler that is slower than the broker's consumer_timeout", function()
   before_each(function()
      if not broker.is_rabbitmq then return end
      broker.ctl "eval 'application:set_env(rabbit, consumer_timeout, 3000), application:set_env(rabbit, channel_tick_interval, 500).'"
      mr.log.configure "off"
   end)
   after_each(function()
      if not broker.is_rabbitmq then return end
      broker.ctl "eval 'application:set_env(rabbit, consumer_timeout, 1800000), application:set_env(rabbit, channel_tick_interval, 60000).'"
      broker.close_all()
      mr.log.configure "warn"
   end)

   -- Until the channel was closed so often, as the log says: it is written by a thread of its own.
   local compute = [[
      local function closes()
         local log = assert(io.open "/proc/self/fd/2")
         local text = log:read "*a"
         log:close()
         return select(2, text:gsub("the broker closed a channel", ""))
      end
      while closes() < %d do end]]
   local ways = { waits = { "while msg.is_live do mr.sleep(0.1) end", 2, "attempts 1 2 2" },
      computes = { compute:format(1), 1, "attempts 1 1" },
      -- What came again meanwhile was lost, too, before it could be judged for the first time.
      ["computes through the next one"] = { compute:format(2), 1, "attempts 1 1" } }
   for how, way in pairs(ways) do
      broker.it_rabbitmq(it, how .. ": is told why, and its message ends in the dead letters (FIELD-W7)", function()
         local queue = broker.name "slow"
         local out = run(([[
            local mr = require "moonrabbit"
            local attempts = {}
            local w = mr.consumer { queue = "%s", retry = mr.retry.fixed { delay = 0.1, attempts = %d }, handler = function(msg)
               attempts[#attempts + 1] = msg.attempt
               %s
            end }
            assert(w:wait(10))
            local ch = assert(mr.connect():channel())
            assert(ch:publish("", "%s", "x", { message_id = "m7" }))
            mr.spawn(function()
               local dead
               while not dead do
                  mr.sleep(0.2)
                  dead = ch:get "%s.dead"
               end
               print("attempts " .. table.concat(attempts, " ") .. " " .. dead.headers["x-mr-attempt"])
               dead:ack()
               for _, suffix in ipairs { "", ".dead", ".retry-exit" } do ch:queue_delete { queue = "%s" .. suffix } end
               mr.stop()
            end)]]):format(queue, way[2], way[1], queue, queue, queue), "warn")
         has(out, "consumer_timeout", "queue=" .. queue, "message_id=m7", way[3])
         has(out, 'msg="handled, but too late: it comes again" attempt=1 ')
         assert.falsy(out:find("attempt=" .. way[2] + 1, 1, true), out)
      end)
   end

   broker.it_rabbitmq(it, "sleeps through it on a quorum queue: each time is an attempt, the last one ends in the dead letters; what began "
      .. "later on that channel has not failed (FIELD-C6)", function()
      local queue = broker.name "stuck"
      local out = run(([[
         local mr = require "moonrabbit"
         local begun = { stuck = {}, other = {} }
         local w = mr.consumer { queue = { queue = "%s", arguments = { ["x-queue-type"] = "quorum" } },
            retry = mr.retry.fixed { delay = 0.1, attempts = 2 }, handler = function(msg)
               table.insert(begun[msg.body], msg.attempt)
               if msg.body == "stuck" then mr.sleep(1000) end
               while #begun.other < 2 do mr.sleep(0.01) end -- lost with the channel the first time
            end }
         assert(w:wait(10))
         local ch = assert(mr.connect():channel())
         assert(ch:publish("", "%s", "stuck"))
         mr.sleep(1.8)
         assert(ch:publish("", "%s", "other"))
         local dead
         while not dead do
            mr.sleep(0.1)
            dead = ch:get "%s.dead"
         end
         print("stuck " .. table.concat(begun.stuck, " ") .. ", other " .. table.concat(begun.other, " "))
         print("dead " .. dead.body .. " " .. dead.headers["x-mr-attempt"] .. " " .. dead.headers["x-mr-error"])
         dead:ack()
         for _, suffix in ipairs { "", ".dead", ".retry-exit" } do ch:queue_delete { queue = "%s" .. suffix } end
         os.exit(0)]]):format(queue, queue, queue, queue, queue), "warn")
      has(out, "stuck 1 2, other 1 1", "dead stuck 2 precondition_failed: ", "delivery acknowledgement on channel")
   end)

   it("is what the metrics count (FIELD-W7)", function()
      local b = assert(mr.testing.broker())
      mr.log.configure "off"
      local conn = mr.connect { url = b.url }
      local calls, done = 0, false
      local w = mr.consumer { queue = "late", connection = conn, handler = function()
         calls = calls + 1
         if calls > 1 then return end
         waits.loss(conn, function() b:drop() end)
         done = true
      end }
      assert(w:wait(10))
      local ch = assert(mr.connect({ url = b.url }):channel())
      assert(ch:confirm_select())
      assert(ch:publish("", "late", "x"))
      eventually("both", function() return done and calls == 2 end, 30)
      conn:release()
      ch.connection:release()
      b:close()
      mr.log.configure "warn"
   end)
end)

describe("a recovery of which much fails", function()
   -- Each of so many bindings names an exchange of its own that is gone: each costs a channel.
   local FAILING = [[
      local mr = require "moonrabbit"
      local N = %d
      local there = assert(mr.testing.broker())
      local function on_event(ev)
         if ev.type ~= "recovered" then return end
         print(("failed %%d"):format(#ev.failed))
         mr.after(0.05, mr.stop)
      end
      local ch = assert(mr.connect { url = there.url, retry = mr.retry.fixed { delay = 0.01 }, on_event = on_event }:channel())
      local admin = mr.connect(there.url)
      local other = assert(admin:channel())
      assert(ch:queue_declare { queue = "q", durable = true })
      for i = 1, N do
         assert(other:exchange_declare { exchange = "x" .. i, durable = true })
         assert(ch:queue_bind { queue = "q", exchange = "x" .. i, routing_key = "k" })
      end
      for i = 1, N do assert(other:exchange_delete { exchange = "x" .. i }) end
      admin:close()
      there:drop()
      mr.sleep(60)
   ]]

   local function count(out, part) return select(2, out:gsub(part, "")) end

   it("logs the first failures and the number of all, not a line for each (FIELD-W6, FIELD-R8)", function()
      local out, code = run(FAILING:format(300), "info")
      assert.equal(0, code, out)
      has(out, "failed 300", 'level=error msg="much was not recovered"', "failures=300 ")
      assert.equal(10, count(out, 'msg="not recovered"'), out)
      assert.is_true(count(out, 'msg="the broker closed a channel"') <= 10, out)
      local all = run(FAILING:format(300), "debug")
      -- At this level a machine that is busy may not keep up with the log, which then says how many lines it dropped.
      local logged, dropped = count(all, 'msg="not recovered"'), 0
      for n in all:gmatch 'msg="log lines were dropped" lines=(%d+)' do dropped = dropped + tonumber(n) end
      assert.is_true(logged <= 300 and logged + dropped >= 300, ("%d logged, %d dropped"):format(logged, dropped))
   end)

   it("logs each where they are few (FIELD-W6)", function()
      local out, code = run(FAILING:format(10), "info")
      assert.equal(0, code, out)
      assert.equal(10, count(out, 'msg="not recovered"'), out)
      assert.equal(0, count(out, "much was not recovered"), out)
   end)
end)
