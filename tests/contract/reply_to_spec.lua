--- Direct reply-to, frame by frame: a name that lives as long as its consumer.
local broker = require "broker"
local wire = require "wire"

local u16, short = wire.u16, wire.short

local ANY = "amq.rabbitmq.reply-to"
local ASKS = u16(0x0200) .. short(ANY)      -- properties with that reply_to
local NO_ACK = "\2"

local function close_all()
   wire.close_all()
   broker.close_all()
end

local function begin(w, tag, bits)
   w:say(1, 60, 20, u16(0) .. short(ANY) .. short(tag) .. (bits or NO_ACK) .. wire.table {})
end

local function consume(w, tag)
   begin(w, tag)
   w:expect("basic.consume-ok", 1)
end

local function cancel(w, tag)
   w:say(1, 60, 30, short(tag) .. "\0")
   w:expect("basic.cancel-ok", 1)
end

--- A channel that answers, in confirm mode, with a queue for the questions.
local function answering()
   local w = wire.channel()
   w:say(1, 85, 10, "\0")
   w:expect("confirm.select-ok", 1)
   return w, w:queue(1)
end

--- Asks from one, and returns the name that the other is to answer to.
local function ask(from, at, q)
   from:send(wire.publish(1, "", q, "question", { properties = ASKS }))
   return broker.eventually("the question", function()
      local body, _, properties = at:get(1, q)
      return body and wire.reader(properties:sub(3)):short()
   end)
end

local function expect_delivery(w, body)
   w:expect("basic.deliver", 1)
   w:expect("header", 1)
   assert.equal(body, w:expect("body", 1).payload)
end

local function refused(w, code, text)
   local got, why = w:expect_close(1)
   assert.same({ code, text }, { got, why })
   w:open_channel(1)
end

local function silent(w)
   w:say(1, 20, 20, "\1")
   w:expect("channel.flow-ok", 1)
end

describe("direct reply-to", function()
   after_each(close_all)

   it("begins and ends with its consumer, again and again (FIELD-F6)", function()
      local asker = wire.channel()
      local answerer, q = answering()
      local names = {}
      for i = 1, 3 do
         consume(asker, "tag")
         names[i] = ask(asker, answerer, q)
         answerer:send(wire.publish(1, "", names[i], "answer"))
         answerer:expect("basic.ack", 1)
         expect_delivery(asker, "answer")
         cancel(asker, "tag")
      end
      assert.is_true(names[1] ~= names[2] and names[2] ~= names[3])
      consume(asker, "tag")
      for i = 1, 3 do -- those names are nobody's any more
         answerer:send(wire.publish(1, "", names[i], "late"))
         answerer:expect("basic.ack", 1)
      end
      silent(asker)
   end)

   it("has one consumer in a channel at a time (FIELD-F6)", function()
      local w = wire.channel()
      consume(w, "one")
      begin(w, "two")
      refused(w, 406, "PRECONDITION_FAILED - reply consumer already set")
      consume(w, "one") -- the close has ended the other
      cancel(w, "no such tag")
      begin(w, "two")
      refused(w, 406, "PRECONDITION_FAILED - reply consumer already set")
   end)

   it("cannot acknowledge, and consumes all the same afterwards (FIELD-F6)", function()
      local w = wire.channel()
      begin(w, "one", "\0")
      refused(w, 406, "PRECONDITION_FAILED - reply consumer cannot acknowledge")
      consume(w, "one")
   end)

   it("lets nobody ask who does not listen: never began, or cancelled (FIELD-F6)", function()
      local w = wire.channel()
      local q = w:queue(1)
      local function asks() w:send(wire.publish(1, "", q, "question", { properties = ASKS })) end
      asks()
      refused(w, 406, "PRECONDITION_FAILED - fast reply consumer does not exist")
      consume(w, "tag")
      asks()
      silent(w)
      cancel(w, "tag")
      asks()
      refused(w, 406, "PRECONDITION_FAILED - fast reply consumer does not exist")
      consume(w, "tag")
      asks()
      silent(w)
   end)

   it("takes a mandatory answer, and returns it: it is no queue (FIELD-F6)", function()
      local asker = wire.channel()
      local answerer, q = answering()
      consume(asker, "tag")
      local name = ask(asker, answerer, q)
      for round = 1, 2 do
         answerer:send(wire.publish(1, "", name, "answer", { bits = 1 }))
         for _, what in ipairs { "basic.return", "header", "body", "basic.ack" } do answerer:expect(what, 1) end
         if round == 1 then
            expect_delivery(asker, "answer")
            cancel(asker, "tag")
         end
      end
      silent(asker)
   end)

   it("answers at once in a transaction, and whatever becomes of it (FIELD-F6)", function()
      local asker = wire.channel()
      local answerer, q = answering()
      consume(asker, "tag")
      local name = ask(asker, answerer, q)
      local w = wire.channel()
      w:say(1, 90, 10)
      w:expect("tx.select-ok", 1)
      w:send(wire.publish(1, "", name, "answer"))
      expect_delivery(asker, "answer")
      w:say(1, 90, 30)
      w:expect("tx.rollback-ok", 1)
      silent(asker)
   end)

   it("is there for who looks as long as its consumer, and never for who binds, gets or consumes (FIELD-F6)", function()
      local asker = wire.channel()
      local answerer, q = answering()
      consume(asker, "tag")
      local name = ask(asker, answerer, q)
      local w = wire.channel()
      local gone = ("NOT_FOUND - no queue '%s' in vhost '/'"):format(name)
      for bits = 1, 2 do -- every declare is a passive one
         w:say(1, 50, 10, u16(0) .. short(name) .. string.char(bits) .. wire.table {})
         local args = w:expect("queue.declare-ok", 1).arguments
         assert.same({ name, 0, 1 }, { args:short(), args:u32(), args:u32() })
      end
      w:say(1, 50, 20, u16(0) .. short(name) .. short "amq.direct" .. short "k" .. "\0" .. wire.table {})
      refused(w, 404, gone)
      w:say(1, 60, 70, u16(0) .. short(name) .. "\1")
      refused(w, 404, gone)
      w:say(1, 60, 20, u16(0) .. short(name) .. short "" .. NO_ACK .. wire.table {})
      refused(w, 404, gone)
      w:say(1, 50, 30, u16(0) .. short(name) .. "\0")
      refused(w, 404, gone)
      w:say(1, 50, 40, u16(0) .. short(name) .. "\0") -- what is not there may be deleted
      w:expect("queue.delete-ok", 1)
      answerer:send(wire.publish(1, "", name, "answer"))
      expect_delivery(asker, "answer")
      cancel(asker, "tag")
      for bits = 1, 2 do
         w:say(1, 50, 10, u16(0) .. short(name) .. string.char(bits) .. wire.table {})
         refused(w, 404, gone)
      end
   end)
end)
