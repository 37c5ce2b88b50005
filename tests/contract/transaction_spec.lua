--- Transactions, frame by frame: what is staged, and when it counts.
local broker = require "broker"
local wire = require "wire"

local u16, u32, u64, short, long = wire.u16, wire.u32, wire.u64, wire.short, wire.long

local function close_all()
   wire.close_all()
   broker.close_all()
end

--- A channel with a transaction.
local function transacting()
   local w = wire.channel()
   w:say(1, 90, 10)
   w:expect("tx.select-ok", 1)
   return w
end

local function declare(w, name, channel)
   w:say(channel or 1, 50, 10, u16(0) .. short(name) .. "\4" .. wire.table {})
   w:expect("queue.declare-ok", channel or 1)
   return name
end

local function delete(w, name)
   w:say(1, 50, 40, u16(0) .. short(name) .. "\0")
   w:expect("queue.delete-ok", 1)
end

local function commit(w)
   w:say(1, 90, 20)
   w:expect("tx.commit-ok", 1)
end

local function rollback(w)
   w:say(1, 90, 30)
   w:expect("tx.rollback-ok", 1)
end

local MANDATORY = { bits = 1 }

--- The next thing that comes is this body's return.
local function expect_return(w, body)
   local args = w:expect("basic.return", 1).arguments
   assert.equal(312, args:u16())
   assert.equal("NO_ROUTE", args:short())
   w:expect("header", 1)
   assert.equal(body, w:expect("body", 1).payload)
end

--- Publishes outside of the transaction, on channel 2.
local function fill(w, queue, bodies)
   w:open_channel(2)
   w:say(2, 85, 10, "\0")
   w:expect("confirm.select-ok", 2)
   for _, body in ipairs(bodies) do
      w:send(wire.publish(2, "", queue, body))
      w:expect("basic.ack", 2)
   end
end

--- Takes `count` messages by basic.get, unsettled.
local function take(w, queue, count)
   for _ = 1, count do
      w:say(1, 60, 70, u16(0) .. short(queue) .. "\0")
      w:expect("basic.get-ok", 1)
      w:expect("header", 1)
      w:expect("body", 1)
   end
end

