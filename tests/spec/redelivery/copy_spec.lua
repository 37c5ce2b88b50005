--- outcome, copy: nothing is lost, doubled or sent round in circles when a retry meets an awkward moment or message.
local mr = require "moonrabbit"
local C = require("moonrabbit.base.ffi").C
local asking = require "moonrabbit.channel.request"
local copies = require "moonrabbit.redelivery.copy"
local embedded = require "embedded"
local message = require "moonrabbit.channel.message"
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

describe("a message's ways", function()
   before_each(setup)
   after_each(clean)

   it("are open to a handler whose consumer was cancelled meanwhile", function()
      local results, w = {}, nil
      w = consumer { handler = function(msg)
         mr.spawn(function() w:cancel() end)
         eventually("the cancel", function() return w.inner.state == "cancelled" end)
         assert.equal("q", msg.queue)
         if msg.body == "later" then results[1] = { msg:retry(1) } end
         if msg.body == "dead" then results[1] = { msg:dead_letter "by hand" } end
      end, prefetch = 1 }
      put "later"
      eventually("the retry", function() return results[1] end)
      assert.same({ true }, results[1])
      assert.equal(1, messages "q.retry.1000")
      eventually("the ack", is_settled)
      results = {}
      w = consumer { handler = w.options.handler, prefetch = 1 }
      put "dead"
      eventually("the burial", function() return results[1] end)
      assert.same({ true }, results[1])
      assert.equal(1, messages "q.dead")
   end)

   it("are open to one that was got", function()
      assert(ch:queue_declare { queue = "q", durable = true })
      put "x"
      local msg = assert(ch:get "q")
      assert.equal("q", msg.queue)
      assert(msg:retry(1))
      advance_until("its return", function() return b:queue("q").messages_ready == 1 end, 3)
      msg = assert(ch:get "q")
      assert.equal(2, msg.attempt)
      assert(msg:dead_letter "enough")
      local dead = assert(ch:get "q.dead")
      assert.same({ "enough", 2, "q" }, { dead.headers["x-mr-reason"], dead.headers["x-mr-attempt"], dead.headers["x-mr-queue"] })
      assert(dead:ack())
   end)
end)

