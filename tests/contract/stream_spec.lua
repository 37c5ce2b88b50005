--- Streams: consumed with ch:consume and with mr.consumer. RabbitMQ only: the embedded broker has none.
local mr = require "moonrabbit"
local broker = require "broker"
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
            mr.sleep(60)
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
