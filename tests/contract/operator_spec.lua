--- What an operator sees in the log of a worker, and what signals do.
-- Covers: runtime/link/outage.c by attempts
-- Covers: lua/moonrabbit/program/quiet.lua by signal
local broker = require "broker"
local cjson = require "cjson"
local peer = require "peer"
local process = require "process"

-- The lines of a log in JSON, as tables.
local function lines_of(out)
   local list = {}
   for line in out:gmatch "[^\n]+" do
      if line:find "^{" then list[#list + 1] = cjson.decode(line) end
   end
   return list
end

-- The first line with this text.
local function line_with(out, msg)
   for _, line in ipairs(lines_of(out)) do
      if line.msg == msg then return line end
   end
   error(("no line %q in:\n%s"):format(msg, out), 2)
end

describe("the log of a failed message", function()
   after_each(process.end_all)
   teardown(broker.none_left)

   it("names its message_id and correlation_id, whatever consumes it (FIELD-W33)", function()
      local q = broker.name "ids"
      local worker = process.run("--log-format json", broker.script(([[
         local mr = require "moonrabbit"
         local ch = assert(mr.connect():channel())
         assert(ch:queue_declare { queue = "%s.plain", auto_delete = true })
         assert(ch:queue_declare { queue = "%s.bare", auto_delete = true })
         local n = 0
         local function fail() n = n + 1 if n == 1 then error "first" end end
         assert(ch:consume("%s.plain", fail))
         assert(ch:consume("%s.bare", function() error "bare" end, { no_ack = true }))
         mr.consumer { queue = { queue = "%s", auto_delete = true }, retry = mr.retry.never, dead_letter = false,
            handler = function() error "second" end }:wait()
         assert(ch:publish("", "%s.plain", "x", { message_id = "m-1", correlation_id = "c-1" }))
         assert(ch:publish("", "%s.bare", "x"))
         assert(ch:publish("", "%s", "x", { message_id = "m-2", correlation_id = "c-2" }))
      ]]):gsub("%%s", q)))
      worker:says "handler failed for the last time"
      worker:says('"msg":"handler failed"', 2)
      local out = worker:stop()
      local first = line_with(out, "handler failed")
      local last = line_with(out, "handler failed for the last time")
      local bare
      for _, line in ipairs(lines_of(out)) do
         if line.msg == "handler failed" and line.queue == q .. ".bare" then bare = line end
         if line.msg == "handler failed" and line.queue == q .. ".plain" then first = line end
      end
      assert.same({ "m-1", "c-1" }, { first.message_id, first.correlation_id })
      assert.same({ "m-2", "c-2" }, { last.message_id, last.correlation_id })
      assert.truthy(bare)
      assert.same({}, { bare.message_id, bare.correlation_id })
   end)
end)

-- Four connections with a consumer each to an embedded broker on a port, which is away for a time by the moved clock.
local OUTAGE = [[
   local mr = require "moonrabbit"
   local b = assert(mr.testing.broker { listen = 0 .. "" })
   local back = 0
   for i = 1, 4 do
      local conn = mr.connect { url = "amqp://127.0.0.1:" .. b.port, name = "c" .. i, on_event = function(ev)
         if ev.type == "recovered" then back = back + 1 end end }
      local ch = assert(conn:channel())
      assert(ch:queue_declare { queue = "q" .. i })
      assert(ch:consume("q" .. i, print))
   end
   mr.log.info "begin"
   b:unlisten()
   b:close_connections(320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'")
   mr.testing.advance(%s, 0.25)
   assert(b:listen("127.0.0.1:" .. b.port))
   while back < 4 do mr.testing.advance(0.5, 0.25) mr.sleep(0.01) end
   mr.log.info "end"
   mr.stop()
]]

describe("the log of an outage", function()
   local function lines_during(seconds, level)
      local out, code = broker.shell(("%s run --log-format json --log-level %s %s 2>&1"):format(broker.command, level,
         broker.script(OUTAGE:format(seconds))))
      assert.equal(0, code, out)
      local list, is_during = {}, false
      for _, line in ipairs(lines_of(out)) do
         if line.msg == "end" then is_during = false end
         if is_during then list[#list + 1] = line end
         if line.msg == "begin" then is_during = true end
      end
      return list, out
   end
   local function count(list, msg, level)
      local n = 0
      for _, line in ipairs(list) do
         if line.msg == msg and (not level or line.level == level) then n = n + 1 end
      end
      return n
   end

   it("of 30 s on four connections tells the story in less than 15 lines (FIELD-W32)", function()
      local list, out = lines_during(30, "info")
      assert.is_true(#list < 15, out)
      assert.same({ 4, 4, 4 }, { count(list, "lost", "error"), count(list, "connect failed", "info"), count(list, "recovered", "info") })
      local hints = {}
      for _, line in ipairs(list) do
         line.time = nil
         local text = cjson.encode(line)
         if line.hint then hints[line.connection] = (hints[line.connection] or 0) + 1 end
         assert.is_true(#text < 400, text)                                 -- short
         assert.falsy(text:find "%d%.%d%d%d", text)                        -- rounded
         if line.msg == "connect failed" then
            assert.same({ "connection_refused", "nothing listens on that port" }, { line.kind, line.text }) -- once
            assert.same({ "number", 1 }, { type(line.delay), line.attempt }) -- a random pause may be 0.00
         end
         if line.msg == "recovered" then assert.is_true(line.gap >= 30 and line.attempts > 3 and line.entities == 2, text) end
      end
      assert.same({ c1 = 1, c2 = 1, c3 = 1, c4 = 1 }, hints)
   end)

   it("has each try at level debug, and a line each minute while it lasts (FIELD-W32)", function()
      local list, out = lines_during(150, "debug")
      assert.is_true(count(list, "connect failed", "debug") > 4 * 5, out)
      assert.is_true(count(list, "connecting", "debug") > 4 * 5, out)
      assert.equal(4, count(list, "connect failed", "info"), out)
      local still = count(list, "still not connected", "warn")
      assert.is_true(still >= 4 and still <= 8, out)
      for _, line in ipairs(list) do
         if line.msg == "still not connected" then assert.is_true(line.seconds >= 60 and line.attempt > 1, out) end
      end
   end)

   it("is an error with a hint when the first connect fails, once for each kind of failure (FIELD-W32)", function()
      local port = peer.closed_port()
      local worker = process.start(("%s run --log-level debug --log-format json %s"):format(broker.command, broker.script([[
         local mr = require "moonrabbit"
         mr.connect { url = "amqp://127.0.0.1:]] .. port .. [[",
            transport_options = { interval_start = 0.01, interval_step = 0.01 } }:channel()
      ]])))
      worker:says('"msg":"connect failed"', 4)
      worker:signal "TERM"
      worker:signal "TERM"
      local out = worker:wait()
      local list = lines_of(out)
      assert.same({ 1, true }, { count(list, "connect failed", "error"), count(list, "connect failed", "debug") >= 3 }, out)
      local first = line_with(out, "connect failed")
      assert.truthy(first.hint:find("is RabbitMQ running there", 1, true))
      assert.falsy(first.hint:find("567", 1, true)) -- no port that is not the connection's
      assert.equal("127.0.0.1:" .. port, first.host)
   end)
end)

describe("a broker that blocks", function()
   after_each(function()
      process.end_all()
      broker.close_all()
   end)

   broker.it_inside(it, "and takes no more publishes is in the log, with its reason, and so is its end (FIELD-W30)", function()
      finally(function() broker.block(false) end)
      local q = broker.name "alarm"
      local worker = process.run("--log-format json", broker.script(([[
         local mr = require "moonrabbit"
         local ch = assert(mr.connect { name = "publisher" }:channel())
         assert(ch:queue_declare { queue = "%s", auto_delete = true })
         assert(ch:consume("%s", function() end))
         assert(ch:confirm_select())
         print "ready"
         local told
         mr.every(0.05, function()
            if told then return end
            local ok, err = ch:publish("", "%s", "x", { timeout = 0.4 })
            if not ok then told = true print("ended " .. err.kind .. " " .. err.hint) end
         end)
      ]]):gsub("%%s", q)))
      worker:says "ready"
      broker.block(true)
      worker:says '"msg":"blocked"'
      worker:says "ended "
      broker.block(false)
      worker:says '"msg":"unblocked"'
      local out = worker:stop()
      local line = line_with(out, "blocked")
      assert.same({ "warn", "publisher" }, { line.level, line.connection })
      assert.truthy(line.reason:find("low on memory", 1, true), out)
      assert.truthy(line.hint:find("rabbitmq-diagnostics alarms", 1, true))
      assert.equal("info", line_with(out, "unblocked").level)
      assert.truthy(out:find("ended blocked_timeout", 1, true), out) -- that which met the alarm, too
   end)
end)

describe("a worker", function()
   local q, worker
   local HANDLER = [[
      local mr = require "moonrabbit"
      io.stdout:setvbuf "line"
      local ch = assert(mr.connect():channel())
      mr.consumer { queue = { queue = "%q", auto_delete = false, durable = true }, dead_letter = false, retry = false,
         handler = function(msg)
         print((mr.args.worker or "") .. " begins " .. msg.body)
         if msg.body == "wait" then mr.sleep(60) end
      end }:wait()
      assert(ch:queue_declare { queue = "%q.raw", durable = true })
      assert(ch:consume("%q.raw", function(msg) print("raw " .. msg.body) end, { consumer_tag = "raw" }))
      print "ready"
   ]]
   local function start(options)
      q = broker.name "operator"
      worker = process.run(options or "", broker.script((HANDLER:gsub("%%q", q))))
   end
   local function consumers(ch, queue) return assert(ch:queue_declare { queue = queue, passive = true }).consumer_count end

   after_each(function()
      process.end_all()
      local ch = broker.channel()
      for _, name in ipairs { q, q .. ".raw" } do ch:queue_delete { queue = name } end
      broker.close_all()
   end)
   teardown(broker.none_left)

   it("writes what its handlers wait at by SIGUSR1, and goes on (FIELD-W31)", function()
      start "--log-format json --drain 0"
      worker:says "ready"
      local ch = broker.channel()
      assert(ch:publish("", q, "wait", { message_id = "m-7" }))
      worker:says "begins wait"
      worker:signal "USR1"
      worker:says '"msg":"a handler waits"'
      assert(ch:publish("", q .. ".raw", "next"))
      worker:says "raw next"
      local line = line_with(worker:output(), "a handler waits")
      assert.same({ q, "m-7" }, { line.queue, line.message_id })
      assert.truthy(line.traceback:find(":7: in function <", 1, true), line.traceback)
      worker:stop()
   end)

   it("takes no more messages after SIGUSR2, and does again after another one (FIELD-W31)", function()
      start()
      worker:says "ready"
      local ch = broker.channel()
      assert(ch:confirm_select())
      for round = 1, 2 do
         worker:signal "USR2"
         broker.eventually("its rest", function() return consumers(ch, q) + consumers(ch, q .. ".raw") == 0 end)
         assert(ch:publish("", q, "a" .. round))
         assert(ch:publish("", q .. ".raw", "b" .. round))
         assert.equal(1, broker.count(ch, q))
         if round == 2 and broker.is_open_to_us then -- a loss meanwhile changes nothing
            broker.quietly(function() broker.close_connections "maintenance" end)
            worker:says "msg=recovered"
            ch = broker.channel()
            assert.same({ 0, 0 }, { consumers(ch, q), consumers(ch, q .. ".raw") })
         end
         worker:signal "USR2"
         worker:says("begins a" .. round)
         worker:says("raw b" .. round)
      end
      local out, code = worker:stop()
      assert.equal(0, code, out)
      assert.truthy(out:find('msg="taking no more messages" handlers=0 signal=SIGUSR2', 1, true)
         and out:find('msg="taking messages again" handlers=0 signal=SIGUSR2', 1, true), out)
   end)

   it("that rests stops as any other, and SIGQUIT stops it as SIGTERM does (FIELD-W31)", function()
      start()
      worker:says "ready"
      worker:signal "USR2"
      worker:says "taking no more messages"
      worker:signal "QUIT"
      local out, code = worker:wait()
      assert.equal(0, code, out)
      assert.truthy(out:find("msg=stopping signal=SIGQUIT", 1, true) and out:find("msg=stopped code=0", 1, true), out)
   end)

   it("is told by its supervisor, also one that is started meanwhile (FIELD-W31)", function()
      start "--workers 2"
      worker:says("ready", 2)
      local ch = broker.channel()
      worker:signal "USR2"
      worker:says('msg="taking no more messages"', 2)
      local pid = worker:output():match 'msg="worker started" pid=(%d+)'
      os.execute("kill -KILL " .. pid)
      worker:says("ready", 3)
      broker.eventually("their rest", function() return consumers(ch, q) + consumers(ch, q .. ".raw") == 0 end)
      worker:signal "USR2"
      broker.eventually("all of them", function() return consumers(ch, q) + consumers(ch, q .. ".raw") == 4 end)
      worker:signal "USR1"
      worker:says('msg="handlers at work"', 2)
      worker:signal "QUIT"
      local out, code = worker:wait()
      assert.equal(0, code, out)
   end)
end)

describe("a look at the broker", function()
   after_each(process.end_all)
   teardown(broker.none_left)

   broker.it_inside(it, "says which process, script and worker has a connection and a consumer (FIELD-W37)", function()
      local path = broker.script [[
         local mr = require "moonrabbit"
         io.stdout:setvbuf "line"
         local ch = assert(mr.connect():channel())
         local q = assert(ch:queue_declare { exclusive = true }).queue
         local first, second = assert(ch:consume(q, print)), assert(ch:consume(q, print))
         print("tags " .. first.tag .. " " .. second.tag)
      ]]
      local host = assert(io.open "/proc/sys/kernel/hostname"):read "*l"
      local script = path:match "([^/]+)$":gsub("%.lua$", "")
      local worker = process.run("--workers 2", path)
      worker:says("tags ", 2)
      for number = 1, 2 do worker:says(("connection=%s@%s/%d host="):format(script, host, number)) end -- the log comes by another way
      local out = worker:output()
      for number = 1, 2 do
         local name = ("%s@%s/%d"):format(script, host, number)
         assert.truthy(out:find(("tags %s-1 %s-2\n"):format(name, name), 1, true), out)
         assert.truthy(out:find("connection=" .. name .. " host=", 1, true), out)
         local pid = out:match('msg="worker started" pid=(%d+) worker=' .. number)
         local _, properties = broker.connection_with(name)
         assert.truthy(properties and properties:find("pid", 1, true) and properties:find(pid, 1, true)
            and properties:find("script", 1, true), properties or name)
      end
      assert.equal(0, select(2, worker:stop()))
   end)
end)