describe("a way that fails", function()
   before_each(setup)
   after_each(clean)

   for what, go in pairs { retry = function(msg) return msg:retry(1) end, ["dead letter"] = function(msg) return msg:dead_letter() end } do
      it("(" .. what .. ") and is not heeded does not have the message acked", function()
         local other = embedded.connect { url = b.url }
         local results = {}
         local w = consumer { dead_letter = "grave", retry = mr.retry.fixed { delay = 20 }, handler = function(msg)
            results[#results + 1] = { go(msg) }
         end }
         local owner = assert(other:channel())
         assert(owner:queue_declare { queue = "q.retry.1000", exclusive = true })
         assert(owner:queue_delete { queue = "grave" })
         assert(owner:queue_declare { queue = "grave", durable = true, arguments = { ["x-max-length"] = 0,
         ["x-overflow"] = "reject-publish" } })
         put "x"
         eventually("its retry by the policy", function() return messages "q.retry.20000" == 1 and is_settled() end)
         assert.is_nil(results[1][1])
         assert(w:cancel())
      end)
   end

   it("but is heeded is the handler's to answer for", function()
      local other = embedded.connect { url = b.url }
      assert(assert(other:channel()):queue_declare { queue = "q.retry.1000", exclusive = true })
      local done
      consumer { handler = function(msg)
         done = not msg:retry(1)
         return true
      end }
      put "x"
      eventually("the ack", function() return done and is_settled() end)
   end)
end)

describe("a failed message", function()
   before_each(setup)
   after_each(clean)

   it("is not copied when it was settled, or lost, while its policy thought", function()
      local kept
      local w = consumer { manual_ack = true, retry = function()
         mr.sleep(0.2)
         return 1
      end, handler = function(msg)
         kept = msg
         error "no"
      end }
      put "x"
      eventually("the try", function() return kept end)
      assert(kept:ack())
      advance_until("its end", function() return w.running == 0 end, 2)
      assert.is_nil(b:queue "q.retry.1000")
      assert.equal(0, messages "q")
   end)

   it("is not copied when its connection was lost while the copy waited", function()
      local tries = 0
      local original = copies.delay
      copies.delay = function(msg, ...)
         if tries == 1 then
            b:drop()
            eventually("the loss", function() return not msg.is_live end)
         end
         return original(msg, ...)
      end
      finally(function() copies.delay = original end)
      local attempts = {}
      consumer { retry = mr.retry.fixed { delay = 1, attempts = 5 }, handler = function(msg)
         tries = tries + 1
         attempts[#attempts + 1] = msg.attempt
         if tries < 2 then error "no" end
      end }
      put "x"
      advance_until("the second try", function() return tries == 2 end, 40)
      mr.testing.advance(5, 0.5)
      assert.same({ 1, 1 }, attempts)
   end)

   for what, fail in pairs {
      ["an error that cannot be shown"] = function() return nil, setmetatable({}, { __tostring = function() error "never" end }) end,
      ["an answer that cannot be shown"] = function() return setmetatable({}, { __tostring = function() error "never" end }) end,
      ["an answer that cannot be read"] = function() return setmetatable({}, { __index = function() error "never" end }) end,
   } do
      it(what .. " does not go round in a hot loop", function()
         local tries = 0
         consumer { retry = mr.retry.fixed { delay = 60 }, handler = function()
            tries = tries + 1
            return fail()
         end }
         put "x"
         eventually("a try", function() return tries > 0 end)
         for _ = 1, 200 do mr.sleep(0.001) end
         assert.equal(1, tries)
      end)
   end

   for what, headers in pairs {
      ["a fraction"] = { ["x-mr-attempt"] = 1.5 }, ["nonsense"] = { ["x-mr-attempt"] = "soon", ["x-mr-first-failure"] = "then" },
      ["less than nothing"] = { ["x-mr-attempt"] = -7 }, ["no text"] = { ["x-mr-attempt"] = 1, ["x-mr-exchange"] = 5,
         ["x-mr-routing-key"] = true },
      ["beyond numbers"] = { ["x-mr-attempt"] = "inf" }, ["not a number"] = { ["x-mr-attempt"] = "nan" },
   } do
      it("whose headers say " .. what .. " is tried like another", function()
         local seen
         consumer { retry = mr.retry.fixed { delay = 60 }, handler = function(msg)
            seen = seen or { msg.attempt, type(msg.exchange), type(msg.routing_key) }
            error "no"
         end }
         headers["x-mr-queue"] = "q"
         put("x", { headers = headers })
         eventually("its delay", function() return messages "q.retry.60000" == 1 and is_settled() end)
         assert.is_true(seen[1] >= 1 and seen[1] == math.floor(seen[1]) and seen[1] < 1e9)
         assert.same({ "string", "string" }, { seen[2], seen[3] })
      end)
   end

   it("counts its tries in one queue, not in another that its headers were passed on to", function()
      local seen
      consumer { queue = "next", handler = function(msg) seen = { msg.attempt, msg.exchange, msg.routing_key } end }
      assert(ch:publish("", "next", "x", { headers = { ["x-mr-attempt"] = 3, ["x-mr-queue"] = "q", ["x-mr-exchange"] = "e",
         ["x-mr-routing-key"] = "k" } }))
      eventually("the message", function() return seen end)
      assert.same({ 1, "", "next" }, seen)
   end)

   it("keeps the types of its headers, and what the program changed", function()
      local sent = {}
      for name, v in pairs { b = -5, B = 200, s = -300, u = 60000, I = 7, i = 4e9, l = 7, f = 0.5, d = 3 } do
         sent["a_" .. name] = setmetatable({ type = name, value = v }, getmetatable(mr.int(1)))
      end
      sent.x, sent.empty, sent.list, sent.none = mr.bytes "\255\0", mr.array {}, mr.array { mr.bytes "in", 1 }, mr.null
      sent.T, sent.D, sent.yes, sent.no = mr.timestamp(5), mr.decimal(15, 1), true, false
      sent.F = { deep = { list = mr.array {}, int = setmetatable({ type = "I", value = 1 }, getmetatable(mr.int(1))) } }
      local expected
      consumer { retry = mr.retry.fixed { delay = 0, attempts = 3 }, handler = function(msg)
         expected = expected or message.exact_headers(msg)
         msg.headers.mine = "yours"
         error "no"
      end }
      sent.mine = "mine"
      put("x", { headers = sent })
      advance_until("the dead letter", function() return messages "q.dead" == 1 and is_settled() end, 5)
      local dead = assert(ch:get "q.dead")
      local got = message.exact_headers(dead)
      assert.equal("yours", got.mine)
      got.mine = "mine"
      for name, v in pairs(sent) do
         if type(v) ~= "table" or v.type ~= "A" and name ~= "F" then assert.same(expected[name], got[name], name) end
      end
      assert.same({ "I", 1, "A", "A", "A", "x", "in" }, { got.F.deep.int.type, tonumber(got.F.deep.int.value), got.F.deep.list.type,
         got.empty.type, got.list.type, got.list.value[1].type, got.list.value[1].value })
      for name, v in pairs(sent) do
         if name:find "^a_" then assert.same({ name, "a_" .. got[name].type, v.value }, { name, name, tonumber(got[name].value) }) end
      end
      assert(dead:ack())
   end)

   it("whose error is no text is told of as it is, cut between characters", function()
      local text = ("\195\164"):rep(2000)
      consumer { retry = mr.retry.never, handler = function(msg)
         error(msg.body == "long" and "x" .. text or "\255\0\254 \n\27", 0)
      end }
      put "bytes"
      eventually("the dead letter", function() return messages "q.dead" == 1 and is_settled() end)
      local msg = assert(ch:get "q.dead")
      assert.equal("handler_failed: \255\0\254 \n\27", msg.headers["x-mr-error"])
      assert(msg:ack())
      put "long"
      eventually("the dead letter", function() return messages "q.dead" == 1 and is_settled() end)
      msg = assert(ch:get "q.dead")
      for _, name in ipairs { "x-mr-error", "x-mr-traceback" } do
         local rest = msg.headers[name]:gsub("\195\164", "")
         assert.is_nil(rest:find "[\128-\255]", name)
         assert.truthy(msg.headers[name]:find " ...$")
      end
      assert(msg:ack())
   end)

   it("of a queue with a long name waits under a shorter one", function()
      local name = ("q"):rep(248)
      local tries = 0
      consumer { queue = name, retry = mr.retry.fixed { delay = 1 }, handler = function(msg)
         tries = msg.attempt
         if tries == 1 then error "no" end
      end }
      assert(ch:publish("", name, "x"))
      advance_until("the second try", function() return tries == 2 end, 8)
      local ok, why = pcall(mr.consumer, { queue = ("q"):rep(251), handler = function() end })
      assert.is_false(ok)
      assert.truthy(why:find("dead_letter", 1, true), why)
   end)

   it("whose headers leave no room for the error is copied without it", function()
      local tries = 0
      consumer { retry = mr.retry.fixed { delay = 0.1, attempts = 2 }, handler = function()
         tries = tries + 1
         error(("x"):rep(400))
      end }
      local size = 131072 - 900
      put("x", { headers = { big = ("h"):rep(size) } })
      advance_until("the dead letter", function() return messages "q.dead" == 1 and is_settled() end, 20)
      assert.equal(2, tries)
   end)
end)

describe("copies", function()
   before_each(setup)
   after_each(clean)

   it("are declared one by one: a queue that is in the way of one is not in that of another", function()
      local other = embedded.connect { url = b.url }
      assert(assert(other:channel()):queue_declare { queue = "q.retry.1000", exclusive = true })
      local at = {}
      consumer { retry = function(ctx) return tonumber(ctx.message.body) end, handler = function(msg)
         at[msg.body] = (at[msg.body] or 0) + 1
         if at[msg.body] == 1 then error "no" end
      end }
      for _, body in ipairs { "1", "20", "1.0", "30" } do put(body) end
      eventually("the copies", function() return messages "q.retry.20000" == 1 and messages "q.retry.30000" == 1 end)
   end)

   it("come to one declaration of each queue for many at once", function()
      local original, declares = asking.ask, 0
      consumer { retry = mr.retry.fixed { delay = 5 }, handler = function() error "no" end }
      asking.ask = function(self, operation, opts, ...)
         -- A consumer that has just begun asks, passively, whether an earlier one left anything.
         if operation == C.MR_QUEUE_DECLARE and not opts.passive then declares = declares + 1 end
         return original(self, operation, opts, ...)
      end
      finally(function() asking.ask = original end)
      for i = 1, 50 do assert(ch:publish_async("", "q", tostring(i))) end
      eventually("all", function() return messages "q.retry.5000" == 50 and is_settled() end)
      assert.equal(2, declares) -- the delay, and where it leads to
   end)

   it("go on when a handler's time limit struck while it opened their channel", function()
      local methods, struck = require("moonrabbit.connection.connection").methods, false
      local original = methods.channel
      methods.channel = function(self, ...)
         if not struck and tostring(self.options.name):find "copies" then
            struck = true
            error "over its time limit"
         end
         return original(self, ...)
      end
      finally(function() methods.channel = original end)
      local tries = 0
      consumer { retry = mr.retry.fixed { delay = 1 }, handler = function()
         tries = tries + 1
         error "no"
      end }
      put "x"
      advance_until("a copy", function() return messages "q.retry.1000" == 1 end, 20)
      assert.same({ true, 1 }, { struck, tries }) -- the copy is tried again, not the handler
   end)

   it("tell the program's on_event nothing: their connection is not the program's", function()
      local events = {}
      local mine = embedded.connect { url = b.url, on_event = function(ev) events[#events + 1] = ev.connection end }
      consumer { connection = mine, retry = mr.retry.fixed { delay = 1 }, handler = function() error "no" end }
      put "x"
      eventually("the copy", function() return messages "q.retry.1000" == 1 and is_settled() end)
      for _, c in ipairs(events) do assert.equal(mine, c) end
   end)

   it("leave no connection behind when the program closes its own", function()
      local mine = embedded.connect { url = b.url }
      local before = #b:report().connections
      local w = consumer { connection = mine, retry = mr.retry.fixed { delay = 1 }, handler = function() error "no" end }
      put "x"
      eventually("the copy", function() return messages "q.retry.1000" == 1 and is_settled() end)
      assert.equal(before + 2, #b:report().connections)
      assert(mine:close())
      eventually("their end", function() return #b:report().connections == before end)
      assert.equal("cancelled", w.state)
   end)

   it("remember queues only while that is of use", function()
      consumer { retry = function(ctx) return tonumber(ctx.message.body) end, handler = function() error "no" end }
      for i = 1, 20 do put(tostring(100 + i)) end
      eventually("the copies", is_settled)
      mr.testing.advance(40, 10)
      put "500"
      eventually("one more", function() return messages "q.retry.500000" == 1 end)
      local count = 0
      for _ in pairs(conn.side.declared) do count = count + 1 end
      assert.equal(2, count) -- the delay, and where it leads to
   end)
end)

describe("middleware", function()
   before_each(setup)
   after_each(clean)

   it("may call the handler again: what the last call said stands", function()
      local calls = 0
      consumer { middleware = { function(msg, next) next(msg) end, function(msg, next)
         local _, err = next(msg)
         if err then next(msg) end
      end }, retry = mr.retry.fixed { delay = 1 }, handler = function()
         calls = calls + 1
         if calls == 1 then return nil, "no" end
      end }
      put "x"
      eventually("the ack", function() return calls == 2 and is_settled() end)
      assert.is_nil(b:queue "q.retry.1000")
   end)
end)

describe("settle_timeout", function()
   before_each(setup)
   after_each(clean)

   it("remembers messages that are not settled only", function()
      local w = consumer { settle_timeout = 3600, handler = function() end }
      for i = 1, 50 do put(tostring(i)) end
      eventually("all", is_settled)
      assert.is_nil(next(w.overdue.open))
      assert(w:cancel())
      local kept = {}
      w = consumer { settle_timeout = 3600, manual_ack = true, handler = function(msg)
         if msg.body == "kept" then kept[1] = msg else assert(msg:ack()) end
      end }
      put "acked"
      put "kept"
      eventually("both", function() return kept[1] and messages "q" == 1 end)
      assert.equal(kept[1], next(w.overdue.open))
      assert.is_nil(next(w.overdue.open, kept[1]))
      assert(kept[1]:ack())
      assert(w:cancel())
   end)
end)

describe("in a storm", function()
   before_each(setup)
   after_each(clean)

   -- Chance that is the same each time.
   local function chance_of(seed)
      return function()
         seed = (seed * 16807) % 2147483647
         return seed / 2147483647
      end
   end

   local function ways(chance)
      return {
         function() error "no" end, function() return "requeue" end, function() return { retry = chance() * 3 } end,
         function(msg) msg:retry(chance()) end, function() return nil, "failed" end,
         function() return setmetatable({}, { __tostring = error }) end,
      }
   end

   -- What may happen at any time to broker, connections and consumer.
   local function blows(chance, current, start)
      return {
         function() b:drop() end, function() b:drop() end,
         function()
            local old = current()
            mr.spawn(function() old:cancel() end)
            start()
         end,
         function() if conn.side then mr.spawn(function() conn.side.connection:close() end) end end,
         function()
            local channel = current().channel
            mr.spawn(function() if channel then channel:exchange_declare { exchange = "nowhere", passive = true } end end)
         end,
         function() b:block(chance() < 0.3) end,
      }
   end

   for seed = 1, 3 do
      it("no message is lost (seed " .. seed .. ")", function()
         local chance, acked, w = chance_of(seed * 7919), {}, nil
         local fail = ways(chance)
         local function start()
            w = mr.consumer { queue = "q", connection = conn, prefetch = 20, concurrency = chance() < 0.5 and 5 or nil,
               retry = mr.retry.exponential { first = 0.2, max = 3, attempts = 50, jitter = true, random = chance },
               handler = function(msg)
                  if chance() < 0.3 then mr.sleep(chance() * 2) end
                  if chance() < 0.4 then return fail[math.floor(chance() * #fail) + 1](msg) end
                  if msg:ack() then acked[msg.body] = true end
               end }
         end
         start()
         assert(w:wait(5))
         for i = 1, 100 do put(tostring(i)) end
         local strike = blows(chance, function() return w end, start)
         for _ = 1, 150 do
            mr.testing.advance(0.2, 0.1)
            if chance() < 0.12 then strike[math.floor(chance() * #strike) + 1]() end
         end
         b:block(false)
         local function is_empty()
            for _, q in ipairs(b:report().queues) do
               if q.messages_ready + q.messages_unacknowledged > 0 then return false end
            end
            return true
         end
         advance_until("the end of all", is_empty, 300)
         for i = 1, 100 do assert.is_true(acked[tostring(i)], "lost: " .. i) end
         eventually("the end of the handlers", function() return require("moonrabbit.channel.delivery").running == 0 end)
      end)
   end
end)
