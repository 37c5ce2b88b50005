--- moonrabbit dead: dead letters of mr.consumer and of RabbitMQ: list, group, redrive, drop; redrive killed at random points.
-- Covers: lua/moonrabbit/cli/dead.lua by redrive
local broker = require "broker"
local cjson = require "cjson"
local mr = require "moonrabbit"
local build = require "build"
local process = require "process"

-- Under a sanitizer a start takes seconds.
local KILLS = tonumber(os.getenv "MR_REDRIVE_KILLS" or build.is_release and "20" or "4")

local ch, q

local function run(arguments)
   return broker.shell(("AMQP_URL='%s' %s dead %s"):format(broker.tcp_url, broker.command, arguments))
end

local function ok(arguments)
   local out, code = run(arguments)
   assert.equal(0, code, out)
   return out
end

local function count(name, wanted)
   broker.eventually(("%d messages in %s"):format(wanted, name), function() return broker.count(ch, name) == wanted end)
end

-- The consumer of the queue, which fails but for a body that begins with "good"; what it saw is in `seen`.
local function consumer(seen)
   return mr.consumer { queue = q, connection = broker.connect(), retry = mr.retry.fixed { delay = 0.01, attempts = 2 },
      handler = function(msg)
         seen[#seen + 1] = { msg.body, msg.attempt, msg.exchange, msg.routing_key }
         if not msg.body:find "^good" then error("cannot book " .. msg.body .. "\nsecond line", 0) end
      end }
end

local function fail(bodies)
   local worker = consumer {}
   worker:wait()
   assert(ch:queue_bind { queue = q, exchange = "amq.topic", routing_key = q .. ".#" })
   broker.quietly(function()
      for i, body in ipairs(bodies) do
         local props = { message_id = "m" .. i, headers = { n = mr.int(i), at = mr.timestamp(i) } }
         assert(ch:publish("amq.topic", q .. ".key", body, props))
      end
      count(q .. ".dead", #bodies)
   end)
   worker:cancel()
end

describe("moonrabbit dead", function()
   before_each(function()
      ch, q = broker.channel(), broker.name "dead"
      assert(ch:confirm_select())
   end)
   after_each(function()
      for _, suffix in ipairs { "", ".dead", ".retry-exit", ".other" } do ch:queue_delete { queue = q .. suffix } end
      process.end_all()
      broker.close_all()
   end)

   it("lists them, and groups them by error", function()
      fail { "a", "b", "b" }
      local rows = cjson.decode(ok(("%s --json"):format(q)))
      assert.equal(3, #rows)
      local row = rows[1]
      assert.same({ "m1", q, 2, "handler_failed: cannot book a\nsecond line", "handler_failed: cannot book a",
         "the retry policy stopped after 2 attempts" }, { row.message_id, row.queue, row.attempts, row.error, row.fingerprint, row.reason })
      assert.is_true(row.age >= 0 and row.age < 100)
      local out = ok(("%s list"):format(q))
      assert.is_truthy(out:find "MESSAGE ID +ATTEMPTS +AGE +ERROR +REASON\nm1 +2 +%d+ s +handler_failed: cannot book a ", out)
      local groups = cjson.decode(ok(("%s list --group --json"):format(q)))
      assert.same({ "handler_failed: cannot book b", 2, "m2" }, { groups[1].error, groups[1].count, groups[1].message_id })
      assert.equal(2, #groups)
      local shown = ok(("%s.dead show --match message_id=m2"):format(q))
      assert.is_truthy(shown:find("header x-mr-error: handler_failed: cannot book b", 1, true), shown)
      count(q .. ".dead", 3)
   end)

   broker.unless_redis(it, "headers", "redrives what matches, with its headers, and the consumer begins anew", function()
      fail { "a", "b", "c" }
      assert.is_truthy(ok(("%s redrive --match 'error=*book b*' --dry-run"):format(q)):find("would have redriven 1 message", 1, true))
      count(q .. ".dead", 3)
      assert.equal(1, cjson.decode(ok(("%s redrive --match 'error=*book b*' --json"):format(q))).redriven)
      count(q .. ".dead", 2)
      local msg = broker.take(ch, q, {})
      assert.same({ "b", "m2", 2, 2, 1 }, { msg.body, msg.message_id, msg.headers.n, msg.headers.at.value, msg.attempt })
      for _, name in ipairs { "error", "reason", "traceback", "first-failure" } do assert.is_nil(msg.headers["x-mr-" .. name]) end
      msg:nack()
      local seen = {}
      broker.quietly(function()
         local worker = consumer(seen)
         count(q .. ".dead", 3)
         worker:cancel()
      end)
      assert.same({ { "b", 1, "amq.topic", q .. ".key" }, { "b", 2, "amq.topic", q .. ".key" } }, seen)
   end)

   broker.unless_redis(it, "a queue is a name", "redrives a number of them, to a queue, and drops", function()
      fail { "a", "b", "c" }
      assert(ch:queue_declare { queue = q .. ".other", durable = true })
      ok(("%s redrive --limit 1 --to %s.other"):format(q, q))
      assert.equal("a", broker.take(ch, q .. ".other").body)
      ok(("%s drop --match message_id=m2"):format(q))
      assert.equal("c", cjson.decode((broker.shell(("AMQP_URL='%s' %s peek %s.dead --json 2>/dev/null"):format(broker.tcp_url,
         broker.command, q)))).body)
      assert.equal(1, cjson.decode(ok(("%s drop --all --json"):format(q))).dropped)
      local out, code = run(q .. " redrive --to nowhere")
      assert.same({ 0, true }, { code, out:find("sent 0 messages", 1, true) ~= nil })
   end)

   broker.unless_redis(it, "a queue is a name", "keeps what it cannot send back", function()
      fail { "a" }
      local out, code = run(q .. " redrive --to nowhere")
      assert.equal(1, code, out)
      assert.is_truthy(out:find("returned (312)", 1, true), out)
      count(q .. ".dead", 1)
   end)

   it("sends back what a broker has dead-lettered, without its headers", function()
      assert(ch:queue_declare { queue = q .. ".dead", durable = true })
      assert(ch:queue_declare { queue = q, durable = true, arguments = { ["x-dead-letter-exchange"] = "",
         ["x-dead-letter-routing-key"] = q .. ".dead" } })
      assert(ch:publish("", q, "a", { headers = { n = mr.int(1) } }))
      broker.take(ch, q, {}):reject()
      count(q .. ".dead", 1)
      local row = cjson.decode(ok(("%s --json"):format(q)))[1]
      assert.same({ q, "rejected", 1 }, { row.queue, row.reason, row.attempts })
      ok(q .. " redrive")
      assert.same({ n = 1 }, broker.take(ch, q).headers)
   end)

   broker.unless_redis(it, "visibility timeout", "loses none when redrive is killed at random points", function()
      local all = 4000 * math.max(KILLS / 20, 1)
      for _, suffix in ipairs { "", ".dead" } do assert(ch:queue_declare { queue = q .. suffix, durable = true }) end
      for i = 1, all do
         assert(ch:publish_async("", q .. ".dead", "body " .. i, { message_id = tostring(i), headers = { ["x-mr-queue"] = q,
            ["x-mr-attempt"] = mr.int(8), ["x-mr-reason"] = "test" } }))
      end
      assert(ch:wait_for_confirms(60))
      local killed = 0
      for round = 1, KILLS do
         local before, began = broker.count(ch, q .. ".dead"), broker.count(ch, q)
         local running = process.start(("%s dead %s redrive --rate 1000"):format(broker.command, q),
            ("AMQP_URL='%s'"):format(broker.tcp_url))
         if round % 4 > 0 then -- others are killed before their first publish, perhaps
            broker.eventually("its first message", function() return broker.count(ch, q) > began end)
         end
         mr.sleep(math.random() * 0.1)
         running:signal "KILL"
         running:wait()
         local after = broker.count(ch, q .. ".dead")
         if after > 0 and after < before then killed = killed + 1 end
      end
      broker.eventually("the end", function()
         ok(q .. " redrive")
         return broker.count(ch, q .. ".dead") == 0 and broker.count(ch, q) >= all
      end)
      local ledger, twice, kept = {}, 0, 0
      while true do
         local msg = ch:get(q, { no_ack = true })
         if not msg then break end
         local id = tonumber(msg.message_id)
         if ledger[id] then twice = twice + 1 else ledger[id], kept = true, kept + 1 end
         assert.equal("body " .. id, msg.body)
         assert.equal(0, msg.headers["x-mr-attempt"])
      end
      if os.getenv "MR_REDRIVE_KILLS" then
         print(("redrive: %d messages, %d of %d kills in the middle, %d twice"):format(all, killed, KILLS, twice))
      end
      assert.equal(all, kept)
      assert.is_true(killed >= KILLS / 4, "the kills came too early or too late")
      assert.is_true(twice <= 256 * KILLS)
   end)
end)
