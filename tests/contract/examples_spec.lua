--- Every example of examples/, run by the command: alone on memory:// or on RabbitMQ, and its sides apart.
local mr = require "moonrabbit"
local broker = require "broker"
local peer = require "peer"
local process = require "process"

-- Plain lines that a whole run must print, in this order; `any` of them may be anywhere, beside the others.
-- `queues` and `exchanges` are what it makes and does not take away.
local EXAMPLES = {
   ["hello.lua"] = { any = { "received:  hello number 1", "received:  hello number 2", "received:  hello number 3",
      "confirmed: hello number 1", "confirmed: hello number 2", "confirmed: hello number 3" }, queues = { "hello" } },
   ["tutorials/1_hello.lua"] = { any = { "sent Hello World!", "received Hello World!" }, queues = { "tutorial.hello" } },
   ["tutorials/2_work_queue.lua"] = {
      "try 1: resize photo-1 ..", "done:  resize photo-1 ..", "try 1: resize photo-2 .", "done:  resize photo-2 .",
      "try 1: resize no-such-photo", "try 2: resize no-such-photo", "try 3: resize no-such-photo",
      "dead:  resize no-such-photo (the retry policy stopped after 3 attempts; handler_failed: there is no such photo)",
      any = { "sent 3 jobs" }, queues = { "tutorial.jobs" }, delays = { 100, 200 },
   },
   ["tutorials/3_publish_subscribe.lua"] = { any = { "anna reads: rain tomorrow", "ben reads: rain tomorrow", "published" },
      exchanges = { "tutorial.news" } },
   ["tutorials/4_routing.lua"] = {
      "debug: nobody reads this (returned)", "file: warn: disk at 90 %", "file: error: disk full",
      any = { "pager: error: disk full" }, exchanges = { "tutorial.logs" }, never = { "pager: warn" },
   },
   ["tutorials/5_topics.lua"] = {
      "orders: order.paid.late", "orders: order.created", any = { "whatever is new: order.created", "whatever is new: user.created" },
      exchanges = { "tutorial.events" }, never = { "user.deleted", "new: order.paid", "orders: user" },
   },
   ["tutorials/6_rpc.lua"] = { "fibonacci(30) = 832040", "fibonacci(-1) = ", "a number from 0 to 32, please",
      queues = { "tutorial.fibonacci" } },
   ["retry_policy.lua"] = {
      "payment in the rush hour, try 1: bank is busy", "payment in the rush hour, try 2: bank is busy",
      "payment in the rush hour, try 3: done", "dead letters: 1",
      any = { "payment at noon, try 1: done", "payment with a stolen card, try 1: card refused", "payment of -1, try 1: what?",
         "payment of -1, try 2: what?" },
      queues = { "example.payments" }, delays = { 100, 200, 400 }, never = { "card, try 2", "-1, try 3" },
   },
   ["middleware.lua"] = {
      "[trace of order-1] 2 x lamp", "timing: 0.", "[trace of order-1] order-1 was here before: left out", "timing: 0.", "timing: 0.",
      "dead: five chairs: the body does not decode", queues = { "example.orders" },
   },
   ["health.lua"] = {
      "unhealthy -> healthy", "   connected: healthy", "   consuming: healthy", "   database: healthy",
      "healthy -> unhealthy: database: it does not answer", "   database: unhealthy",
      "unhealthy -> healthy", "   database: healthy", queues = { "example.health" },
   },
   ["tasks.lua"] = { "the rows of select 1", "the rows of table 1", "the rows of table 2", "the rows of table 5", "all done" },
   ["cluster/near_first.lua"] = { any = { "near: job 1", "near: job 2", "far: job 3" }, queues = { "example.near_first" } },
   ["cluster/standby.lua"] = { "machine a: entry 1", "machine a: entry 2", "machine a: entry 3", "machine b: entry 4",
      "machine b: entry 5", "machine b: entry 6", queues = { "example.standby" } },
   ["cluster/order_by_key.lua"] = { "anna: order 1 order 2 order 3", "ben: order 1 order 2 order 3",
      "emil: order 1 order 2 order 3", queues = { "example.customers.1", "example.customers.2", "example.customers.3",
         "example.customers.4" }, exchanges = { "example.customers" }, needs_rabbitmq = true },
   ["graceful_stop.lua"] = {
      "job 1 begins", "job 2 begins", "stopping", "job 1 is done", "job 2 is done", "3 jobs are in the queue for the next one",
      queues = { "example.stop" }, never = { "job 3 begins" },
   },
}
-- These do not end by themselves: they have tests of their own, here or, for resilience/, in tests/fault.
local BY_HAND = { ["hello_consumer.lua"] = true, ["hello_publisher.lua"] = true, ["robust_consumer.lua"] = true }
local ELSEWHERE = { "^resilience/", "^hosts/", "^packages/" } -- tests/fault, tests/host and the step debs run these

