--- Arguments and properties that RabbitMQ looks at though they change little: found by telling RabbitMQ and the
-- embedded broker the same things, by chance.
local broker = require "broker"
local wire = require "wire"

local u16, u32, short = wire.u16, wire.u32, wire.short

--- What the broker says: "ok", or code and text; the channel is opened anew.
local function answer(w)
   local frame = assert(w:frame())
   if frame.name:find "%-ok$" then return "ok" end
   assert.equal("channel.close", frame.name)
   local said = ("%d %s"):format(frame.arguments:u16(), frame.arguments:short())
   w:send(wire.method(1, 20, 41) .. wire.method(1, 20, 10, short ""))
   w:expect("channel.open-ok", 1)
   return said
end

local function declare(w, name, fields)
   w:say(1, 50, 10, u16(0) .. short(name) .. "\4" .. wire.table(fields))
   return answer(w)
end

local function consume(w, name, no_ack, fields)
   w:say(1, 60, 20, u16(0) .. short(name) .. short "t" .. (no_ack and "\2" or "\0") .. wire.table(fields))
   return answer(w)
end

describe("arguments that are looked at", function()
   local w, name
   before_each(function() w, name = wire.channel(), broker.name "q" end)
   after_each(function()
      wire.close_all()
      broker.close_all()
   end)

   local function invalid(key, why)
      return ("406 PRECONDITION_FAILED - invalid arg '%s' for queue '%s' in vhost '/'%s"):format(key, name, why)
   end

   it("x-queue-version of a queue (FIELD-F8)", function()
      local key = "x-queue-version"
      assert.equal(invalid(key, ": \"unsupported queue version '3'\""), declare(w, name, { { key, "I", u32(3) } }))
      assert.equal(invalid(key, ": {value_negative,-1}"), declare(w, name, { { key, "I", u32(2 ^ 32 - 1) } }))
      assert.equal(invalid(key, ': "expected integer, got bool"'), declare(w, name, { { key, "t", "\1" } }))
      assert.equal("ok", declare(w, name, { { key, "I", u32(1) } }))
      assert.equal(("406 PRECONDITION_FAILED - inequivalent arg '%s' for queue '%s' in vhost '/': received '2' but "
         .. "current is '1'"):format(key, name), declare(w, name, { { key, "I", u32(2) } }))
   end)

   it("a void where there is a value, and where there is none (FIELD-F8)", function()
      local text = "406 PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue '%s' in vhost '/': received %s"
      assert.equal("ok", declare(w, name, { { "x-message-ttl", "I", u32(5) } }))
      assert.equal(text:format(name, "none but current is '5'"), declare(w, name, { { "x-message-ttl", "V", "" } }))
      name = broker.name "q"
      assert.equal("ok", declare(w, name, {}))
      assert.equal(text:format(name, "the value 'undefined' of type 'void' but current is none"),
         declare(w, name, { { "x-message-ttl", "V", "" } }))
   end)

   it("of a consumer, but not of a reply consumer (FIELD-F8)", function()
      assert.equal("ok", declare(w, name, {}))
      assert.equal(invalid("x-cancel-on-ha-failover", ": {unacceptable_type,signedint}"),
         consume(w, name, false, { { "x-cancel-on-ha-failover", "I", u32(1) } }))
      assert.equal(invalid("x-stream-offset", " of queue type rabbit_classic_queue"),
         consume(w, name, false, { { "x-stream-offset", "I", u32(1) } }))
      assert.equal("ok", consume(w, "amq.rabbitmq.reply-to", true, { { "x-priority", "t", "\1" } }))
   end)

   it("a full queue drops its head before it delivers what came back (FIELD-F5)", function()
      assert.equal("ok", declare(w, name, { { "x-max-length", "I", u32(1) } }))
      w:say(1, 60, 10, u32(0) .. u16(1) .. "\0")
      w:expect("basic.qos-ok", 1)
      assert.equal("ok", consume(w, name, false, {}))
      w:send(wire.publish(1, "", name, "a") .. wire.publish(1, "", name, "b"))
      w:expect("basic.deliver", 1)
      w:frame() -- its header and its body
      w:frame()
      w:say(1, 50, 10, u16(0) .. short(name) .. "\1" .. wire.table {}) -- both are there
      w:expect("queue.declare-ok", 1)
      w:say(1, 60, 120, ("\0"):rep(7) .. "\1\2") -- nack, back to the queue
      local again = w:expect("basic.deliver", 1).arguments
      again:short()
      again:take(8)
      assert.equal("\0", again:take(1), "it is the other one, for the first time")
   end)
end)
