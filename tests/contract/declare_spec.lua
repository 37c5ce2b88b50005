--- Declares, over all combinations of their flags, arguments and names: each answer is RabbitMQ's, code and text.
local broker = require "broker"
local wire = require "wire"

local u16, u32, u64, short, long = wire.u16, wire.u32, wire.u64, wire.short, wire.long

local function close_all()
   wire.close_all()
   broker.close_all()
end

local PASSIVE, DURABLE, EXCLUSIVE, AUTO_DELETE = 1, 2, 4, 8      -- of queue.declare
local X_DURABLE, X_AUTO_DELETE, X_INTERNAL = 2, 4, 8             -- of exchange.declare

local function has(bits, bit) return math.floor(bits / bit) % 2 == 1 end

local function declare_queue(w, name, bits, fields)
   return w:say(1, 50, 10, u16(0) .. short(name) .. string.char(bits) .. wire.table(fields or {}))
end

local function declare_exchange(w, name, kind, bits, fields)
   return w:say(1, 40, 10, u16(0) .. short(name) .. short(kind) .. string.char(bits) .. wire.table(fields or {}))
end

--- What the broker says: "ok", or code and text; the channel is opened anew.
local function answer(w)
   local frame = assert(w:frame())
   if frame.name:find "%-ok$" then return "ok" end
   assert.equal("channel.close", frame.name)
   local said = ("%d %s"):format(frame.arguments:u16(), frame.arguments:short())
   w:send(wire.method(1, 20, 41) .. wire.method(1, 20, 10, short "")) -- together, or TCP waits for an ack
   w:expect("channel.open-ok", 1)
   return said
end

local function locked(name)
   return ("405 RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '%s' in vhost '/'. It could be "
      .. "originally declared on another connection or the exclusive property value does not match that of the original "
      .. "declaration."):format(name)
end

-- Reply texts have 255 bytes at most; a longer one ends in three dots.
local function fit(said)
   local code, text = said:match "^(%d+) (.*)$"
   return code and #text > 255 and ("%s %s..."):format(code, text:sub(1, 252)) or said
end

local function inequivalent(what, name, argument, received, current)
   return ("406 PRECONDITION_FAILED - inequivalent arg '%s' for %s '%s' in vhost '/': received '%s' but current is '%s'")
      :format(argument, what, name, tostring(received), tostring(current))
end

--- RabbitMQ's answer to declaring a queue that is there with `old` flags. Recorded from 3.10.8, all combinations.
local function expected(name, old, new, is_owner)
   if has(old, EXCLUSIVE) and not is_owner then return locked(name) end
   if has(new, PASSIVE) then return "ok" end
   if has(old, EXCLUSIVE) ~= has(new, EXCLUSIVE) then return locked(name) end
   local was = has(old, DURABLE) and not has(old, EXCLUSIVE) -- an exclusive queue is never durable
   local is = has(new, DURABLE) and not has(new, EXCLUSIVE)
   if was ~= is then return inequivalent("queue", name, "durable", is, was) end
   was, is = has(old, AUTO_DELETE), has(new, AUTO_DELETE)
   if was ~= is then return inequivalent("queue", name, "auto_delete", is, was) end
   return "ok"
end

