-- Tests Moonrabbit in Debian's nginx with ngx_lua: requests, handlers, logs, health pages, what is refused.
-- SPDX-License-Identifier: MIT
-- Covers: lua/moonrabbit/ngx.lua by start
-- Covers: lua/moonrabbit/host/ngx_health.lua by answer
-- Covers: lua/moonrabbit/host/ngx_phase.lua by lua_code_cache
-- Covers: lua/moonrabbit/host/ngx_script.lua by exit
-- Covers: lua/moonrabbit/host/ngx_waiter.lua by wait
local broker = require "broker"
local cjson = require "cjson"
local http = require "http"
local mr = require "moonrabbit"
local nginx = require "nginx"
local process = require "process"
local site = require "ngx_site"
local waits = require "waits"

local function queue()
   local ch, q = broker.channel(), broker.name "queue"
   assert(ch:queue_declare { queue = q, durable = true })
   return q, ch
end

local function body_of(n, path, body)
   local status, text = n:ask(path, body and "POST" or "GET", body)
   return { status, text }
end

local function stops(n)
   local code, log = n:stop()
   assert.equal(0, code)
   assert.is_nil(log:find("exited on signal", 1, true), log)
   return log
end

describe("Moonrabbit in nginx", function()
   after_each(function()
      nginx.end_all()
      process.end_all()
      broker.close_all()
   end)

   it("runs the script that the command runs", function()
      local from, ch = queue()
      local to = queue()
      local script = [[
         local mr = require "moonrabbit"
         local out = mr.publisher { routing_key = mr.args.to }
         mr.consumer { queue = mr.args.from, handler = function(msg)
            mr.sleep(0.01)
            return out:publish(msg.body .. " from " .. arg[1] .. "/" .. mr.args.place)
         end }
         local is_well = mr.run()
         mr.log.warn("the script ends", { is_well = is_well })
      ]]
      local n = site.start { queue = from, script = script, start = ([[script = "consumers.lua",
         args = { from = %q, to = %q, place = "nginx", "one" }]]):format(from, to) }
      assert.same({ 204, "" }, body_of(n, "/publish", "a"))
      local msg
      local function get()
         msg = ch:get(to, { no_ack = true })
         return msg
      end
      broker.eventually("the message", get)
      assert.equal("a from one/nginx", msg.body)
      assert.truthy(stops(n):find 'msg="the script ends" worker=1 is_well=true')

      local path = os.tmpname()
      local file = assert(io.open(path, "w"))
      file:write(script)
      file:close()
      local command = process.run(("--set from=%s --set to=%s --set place=command"):format(from, to), path .. " one")
      assert(ch:confirm_select())
      assert(ch:publish("", from, "b"))
      broker.eventually("the message", get)
      assert.equal("b from one/command", msg.body)
      local out, code = command:stop()
      os.remove(path)
      assert.equal(0, code)
      assert.truthy(out:find('msg="the script ends" is_well=true', 1, true))
   end)

   it("suspends only the request that waits", function()
      local q = queue()
      local n = site.start { queue = q, script = ([[
         local mr = require "moonrabbit"
         assert(mr.rpc.serve { queue = %q, handler = function(x) mr.sleep(0.3) return x * x end })
      ]]):format(q .. ".rpc"), pages = ([[
         location = /rpc { content_by_lua_block { ngx.say((require("moonrabbit").rpc.call(%q, 7))) } }
         location = /sleep { content_by_lua_block { require("moonrabbit").sleep(0.3) ngx.say "slept" } }
         location = /get { content_by_lua_block {
            local ch = assert(require("app").conn:channel())
            local msg = assert(ch:get(%q))
            msg:ack()
            ngx.say(msg.body)
            ch:close()
         } }
         location = /access {
            access_by_lua_block { if not require("app").publish "access" then ngx.exit(503) end }
            content_by_lua_block { coroutine.wrap(function() require("moonrabbit").sleep(0.01) ngx.say "aside" end)() }
         } ]]):format(q .. ".rpc", q) }
      broker.eventually("the server", function() return body_of(n, "/rpc")[2] == "49\n" end)
      local began = mr.now()
      local slow = { waits.background(body_of, n, "/rpc"), waits.background(body_of, n, "/sleep"), waits.background(body_of, n, "/rpc") }
      assert.same({ 200, "hello\n" }, body_of(n, "/"))
      assert.is_nil(slow[1].done or slow[2].done or slow[3].done)
      assert.same({ 204, "" }, body_of(n, "/publish", "a"))
      assert.same({ 200, "a\n" }, body_of(n, "/get"))
      assert.same({ 200, "aside\n" }, body_of(n, "/access"))
      broker.eventually("the answers", function() return slow[1].done and slow[2].done and slow[3].done end)
      assert.is_true(mr.now() - began < 0.85, "one after the other")
      assert.same({ { 200, "49\n" }, { 200, "slept\n" }, { 200, "49\n" } }, { slow[1].result, slow[2].result, slow[3].result })
      stops(n)
   end)

   it("lets no handler write into a response", function()
      local q = queue()
      local n = site.start { queue = q, script = ([[
         local mr = require "moonrabbit"
         assert(mr.rpc.serve { queue = %q, handler = function()
            local said = {}
            for name, fn in pairs { say = ngx.say, print = ngx.print, exit = ngx.exit, sleep = ngx.sleep, flush = ngx.flush,
               body = ngx.req.socket,
               header = function() ngx.header.leak = "leak" end,
               status = function() ngx.status = 500 end,
               socket = function() return ngx.socket.tcp():connect("127.0.0.1", 1) end, ctx = function() ngx.ctx.leak = 1 end } do
               local ok, why = pcall(fn, "leak")
               said[name] = ok and "no error" or (tostring(why):match "no request.*" or tostring(why))
            end
            return said
         end })
         mr.consumer { queue = %q, handler = function() ngx.say "leak" end, retry = false, dead_letter = false }
      ]]):format(q .. ".rpc", q), pages = ([[
         location = /rpc { content_by_lua_block {
            local answer, err = require("moonrabbit").rpc.call(%q, "x")
            ngx.say(answer and require("cjson").encode(answer) or tostring(err))
         } }
         location = /spawn { content_by_lua_block {
            local mr, why = require "moonrabbit", nil
            mr.spawn(function() why = select(2, pcall(ngx.say, "leak")) end)
            ngx.say(why)
         } } ]]):format(q .. ".rpc") }
      local answer
      broker.eventually("the server", function()
         answer = body_of(n, "/rpc")
         return answer[2]:find "say"
      end)
      for _, name in ipairs { "say", "print", "exit", "sleep", "flush", "body", "header", "status", "socket", "ctx" } do
         assert.truthy(answer[2]:find(('"%s":"no request'):format(name), 1, true), answer[2])
      end
      local said = body_of(n, "/spawn")[2]
      assert.truthy(said:find("ngx.say: no request found: a handler", 1, true), said)
      for i = 1, 20 do assert.same({ 204, "" }, body_of(n, "/publish", "x" .. i)) end
      n:says "handler failed"
      for _ = 1, 20 do assert.same({ 200, "hello\n" }, body_of(n, "/")) end
      assert.truthy(stops(n):find("no request", 1, true))
   end)

   it("forgets a request that dies while it waits", function()
      local q = queue()
      local n = site.start { queue = q, http = "lua_check_client_abort on;", pages = ([[
         location = /rpc { content_by_lua_block { require("moonrabbit").rpc.call(%q, "x", { timeout = 0.3 }) } }
         location = /sleep { content_by_lua_block { require("moonrabbit").sleep(0.3) } }
         location = /exit { content_by_lua_block {
            ngx.thread.spawn(function() ngx.sleep(0.01) ngx.exit(444) end)
            require("moonrabbit").sleep(0.3)
         } }
         location = /thread { content_by_lua_block {
            local t = ngx.thread.spawn(function() require("moonrabbit").sleep(0.2) end)
            ngx.sleep(0.01)
            ngx.thread.kill(t)
            ngx.say "killed"
         } } ]]):format(q) }
      local pid = body_of(n, "/pid")[2]
      local clients = {}
      for i, path in ipairs { "/rpc", "/sleep", "/rpc", "/exit", "/sleep" } do
         clients[i] = http.connect(n.port)
         clients[i]:send(("GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"):format(path))
      end
      assert.same({ 200, "killed\n" }, body_of(n, "/thread"))
      for _, client in ipairs(clients) do client:close() end
      for i = 1, 20 do
         assert.same({ 204, "" }, body_of(n, "/publish", "x" .. i))
         mr.sleep(0.02) -- what the dead waited for comes meanwhile
      end
      assert.equal(pid, body_of(n, "/pid")[2])
      stops(n)
   end)

   it("answers for all workers on the health page, and writes logs to error_log", function()
      local q = queue()
      local n = site.start { queue = q, workers = 2, script = ([[
         local mr = require "moonrabbit"
         mr.log.warn("some words", { x = 1 })
         mr.consumer { queue = %q, handler = print }
      ]]):format(q) }
      broker.eventually("health", function() return body_of(n, "/health")[1] == 200 end)
      local status, body, headers = n:ask "/health?verbose"
      assert.equal(200, status)
      assert.equal("application/json", headers["content-type"])
      local workers = cjson.decode(body).workers
      for number = 1, 2 do assert.same({ number, "healthy" }, { workers[number].worker, workers[number].status }) end
      broker.eventually("readiness", function() return body_of(n, "/health/ready")[1] == 200 end)
      assert.equal(404, body_of(n, "/health/none")[1])
      status, body = n:ask "/metrics"
      assert.equal(200, status)
      for number = 1, 2 do
         assert.truthy(body:find(('{worker="%d"'):format(number), 1, true), body)
      end
      n:says '[warn]'
      assert.truthy(n:log():find('moonrabbit: msg="some words" worker=1 x=1', 1, true), n:log())
      stops(n)
   end)

   it("leaves a worker asleep that has nothing to do", function()
      local q = queue()
      local n = site.start { queue = q, script = ([[
         require("moonrabbit").consumer { queue = %q, handler = print }
      ]]):format(q) }
      broker.eventually("health", function() return body_of(n, "/health")[1] == 200 end)
      assert.same({ 204, "" }, body_of(n, "/publish", "x"))
      local pid = n:workers()[1]
      local function sleeps() -- of its main thread, so far
         local file = assert(io.open(("/proc/%d/task/%d/status"):format(pid, pid)))
         local count = tonumber(file:read "*a":match "\nvoluntary_ctxt_switches:%s*(%d+)")
         file:close()
         return count
      end
      broker.eventually("the end of the last message", function()
         local before = sleeps()
         mr.sleep(0.2)
         return sleeps() == before
      end)
      local before = sleeps()
      mr.sleep(3) -- of idleness
      assert.equal(0, sleeps() - before)
      stops(n)
   end)

   it("runs the example", function()
      local peer = require "peer"
      local port, broker_port = peer.closed_port(), peer.closed_port()
      local example = process.start("sh examples/hosts/nginx-lua/try.sh",
         ("PORT=%d BROKER_PORT=%d AMQP_URL="):format(port, broker_port))
      local n = { port = port, ask = nginx.ask }
      broker.eventually("the server of prices", function() return n:ask "/price?of=apple" == 200 end)
      broker.eventually("the queue of orders", function() return body_of(n, "/orders", "two apples")[1] == 204 end)
      assert.same({ 200, "2\n" }, body_of(n, "/price?of=apple"))
      assert.same({ 200, "no such fruit\n" }, body_of(n, "/price?of=plum"))
      local health
      local is_well = pcall(broker.eventually, "health", function()
         health = body_of(n, "/health")
         return health[1] == 200
      end)
      assert.truthy(is_well, health[2])
      example:says 'order="two apples"'
      example:signal "TERM"
      local out, code = example:wait()
      assert.equal(0, code, out)
      assert.truthy(out:find('msg="closing time"', 1, true), out)
   end)

   it("says what a script does wrong, and goes on", function()
      local q = queue()
      local n = site.start { queue = q, script = ([[
         local mr = require "moonrabbit"
         local c = mr.consumer { queue = %q, dead_letter = false, handler = function() os.exit(3) end, retry = false }
         assert(c:wait(10))
         error "the last line"
      ]]):format(q) }
      local pid = body_of(n, "/pid")[2]
      n:says "the last line"
      n:says "consumers.lua"
      assert.same({ 204, "" }, body_of(n, "/publish", "x"))
      n:says "os.exit would end a worker of nginx"
      broker.eventually("ill health", function() return body_of(n, "/health")[1] == 503 end)
      assert.equal(pid, body_of(n, "/pid")[2])
      stops(n)
   end)

   it("refuses waits where nginx would stand still", function()
      local q = queue()
      local n = site.start { queue = q, init = [[
         local ok, why = pcall(require("moonrabbit").sleep, 1)
         ngx.log(ngx.WARN, "in init_worker: ", why)
         ok, why = pcall(require("moonrabbit.ngx").start)
         ngx.log(ngx.WARN, "twice: ", why)
      ]], pages = [[
         location = /log {
            content_by_lua_block { ngx.say "logged" }
            log_by_lua_block {
               local app = require "app"
               local ok, why = pcall(app.publish, "x")
               ngx.log(ngx.WARN, "in log: ", why)
               ngx.log(ngx.WARN, "ticket: ", app.publisher:publish_async("y").state)
            }
         }
         location = /run { content_by_lua_block {
            local mr = require "moonrabbit"
            ngx.say(select(2, pcall(mr.run)))
            ngx.say(select(2, pcall(require("moonrabbit.ngx").start)))
         } }
         location = /off { lua_code_cache off; content_by_lua_block { require("moonrabbit").connect() } }
      ]] }
      assert.same({ 200, "logged\n" }, body_of(n, "/log"))
      n:says "this would block nginx: nothing can wait in log_by_lua*"
      n:says "ticket: waiting"
      n:says "this would block nginx: nothing can wait in init_worker_by_lua*"
      n:says "it was started before in this worker"
      local said = body_of(n, "/run")[2]
      assert.truthy(said:find("mr.run would never return here", 1, true), said)
      assert.truthy(said:find("start belongs in init_worker_by_lua_block", 1, true), said)
      assert.equal(500, body_of(n, "/off")[1])
      n:says "If lua_code_cache is off: each request has a Lua state of its own"
      stops(n)
   end)

   it("refuses wrong options, and begins anew after the master's fork", function()
      local q = queue()
      local n = site.start { queue = q, start = 'scrpt = "x"', http = ([[
         init_by_lua_block {
            local mr = require "moonrabbit"
            mr.log.configure "error"
            CONN = mr.connect %q
            mr.stats()
         } ]]):format(broker.tcp_url), pages = [[
         location = /inherited { content_by_lua_block { ngx.say(tostring(select(2, CONN:channel()))) } }
      ]] }
      n:says 'unknown option "scrpt"'
      stops(n)
      n = site.start { queue = q, http = ([[
         init_by_lua_block {
            local mr = require "moonrabbit"
            mr.log.configure "error"
            CONN = assert(mr.connect(%q):connect())
         } ]]):format(broker.tcp_url), pages = [[
         location = /inherited { content_by_lua_block { ngx.say(select(2, CONN:channel()).kind) } }
      ]] }
      assert.same({ 204, "" }, body_of(n, "/publish", "x"))
      assert.same({ 200, "forked\n" }, body_of(n, "/inherited"))
      n:stop()
   end)
end)
