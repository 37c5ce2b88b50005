--- client: calls, answers, and everything that may come between.
-- Covers: lua/moonrabbit/rpc/client.lua by correlation_id
-- Covers: lua/moonrabbit/rpc/server.lua by queue_opts
local mr = require "moonrabbit"
local cjson = require "cjson"
local embedded = require "embedded"
local waits = require "waits"

local setup = embedded.connected

local function quiet()
   mr.log.configure "off"
   finally(function() mr.log.configure "error" end)
end

local function serve(conn, handler, options)
   local all = { queue = "work", connection = conn, handler = handler }
   for k, v in pairs(options or {}) do all[k] = v end
   return assert(mr.rpc.serve(all))
end

local background = waits.background

local function done(box, seconds)
   waits.eventually("the call to end", function() return box.done end, seconds)
   return box.result, box.err
end

local function advance_until(box)
   for _ = 1, 100 do
      if box.done then return end
      mr.testing.advance(0.5)
   end
   error "in vain"
end

describe("a remote call", function()
   after_each(embedded.close_all)

   it("gives what the server's handler returned: strings as they are, tables, numbers and booleans by JSON", function()
      local conn = setup()
      local seen = {}
      serve(conn, function(request, msg)
         seen[#seen + 1] = { request, msg.properties.content_type }
         return request
      end)
      for _, body in ipairs { "plain\0", { id = 7, list = { 1, 2 } }, 7.5, false, true, "" } do
         local result, err = mr.rpc.call("work", body, { connection = conn })
         assert.is_nil(err)
         assert.same(body, result)
      end
      assert.same({ "plain\0", nil }, seen[1])
      assert.same({ { id = 7, list = { 1, 2 } }, "application/json" }, seen[2])
   end)

   it("gives true when the handler returns nothing, and JSON's null as that", function()
      local conn = setup()
      serve(conn, function(request) if request == "null" then return cjson.null end end)
      assert.is_true((mr.rpc.call("work", "x", { connection = conn })))
      assert.equal(cjson.null, (mr.rpc.call("work", "null", { connection = conn })))
      assert.is_true((mr.rpc.call("work", cjson.null, { connection = conn })))
   end)

   it("gives the server's error as a value: its kind, its text", function()
      quiet()
      local conn = setup()
      serve(conn, function(request)
         if request == "text" then return nil, "no such invoice" end
         if request == "table" then return nil, { kind = "overdrawn", text = "by 7", code = 42 } end
         if request == "ours" then return mr.connect("memory://x?bad"), nil end
         if request == "nonsense" then return print end
         error "broken"
      end)
      local function call(request) return select(2, mr.rpc.call("work", request, { connection = conn })) end
      local err = call "text"
      assert.same({ "remote", "no such invoice", "remote", false }, { err.kind, err.text, err.scope, err.recoverable })
      assert.is_true(mr.is_error(err))
      assert.equal("remote: no such invoice", tostring(err))
      err = call "table"
      assert.same({ "overdrawn", "by 7", 42 }, { err.kind, err.text, err.code })
      err = call "raised"
      assert.equal("internal_error", err.kind)
      assert.truthy(err.text:find "rpc_spec.lua:%d+: broken$")
      assert.truthy(call "nonsense".text:find("cannot be a function", 1, true))
   end)

   it("hands on one of our own errors with its kind", function()
      local conn = setup()
      local other = assert(conn:channel())
      serve(conn, function() return other:queue_declare { queue = "missing", passive = true } end)
      local _, err = mr.rpc.call("work", "", { connection = conn })
      assert.same({ "not_found", 404, "remote" }, { err.kind, err.code, err.scope })
   end)

   it("fails at once when there is no such queue", function()
      local conn = setup()
      local began = mr.now()
      local result, err = mr.rpc.call("nobody", "x", { connection = conn, timeout = 60 })
      assert.is_nil(result)
      assert.same({ "returned", 312 }, { err.kind, err.code })
      assert.is_true(mr.now() - began < 5)
      result, err = mr.rpc.call({ exchange = "amq.direct", routing_key = "k" }, "x", { connection = conn })
      assert.same({ nil, "returned" }, { result, err.kind })
   end)

   it("goes to an exchange as well", function()
      local conn = setup()
      serve(conn, function(request) return "got " .. request end)
      assert(assert(conn:channel()):queue_bind { queue = "work", exchange = "amq.topic", routing_key = "a.*" })
      assert.equal("got x", mr.rpc.call({ exchange = "amq.topic", routing_key = "a.b" }, "x", { connection = conn }))
   end)

   it("has a deadline; the request goes with it, and a late answer is nobody's", function()
      local conn, b = setup()
      local ch = assert(conn:channel())
      assert(ch:queue_declare { queue = "slow" })
      local call = background(mr.rpc.call, "slow", "x", { connection = conn, timeout = 2 })
      local msg = waits.eventually("the request", function() return (ch:get("slow", { no_ack = true })) end)
      local expiration = tonumber(msg.properties.expiration) -- what is left of the 2 s
      assert.is_true(expiration > 1000 and expiration <= 2000)
      assert.equal(1, msg.properties.delivery_mode)
      advance_until(call)
      assert.same({ nil, "timeout" }, { call.result, call.err.kind })
      assert(msg:reply "too late")
      serve(conn, function() return "next" end)
      assert.equal("next", mr.rpc.call("work", "", { connection = conn }))

      call = background(mr.rpc.call, "slow", "x", { connection = conn, timeout = 2 })
      advance_until(call)
      mr.testing.advance(1)
      assert.equal(0, b:queue "slow".messages_ready)
   end)

   it("shares one channel with many others at once; each gets its own answer", function()
      local conn, b = setup()
      serve(conn, function(request)
         mr.sleep((request * 7) % 11 / 1000)
         return request * 2
      end)
      local calls = {}
      for i = 1, 200 do calls[i] = background(mr.rpc.call, "work", i, { connection = conn }) end
      for i = 1, 200 do assert.equal(i * 2, done(calls[i])) end
      assert.equal(2, b:report().connections[1].channels) -- the server's and the clients'
   end)

   it("ends as lost when the connection goes; the next one is answered", function()
      quiet()
      local conn, b = setup()
      local handled = 0
      serve(conn, function()
         handled = handled + 1
         if handled == 1 then mr.sleep(0.3) end
         return handled
      end)
      local call = background(mr.rpc.call, "work", "x", { connection = conn, timeout = 30 })
      waits.eventually("the handler", function() return handled == 1 end)
      b:drop()
      local _, err = done(call, 5)
      assert.equal("lost", err.kind)
      assert.truthy(err.text:find "before the answer came")
      assert.is_number(assert(mr.rpc.call("work", "x", { connection = conn })))
      waits.eventually("both requests and the one that came again", function() return handled == 3 end)
   end)

   it("waits for a connection that is away, to its deadline", function()
      quiet()
      local conn, b = setup { transport_options = { interval_start = 5, interval_max = 5 } }
      serve(conn, function() return "there" end)
      assert.equal("there", mr.rpc.call("work", "x", { connection = conn }))
      b:drop()
      waits.eventually("the loss", function() return conn.state == "retrying" end)
      local short = background(mr.rpc.call, "work", "x", { connection = conn, timeout = 1 })
      local long = background(mr.rpc.call, "work", "x", { connection = conn, timeout = 20 })
      advance_until(short)
      assert.is_nil(short.result)
      assert.equal("stream_lost", short.err.kind)
      assert.is_nil(long.done)
      advance_until(long)
      assert.same({ "there" }, { long.result, long.err })
   end)

   it("has its deadline also when nothing at all comes any more", function()
      quiet()
      local conn, b = setup()
      serve(conn, function() return "there" end)
      assert.equal("there", mr.rpc.call("work", "x", { connection = conn }))
      b:silent()
      local call = background(mr.rpc.call, "work", "x", { connection = conn, timeout = 3 })
      advance_until(call)
      assert.same({ nil, "timeout" }, { call.result, call.err.kind })
      b:silent(false)
      local first = embedded.connect { url = b.url } -- the same for one whose channel is not open yet
      assert(first:connect())
      b:silent()
      call = background(mr.rpc.call, "work", "x", { connection = first, timeout = 3 })
      advance_until(call)
      assert.same({ nil, "timeout" }, { call.result, call.err.kind })
      b:silent(false)
   end)

   it("is refused while the broker blocks publishers, at its deadline", function()
      local conn, b = setup()
      serve(conn, function() return "there" end)
      assert.equal("there", mr.rpc.call("work", "x", { connection = conn }))
      b:block()
      assert(conn.rpc_client.channel:publish_async("", "nobody", "the broker tells those who publish"))
      waits.eventually("the block", function() return conn.is_blocked end)
      local call = background(mr.rpc.call, "work", "x", { connection = conn, timeout = 2 })
      advance_until(call)
      assert.equal("blocked_timeout", call.err.kind)
      b:block(false)
      waits.eventually("the way", function() return not conn.is_blocked end)
      assert.equal("there", mr.rpc.call("work", "x", { connection = conn }))
   end)

   it("says when there is no connection to be had", function()
      local conn = embedded.connect { url = "amqp://127.0.0.1:1/", connection_attempts = 1 }
      local result, err = mr.rpc.call("work", "x", { connection = conn })
      assert.same({ nil, "connection_refused" }, { result, err.kind })
      result, err = mr.rpc.call("work", "x", { connection = conn, timeout = 5 }) -- asked for again, not remembered
      assert.same({ nil, "connection_refused" }, { result, err.kind })
   end)

   it("opens its channel again when somebody closed it", function()
      local conn = setup()
      serve(conn, function() return "there" end)
      assert.equal("there", mr.rpc.call("work", "x", { connection = conn }))
      assert(conn.rpc_client.channel:close())
      assert.equal("there", mr.rpc.call("work", "x", { connection = conn }))
   end)

   it("that is out when the connection is handed over still gets its answer", function()
      local conn = setup()
      local started, go = false, false
      serve(conn, function()
         started = true
         while not go do mr.sleep(0.005) end
         return "from before"
      end)
      local call = background(mr.rpc.call, "work", "x", { connection = conn, timeout = 20 })
      waits.eventually("the handler", function() return started end)
      local moved = background(conn.handover, conn)
      waits.eventually("the new connection", function() return conn.epoch and conn.rpc_client.channel.epoch end)
      mr.after(0.1, function() go = true end)
      assert.equal("from before", done(call))
      assert.is_true(done(moved))
      assert.equal("from before", mr.rpc.call("work", "x", { connection = conn }))
   end)

   it("does not keep a program going, and its answers come while the program stops", function()
      local conn = setup()
      local server = serve(conn, function() return "there" end)
      assert.equal("there", mr.rpc.call("work", "x", { connection = conn }))
      assert(server:close())
      local loop = require "moonrabbit.loop.loop"
      assert.equal(0, loop.holds)
   end)

   it("takes properties, which the server sees; what it needs itself stays", function()
      local conn = setup()
      local seen
      serve(conn, function(_, msg)
         seen = msg.properties
         return true
      end)
      assert(mr.rpc.call("work", { 1 }, { connection = conn, properties = { headers = { trace = "t1" }, priority = 3,
         content_type = "application/x+json", correlation_id = "mine" } }))
      assert.same({ "t1", 3, "application/x+json" }, { seen.headers.trace, seen.priority, seen.content_type })
      assert.are_not.equal("mine", seen.correlation_id)
   end)

   it("goes over the program's own connection when none is given", function()
      local b = embedded.broker()
      mr.set_default_url(b.url)
      finally(function()
         require("moonrabbit.connection.default").connection():release()
         mr.set_default_url(nil)
      end)
      assert(mr.rpc.serve { queue = "work", handler = function() return "home" end })
      assert.equal("home", mr.rpc.call("work", "x"))
      assert.equal(1, #b:report().connections)
   end)

   it("blames the caller for misuse", function()
      for text, fn in pairs {
         ['unknown option "timout": did you mean "timeout"?'] = function() mr.rpc.call("q", "", { timout = 1 }) end,
         ["must be a number of seconds"] = function() mr.rpc.call("q", "", { timeout = -1 }) end,
         ["a body cannot be a function"] = function() mr.rpc.call("q", print) end,
         ['option "connection" must be a connection'] = function() mr.rpc.call("q", "", { connection = {} }) end,
         ['option "connection" must be a connection, as of mr.connect'] = function()
            mr.rpc.serve { queue = "q", handler = print, connection = {} }
         end,
         ["a call goes to a queue's name"] = function() mr.rpc.call(7, "") end,
         ['option "routing_key" is missing'] = function() mr.rpc.call({ exchange = "x" }, "") end,
         ['unknown serializer "xml"'] = function() mr.rpc.call("q", "", { serializer = "xml" }) end,
         ['option "handler" is missing'] = function() mr.rpc.serve { queue = "q" } end,
         ['option "prefetch" must be a whole number'] = function()
            mr.rpc.serve { queue = "q", handler = print, prefetch = 1.5 }
         end,
      } do
         local ok, why = pcall(fn)
         assert.is_false(ok, text)
         assert.truthy(why:find(text, 1, true) and why:find "^[^:]*rpc_spec%.lua:", why)
      end
   end)
end)

describe("a server of remote calls", function()
   after_each(embedded.close_all)

   it("says what is wrong with a request it cannot read, and goes on", function()
      local conn = setup()
      serve(conn, function(request) return request end)
      local _, err = mr.rpc.call("work", "{", { connection = conn, properties = { content_type = "application/json" } })
      assert.equal("bad_argument", err.kind)
      assert.equal("remote", err.scope)
      assert.equal("x", mr.rpc.call("work", "x", { connection = conn }))
   end)

   it("acks what wants no answer", function()
      local conn, b = setup()
      local got
      serve(conn, function(request) got = request end)
      local ch = assert(conn:channel())
      assert(ch:publish("", "work", "just so"))
      waits.eventually("the request", function() return got end)
      waits.eventually("its ack", function() return b:queue "work".messages_unacknowledged == 0 end)
   end)

   it("bounds the handlers at once", function()
      local conn = setup()
      local now, most = 0, 0
      serve(conn, function()
         now = now + 1
         most = math.max(most, now)
         mr.sleep(0.002)
         now = now - 1
         return true
      end, { concurrency = 3 })
      local calls = {}
      for i = 1, 20 do calls[i] = background(mr.rpc.call, "work", "x", { connection = conn }) end
      for i = 1, 20 do assert.is_true(done(calls[i])) end
      assert.equal(3, most)
   end)

   it("declares a durable queue, or as it is told, or none", function()
      local conn, b = setup()
      serve(conn, print)
      assert.is_true(b:queue "work".durable)
      serve(conn, print, { queue = "brief", queue_opts = { durable = false, auto_delete = true } })
      assert.is_false(b:queue "brief".durable)
      local server, err = mr.rpc.serve { queue = "missing", connection = conn, handler = print, declare = false }
      assert.same({ nil, "not_found" }, { server, err.kind })
   end)

   it("comes back with its connection", function()
      quiet()
      local conn, b = setup()
      serve(conn, function() return "there" end)
      assert.equal("there", mr.rpc.call("work", "x", { connection = conn }))
      for i = 2, 4 do
         b:drop()
         waits.eventually("the connection", function() return conn.epoch == i and conn.is_open end)
         assert.equal("there", mr.rpc.call("work", "x", { connection = conn }))
      end
   end)

   it("closes when its handlers have answered; no request is taken from then on", function()
      local conn, b = setup()
      local server = serve(conn, function()
         mr.sleep(0.05)
         return "last"
      end)
      local call = background(mr.rpc.call, "work", "x", { connection = conn })
      waits.eventually("the handler", function() return server.consumer.running == 1 end)
      assert.is_true((server:close()))
      assert.equal("last", done(call))
      assert.equal(0, b:queue "work".consumers)
      assert.is_true((server:close()))
   end)

   it("says which handlers it cut off when it closes", function()
      local conn = setup()
      local server = serve(conn, function() mr.sleep(5) end)
      local call = background(mr.rpc.call, "work", "x", { connection = conn, timeout = 20 })
      waits.eventually("the handler", function() return server.consumer.running == 1 end)
      local ok, err = server:close { timeout = 0.02 }
      assert.same({ nil, "timeout" }, { ok, err.kind })
      serve(conn, function() return "another" end)
      assert.equal("another", done(call))
   end)
end)