describe("declaring what is there", function()
   after_each(close_all)

   for old = 0, 14, 2 do
      it(("a queue with flags %d, by all flags, by its connection and by another (FIELD-F8)"):format(old), function()
         local owner, other = wire.channel(), wire.channel()
         local name = broker.name "q"
         declare_queue(owner, name, old)
         assert.equal("ok", answer(owner))
         for new = 0, 15 do
            for _, w in ipairs { owner, other } do
               declare_queue(w, name, new)
               assert.equal(fit(expected(name, old, new, w == owner)), answer(w),
                  ("%d, then %d by %s"):format(old, new, w == owner and "its own" or "another"))
            end
         end
         owner:say(1, 50, 40, u16(0) .. short(name) .. "\0")
         owner:expect("queue.delete-ok", 1)
      end)
   end

   it("an exchange, by all flags and types (FIELD-F8)", function()
      local w = wire.channel()
      local flags = { { "durable", X_DURABLE }, { "auto_delete", X_AUTO_DELETE }, { "internal", X_INTERNAL } }
      for old = 0, 14, 2 do
         local name = broker.name "x"
         declare_exchange(w, name, "direct", old)
         assert.equal("ok", answer(w))
         for new = 0, 15 do
            local wanted = "ok"
            for i = #flags, 1, -1 do
               local was, is = has(old, flags[i][2]), has(new, flags[i][2])
               if was ~= is then wanted = inequivalent("exchange", name, flags[i][1], is, was) end
            end
            declare_exchange(w, name, "direct", new)
            assert.equal(fit(has(new, PASSIVE) and "ok" or wanted), answer(w), ("%d, then %d"):format(old, new))
         end
         declare_exchange(w, name, "fanout", old)
         assert.equal(fit(inequivalent("exchange", name, "type", "fanout", "direct")), answer(w))
         w:say(1, 40, 20, u16(0) .. short(name) .. "\0")
         w:expect("exchange.delete-ok", 1)
      end
   end)

   local TEN = { I = u32(10), l = u64(10), b = "\10", B = "\10", s = "\0\10", u = "\0\10", i = u32(10), T = u64(10),
      d = "\64\36\0\0\0\0\0\0", f = "\65\32\0\0", S = long "10", x = long "10", t = "\1" }

   it("with a number of another type: whole ones are equal, 10.0 is not 10 (FIELD-F8)", function()
      local w = wire.channel()
      for _, argument in ipairs { "x-max-length", "x-message-ttl", "x-max-priority", "x-max-length-bytes" } do
         for _, old in ipairs { "I", "l" } do
            local name = broker.name "q"
            declare_queue(w, name, EXCLUSIVE, { { argument, old, TEN[old] } })
            assert.equal("ok", answer(w))
            for new, ten in pairs(TEN) do
               declare_queue(w, name, EXCLUSIVE, { { argument, new, ten } })
               local wanted = ("IlbBsuiT"):find(new, 1, true) and "ok"
                  or inequivalent("queue", name, argument, ({ d = "10.0", f = "10.0", t = "true" })[new] or "10", "10")
               assert.equal(fit(wanted), answer(w), ("%s %s, then %s"):format(argument, old, new))
            end
         end
      end
   end)

   it("with text of another type, or what is no text (FIELD-F8)", function()
      local w = wire.channel()
      local name, argument = broker.name "q", "x-dead-letter-exchange"
      declare_queue(w, name, EXCLUSIVE, { { argument, "S", long "10" } })
      assert.equal("ok", answer(w))
      for new, ten in pairs(TEN) do
         declare_queue(w, name, EXCLUSIVE, { { argument, new, ten } })
         local wanted = ("Sx"):find(new, 1, true) and "ok"
            or inequivalent("queue", name, argument, ({ d = "10.0", f = "10.0", t = "true" })[new] or "10", "10")
         assert.equal(fit(wanted), answer(w), new)
      end
   end)
end)

