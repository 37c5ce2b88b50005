--- consumer: mr.consumer against embedded brokers, with the clock moved: what handlers return, retries, dead letters.
-- Covers: lua/moonrabbit/consumer/middleware.lua by middleware
-- Covers: lua/moonrabbit/consumer/setup.lua by on_lost
-- Covers: lua/moonrabbit/consumer/unsettled.lua by settled
local mr = require "moonrabbit"
local embedded = require "embedded"
local working = require "working"

local b, conn, ch -- the broker of the test, a connection, and a channel for looking and publishing

local function setup() b, conn, ch = working.setup() end
local clean = working.clean

local function consumer(opts) return working.consumer(conn, opts) end

local function put(body, props) assert(ch:publish("", "q", body, props)) end

local eventually = working.eventually

local advance_until = working.advance_until

local function messages(queue)
   local q = b:queue(queue)
   return q and q.messages_ready + q.messages_unacknowledged
end

local function is_settled() return messages "q" == 0 end

local function dead()
   local msg = assert(ch:get "q.dead")
   assert(msg:ack())
   return msg, msg.headers
end

describe("a consumer's handler", function()
   before_each(setup)
   after_each(clean)

   it("acks by returning nothing, nil or true", function()
      local seen = {}
      consumer { handler = function(msg)
         seen[#seen + 1] = { msg.body, msg.attempt, msg.queue }
         if msg.body == "true" then return true elseif msg.body == "nil" then return nil end
      end }
      for _, body in ipairs { "nothing", "nil", "true" } do put(body) end
      eventually("all settled", function() return #seen == 3 and is_settled() end)
      assert.same({ { "nothing", 1, "q" }, { "nil", 1, "q" }, { "true", 1, "q" } }, seen)
      assert.equal(0, messages "q.dead")
   end)

   it("gives a message back by \"requeue\", and drops it by \"reject\"", function()
      local seen = {}
      consumer { handler = function(msg)
         seen[#seen + 1] = msg.redelivered
         return msg.redelivered and "reject" or "requeue"
      end }
      put "x"
      eventually("both", function() return #seen == 2 and is_settled() end)
      assert.same({ false, true }, seen)
      assert.equal(0, messages "q.dead")
   end)

   it("sends a message to the dead letters, with its reason", function()
      consumer { handler = function() return "dead_letter", "too old" end }
      put("x", { headers = { mine = 1 }, content_type = "text/plain", expiration = "60000" })
      eventually("the dead letter", function() return messages "q.dead" == 1 and is_settled() end)
      local msg, headers = dead()
      assert.equal("x", msg.body)
      assert.same({ "text/plain", 2 }, { msg.properties.content_type, msg.properties.delivery_mode })
      assert.is_nil(msg.properties.expiration)
      assert.same({ "too old", "q", "", "q", 1, 1 }, { headers["x-mr-reason"], headers["x-mr-queue"],
         headers["x-mr-exchange"], headers["x-mr-routing-key"], headers["x-mr-attempt"], headers.mine })
      assert.is_nil(headers["x-mr-error"])
   end)

   it("asks for another try by {retry = seconds}", function()
      local seen = {}
      consumer { handler = function(msg)
         seen[#seen + 1] = { msg.attempt, mr.now() }
         if msg.attempt == 1 then return { retry = 5 } end
      end }
      put "x"
      eventually("the first try", function() return seen[1] and is_settled() end)
      advance_until("the second", function() return seen[2] end, 6)
      assert.equal(2, seen[2][1])
      assert.is_true(math.abs(seen[2][2] - seen[1][2] - 5) <= 0.3)
      eventually("the end", is_settled)
   end)

   it("may settle by itself, and its word then counts for nothing", function()
      consumer { handler = function(msg)
         if msg.body == "acked" then assert(msg:ack()) end
         if msg.body == "buried" then assert(msg:dead_letter "by hand") end
         if msg.body == "later" and msg.attempt == 1 then assert(msg:retry(1)) end
         return "requeue"
      end, prefetch = 1 }
      put "acked"
      put "buried"
      eventually("both", function() return is_settled() and messages "q.dead" == 1 end)
      local _, headers = dead()
      assert.equal("by hand", headers["x-mr-reason"])
   end)

   it("that returns nonsense fails, and is told what it may return (bad input)", function()
      for _, nonsense in ipairs { "requeu", 42, {}, { retry = -1 }, print } do
         local w = consumer { retry = mr.retry.never, handler = function() return nonsense end }
         put "x"
         eventually("the dead letter", function() return messages "q.dead" == 1 and is_settled() end)
         local _, headers = dead()
         assert.truthy(headers["x-mr-error"]:find("the handler returned", 1, true), require("cjson").encode(headers))
         if nonsense == "requeu" then assert.truthy(headers["x-mr-error"]:find('did you mean "requeue"?', 1, true)) end
         assert(w:cancel())
      end
   end)
end)

describe("a message whose handler fails", function()
   before_each(setup)
   after_each(clean)

   for what, fail in pairs {
      ["by an error"] = function() error("no good", 0) end, ["by nil and an error"] = function() return nil, "no good" end,
      ["by false and an error"] = function() return false, "no good" end,
   } do
      it(what .. " comes again as the policy says, exactly as often, then goes to the dead letters (T28)", function()
         local at = {}
         consumer { retry = mr.retry.linear { start = 10, step = 20, max = 30, attempts = 4 }, handler = function(msg)
            at[#at + 1] = mr.now()
            assert.equal(#at, msg.attempt)
            return fail()
         end }
         put "x"
         for i, delay in ipairs { 10, 30, 30 } do
            eventually("try " .. i, function() return #at == i and is_settled() end) -- the copy has been taken
            mr.testing.advance(math.max(at[i] + delay - 0.5 - mr.now(), 0), 5) -- real time passes, too
            assert.is_true(#at == i or mr.now() >= at[i] + delay)
            mr.testing.advance(0.6, 0.1)
            eventually("try " .. i + 1, function() return #at == i + 1 end)
            local gap = at[i + 1] - at[i]
            assert.is_true(gap >= delay and gap <= delay + 2, ("%d: %g s instead of %g"):format(i, gap, delay))
         end
         eventually("the dead letter", function() return messages "q.dead" == 1 end)
         mr.testing.advance(120, 10) -- and never again
         assert.equal(4, #at)
         assert.same({ 0, 1 }, { messages "q", messages "q.dead" })
         local msg, headers = dead()
         assert.equal("x", msg.body)
         assert.same({ 4, "the retry policy stopped after 4 attempts", "handler_failed: no good" }, { headers["x-mr-attempt"],
            headers["x-mr-reason"], headers["x-mr-error"] })
         assert.is_true(headers["x-mr-first-failure"] > 1e12)
         assert.equal(what == "by an error", headers["x-mr-traceback"] ~= nil)
      end)
   end

   it("shows in each try what it was published with, and keeps its properties", function()
      assert(ch:exchange_declare { exchange = "x", type = "topic", durable = true })
      local seen = {}
      consumer { bindings = { { exchange = "x", routing_key = "a.*" } }, retry = mr.retry.fixed { delay = 1, attempts = 3 },
         handler = function(msg)
            seen[#seen + 1] = { msg.exchange, msg.routing_key, msg.properties.message_id, msg.properties.priority, msg.headers.k }
            error "no"
         end }
      assert(ch:publish("x", "a.b", "m", { message_id = "id", priority = 3, user_id = "guest",
         headers = { k = "v", CC = mr.array { "elsewhere" } } }))
      advance_until("the dead letter", function() return messages "q.dead" == 1 end, 10)
      local one = { "x", "a.b", "id", 3, "v" }
      assert.same({ one, one, one }, seen)
      local _, headers = dead()
      assert.same({ "x", "a.b", "guest" }, { headers["x-mr-exchange"], headers["x-mr-routing-key"], headers["x-mr-user-id"] })
      assert.is_nil(headers.CC)
      assert.is_nil(headers["x-death"])
   end)

   it("waits in one queue for each delay, which goes when it is not used", function()
      consumer { retry = mr.retry.linear { start = 1, step = 1, attempts = 4 }, handler = function() error "no" end }
      put "x"
      put "y"
      advance_until("the dead letters", function() return messages "q.dead" == 2 end, 20)
      for _, ms in ipairs { 1000, 2000, 3000 } do assert.truthy(b:queue("q.retry." .. ms), ms) end
      mr.testing.advance(70, 5)
      for _, ms in ipairs { 1000, 2000, 3000 } do assert.is_nil(b:queue("q.retry." .. ms)) end
   end)

   it("waits in few queues even when delays are by chance", function()
      local chance = 0
      consumer { retry = function(ctx)
         chance = chance + 0.0137
         return ctx.attempt < 3 and 1 + chance % 1 or "drop"
      end, handler = function() error "no" end }
      for i = 1, 150 do put(tostring(i)) end
      advance_until("all", function() return messages "q" == 0 end, 2)
      local delays = 0
      for _, q in ipairs(b:report().queues) do
         if q.name:find "^q%.retry%." then delays = delays + 1 end
      end
      assert.is_true(delays >= 32 and delays <= 43, tostring(delays))
      mr.testing.advance(10)
      eventually("all dropped", is_settled)
      assert.equal(0, messages "q.dead")
   end)

   it("is handled by kind of error, and within a total time", function()
      local tries = { x = 0, y = 0 }
      consumer { retry = mr.retry.by_kind { timeout = mr.retry.never,
         default = mr.retry.fixed { delay = 10, total = 25 } }, handler = function(msg)
         tries[msg.body] = tries[msg.body] + 1
         if msg.body == "x" then return nil, select(2, ch:queue_declare { queue = "gone", passive = true }) end
         return nil, { kind = "not one of ours" }
      end }
      put "y"
      advance_until("the dead letter", function() return messages "q.dead" == 1 end, 60)
      assert.equal(4, tries.y) -- at 0, 10, 20 and 30 s
   end)

   it("goes as the policy's words say", function()
      local tries = 0
      consumer { retry = function(ctx)
         assert(ctx.scope == "message" and ctx.message.body == ctx.err.text and ctx.err.kind == "handler_failed")
         if ctx.err.text == "requeue" and tries > 1 then return "drop" end
         return ctx.err.text
      end, handler = function(msg)
         tries = tries + 1
         return nil, msg.body
      end }
      put "dead_letter"
      eventually("the dead letter", function() return messages "q.dead" == 1 and is_settled() end)
      tries = 0
      put "drop"
      eventually("the drop", function() return tries == 1 and is_settled() end)
      tries = 0
      put "requeue"
      eventually("the second try", function() return tries == 2 and is_settled() end)
      assert.equal(1, messages "q.dead")
   end)

   it("is in good hands when the policy throws, talks nonsense or hangs", function()
      for _, policy in ipairs { function() error "boom" end, function() return "next_host" end,
         function() mr.sleep(3600) end } do
         local tries = 0
         local w = consumer { retry = policy, handler = function(msg)
            tries = tries + 1
            if msg.attempt == 1 then error "no" end
         end }
         put "x"
         advance_until("the second try", function() return tries == 2 and is_settled() end, 5)
         assert(w:cancel())
      end
   end)

   it("is rejected at the end when there are to be no dead letters", function()
      local w = consumer { queue = { queue = "q", arguments = { ["x-dead-letter-exchange"] = "",
         ["x-dead-letter-routing-key"] = "own" } }, dead_letter = false, retry = false, handler = function() error "no" end }
      assert(ch:queue_declare { queue = "own" })
      assert.is_false(w.dead_letter)
      put "x"
      eventually("its queue's own dead letter", function() return messages "own" == 1 and is_settled() end)
      assert.is_nil(b:queue "q.dead")
   end)

   it("starts anew when it is put back from the dead letters", function()
      local attempts = {}
      consumer { retry = mr.retry.fixed { delay = 0, attempts = 2 }, handler = function(msg)
         attempts[#attempts + 1] = msg.attempt
         error "no"
      end }
      put "x"
      advance_until("the dead letter", function() return messages "q.dead" == 1 end, 5)
      local msg = dead()
      assert(ch:publish("", "q", msg.body, { headers = msg.headers }))
      advance_until("the dead letter", function() return messages "q.dead" == 1 end, 5)
      assert.same({ 1, 2, 1, 2 }, attempts)
   end)

   it("waits for publishing to be allowed again, while acks go on (T16)", function()
      assert(ch:queue_declare { queue = "q", durable = true })
      for _, body in ipairs { "first", "second", "good", "good" } do put(body) end
      b:block() -- as RabbitMQ: whoever publishes is read from no more after that
      local good, attempts = 0, { first = 0, second = 0 }
      consumer { connection = embedded.connect { url = b.url }, retry = mr.retry.fixed { delay = 600 }, handler = function(msg)
         if msg.body == "good" then good = good + 1 return end
         attempts[msg.body] = msg.attempt
         if msg.body == "second" then eventually("the first copy", function() return b:queue "q.retry.600000" end) end
         if msg.attempt == 1 then error "no" end
      end }
      eventually("the good ones and the first copy", function() return good == 2 and messages "q" == 1 end)
      mr.testing.advance(5)
      assert.same({ 1, 1 }, { messages "q", messages "q.retry.600000" })
      b:block(false)
      eventually("the second copy", function() return is_settled() and messages "q.retry.600000" == 2 end)
      assert.same({ first = 1, second = 1 }, attempts)
   end)

   it("is held, and its copy tried again, while it cannot be copied: its handler is not called (FIELD-C1)", function()
      local other = assert(embedded.connect({ url = b.url }):channel())
      assert(other:queue_declare { queue = "q.retry.1000", exclusive = true }) -- in the way
      local attempts = {}
      consumer { retry = mr.retry.fixed { delay = 1, attempts = 9 }, handler = function(msg)
         table.insert(attempts, msg.attempt)
         if msg.attempt == 1 then error "no" end
      end }
      put "x"
      mr.testing.advance(40, 0.5)
      assert.same({ 1, 0, 1 }, { #attempts, b:queue("q").messages_ready, b:queue("q").messages_unacknowledged })
      assert(other:queue_delete { queue = "q.retry.1000" })
      advance_until("the second try", function() return #attempts == 2 and is_settled() end, 40)
      assert.same({ 1, 2 }, attempts)
   end)
end)

describe("a consumer", function()
   before_each(setup)
   after_each(clean)

   it("declares a durable queue and one for dead letters, with its prefetch and its concurrency", function()
      local running, most = 0, 0
      local w = consumer { prefetch = 20, concurrency = 3, handler = function()
         running = running + 1
         most = math.max(most, running)
         mr.sleep(0.01)
         running = running - 1
      end }
      for i = 1, 30 do put(tostring(i)) end
      eventually("all", is_settled)
      assert.equal(3, most)
      assert.same({ true, true }, { b:queue("q").durable, b:queue("q.dead").durable })
      assert.same({ "q", "q", "consuming", "q.dead", 0 }, { w.name, w.queue, w.state, w.dead_letter, w.running })
      assert.equal('consumer q of "q" (consuming)', tostring(w))
   end)

   it("may have a queue of the broker's naming, bound to exchanges that it declares", function()
      local got = {}
      local w = consumer { queue = { exclusive = true }, bindings = { { exchange = "logs", type = "fanout" } },
         handler = function(msg) got[#got + 1] = msg.body end }
      assert.truthy(w.queue:find "^amq%.gen")
      assert.is_false(w.dead_letter)
      assert(ch:publish("logs", "", "hello"))
      eventually("the message", function() return got[1] == "hello" end)
   end)

   it("is one of several in a script, each cancelled by itself", function()
      local got = {}
      local one = consumer { queue = "one", handler = function() got.one = true end }
      local two = consumer { queue = "two", handler = function() got.two = true end }
      assert(one:cancel())
      assert.same({ "cancelled", "consuming" }, { one.state, two.state })
      assert.is_true(one:cancel())
      local ok, err = one:wait()
      assert.same({ nil, "cancelled" }, { ok, err.kind })
      assert(ch:publish("", "one", "x"))
      assert(ch:publish("", "two", "x"))
      eventually("the one for two", function() return got.two end)
      assert.is_nil(got.one)
      eventually("its channel's end", function() return #b:report().connections == 1 and one.channel.handle == nil end)
   end)

   it("decodes for its handler, and what does not decode goes to the dead letters while it goes on (X19)", function()
      local got = {}
      consumer { decode = true, handler = function(_, v) got[#got + 1] = v.n end }
      put("{broken", { content_type = "application/json" })
      put('{"n":7}', { content_type = "application/json" })
      eventually("both", function() return messages "q.dead" == 1 and is_settled() end)
      assert.same({ 7 }, got)
      local msg, headers = dead()
      assert.equal("{broken", msg.body)
      assert.truthy(headers["x-mr-reason"]:find("the body does not decode", 1, true))
   end)

   it("decodes by a function of the program's", function()
      local got
      consumer { decode = function(msg) return tonumber(msg.body) or error "not a number" end, handler = function(_, n) got = n end }
      put "x"
      put "12"
      eventually("both", function() return messages "q.dead" == 1 and is_settled() end)
      assert.equal(12, got)
   end)

   it("has middleware around its handler, whose word stands unless a middleware has another", function()
      local order, word = {}, nil
      local w = consumer { retry = mr.retry.never, middleware = { function(msg, next)
         order[#order + 1] = "outer"
         next(msg) -- and forgets what it returned
         order[#order + 1] = "outer again"
      end }, handler = function()
         order[#order + 1] = "handler"
         return nil, "failed"
      end }
      w:use(function(msg, next)
         order[#order + 1] = "inner"
         local a, err = next(msg)
         if word then return word end
         return a, err
      end)
      put "x"
      eventually("the dead letter", function() return messages "q.dead" == 1 and is_settled() end)
      assert.same({ "outer", "inner", "handler", "outer again" }, order)
      word = true
      put "y"
      eventually("the ack", function() return #order == 8 and is_settled() end)
      assert.equal(1, messages "q.dead")
   end)

   it("whose middleware forgets the message says so", function()
      consumer { retry = mr.retry.never, middleware = { function(_, next) return next() end }, handler = function() end }
      put "x"
      eventually("the dead letter", function() return messages "q.dead" == 1 end)
      local _, headers = dead()
      assert.truthy(headers["x-mr-error"]:find("a middleware must call next(msg), with the message", 1, true))
   end)

   it("leaves settling to the program when asked to, and names the handler that forgot", function()
      local kept, lines = {}, {}
      local log = require "moonrabbit.loop.log"
      local original = log.error
      log.error = function(text, fields) lines[#lines + 1] = { text, fields } end
      finally(function() log.error = original end)
      local w = consumer { manual_ack = true, settle_timeout = 10, handler = function(msg) kept[#kept + 1] = msg end }
      put "x"
      put "y"
      eventually("both", function() return #kept == 2 end)
      assert.equal(2, messages "q")
      assert.is_true(kept[1]:ack())
      assert.equal("x", kept[1].body)
      advance_until("the report", function() return lines[1] end, 15)
      mr.testing.advance(20)
      assert.equal(1, #lines)
      assert.equal("a message is not settled", lines[1][1])
      assert.same({ "q", 2 }, { lines[1][2].queue, lines[1][2].tag })
      assert.truthy(lines[1][2].handler:find "consumer_spec.lua:%d+$")
      assert.is_true(lines[1][2].seconds >= 10)
      assert.is_true(kept[2]:nack { requeue = false })
      eventually("all settled", is_settled)
      assert(w:cancel())
   end)

   it("is told when its connection is lost and when the broker cancels it, and consumes again", function()
      local lost, cancelled, got = {}, {}, 0
      local w
      w = consumer { on_lost = function(err) lost[#lost + 1] = err.kind .. " while " .. w.state end,
         on_cancel = function(err) cancelled[#cancelled + 1] = err.kind end, handler = function() got = got + 1 end }
      b:drop()
      eventually("the loss", function() return lost[1] end)
      advance_until("the recovery", function() return w.state == "consuming" end, 40)
      assert(ch:queue_delete { queue = "q" })
      eventually("the cancel", function() return cancelled[1] end)
      advance_until("the return", function() return w.state == "consuming" end, 40)
      put "x"
      eventually("the message", function() return got == 1 end)
      assert.same({ { "stream_lost while recovering" }, { "cancelled" } }, { lost, cancelled })
   end)

   it("waits for a broker that is not there yet", function()
      local early = assert(mr.testing.broker { listen = "127.0.0.1:0" })
      local port = early.port
      early:close()
      local late = embedded.connect { url = ("amqp://127.0.0.1:%d"):format(port), connect_timeout = 1 }
      local w = mr.consumer { queue = "q", connection = late, handler = function() end }
      eventually("a try", function() return w.err end)
      assert.same({ "recovering", "connection_refused" }, { w.state, w.err.kind })
      assert.is_number(w.next_try)
      local ok, err = w:wait(0.05)
      assert.same({ nil, "timeout" }, { ok, err.kind })
      embedded.broker { listen = "127.0.0.1:" .. port }
      advance_until("it consumes", function() return w.state == "consuming" end, 40)
      assert.is_nil(w.err)
      assert(w:cancel())
   end)

   it("is cancelled while it waits for a broker", function()
      local away = embedded.connect { url = "amqp://127.0.0.1:1", connect_timeout = 1 }
      local w = mr.consumer { queue = "q", connection = away, handler = function() end }
      eventually("a try", function() return w.err end)
      assert(w:cancel())
      mr.testing.advance(60, 10)
      assert.equal("cancelled", w.state)
   end)

   it("fails at once, and for good, when trying again would be of no use", function()
      assert(ch:queue_declare { queue = "q", durable = false })
      local w = mr.consumer { queue = "q", connection = conn, handler = function() end }
      local ok, err = w:wait(5)
      assert.same({ nil, "precondition_failed", "failed" }, { ok, err.kind, w.state })
      assert.equal(err, w.err)
      mr.testing.advance(60, 10)
      assert.equal("failed", w.state)
   end)

   it("is refused with options that make no sense", function()
      local function refused(opts, part)
         local ok, why = pcall(mr.consumer, opts)
         assert.is_false(ok)
         assert.truthy(why:find(part, 1, true), why)
      end
      local handler = function() end
      refused({ handler = handler }, 'option "queue" is missing')
      refused({ queue = "q" }, 'option "handler" is missing')
      refused({ queue = "q", handler = handler, prefech = 3 }, 'did you mean "prefetch"?')
      refused({ queue = "q", handler = handler, prefetch = 0 }, 'option "prefetch" must be a whole number from 1 to 65535')
      refused({ queue = "q", handler = handler, dead_letter = 3 }, 'option "dead_letter" must be a string or a boolean')
      refused({ queue = "q", handler = handler, on_lost = "stop" }, 'option "on_lost" must be "continue" or a function')
      refused({ queue = "q", handler = handler, retry = true }, 'option "retry" must be a policy, such as mr.retry')
      refused({ queue = "q", handler = handler, retry = { attempts = 3 } },
         "must be a policy, such as mr.retry.exponential { attempts = 3 }")
      refused({ queue = "", handler = handler }, 'option "queue" is empty')
      refused({ queue = ("q"):rep(256), handler = handler }, 'option "queue" is longer than 255 bytes')
      refused({ queue = "q", dead_letter = "q", handler = handler }, 'option "dead_letter" must be another queue')
      refused({ queue = "q", settle_timeout = 0, handler = handler }, 'option "settle_timeout" must be more than 0')
      refused({ queue = { durabel = true }, handler = handler }, 'did you mean "durable"?')
      refused({ queue = "q", handler = handler, bindings = { {} } }, 'option "exchange" is missing')
      refused({ queue = "q", handler = handler, middleware = { 3 } }, "must be a function")
      refused({ queue = "q", handler = handler, connection = {} }, 'option "connection" must be a connection')
   end)
end)
