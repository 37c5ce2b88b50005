--- health: checks, the pages, and who asks for them in bad ways.
-- Covers: lua/moonrabbit/base/show.lua by fields
-- Covers: lua/moonrabbit/health/checks.lua by forget
-- Covers: lua/moonrabbit/health/lag.lua by lag
local C = require("moonrabbit.base.ffi").C
local cjson = require "cjson"
local descriptors = require "descriptors"
local generation = require "moonrabbit.loop.generation"
local embedded = require "embedded"
local http = require "http"
local loop = require "moonrabbit.loop.loop"
local mr = require "moonrabbit"
local prometheus = require "prometheus"
local show = require "moonrabbit.base.show"
local task = require "moonrabbit.loop.task"
local eventually = require("waits").eventually
local same = require("luassert.util").deepcompare

-- A broker, a consumer of its queue "jobs", and the port of the pages.
local function setup(handler, options)
   local b = embedded.broker()
   local conn = embedded.connect { url = b.url, retry = options and options.retry }
   local ch = assert(conn:channel())
   local queue = options and options.queue or "jobs"
   assert(ch:queue_declare { queue = queue })
   assert(ch:consume(queue, handler or function() end))
   return { broker = b, conn = conn, ch = ch, port = assert(mr.health.listen "127.0.0.1:0") }
end

local function page(port, path)
   local status, body = http.ask(port, path)
   return status, cjson.decode(body)
end