describe("line ends in a name", function()
   after_each(close_all)

   local function with_line_ends(name) return "\r" .. name:sub(1, 2) .. "\n\r" .. name:sub(3) .. "\r\n" end

   it("are taken out where something is declared, bound or deleted (FIELD-F8)", function()
      local w = wire.channel()
      local q, x = broker.name "q", broker.name "x"
      local odd_q, odd_x = with_line_ends(q), with_line_ends(x)
      declare_queue(w, odd_q, EXCLUSIVE)
      assert.equal(q, w:expect("queue.declare-ok", 1).arguments:short())
      declare_queue(w, odd_q, PASSIVE)
      assert.equal(q, w:expect("queue.declare-ok", 1).arguments:short())
      declare_exchange(w, odd_x, "fanout", 0)
      assert.equal("ok", answer(w))
      declare_exchange(w, x, "fanout", PASSIVE)
      assert.equal("ok", answer(w))
      declare_exchange(w, odd_x, "direct", 0)
      assert.equal(fit(inequivalent("exchange", x, "type", "direct", "fanout")), answer(w))
      w:say(1, 50, 20, u16(0) .. short(odd_q) .. short(odd_x) .. short "" .. "\0" .. wire.table {})
      w:expect("queue.bind-ok", 1)
      w:send(wire.publish(1, x, "", "body"))
      broker.eventually("the message", function() return w:get(1, q) end)
      w:say(1, 50, 50, u16(0) .. short(odd_q) .. short(odd_x) .. short "" .. wire.table {})
      w:expect("queue.unbind-ok", 1)
      w:say(1, 40, 30, u16(0) .. short(odd_x) .. short "amq.\rdirect" .. short "k" .. "\0" .. wire.table {})
      w:expect("exchange.bind-ok", 1)
      w:say(1, 40, 40, u16(0) .. short(odd_x) .. short "amq.\rdirect" .. short "k" .. "\0" .. wire.table {})
      w:expect("exchange.unbind-ok", 1)
      w:say(1, 40, 20, u16(0) .. short(odd_x) .. "\0")
      w:expect("exchange.delete-ok", 1)
      declare_exchange(w, x, "fanout", PASSIVE)
      assert.equal(("404 NOT_FOUND - no exchange '%s' in vhost '/'"):format(x), answer(w))
      w:say(1, 50, 40, u16(0) .. short(odd_q) .. "\0")
      w:expect("queue.delete-ok", 1)
      declare_queue(w, q, PASSIVE)
      assert.equal(("404 NOT_FOUND - no queue '%s' in vhost '/'"):format(q), answer(w))
   end)

   it("count where it is used (FIELD-F8)", function()
      local w = wire.channel()
      local q = broker.name "q"
      local odd = q .. "\r\n"
      declare_queue(w, q, EXCLUSIVE)
      assert.equal("ok", answer(w))
      local function refused() -- the embedded broker shows such bytes as \x0d: docs/embedded-broker.md
         local said = answer(w):gsub("\\x0d", "\r"):gsub("\\x0a", "\n")
         return said
      end
      local none = ("404 NOT_FOUND - no queue '%s' in vhost '/'"):format(odd)
      w:say(1, 50, 30, u16(0) .. short(odd) .. "\0")
      assert.equal(none, refused())
      w:say(1, 60, 70, u16(0) .. short(odd) .. "\1")
      assert.equal(none, refused())
      w:say(1, 60, 20, u16(0) .. short(odd) .. short "" .. "\2" .. wire.table {})
      assert.equal(none, refused())
      w:send(wire.publish(1, "\r\n", q, "body"))
      assert.equal("404 NOT_FOUND - no exchange '\r\n' in vhost '/'", refused())
      w:send(wire.publish(1, "", odd, "body", { bits = 1 }))
      w:expect("basic.return", 1)
   end)

   it("and nothing else is no name: a queue gets one, an exchange is the default one (FIELD-F8)", function()
      local w = wire.channel()
      declare_queue(w, "\r\n", EXCLUSIVE)
      assert.truthy(w:expect("queue.declare-ok", 1).arguments:short():find "^amq%.gen%-")
      declare_queue(w, "\n", PASSIVE)
      assert.equal("404 NOT_FOUND - no queue '' in vhost '/'", answer(w))
      declare_exchange(w, "\n\n", "fanout", 0)
      assert.equal("403 ACCESS_REFUSED - operation not permitted on the default exchange", answer(w))
      declare_queue(w, "\ramq.mine", 0)
      assert.equal("403 ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'", answer(w))
   end)
end)

describe("start-ok", function()
   after_each(close_all)

   --- What the broker says to a start-ok whose payload has that many bytes.
   local function start_ok(size)
      local w = wire.connect()
      w:send "AMQP\0\0\9\1"
      w:expect("connection.start", 0)
      local function frame(padding)
         return wire.method(0, 10, 11, wire.table { { "padding", "S", long(("x"):rep(padding)) } } .. short "PLAIN"
            .. long(wire.plain("guest", "guest")) .. short "en_US")
      end
      local bare = #frame(0) - 8
      w:send(frame(size - bare))
      local said, why = w:frame()
      return said and said.name or why
   end

   it("may fill the smallest frame_max and no more (FIELD-F8)", function()
      assert.equal("connection.tune", start_ok(4095))
      assert.equal("connection.tune", start_ok(4096))
      assert.equal("closed", start_ok(4097))
      assert.equal("closed", start_ok(100000))
   end)
end)
