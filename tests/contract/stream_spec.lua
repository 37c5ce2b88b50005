--- Streams: consumed with ch:consume and with mr.consumer. RabbitMQ only: the embedded broker has none.
local mr = require "moonrabbit"
local broker = require "broker"
local companion = require "moonrabbit.channel.companion"
local errors = require "moonrabbit.base.errors"
local lifecycle = require "moonrabbit.consumer.lifecycle"
local recovering = require "recovering"

local eventually = broker.eventually

-- Reconnects after a second: in that time much is published.
local SLOWLY = { transport_options = { interval_start = 1, interval_step = 0, interval_max = 1 } }

if not broker.is_rabbitmq then
   describe("a stream", function()
      after_each(broker.close_all)

      it("is refused by the embedded broker in so many words", function()
         local ch = broker.channel()
         broker.quietly(function()
            local ok, err = ch:queue_declare { queue = broker.name "stream", durable = true, arguments = { ["x-queue-type"] = "stream" } }
            assert.is_nil(ok)
            assert.truthy(err.text:find("x%-queue%-type"), err.text)
         end)
      end)
   end)
   return
end

-- A stream with messages "0" to "n-1", and a channel in confirm mode that outlives the losses of others.
local function stream(n)
   local q = broker.name "stream"
   local out = broker.channel { transport_options = recovering.at_once }
   assert(out:queue_declare { queue = q, durable = true, arguments = { ["x-queue-type"] = "stream" } })
   assert(out:confirm_select())
   finally(function()
      local admin = broker.channel()
      admin:queue_delete { queue = q }
      admin:queue_delete { queue = q .. ".dead" }
      recovering.clean()
   end)
   local last = 0
   local function publish(count)
      for _ = 1, count do
         assert(out:publish_async("", q, tostring(last)))
         last = last + 1
      end
      assert(out:wait_for_confirms(10))
   end
   publish(n)
   return q, publish, out
end

-- Counts each body that it handles: a handler, and the table.
local function counter()
   local got = { n = 0, twice = 0 }
   return function(msg)
      got[msg.body], got.n = (got[msg.body] or 0) + 1, got.n + 1
      if got[msg.body] > 1 then got.twice = got.twice + 1 end
   end, got
end

local function all_of(got, first, last)
   for i = first, last do if not got[tostring(i)] then return false end end
   return true
end