-- The samples of a metric, by a label or alone.
local function metric(port, name, label, value)
   local status, body, headers = http.ask(port, "/metrics")
   assert(status == 200 and headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8")
   for _, s in ipairs(prometheus(body)) do
      if s.name == name and (not label or s.labels[label] == value) then return s.value, s end
   end
end

local function becomes(what, port, path, wanted)
   return eventually(what, function()
      local status, body = page(port, path)
      return status == wanted and body
   end)
end

-- Each test has a runtime of its own, and leaves nothing open.
local before

local function has_poll()
   for _, target in pairs(descriptors.open()) do
      if target == "anon_inode:[eventpoll]" then return true end
   end
end

-- What a process opens once, for all its runtimes and brokers (bridge/ending), is open from here on.
local function open_what_stays()
   mr.sleep(0)
   assert(mr.testing.broker()):close()
   loop.close(1)
   local deadline = os.time() + 5
   while has_poll() and os.time() < deadline do end -- as below
end

local function begin()
   loop.close(1)
   if not before then open_what_stays() end
   before = descriptors.open()
   mr.log.configure "off"
end

local function clean()
   embedded.close_all()
   loop.close(1)
   local deadline, now = os.time() + 5, descriptors.open()
   while not same(before, now) and os.time() < deadline do now = descriptors.open() end -- a broker's thread ends a moment later
   assert.same(before, now)
   mr.log.configure "error"
end

describe("the health page", function()
   before_each(begin)
   after_each(clean)

   it('F3: is 200 {"status":"healthy"} when all is well', function()
      local s = setup()
      local status, body, headers = http.ask(s.port, "/health")
      assert.same({ 200, '{"status":"healthy"}', "application/json" }, { status, body, headers["content-type"] })
      assert.same({ 200, { status = "ready" } }, { page(s.port, "/ready") })
      assert.same({ 200, { status = "alive" } }, { page(s.port, "/live") })
      local _, all = page(s.port, "/health?verbose")
      assert.same({ "connected", "1 of 1 open" }, { all.broker, all.checks.connected.detail })
   end)

   it('F4: is 503 {"status":"unhealthy"} with the reasons while the connection is away, and recovers', function()
      local s = setup()
      s.broker:refuse_logins()
      s.broker:drop()
      local body = becomes("the loss", s.port, "/health", 503)
      assert.equal("unhealthy", body.status)
      assert.equal("disconnected", body.broker)
      assert.truthy(body.error:find "^connected: ")
      assert.equal(body.error, body.reasons[1])
      assert.equal('consuming: 0 of 1 consuming; queue "jobs": its connection is away', body.reasons[2])
      local status, ready = page(s.port, "/ready")
      assert.same({ 503, "not ready", 2 }, { status, ready.status, #ready.reasons })
      assert.equal(200, (page(s.port, "/live")))
      s.broker:refuse_logins(false)
      becomes("recovery", s.port, "/health", 200)
      assert.equal(2, metric(s.port, "moonrabbit_connects_total"))
      assert.equal(1, metric(s.port, "moonrabbit_connection_losses_total"))
   end)

   it("is not ready before there is a connection, nor when the program stops", function()
      local port = assert(mr.health.listen "0")
      local _, body = page(port, "/ready")
      assert.same({ "connected: no connection is open yet" }, body.reasons)
      local s = embedded.connect { url = embedded.broker().url }
      assert(s:connect())
      assert.equal(200, (page(port, "/ready")))
      assert.equal(0, C.mr_health_stopping(loop.runtime()))
      _, body = page(port, "/ready")
      assert.same({ status = "stopping", reasons = { "the program is stopping" } }, body)
      assert.equal(200, (page(port, "/health")))
   end)

   it("tells of a broker that blocks, and of consumers that failed for good", function()
      local s = setup()
      s.broker:block()
      assert(s.ch:publish("", "jobs", "x"))
      local body = becomes("the block", s.port, "/health", 503)
      assert.truthy(body.error:find("the broker takes no publishes: .*low on memory"))
      assert.equal(1, metric(s.port, "moonrabbit_connections_blocked"))
      s.broker:block(false)
      becomes("the end of it", s.port, "/health", 200)
      local admin = assert(embedded.connect({ url = s.broker.url }):channel())
      assert(admin:queue_delete { queue = "jobs" })
      body = becomes("the loss of the queue", s.port, "/health", 503)
      assert.truthy(body.error:find 'consuming: 0 of 1 consuming; queue "jobs"')
   end)

   it("counts consumers that failed for good until their queue is consumed again", function()
      for _, loss in ipairs { "the queue", "the channel" } do
         local s = setup(nil, { retry = function() return "stop" end })
         local admin = assert(embedded.connect({ url = s.broker.url }):channel())
         assert(s.ch:queue_declare { queue = "other" })
         assert(s.ch:consume("other", function() end))
         if loss == "the queue" then assert(admin:queue_delete { queue = "jobs" })
         else s.ch:queue_declare { queue = "nowhere", passive = true } end
         local both = loss == "the channel"
         local body = eventually("it to be given up", function()
            local _, body = page(s.port, "/health")
            return body.error and body.error:find(both and "^consuming: 0 of 2" or "^consuming: 1 of 2") and body
         end)
         assert.truthy(body.error:find 'queue "%a+": ')
         mr.sleep(0.05)
         assert.equal(503, (page(s.port, "/health")))
         local ch = assert(s.conn:channel())
         assert(ch:queue_declare { queue = "jobs" })
         assert(ch:consume("jobs", function() end))
         if both then assert(ch:consume("other", function() end)) end
         becomes("consuming again", s.port, "/health", 200)
         s.conn:release()
         admin.connection:release()
         assert(mr.health.close())
      end
   end)

   it("lets built-in checks be switched off, and limits be set", function()
      local port = assert(mr.health.listen "0")
      assert.equal(503, (page(port, "/health")))
      mr.health.configure { connected = false }
      assert.equal(200, (page(port, "/health")))
      mr.health.configure { consuming = 1 }
      local _, body = page(port, "/health")
      assert.equal("consuming: 0 of 0 consuming; at least 1 should", body.error)
      mr.health.configure { consuming = false, last_message = 60 }
      assert.equal(200, (page(port, "/health")))
      mr.testing.advance(61)
      _, body = page(port, "/health")
      assert.equal("last_message: none yet", body.error)
      mr.health.configure { last_message = false, stalled = 3, blocked = false, dead_after = false }
      assert.equal(200, (page(port, "/health")))
   end)

   it("says what is wrong with options", function()
      local function fails(text, ...)
         local ok, why = pcall(...)
         assert.is_false(ok)
         assert.truthy(tostring(why):find(text, 1, true), tostring(why))
         assert.truthy(tostring(why):find("health_spec.lua", 1, true), tostring(why))
      end
      fails('did you mean "blocked"?', function() mr.health.configure { bloked = true } end)
      fails('"lag" needs a number', function() mr.health.configure { lag = true } end)
      fails('option "max" is missing', function() mr.health.configure { lag = {} } end)
      fails('"stalled" must not be negative', function() mr.health.configure { stalled = -1 } end)
      fails('"last_message" must be a number of seconds, or false', function() mr.health.configure { last_message = true } end)
      fails('option "connected" must be a boolean, not a number', function() mr.health.configure { connected = 1 } end)
      fails('did you mean "every"?', function() mr.health.check("x", print, { evry = 1 }) end)
      fails('"every" must be more than 0', function() mr.health.check("x", print, { every = 0 }) end)
      fails("a built-in check", function() mr.health.check("stalled", print) end)
      fails("1 to 128 bytes", function() mr.health.check("", print) end)
      fails("must be a function", function() mr.health.on_change(1) end)
   end)
end)

describe("a check of the program's", function()
   before_each(begin)
   after_each(clean)

   it("is called now and then, and its word counts", function()
      local word, calls, s = true, 0, setup()
      mr.health.check("database", function()
         calls = calls + 1
         return word, "primary"
      end, { every = 0.02 })
      assert.equal(0, calls) -- in a task of its own, soon
      eventually("three calls", function() return calls >= 3 end)
      assert.same({ "healthy", "primary" }, { mr.health.report().checks.database.status, mr.health.report().checks.database.detail })
      word = false
      local body = becomes("the failure", s.port, "/health", 503)
      assert.equal("database: primary", body.error)
      assert.equal(0, metric(s.port, "moonrabbit_check_healthy", "check", "database"))
      assert.equal(200, (page(s.port, "/ready")))
      mr.health.forget "database"
      becomes("the end of it", s.port, "/health", 200)
      local last = calls
      mr.sleep(0.05)
      assert.equal(last, calls)
   end)

   it("shows no passwords of URLs in what it says", function()
      local s = setup()
      mr.health.check("database", function() return false, "postgres://shop:hunter2@db/orders is away" end)
      becomes("the failure", s.port, "/health", 503)
      for _, path in ipairs { "/health", "/ready", "/status?recent&log" } do
         local _, body = http.ask(s.port, path)
         assert.is_nil(body:find "hunter2", path)
      end
      local report = mr.health.report()
      assert.equal("database: postgres://shop:***@db/orders is away", report.error)
      assert.equal("postgres://shop:***@db/orders is away", report.checks.database.detail)
   end)

   it("that throws, hangs, returns nonsense or a cycle fails with a clear text, and consumption goes on", function()
      local handled = 0
      local s = setup(function() handled = handled + 1 end)
      local cycle = {}
      cycle.self = { cycle }
      local every = { every = 0.02, timeout = 0.05 }
      mr.health.check("throws", function() error("kaput", 0) end, every)
      mr.health.check("throws a table", function() error { code = 7 } end, every)
      mr.health.check("throws a cycle", function() error(cycle) end, every)
      mr.health.check("hangs", function() mr.sleep(1e6) end, every)
      mr.health.check("cycle", function() return true, cycle end, every)
      mr.health.check("nonsense", function() return 42 end, every)
      mr.health.check("nothing", function() end, every)
      mr.health.check("no words", function() return false end, every)
      mr.health.check("odd", function() return false, setmetatable({}, { __tostring = function() error "x" end }) end, every)
      local report = eventually("all to fail", function()
         local r = mr.health.report()
         for _, name in ipairs { "throws", "hangs", "cycle", "nonsense", "nothing", "odd", "throws a cycle" } do
            if r.checks[name].status ~= "unhealthy" then return false end
         end
         return r
      end)
      local function detail(name) return report.checks[name].detail end
      assert.equal("it raised an error: kaput", detail "throws")
      assert.equal("it raised an error: {code=7}", detail "throws a table")
      assert.truthy(detail("throws a cycle"):find "^it raised an error")
      assert.truthy(detail("hangs"):find "^it did not answer within 0.05 s" or detail("hangs"):find "^it has not answered")
      assert.equal("its detail cannot be shown: it is a table that contains itself", detail "cycle")
      assert.equal("it returned a number where true or false was expected", detail "nonsense")
      assert.equal("it returned nothing; true would mean that all is well", detail "nothing")
      assert.is_nil(detail "no words")
      assert.equal("its detail cannot be shown: its __tostring fails", detail "odd")
      for _ = 1, 100 do assert(s.ch:publish("", "jobs", "x")) end
      eventually("the messages", function() return handled == 100 end)
   end)

   it("that hangs is not called again beside itself, and counts again when it comes back", function()
      local calls, go_on = 0, false
      mr.health.check("slow", function()
         calls = calls + 1
         while not go_on do mr.sleep(0.005) end
         return true
      end, { every = 0.01, timeout = 0.02 })
      eventually("many rounds", function()
         local check = mr.health.report().checks.slow
         return check.detail and check.detail:find "has not answered"
      end)
      assert.equal(1, calls)
      go_on = true
      eventually("its answer", function() return mr.health.report().checks.slow.status == "healthy" end)
   end)

   it("does not keep the program going", function()
      mr.health.check("idle", function() return true end, { every = 0.01 })
      mr.health.on_change(function() end)
      assert(mr.health.report())
      assert.is_true(loop.is_idle())
   end)

   it("belongs to its edition of the script: one that is not to be takes nothing with it", function()
      local word = "old"
      local function staged(new_word)
         task.spawn(function()
            generation.stage()
            mr.health.check("database", function() return true, new_word end)
            mr.health.on_change(function() end)
            generation.chunk_ended()
         end)
      end
      local function detail() return mr.health.report().checks.database and mr.health.report().checks.database.detail end
      mr.health.check("database", function() return true, word end, { every = 0.01 })
      eventually("the first", function() return detail() == "old" end)
      staged "dropped"
      generation.drop()
      word = "still there"
      eventually("it to go on", function() return detail() == "still there" end)
      staged "new"
      generation.commit(function() end)
      eventually("the new one", function() return detail() == "new" end)
      mr.sleep(0.05)
      assert.equal("new", detail())
      staged "last"
      generation.commit(function() end)
   end)

   it("may be one of 64", function()
      for i = 1, 64 do mr.health.check("c" .. i, function() return true end) end
      assert.has_error(function() mr.health.check("c65", print) end, "there are 64 checks already")
      mr.health.check("c1", function() return false end)
   end)

   it("may return what can be shown in a few words", function()
      assert.equal("{1, 2, a=x, b={c=true}}", show { 1, 2, a = "x", b = { c = true } })
      assert.equal("{{{{{...}}}}}", show { { { { { 1 } } } } })
      local wide = {}
      for i = 1, 100 do wide[i] = i end
      assert.equal("a table of 100 fields", show(wide))
      local shared = {}
      assert.equal("{{}, {}}", show { shared, shared })
   end)
end)

describe("on_change", function()
   before_each(begin)
   after_each(clean)

   it("is called at transitions only, with the old status, the new one and the report", function()
      local seen, word = {}, true
      setup()
      mr.health.check("c", function() return word, "why" end, { every = 0.01 })
      eventually("its first answer", function() return mr.health.report().checks.c.status == "healthy" end)
      mr.health.on_change(function(...) seen[#seen + 1] = { ... } end)
      mr.sleep(0.05)
      assert.equal(0, #seen)
      word = false
      eventually("the change", function() return #seen == 1 end)
      mr.sleep(0.05)
      assert.same({ 1, "healthy", "unhealthy", "c: why" }, { #seen, seen[1][1], seen[1][2], seen[1][3].error })
      word = true
      eventually("the other one", function() return #seen == 2 end)
      assert.same({ "unhealthy", "healthy", "healthy" }, { seen[2][1], seen[2][2], seen[2][3].status })
   end)
end)

describe("a script that is stuck", function()
   before_each(begin)
   after_each(clean)

   local CLIENT = [[
import json, sys, time, urllib.request, urllib.error
def ask(path):
    try:
        with urllib.request.urlopen("http://127.0.0.1:%s%s" % (sys.argv[1], path), timeout=5) as r:
            return r.status, r.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()
end = time.time() + 10
while time.time() < end:
    status, body = ask("/health")
    if status == 503 and "stalled" in body: break
print(json.dumps({"health": [status, json.loads(body)], "live": ask("/live")[0], "ready": ask("/ready")[0],
                  "metrics": ask("/metrics")[1]}))
open(sys.argv[2], "w").close()
]]

   it("is told as stalled, for how long and where, while it spins", function()
      local script, flag = os.tmpname(), os.tmpname()
      local file = assert(io.open(script, "w"))
      file:write(CLIENT)
      file:close()
      os.remove(flag)
      local port, answer
      local s = setup(function()
         local pipe = assert(io.popen(("exec python3 %s %d %s"):format(script, port, flag)))
         local deadline = os.time() + 15
         local here = io.open(flag)
         while not here and os.time() < deadline do here = io.open(flag) end -- it spins
         if here then here:close() end
         answer = pipe:read "*a"
         pipe:close()
      end)
      port = s.port
      mr.health.configure { stalled = 0.2 }
      assert(s.ch:publish("", "jobs", "x"))
      eventually("the handler's end", function() return answer end, 20)
      local seen = cjson.decode(answer)
      local status, body = unpack(seen.health)
      assert.equal(503, status)
      assert.truthy(body.error:find 'stalled: the script has not yielded for %d+%.%d s: the handler of queue "jobs", .*health_spec.lua:%d+')
      assert.is_true(body.checks.stalled.seconds > 0.2)
      assert.same({ 200, 200 }, { seen.live, seen.ready })
      local busy
      for _, sample in ipairs(prometheus(seen.metrics)) do
         if sample.name == "moonrabbit_script_busy_seconds" then busy = sample.value end
      end
      assert.is_true(busy > 0.2)
      becomes("the end of the stall", port, "/health", 200)
      os.remove(script)
      os.remove(flag)
   end)
end)

describe("the metrics", function()
   before_each(begin)
   after_each(clean)

   it("time every handler, quick or slow, in a batch or alone", function()
      local handled = 0
      local s = setup(function(msg)
         handled = handled + 1
         if msg.body == "wait" then mr.sleep(0.03) end
         if msg.body == "fail" then
            msg:ack()
            error "as told"
         end
         if msg.body == "spin" then
            local deadline = mr.now() + 0.02
            repeat until mr.now() > deadline
         end
      end)
      assert(s.ch:confirm_select())
      for i = 1, 2000 do assert(s.ch:publish_async("", "jobs", i == 1500 and "spin" or "x")) end
      assert(s.ch:wait_for_confirms(10))
      eventually("all", function() return handled == 2000 end)
      assert(s.ch:publish("", "jobs", "wait"))
      assert(s.ch:publish("", "jobs", "fail"))
      eventually("the rest", function() return metric(s.port, "moonrabbit_handler_seconds_count", "queue", "jobs") == 2002 end)
      local sum = metric(s.port, "moonrabbit_handler_seconds_sum", "queue", "jobs")
      assert.is_true(sum >= 0.05 and sum < 5, tostring(sum))
      assert.equal(1, metric(s.port, "moonrabbit_handler_failures_total", "queue", "jobs"))
      local _, body = http.ask(s.port, "/metrics")
      local below = {}
      for _, sample in ipairs(prometheus(body)) do
         if sample.name == "moonrabbit_handler_seconds_bucket" then below[sample.labels.le] = sample.value end
      end
      assert.equal(2002, below["+Inf"])
      assert.is_true(below["0.01"] <= 2000 and below["0.01"] >= 1900, below["0.01"])
      assert.equal(2002, metric(s.port, "moonrabbit_publish_confirm_seconds_count"))
      assert.is_true(metric(s.port, "moonrabbit_publish_confirm_seconds_sum") > 0)
      assert.equal(2002, metric(s.port, "moonrabbit_deliveries_total"))
      local at = metric(s.port, "moonrabbit_last_delivery_timestamp_seconds")
      assert.is_true(math.abs(at - os.time()) < 10)
   end)

   it("count what mr.consumer's handlers fail by, errors and nil, err alike", function()
      local s = setup(nil, { queue = "other" })
      local seen = 0
      local worker = assert(mr.consumer { queue = "work", connection = s.conn, retry = mr.retry.never, dead_letter = false,
         handler = function(msg)
            seen = seen + 1
            if msg.body == "nil" then return nil, "as told" end
            if msg.body == "error" then error "as told" end
            if msg.body == "reject" then return "reject" end
         end })
      eventually("the consumer", function() return metric(s.port, "moonrabbit_consumers", "queue", "work") == 1 end)
      for _, body in ipairs { "fine", "nil", "error", "reject" } do assert(s.ch:publish("", "work", body)) end
      eventually("all", function() return metric(s.port, "moonrabbit_handler_seconds_count", "queue", "work") == 4 end)
      assert.same({ 4, 2 }, { seen, (metric(s.port, "moonrabbit_handler_failures_total", "queue", "work")) })
      assert(worker:cancel())
   end)

   it("are Prometheus' text, whatever the queue is called, and have few labels", function()
      local s = setup(nil, { queue = 'we"ird\\q' })
      assert.equal(1, metric(s.port, "moonrabbit_consumers", "queue", 'we"ird\\q'))
      for i = 1, 100 do
         assert(s.ch:queue_declare { queue = "q" .. i, auto_delete = true })
         assert(s.ch:consume("q" .. i, function() end))
         if i % 10 == 0 then assert(s.ch:consume(assert(s.ch:queue_declare { exclusive = true }).queue, function() end)) end
      end
      local queues, total, count = {}, 0, 0
      local _, body = http.ask(s.port, "/metrics")
      for _, sample in ipairs(prometheus(body)) do
         local queue = sample.labels.queue
         if queue and not queues[queue] then
            queues[queue] = true
            count = count + 1
         end
         if sample.name == "moonrabbit_consumers" then total = total + sample.value end
      end
      assert.equal(111, total)
      assert.is_true(count <= 66, count)
      assert.is_true(queues["(other)"] and queues["(server-named)"])
   end)

   it("and a check tell how many messages wait, if asked to", function()
      local s = setup()
      local ch = assert(s.conn:channel())
      assert(ch:queue_declare { queue = "slow" })
      for i = 1, 12 do assert(ch:publish("", "slow", tostring(i))) end
      assert(ch:qos { prefetch_count = 2 })
      local release = false
      assert(ch:consume("slow", function() while not release do mr.sleep(0.005) end end))
      mr.health.configure { lag = { max = 5, every = 0.02 } }
      local body = becomes("the lag", s.port, "/health", 503)
      assert.equal("lag: slow: 10 messages wait, the limit is 5", body.error)
      assert.equal(10, metric(s.port, "moonrabbit_queue_messages", "queue", "slow"))
      assert.equal(0, metric(s.port, "moonrabbit_queue_messages", "queue", "jobs"))
      release = true
      becomes("the end of it", s.port, "/health", 200)
      assert(mr.rpc.serve { queue = "calls", connection = s.conn, handler = function() return "there" end })
      assert.equal("there", mr.rpc.call("calls", "x", { connection = s.conn })) -- its answers' queue is none to ask for
      assert.truthy(require("moonrabbit.health.lag").check(5)())
      assert.is_nil(metric(s.port, "moonrabbit_queue_messages", "queue", "amq.rabbitmq.reply-to"))
      mr.health.configure { lag = false }
      assert.is_nil(mr.health.report().checks.lag)
   end)
end)

describe("the pages' port", function()
   before_each(begin)
   after_each(clean)

   it("answers GET and HEAD, and says what it does not", function()
      local s = setup()
      local status, body, headers = http.ask(s.port, "/health", "HEAD")
      assert.same({ 200, "", "20" }, { status, body, headers["content-length"] })
      for _, method in ipairs { "POST", "PUT", "DELETE", "BREW" } do
         status, body, headers = http.ask(s.port, "/health", method)
         assert.same({ 405, '{"error":"only GET and HEAD are served"}', "GET, HEAD" }, { status, body, headers.allow })
      end
      status, body = page(s.port, "/nope")
      assert.same({ 404, "not found", "/health" }, { status, body.error, body.pages[1] })
      assert.equal(404, (http.ask(s.port, "/health/../../etc/passwd")))
      assert.truthy(http.raw(s.port, "GET /live HTTP/1.0\r\n\r\n"):find "200 OK")
      local answer = http.raw(s.port, "POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
      assert.truthy(answer:find "^HTTP/1.1 405")
   end)

   it("survives garbage, endless heads and bodies, and goes on", function()
      local handled = 0
      local s = setup(function() handled = handled + 1 end)
      for _, one in ipairs { { "\0\1\2\3\r\n\r\n", "hung up" }, { "GET\r\n\r\n", "hung up" },
         { "\r\n\r\n\r\n\r\nx\r\n\r\n", "hung up" }, { "GET /health HTTP/9.9\r\n\r\n", "505" }, { ("A"):rep(100000), "414" },
         { "GET /" .. ("a"):rep(100000) .. " HTTP/1.1\r\nHost: x\r\n\r\n", "414" },
         { "GET /health HTTP/1.1\r\nHost: x\r\nX: " .. ("h"):rep(20000) .. "\r\n\r\n", "431" },
         { "GET /health HTTP/1.1\r\nHost: x\r\nX: " .. ("h"):rep(10 * 2 ^ 20) .. "\r\n\r\n", "431" },
         { "POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 10485760\r\n\r\n" .. ("b"):rep(10 * 2 ^ 20), "405" },
         { "GET /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n", "200" }, -- the body is not read
         { "GET %zz HTTP/1.1\r\nHost: x\r\n\r\n", "404" } } do
         local answer = http.raw(s.port, one[1])
         assert.equal(one[2], answer:match "^HTTP/1.1 (%d+) " or answer == "" and "hung up", one[1]:sub(1, 60))
      end
      assert.equal(200, (http.ask(s.port, "/health")))
      assert(s.ch:publish("", "jobs", "x"))
      eventually("the message", function() return handled == 1 end)
   end)

   it("is not held by who says nothing, or says it slowly", function()
      local s = setup()
      local silent = {}
      for i = 1, 200 do silent[i] = http.connect(s.port) end
      assert.equal(200, (http.ask(s.port, "/live")))
      local slow, began = http.connect(s.port), mr.now()
      local sent = 0
      while slow:send "G" and mr.now() < began + 15 do
         sent = sent + 1
         mr.sleep(0.1)
      end
      assert.is_true(mr.now() - began < 10, "it is still served")
      assert.is_true(sent > 10) -- for a while it was
      slow:close()
      for _, client in ipairs(silent) do
         assert.equal("", (client:read(10) or "still open"):gsub("^HTTP/1.1 408.*", ""))
         client:close()
      end
      assert.equal(200, (http.ask(s.port, "/live")))
   end)

   it("that is taken is a clear error, and consumption goes on", function()
      local handled = 0
      local s = setup(function() handled = handled + 1 end)
      local b = embedded.broker { listen = "127.0.0.1:0" }
      assert(mr.health.close())
      local port, err = mr.health.listen("127.0.0.1:" .. b.port)
      assert.is_nil(port)
      assert.truthy(err.text:find(("cannot listen on 127.0.0.1 port %d: Address already in use"):format(b.port), 1, true))
      for _, bad in ipairs { "zork", "127.0.0.1", "1.2.3:4:5", "127.0.0.1:99999", "[::1", "", "-1" } do
         port, err = mr.health.listen(bad)
         assert.same({ nil, "bad_argument" }, { port, err.kind })
      end
      port, err = mr.health.listen "rabbit.example:80"
      assert.is_nil(port)
      assert.truthy(err.text:find "not an IP address", 1, true)
      assert(s.ch:publish("", "jobs", "x"))
      eventually("the message", function() return handled == 1 end)
      assert(mr.health.listen "localhost:0")
      port, err = mr.health.listen "0"
      assert.is_nil(port)
      assert.truthy(err.text:find("served already", 1, true))
   end)
end)