--- All bodies that are ready, asked for on a channel of its own; each with a mark when it is redelivered.
local function ready(w, queue)
   local all = {}
   w:open_channel(3)
   while true do
      w:say(3, 60, 70, u16(0) .. short(queue) .. "\0")
      local answer = w:frame()
      if answer.name ~= "basic.get-ok" then break end
      answer.arguments:u64()
      local again = answer.arguments:u8() ~= 0
      w:expect("header", 3)
      all[#all + 1] = w:expect("body", 3).payload .. (again and "!" or "")
   end
   w:say(3, 20, 40, u16(200) .. short "" .. u16(0) .. u16(0))
   w:expect("channel.close-ok", 3)
   return table.concat(all, " ")
end

local ACK, ACK_ALL = "\0", "\1"
local function ack(w, tag, bits) w:say(1, 60, 80, u64(tag) .. (bits or ACK)) end
local function nack(w, tag, bits) w:say(1, 60, 120, u64(tag) .. (bits or "\0")) end
local function reject(w, tag, bits) w:say(1, 60, 90, u64(tag) .. (bits or "\0")) end

describe("a mandatory message of a transaction", function()
   after_each(close_all)

   it("is returned at the commit when its queue is gone by then (FIELD-F2)", function()
      local w = transacting()
      local q = declare(w, broker.name "q")
      w:send(wire.publish(1, "", q, "x", MANDATORY))
      delete(w, q)
      w:say(1, 90, 20)
      expect_return(w, "x")
      w:expect("tx.commit-ok", 1)
   end)

   it("is returned at the commit when it had no queue to begin with (FIELD-F2)", function()
      local w = transacting()
      w:send(wire.publish(1, "", "nowhere", "x", MANDATORY))
      w:check(1) -- nothing is said before
      w:say(1, 90, 20)
      expect_return(w, "x")
      w:expect("tx.commit-ok", 1)
   end)

   it("is not returned while one of its queues is left (FIELD-F2)", function()
      local w = transacting()
      local one, two = declare(w, broker.name "q"), declare(w, broker.name "q")
      local cc = u16(0x2000) .. wire.table { { "CC", "A", long("S" .. long(two)) } }
      w:send(wire.publish(1, "", one, "x", { bits = 1, properties = cc }))
      delete(w, one)
      commit(w)
      assert.equal("x", ready(w, two))
   end)

   it("goes to a queue that was declared anew under its name (FIELD-F2)", function()
      local w = transacting()
      local q = declare(w, broker.name "q")
      w:send(wire.publish(1, "", q, "x", MANDATORY))
      delete(w, q)
      declare(w, q)
      commit(w)
      assert.equal("x", ready(w, q))
   end)

   it("is returned though its exchange is gone, and in its turn (FIELD-F2)", function()
      local w = transacting()
      local q, x = declare(w, broker.name "q"), broker.name "x"
      w:say(1, 40, 10, u16(0) .. short(x) .. short "fanout" .. "\0" .. wire.table {})
      w:expect("exchange.declare-ok", 1)
      w:say(1, 50, 20, u16(0) .. short(q) .. short(x) .. short "" .. "\0" .. wire.table {})
      w:expect("queue.bind-ok", 1)
      w:send(wire.publish(1, x, "", "1", MANDATORY) .. wire.publish(1, "", "nowhere", "2", MANDATORY)
         .. wire.publish(1, "", q, "3") .. wire.publish(1, x, "", "4", MANDATORY))
      w:say(1, 40, 20, u16(0) .. short(x) .. "\0")
      w:expect("exchange.delete-ok", 1)
      delete(w, q)
      w:say(1, 90, 20)
      for _, body in ipairs { "1", "2", "4" } do expect_return(w, body) end
      w:expect("tx.commit-ok", 1)
   end)

   it("is forgotten by a rollback and by a close, and not returned (FIELD-F2)", function()
      local w = transacting()
      w:send(wire.publish(1, "", "nowhere", "x", MANDATORY))
      rollback(w)
      commit(w)
      w:send(wire.publish(1, "", "nowhere", "x", MANDATORY))
      w:say(1, 20, 40, u16(200) .. short "" .. u16(0) .. u16(0))
      w:expect("channel.close-ok", 1)
   end)
end)

describe("a settlement of a transaction", function()
   after_each(close_all)

   for _, recover in ipairs { { "basic.recover", 110 }, { "basic.recover-async", 100 } } do
      it("stays staged over " .. recover[1] .. " (FIELD-F3)", function()
         local w = transacting()
         local q = declare(w, broker.name "q")
         fill(w, q, { "acked", "rejected", "nacked", "put back", "open" })
         take(w, q, 5)
         ack(w, 1)
         reject(w, 2)
         nack(w, 3)
         reject(w, 4, "\1")
         w:say(1, 60, recover[2], "\1")
         if recover[2] == 110 then w:expect("basic.recover-ok", 1) end
         assert.equal("open!", ready(w, q)) -- which gives it back once more
         commit(w)
         assert.equal("put back! open!", ready(w, q))
      end)
   end

   it("is undone by a rollback, and can be said anew (FIELD-F3)", function()
      local w = transacting()
      local q = declare(w, broker.name "q")
      fill(w, q, { "1", "2", "3" })
      take(w, q, 3)
      ack(w, 3, ACK_ALL)
      w:say(1, 60, 110, "\1")
      w:expect("basic.recover-ok", 1)
      assert.equal("", ready(w, q))
      rollback(w)
      assert.equal("", ready(w, q)) -- they are unsettled, as before
      ack(w, 2)
      commit(w)
      w:say(1, 60, 110, "\1")
      w:expect("basic.recover-ok", 1)
      assert.equal("1! 3!", ready(w, q))
   end)

   it("goes with its channel: all comes back (FIELD-F3)", function()
      local w = transacting()
      local q = declare(w, broker.name "q")
      fill(w, q, { "1", "2" })
      take(w, q, 2)
      ack(w, 1)
      reject(w, 2)
      w:say(1, 20, 40, u16(200) .. short "" .. u16(0) .. u16(0))
      w:expect("channel.close-ok", 1)
      assert.equal("1! 2!", ready(w, q))
   end)

   it("holds back the prefetch until the commit (FIELD-F3)", function()
      local w = transacting()
      local q = declare(w, broker.name "q")
      fill(w, q, { "1", "2" })
      w:say(1, 60, 10, u32(0) .. u16(1) .. "\0")
      w:expect("basic.qos-ok", 1)
      w:say(1, 60, 20, u16(0) .. short(q) .. short "" .. "\0" .. wire.table {})
      w:expect("basic.consume-ok", 1)
      w:expect("basic.deliver", 1)
      w:expect("header", 1)
      w:expect("body", 1)
      ack(w, 1)
      w:check(1) -- and no second message
      w:say(1, 90, 20)
      local seen = {}
      for _ = 1, 2 do -- in whatever order: deliveries come from elsewhere
         local frame = w:frame()
         seen[frame.name] = true
         if frame.name == "basic.deliver" then
            w:expect("header", 1)
            w:expect("body", 1)
         end
      end
      assert.same({ ["tx.commit-ok"] = true, ["basic.deliver"] = true }, seen)
   end)

   it("cannot be staged twice (FIELD-F3)", function()
      local w = transacting()
      local q = declare(w, broker.name "q")
      fill(w, q, { "1" })
      take(w, q, 1)
      ack(w, 1)
      w:say(1, 60, 110, "\1")
      w:expect("basic.recover-ok", 1)
      ack(w, 1)
      local code, text = w:expect_close(1)
      assert.same({ 406, "PRECONDITION_FAILED - unknown delivery tag 1" }, { code, text })
      assert.equal("1!", ready(w, q))
   end)
end)