describe("ch:consume of a stream", function()
   before_each(recovering.quiet)
   after_each(recovering.clean)

   local function consume(q, offset, handler, prefetch)
      local ch, seen = recovering.open(SLOWLY)
      assert(ch:qos { prefetch_count = prefetch or 10 })
      assert(ch:consume(q, handler, { arguments = { ["x-stream-offset"] = offset } }))
      return ch, seen
   end

   -- Closes the consumer's connection, and publishes before it is back.
   local function away(seen, publish, count)
      recovering.through(seen, function()
         broker.close_connections "x"
         eventually("its loss", function() return seen.count.lost > 0 or seen.count.retrying > 0 end)
         publish(count)
      end)
   end

   for _, offset in ipairs { "first", "next" } do
      it(("goes on where it was after a loss, begun at %s (FIELD-C3)"):format(offset), function()
         local q, publish = stream(40)
         local handler, got = counter()
         local _, seen = consume(q, offset, handler)
         publish(10)
         eventually("the first ones", function() return all_of(got, 40, 49) end)
         away(seen, publish, 50)
         eventually("the others", function() return all_of(got, 50, 99) end)
         publish(5)
         eventually("later ones", function() return all_of(got, 100, 104) end)
         assert.is_true(got.twice <= 10, got.twice .. " came twice: more than were unacked")
         assert.equal(offset == "first", got["0"] ~= nil)
      end)
   end

   it("misses nothing if it had got nothing yet, begun at next (FIELD-C3)", function()
      local q, publish = stream(3)
      local handler, got = counter()
      local _, seen = consume(q, "next", handler)
      away(seen, publish, 20)
      eventually("what came meanwhile", function() return all_of(got, 3, 22) end)
   end)

   it("gets again what was not acked, and nothing before that", function()
      local q = stream(20)
      local first, again, is_lost = {}, {}, false
      local _, seen = consume(q, "first", function(msg)
         local list = is_lost and again or first
         list[#list + 1] = msg.offset
         if not is_lost and msg.offset == 7 then
            eventually("the loss", function() return is_lost end)
         end
      end, 5)
      eventually("those after the one that waits", function() return #first == 20 end)
      broker.close_connections "x"
      eventually("its loss", function() return seen.count.lost > 0 end)
      is_lost = true
      eventually("the second round", function() return #again == 13 end)
      assert.equal(7, math.min(unpack(again)))
   end)

   it("cannot nack, reject or retry; the connection lives (FIELD-C3)", function()
      local q = stream(1)
      local said = {}
      local ch = consume(q, "first", function(msg)
         for i, how in ipairs { "nack", "reject", "retry" } do
            local ok, err = msg[how](msg, how == "retry" and 1 or nil)
            said[i] = { ok, err.kind, err.hint }
         end
         return true
      end)
      eventually("its errors", function() return said[3] end)
      for i = 1, 3 do
         assert.equal("not_implemented", said[i][2])
         assert.truthy(#said[i][3] > 0)
      end
      assert.truthy(ch.connection.is_open)
   end)

   it("calls a handler that failed again, with the message unacked (FIELD-C3)", function()
      local q = stream(3)
      local calls = {}
      local ch = consume(q, "first", function(msg)
         calls[#calls + 1] = msg.offset
         if msg.offset == 0 and #calls < 5 then error "not yet" end
      end)
      eventually("its second call", function()
         local n = 0
         for _, offset in ipairs(calls) do if offset == 0 then n = n + 1 end end
         return n >= 2
      end)
      eventually("the others", function() return #calls >= 4 end)
      assert.truthy(ch.connection.is_open)
      assert.equal(1, ch.connection.epoch)
   end)

   it("is refused what a stream does not have, before the broker is asked", function()
      local ch = broker.channel()
      for text, opts in pairs {
         ["no_ack"] = { no_ack = true, arguments = { ["x-stream-offset"] = "first" } },
         ["priority"] = { priority = 3, arguments = { ["x-stream-offset"] = "first" } },
         ['must be "first"'] = { arguments = { ["x-stream-offset"] = "firsst" } },
         ["whole number"] = { arguments = { ["x-stream-offset"] = -1 } },
      } do
         local ok, err = pcall(ch.consume, ch, "q", print, opts)
         assert.is_false(ok)
         assert.truthy(tostring(err):find(text, 1, true), tostring(err))
      end
   end)

   it("passes over a message over max_message_size, and lives", function()
      local q, publish, out = stream(1)
      assert(out:publish("", q, ("x"):rep(70000)))
      publish(1)
      local handler, got = counter()
      local ch = broker.channel { max_message_size = 65536 }
      assert(ch:qos { prefetch_count = 1 })
      assert(ch:consume(q, handler, { arguments = { ["x-stream-offset"] = "first" } }))
      eventually("those before and behind it", function() return got["0"] and got["1"] end)
      assert.equal(1, ch.connection.epoch)
   end)

   it("moves to another connection where it is", function()
      local q, publish = stream(10)
      local handler, got = counter()
      local ch = consume(q, "first", handler)
      eventually("all", function() return got.n == 10 end)
      assert(ch.connection:handover())
      publish(5)
      eventually("the next ones", function() return all_of(got, 10, 14) end)
      assert.equal(0, got.twice)
   end)
end)

describe("mr.consumer of a stream", function()
   before_each(recovering.quiet)
   after_each(recovering.clean)

   -- Consuming, on a connection of its own.
   local function consumer(q, opts, options)
      local record, seen = recovering.recorder()
      local all = { on_event = record }
      for k, v in pairs(options or SLOWLY) do all[k] = v end
      local conn = broker.connect(all)
      opts.queue, opts.connection = opts.queue or q, conn
      local w = mr.consumer(opts)
      assert(w:wait(10))
      return w, seen, conn
   end

   local function names_of(folder)
      local pipe = assert(io.popen("find " .. folder .. " -type f"))
      local text = pipe:read "*a"
      pipe:close()
      return text
   end

   -- A store of the test's own.
   local function keeper(offset)
      local kept = { offset = offset, loads = 0 }
      kept.store = {
         load = function(name)
            mr.sleep(0)
            kept.loads, kept.name = kept.loads + 1, name
            return kept.offset
         end,
         save = function(_, n)
            mr.sleep(0)
            kept.offset = n
            return true
         end,
      }
      return kept
   end

   it("tries a failed message again here, unacked, then buries it, with the connection up (FIELD-C3)", function()
      local q, _, out = stream(4)
      local calls, done = {}, {}
      local w, _, conn = consumer(q, { stream = { offset = "first" }, retry = mr.retry.fixed { delay = 0.05, attempts = 3 },
         handler = function(msg)
            if msg.body ~= "1" then
               done[#done + 1] = msg.body
               return
            end
            calls[#calls + 1] = msg.attempt
            if msg.attempt == 1 then error "raised" end
            if msg.attempt == 2 then return "requeue" end
            return nil, "returned"
         end })
      local dead = broker.take(out, q .. ".dead")
      assert.same({ 1, 2, 3 }, calls)
      assert.equal("1", dead.body)
      assert.same({ 3, q, 1 }, { dead.headers["x-mr-attempt"], dead.headers["x-mr-queue"], tonumber(dead.headers["x-stream-offset"]) })
      assert.truthy(dead.headers["x-mr-reason"]:find("after 3 attempts", 1, true))
      eventually("the others", function() return #done == 3 end)
      eventually("its offset", function() return w.offset == 3 end)
      assert.equal(1, conn.epoch)
   end)

   it("goes on behind what it has handled after a loss, with several handlers (FIELD-C3)", function()
      local q, publish = stream(100)
      local handler, got = counter()
      local w, seen = consumer(q, { stream = { offset = "first" }, prefetch = 20, concurrency = 8, handler = function(msg)
         mr.sleep(0.001)
         handler(msg)
      end })
      eventually("half", function() return got.n >= 50 end)
      broker.close_connections "x"
      eventually("its loss", function() return seen.count.lost > 0 end)
      publish(100)
      eventually("all", function() return all_of(got, 0, 199) end)
      assert.equal(0, got.twice) -- what a handler had at the loss was its own
      eventually("its offset", function() return w.offset == 199 end)
   end)

   it("keeps its offset under its name, and begins behind it (FIELD-C3)", function()
      local q, publish = stream(10)
      local folder = os.tmpname()
      os.remove(folder)
      local files = require "moonrabbit.consumer.offset_file"
      local before = files.folder
      files.folder = function() return folder end
      finally(function()
         files.folder = before
         os.execute("rm -rf " .. folder)
      end)
      local handler, got = counter()
      local opts = { stream = { offset = "first", name = "billing" }, handler = handler }
      local w = consumer(q, opts)
      eventually("all", function() return got.n == 10 end)
      assert(w:cancel())
      local path = folder .. "/streams/" .. q:gsub("[^%w_%-]", function(c) return ("%%%02X"):format(c:byte()) end) .. "/billing.offset"
      eventually("the file", function() return files.load(path) == 9 end)
      publish(5)
      local again = consumer(q, opts)
      eventually("the new ones", function() return all_of(got, 10, 14) end)
      eventually("the file, while it runs", function() return files.load(path) == 14 end)
      assert.equal(0, got.twice)
      assert.equal(14, again.offset)
      assert.truthy(names_of(folder):find("billing.offset\n", 1, true))
   end)

   it("keeps its offset at the end of the program: the next run goes on behind it (FIELD-C3)", function()
      local q = stream(12)
      local folder = os.tmpname()
      os.remove(folder)
      finally(function()
         os.execute("rm -rf " .. folder)
         broker.channel():queue_delete { queue = q }
         recovering.clean()
      end)
      local path = broker.script(([[
         local mr = require "moonrabbit"
         local n = 0
         mr.consumer { queue = %q, dead_letter = false, stream = { offset = "first", name = "worker", save_every = 3600 },
            concurrency = 1, handler = function(msg)
               n = n + 1
               io.write(msg.body, " ")
               if n == 4 then mr.stop() end
            end }
      ]]):format(q))
      for _, wanted in ipairs { "0 1 2 3 ", "4 5 6 7 ", "8 9 10 11 " } do
         local out = broker.shell(("MOONRABBIT_STATE=%s AMQP_URL=%s %s run --log-level error %s"):format(folder, broker.url,
            broker.command, path), 30)
         assert.equal(wanted, out)
      end
   end)

   it("keeps its offset by functions of the program, which may wait and fail (FIELD-C3)", function()
      local q, publish = stream(10)
      local handler, got = counter()
      local kept = keeper(6)
      local w = consumer(q, { stream = { offset = "first", name = "mine", store = kept.store, save_every = 0.05 }, handler = handler })
      eventually("the rest", function() return got.n == 3 end)
      assert.is_nil(got["6"])
      eventually("its save", function() return kept.offset == 9 end)
      assert.equal("mine", kept.name)
      local save = kept.store.save
      kept.store.save = function() error "full" end
      publish(1)
      eventually("the failed save", function() return w.save_failed end)
      assert.truthy(w.save_failed:find("full", 1, true))
      kept.store.save = save
      eventually("the next one", function() return kept.offset == 10 end)
   end)

   it("does not begin anywhere else while its offset cannot be loaded (FIELD-C3)", function()
      local q = stream(5)
      local handler, got = counter()
      local kept, is_broken = keeper(2), true
      local load = kept.store.load
      kept.store.load = function(name)
         if is_broken then return nil, "the database is away" end
         return load(name)
      end
      local w = mr.consumer { queue = q, connection = broker.connect(), handler = handler,
         stream = { offset = "first", name = "mine", store = kept.store } }
      eventually("its error", function() return w.err end)
      assert.truthy(w.err.text:find("the database is away", 1, true), w.err.text)
      assert.equal(0, got.n)
      is_broken = false
      assert(w:wait(10))
      eventually("the rest", function() return got.n == 2 end)
      assert.is_nil(got["2"])
   end)

   it("finds out that an existing queue is a stream, and does as with one (FIELD-C3)", function()
      local q, _, out = stream(3)
      local calls = {}
      assert(out:queue_declare { queue = q .. ".dead", durable = true })
      local w, _, conn = consumer(q, { declare = false, dead_letter = q .. ".dead", retry = mr.retry.fixed { delay = 0.01, attempts = 2 },
         arguments = { ["x-stream-offset"] = "first" }, handler = function(msg)
            calls[#calls + 1] = msg.offset
            if msg.offset == 0 then return "reject" end
            if msg.offset == 1 then return nil, "no" end
         end })
      eventually("its calls", function() return #calls == 5 end)
      local first, second = broker.take(out, q .. ".dead"), broker.take(out, q .. ".dead")
      assert.same({ "0", "1" }, first.body < second.body and { first.body, second.body } or { second.body, first.body })
      eventually("its offset", function() return w.offset == 2 end)
      assert.equal(1, conn.epoch)
   end)

   it("waits in the handler's task for msg's other attempt, and buries by its word", function()
      local q, _, out = stream(2)
      local calls = {}
      local w = consumer(q, { stream = { offset = "first" }, handler = function(msg)
         calls[#calls + 1] = msg.offset
         if msg.offset == 0 then return msg.attempt == 1 and { retry = 0.05 } or true end
         return msg:dead_letter "not mine"
      end })
      assert.equal("not mine", broker.take(out, q .. ".dead").headers["x-mr-reason"])
      eventually("both", function() return #calls == 3 and w.offset == 1 end)
   end)

   it("acks by hand, also many at once", function()
      local q = stream(6)
      local held = {}
      local w = consumer(q, { stream = { offset = "first" }, manual_ack = true, handler = function(msg) held[#held + 1] = msg end })
      eventually("all", function() return #held == 6 end)
      assert.is_nil(w.offset)
      assert(held[1]:ack())
      assert(held[3]:ack())
      assert.equal(0, w.offset)
      assert(held[5]:ack { multiple = true })
      assert.equal(4, w.offset)
   end)

   it("passes over by a filter: that counts as handled (FIELD-C3)", function()
      local q, _, out = stream(0)
      for i = 1, 6 do assert(out:publish("", q, tostring(i), { headers = { region = i % 2 == 0 and "eu" or "us" } })) end
      local handler, got = counter()
      local w = consumer(q, { stream = { offset = "first" }, middleware = { mr.filter { region = "eu" } }, handler = handler })
      eventually("its offset", function() return w.offset == 5 end)
      assert.same({ 3, nil, 1 }, { got.n, got["1"], got["2"] })
   end)

   it("is declared by a topology, with its limits", function()
      local q = broker.name "stream"
      local out = broker.channel()
      finally(function()
         broker.channel():queue_delete { queue = q }
         recovering.clean()
      end)
      assert(mr.topology { queues = { { queue = q, queue_type = "stream", max_age = 3600, max_length_bytes = 1e8,
         stream_max_segment_size_bytes = 1e6 } } }:apply(out.connection))
      assert(out:confirm_select())
      assert(out:publish("", q, "0"))
      local handler, got = counter()
      consumer(q, { declare = false, dead_letter = false, stream = { offset = "first" }, handler = handler })
      eventually("its message", function() return got.n == 1 end)
   end)

   it("misses nothing if it had got nothing yet when its channel ended for good, begun at next", function()
      local q, publish = stream(3)
      local handler, got = counter()
      local w = consumer(q, { handler = handler, queue_type = "stream" })
      w.inner:cancel() -- as if a recovery had given it up
      w.state = "consuming"
      publish(2)
      lifecycle.hear(w, "ended", errors.new("lost", "channel"))
      assert(w:wait(10))
      eventually("what came meanwhile", function() return got["3"] and got["4"] end)
   end)

   it("goes on where it was if nobody knows whether its queue is there when the broker has cancelled it", function()
      local is_there = companion.is_there
      local q, publish = stream(3)
      for _, words in ipairs { "timeout", "home node 'b@vm' of durable queue 's' in vhost '/' is down or inaccessible" } do
         local handler, got = counter()
         local w = consumer(q, { handler = handler, stream = { offset = "first" } })
         eventually("all", function() return w.offset and got.n == w.offset + 1 and got.n >= 3 end)
         local before, asked = got.n, 0
         companion.is_there = function()
            asked, companion.is_there = asked + 1, is_there
            local err = errors.new(words == "timeout" and "timeout" or "not_found", "channel", words)
            err.recoverable = true
            return nil, err
         end
         w.inner.is_missing = true
         lifecycle.hear(w, "suspended", errors.new("cancelled", "channel"))
         eventually("its question", function() return asked == 1 end, 5)
         assert(w:wait(10))
         publish(1)
         eventually("the next one", function() return got.n == before + 1 end)
         assert.equal(0, got.twice)
         w:cancel()
      end
   end)

   it("begins at a time", function()
      local q = stream(5)
      local handler, got = counter()
      consumer(q, { stream = { offset = { timestamp = os.time() - 3600 } }, handler = handler })
      eventually("all of the last hour", function() return got.n == 5 end)
   end)

   it("begins at the first message of a new stream when its queue was deleted", function()
      local q, _, out = stream(5)
      local handler, got = counter()
      local w = consumer(q, { stream = { offset = "first" }, handler = handler })
      eventually("all", function() return got.n == 5 end)
      assert(out:queue_delete { queue = q })
      eventually("its end", function() return w.state == "recovering" end, 10)
      eventually("the new one", function() return w.state == "consuming" end, 20)
      assert(out:publish("", q, "new"))
      eventually("its message", function() return got.new end)
   end)
end)