-- A part of what an example prints is there, behind `from`; where it ends.
local function find(out, part, from)
   local _, last = out:find(part, from, true)
   assert.truthy(last, ("%q is missing%s in:\n%s"):format(part, from > 1 and " behind what should be before it" or "", out))
   return last + 1
end

local function check(out, expected)
   local from = 1
   for _, part in ipairs(expected) do from = find(out, part, from) end
   for _, part in ipairs(expected.any or {}) do find(out, part, 1) end
   for _, part in ipairs(expected.never or {}) do assert.falsy(out:find(part, 1, true), ("%q is in:\n%s"):format(part, out)) end
end

-- Takes away what an example has left at the broker of the suite.
local function clean(expected)
   local ch = broker.channel()
   for _, q in ipairs(expected.queues or {}) do
      ch:queue_delete { queue = q }
      ch:queue_delete { queue = q .. ".dead" }
      for _, ms in ipairs(expected.delays or {}) do ch:queue_delete { queue = ("%s.retry.%d"):format(q, ms) } end
   end
   for _, x in ipairs(expected.exchanges or {}) do ch:exchange_delete { exchange = x } end
   broker.close_all()
end

describe("each example", function()
   teardown(broker.none_left)

   local names = {}
   for name in pairs(EXAMPLES) do names[#names + 1] = name end
   table.sort(names)
   for _, name in ipairs(names) do
      local expected = EXAMPLES[name]
      local run = expected.needs_rabbitmq and not broker.is_rabbitmq and pending or it
      run(name .. " runs by itself and shows what it is about", function()
         finally(function() if broker.is_rabbitmq then clean(expected) end end)
         local where = broker.is_rabbitmq and ("AMQP_URL='%s'"):format(broker.tcp_url) or "env -u AMQP_URL"
         local out, code = broker.shell(("%s %s run --log-level error examples/%s"):format(where, broker.command, name), 20)
         check(out, expected)
         assert.equal(0, code, out)
      end)
   end

   it("has a test, and is in the index", function()
      local index = assert(io.open "examples/README.md"):read "*a"
      local list = assert(io.popen "cd examples && find . -name '*.lua'")
      local count = 0
      for path in list:lines() do
         local name = path:sub(3)
         count = count + 1
         if not (name:find(ELSEWHERE[1]) or name:find(ELSEWHERE[2]) or name:find(ELSEWHERE[3])) then
            assert.truthy(EXAMPLES[name] or BY_HAND[name], "examples/" .. name .. " has no test here")
            assert.truthy(index:find("](" .. name .. ")", 1, true), "examples/README.md does not tell of " .. name)
         end
      end
      list:close()
      assert.is_true(count > 15, tostring(count))
      for target in index:gmatch "%]%(([^)]*)%)" do
         if not target:find "^https://" then assert(io.open("examples/" .. target), "examples/README.md links " .. target):close() end
      end
   end)
end)

describe("the sides of a tutorial, as programs of their own:", function()
   after_each(process.end_all)
   teardown(broker.none_left)

   -- A side that stays, at the broker of the suite, once it is at work.
   local function start(name, arguments, sign)
      local p = process.start(("%s run examples/%s %s"):format(broker.command, name, arguments or ""),
         ("AMQP_URL='%s'"):format(broker.tcp_url))
      p:says(sign or "msg=consuming")
      return p
   end
   -- A side that ends by itself. Returns what it printed.
   local function run(name, arguments)
      local out, code = broker.shell(("AMQP_URL='%s' %s run --log-level error examples/%s %s"):format(broker.tcp_url,
         broker.command, name, arguments or ""), 20)
      assert.equal(0, code, out)
      return out
   end
   local function stop(...)
      for _, p in ipairs { ... } do
         local out, code = p:stop()
         assert.equal(0, code, out)
      end
   end

   it("hello_consumer.lua, hello_publisher.lua", function()
      finally(function() clean { queues = { "hello" } } end)
      local consumer = start("hello_consumer.lua")
      local out = run("hello_publisher.lua", "2")
      check(out, { "confirmed: hello number 1", "confirmed: hello number 2" })
      consumer:says "received: hello number 1"
      consumer:says "received: hello number 2"
      stop(consumer)
   end)

   it("1_hello.lua receive, send", function()
      finally(function() clean(EXAMPLES["tutorials/1_hello.lua"]) end)
      local receiver = start("tutorials/1_hello.lua", "receive")
      check(run("tutorials/1_hello.lua", "send 'Good morning!'"), { "sent Good morning!" })
      receiver:says "received Good morning!"
      stop(receiver)
   end)

   it("2_work_queue.lua worker, worker, publish, dead", function()
      finally(function() clean(EXAMPLES["tutorials/2_work_queue.lua"]) end)
      local first = start("tutorials/2_work_queue.lua", "worker")
      local second = start("tutorials/2_work_queue.lua", "worker")
      check(run("tutorials/2_work_queue.lua", "publish 'a ...' 'b ...' 'no-such c'"), { "sent 3 jobs" })
      local undertaker = start("tutorials/2_work_queue.lua", "dead")
      undertaker:says "dead:  no-such c"
      broker.eventually("both jobs", function()
         return (first:output() .. second:output()):find("done:  a ...", 1, true)
            and (first:output() .. second:output()):find("done:  b ...", 1, true)
      end)
      for _, worker in ipairs { first, second } do assert.truthy(worker:output():find("done: ", 1, true), worker:output()) end
      stop(first, second, undertaker)
   end)

   it("3_publish_subscribe.lua subscribe, subscribe, publish", function()
      finally(function() clean(EXAMPLES["tutorials/3_publish_subscribe.lua"]) end)
      local anna = start("tutorials/3_publish_subscribe.lua", "subscribe anna")
      local ben = start("tutorials/3_publish_subscribe.lua", "subscribe ben")
      run("tutorials/3_publish_subscribe.lua", "publish 'sun at last'")
      anna:says "anna reads: sun at last"
      ben:says "ben reads: sun at last"
      stop(anna, ben)
   end)

   it("4_routing.lua read, write", function()
      finally(function() clean(EXAMPLES["tutorials/4_routing.lua"]) end)
      local reader = start("tutorials/4_routing.lua", "read error info")
      check(run("tutorials/4_routing.lua", "write warn 'for nobody'"), { "warn: nobody reads this (returned)" })
      run("tutorials/4_routing.lua", "write info 'all is well'")
      reader:says "reader: info: all is well"
      stop(reader)
   end)

   it("5_topics.lua read, write", function()
      finally(function() clean(EXAMPLES["tutorials/5_topics.lua"]) end)
      local reader = start("tutorials/5_topics.lua", "read '*.error' 'kern.#'")
      for _, key in ipairs { "cron.info", "cron.error", "kern.disk.full" } do run("tutorials/5_topics.lua", "write " .. key) end
      reader:says "reader: kern.disk.full"
      check(reader:output(), { "reader: cron.error", never = { "cron.info" } })
      stop(reader)
   end)

   it("6_rpc.lua server, call", function()
      finally(function() clean(EXAMPLES["tutorials/6_rpc.lua"]) end)
      check(run("tutorials/6_rpc.lua", "call 7"), { "fibonacci(7) = returned (312): " }) -- no server, no queue
      local server = start("tutorials/6_rpc.lua", "server", "waiting for questions")
      check(run("tutorials/6_rpc.lua", "call 10"), { "fibonacci(10) = 55" })
      check(run("tutorials/6_rpc.lua", "call 99"), { "fibonacci(99) = ", "a number from 0 to 32, please" })
      stop(server)
   end)
end)

it("README.md's consumer does what it says", function()
   local ch = broker.channel()
   finally(function()
      process.end_all()
      clean { queues = { "invoices", "paid" } }
   end)
   local path = broker.script(assert(io.open "README.md"):read("*a"):match "```lua\n(.-)```")
   local p = process.run("", path)
   p:says "msg=consuming"
   assert(ch:confirm_select())
   assert(ch:publish("", "invoices", '{"id":7}', { content_type = "application/json" }))
   broker.eventually("the queue", function()
      ch = ch.is_open and ch or broker.channel()
      return ch:queue_declare { queue = "paid", passive = true }
   end)
   assert.equal('{"id":7}', broker.take(ch, "paid").body)
   assert.equal(0, select(2, p:stop()))
end)

broker.it_rabbitmq(it, "the permissions that docs/guide.md gives are enough for its consumer and its publisher", function()
   local guide = assert(io.open "docs/guide.md"):read "*a"
   local user, permissions = broker.name "billing", guide:match "rabbitmqctl set_permissions billing ([^\n]*)"
   finally(function()
      process.end_all()
      clean { queues = { "invoices" }, delays = { 200, 400 } }
      broker.ctl("delete_user " .. user)
   end)
   broker.ctl(("add_user %s secret"):format(user))
   broker.ctl(("set_permissions %s %s"):format(user, permissions))
   local where = ("AMQP_URL=amqp://%s:secret@127.0.0.1:%d/"):format(user, broker.port)
   local function script(name)
      return broker.script(guide:match("<!%-%- file: " .. name .. "%.lua %-%->\n```lua\n(.-)```"))
   end
   local p = process.start(("%s run %s"):format(broker.command, script "invoices"), where)
   p:says "msg=consuming"
   local out, code = broker.shell(("%s %s run --log-level error %s"):format(where, broker.command, script "send"))
   assert.equal(0, code, out)
   check(out, { "A1\tconfirmed", "A2\tconfirmed", "A3\tconfirmed" })
   p:says "booked A1"
   p:says 'msg="handler failed for the last time"'
   local ch = broker.channel()
   broker.eventually("the dead letters", function() return broker.count(ch, "invoices.dead") == 2 end)
   assert.equal(0, select(2, p:stop()))
end)

describe("robust_consumer.lua, the reference guide's (O1): it", function()
   local ch, p

   before_each(function()
      mr.log.configure "off"
      ch = broker.channel()
      assert(ch:queue_declare { queue = "task_queue", durable = true }) -- as the guide has it, or this is refused (O3)
      assert(ch:confirm_select())
   end)
   after_each(function()
      process.end_all()
      ch:queue_delete { queue = "task_queue" }
      ch:queue_delete { queue = "task_queue.dead" }
      broker.close_all()
      mr.log.configure "warn"
   end)
   teardown(broker.none_left)

   local function start(url)
      p = process.start(("%s run --set pause=0.2 --set every=0.1 examples/robust_consumer.lua"):format(broker.command),
         ("AMQP_URL='%s'"):format(url or broker.tcp_url))
   end
   local function begin()
      start()
      p:says "msg=consuming"
   end
   local function put(task) assert(ch:publish("", "task_queue", task)) end
   local function left(n)
      broker.eventually(n .. " tasks", function() return broker.count(ch, "task_queue") == n end)
   end

   it("has fewer than 30 lines", function()
      local count = 0
      for _ in io.lines "examples/robust_consumer.lua" do count = count + 1 end
      assert.is_true(count < 30, tostring(count))
   end)

   it("works off a durable queue, one task at a time, and acks when it is done (O3, O4, O5, O10)", function()
      begin()
      put "sleep 0.3"
      put "second"
      p:says "processing sleep 0.3"
      left(1)                                       -- the second has not been sent ahead: prefetch 1
      assert.falsy(p:output():find("processing second", 1, true))
      p:says "done second"
      left(0)
      assert.equal(0, select(2, p:stop()))
      left(0)                                       -- nor has anything come back
   end)

   it("gives a task back that failed, and gets it again (O6)", function()
      begin()
      put "fail once"
      p:says("processing fail once", 2)
      p:says "done fail once"
      assert.truthy(p:output():find('msg="handler failed; the message goes back"', 1, true))
      left(0)
      assert.equal(0, select(2, p:stop()))
   end)

   it("has one connection for everything, with the heartbeat negotiated down from 600 s (M4, M5)", function()
      begin()
      for i = 1, 3 do
         put(tostring(i))
         p:says("done " .. i)
      end
      if broker.is_open_to_us then
         local count = 0
         for _, c in ipairs(broker.connections()) do
            local properties = c.client_properties
            local text = type(properties) == "table" and properties.connection_name or properties
            if text:find("robust_consumer", 1, true) then
               count = count + 1
               assert.equal(60, c.timeout)          -- the broker's, which is the shorter
            end
         end
         assert.equal(1, count)
      end
      assert.equal(0, select(2, p:stop()))
   end)

   broker.it_inside(it, "comes back after a loss, with channel, queue and consumer, and says so (M3, M6, M7, M8, O7, O11)", function()
      begin()
      put "before"
      p:says "done before"
      p:says "connected: true"                      -- the check that comes round
      broker.close_connections "maintenance"
      p:says "msg=recovered"
      broker.eventually("a publish", function() return ch:publish("", "task_queue", "after") end, 30)
      p:says "done after"
      local out, code = p:stop()
      assert.equal(0, code, out)
      for _, line in ipairs { "msg=connecting", "msg=connected", "msg=lost", "processing after", "msg=stopped code=0" } do
         assert.truthy(out:find(line, 1, true), line .. " is missing in " .. out)
      end
   end)

   it("waits for a broker that is not there yet, on whatever port (M1, M2, O2)", function()
      local port = peer.closed_port()
      start("amqp://guest:guest@127.0.0.1:" .. port)
      p:says("kind=connection_refused", 3)
      p:says "attempt=2 delay=0.2"                  -- the attempt, the pause, the error
      local late = assert(mr.testing.broker { listen = "127.0.0.1:" .. port })
      finally(function() late:close() end)
      p:says "msg=consuming"
      assert.equal(0, select(2, p:stop()))
   end)

   it("ends on SIGINT and on SIGTERM: the task at work is finished, the next is left, exit code 0 (M9, O8, O9)", function()
      for _, signal in ipairs { "INT", "TERM" } do
         begin()
         put "sleep 0.3"
         put "next"
         p:says "processing sleep 0.3"
         p:signal(signal)
         local out, code = p:wait()
         assert.equal(0, code, out)
         assert.truthy(out:find("done sleep 0.3", 1, true), out)
         assert.falsy(out:find("processing next", 1, true), out)
         left(1)
         assert(ch:queue_purge { queue = "task_queue" })
      end
   end)
end)
