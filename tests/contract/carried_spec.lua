--- Tables that brokers carry as bytes: no key is too long, nothing is nested too deep, and nothing is lost on the way.
local broker = require "broker"
local wire = require "wire"

local u16, u32, short, long = wire.u16, wire.u32, wire.short, wire.long

local function close_all()
   wire.close_all()
   broker.close_all()
end

local HEADERS = u16(0x2000)

--- A channel in confirm mode.
local function confirming()
   local w = wire.channel()
   w:say(1, 85, 10, "\0")
   w:expect("confirm.select-ok", 1)
   return w
end

--- Declares an exclusive queue of that name with arguments.
local function declare(w, name, fields)
   w:say(1, 50, 10, u16(0) .. short(name) .. "\4" .. wire.table(fields))
   w:expect("queue.declare-ok", 1)
   return name
end

local function publish(w, exchange, key, properties)
   w:send(wire.publish(1, exchange, key, "body", { properties = properties }))
   w:expect("basic.ack", 1)
end

--- A message of the queue, which comes by and by.
-- @treturn string its properties
local function arrived(w, queue)
   return broker.eventually("a message of " .. queue, function()
      local body, _, properties = w:get(1, queue)
      return body and properties
   end)
end

--- A table in a table in a table..., `depth` of them; or arrays.
local function nested(depth, kind)
   local bytes = ""
   for _ = 1, depth do bytes = (kind == "F" and short "k" or "") .. kind .. long(bytes) end
   return bytes:sub(kind == "F" and 4 or 2) -- without the key and the type of the outermost
end

-- What may stand in a table; names of their own.
local FIELDS = {
   { "key of 129 bytes", ("k"):rep(129), "S", long "v" },
   { "key of 255 bytes", ("k"):rep(255), "I", u32(1) },
   { "key of all bytes", "\0\r\n\255\128", "S", long "\0\r\n\255" },
   { "empty key", "", "t", "\1" },
   { "table, 33 deep", "deep", "F", nested(33, "F") },
   { "table, 1000 deep", "deep", "F", nested(1000, "F") },
   { "array, 1000 deep", "deep", "A", nested(1000, "A") },
   { "time beyond 2^63", "time", "T", ("\255"):rep(8) },
   { "array of all kinds", "all", "A",
      long("t\1b\128B\255s\128\0u\255\255I\128\0\0\0i\255\255\255\255l\128" .. ("\0"):rep(7)
         .. "f\63\128\0\0d\63\240\0\0\0\0\0\0D\2\0\0\0\7T" .. wire.u64(5) .. "S" .. long "s" .. "x" .. long "x" .. "V"
         .. "F" .. long(short "k" .. "V") .. "A" .. long "V") },
}

--- A field as bytes.
local function field(f) return short(f[2]) .. f[3] .. f[4] end

--- Are these bytes in those?
local function assert_in(bytes, all, what)
   assert.is_truthy(all:find(bytes, 1, true), what .. " is not there")
end

describe("a message whose headers are odd", function()
   after_each(close_all)

   for _, f in ipairs(FIELDS) do
      it("is a dead letter as any other: " .. f[1] .. " (FIELD-R21)", function()
         local w = confirming()
         local dead, q = w:queue(1), broker.name "q"
         declare(w, q, { { "x-dead-letter-exchange", "S", long "" }, { "x-dead-letter-routing-key", "S", long(dead) },
            { "x-message-ttl", "I", u32(0) } })
         publish(w, "", q, HEADERS .. long(field(f)))
         local properties = arrived(w, dead)
         assert_in(field(f), properties, "the header")
         assert_in(short "x-death", properties, "x-death")
         assert_in(short "x-first-death-queue" .. "S" .. long(q), properties, "the first death")
      end)

      it("may have BCC, which nobody sees: " .. f[1] .. " (FIELD-R21)", function()
         local w = confirming()
         local q, copy = w:queue(1), w:queue(1)
         local bcc = short "BCC" .. "A" .. long("S" .. long(copy))
         publish(w, "", q, HEADERS .. long(bcc .. field(f)))
         for _, name in ipairs { q, copy } do assert.equal(HEADERS .. long(field(f)), arrived(w, name)) end
         publish(w, "", q, HEADERS .. long(field(f) .. bcc)) -- and whatever the order
         for _, name in ipairs { q, copy } do assert.equal(HEADERS .. long(field(f)), arrived(w, name)) end
      end)

      it("is asked for an answer by direct reply-to: " .. f[1] .. " (FIELD-R21)", function()
         local w = confirming()
         local q = w:queue(1)
         w:say(1, 60, 20, u16(0) .. short "amq.rabbitmq.reply-to" .. short "" .. "\2" .. wire.table {})
         w:expect("basic.consume-ok", 1)
         publish(w, "", q, u16(0x2200) .. long(field(f)) .. short "amq.rabbitmq.reply-to")
         local properties = arrived(w, q)
         assert_in(long(field(f)), properties, "the header")
         assert_in("amq.rabbitmq.reply-to.", properties, "the queue's name")
      end)
   end

   it("dies again and again, and nothing grows but the count (FIELD-R21)", function()
      local w = confirming()
      local one, two, key = broker.name "one", broker.name "two", ("k"):rep(200)
      for from, to in pairs { [one] = two, [two] = one } do
         declare(w, from, { { "x-dead-letter-exchange", "S", long "" }, { "x-dead-letter-routing-key", "S", long(to) } })
      end
      publish(w, "", one, HEADERS .. long(short(key) .. "S" .. long "v"))
      local sizes = {}
      for i = 1, 10 do
         local from = i % 2 == 1 and one or two
         w:say(1, 60, 70, u16(0) .. short(from) .. "\0")
         broker.eventually("a message", function()
            local answer = w:frame()
            if answer.name == "basic.get-ok" then return true end
            w:say(1, 60, 70, u16(0) .. short(from) .. "\0")
         end)
         sizes[i] = #w:expect("header", 1).payload
         w:expect("body", 1)
         w:say(1, 60, 90, wire.u64(i) .. "\0")
      end
      for i = 4, 10 do assert.equal(sizes[3], sizes[i]) end
      assert_in(short "count" .. "l" .. wire.u64(5), arrived(w, one), "the count")
   end)

   it("is returned without BCC (FIELD-R21)", function()
      local w = confirming()
      local own = short(("k"):rep(200)) .. "V"
      w:send(wire.publish(1, "", "nowhere", "body",
         { bits = 1, properties = HEADERS .. long(short "BCC" .. "A" .. long("S" .. long "nowhere either") .. own) }))
      w:expect("basic.return", 1)
      assert.equal(HEADERS .. long(own), w:expect("header", 1).payload:sub(13))
      w:expect("body", 1)
      w:expect("basic.ack", 1)
   end)

   it("has an x-death of its own making (FIELD-R21)", function()
      local w = confirming()
      local dead, q = w:queue(1), broker.name "q"
      declare(w, q, { { "x-dead-letter-exchange", "S", long "" }, { "x-dead-letter-routing-key", "S", long(dead) },
         { "x-message-ttl", "I", u32(0) } })
      for _, own in ipairs { "S" .. long "text", "F" .. long "", "V" } do -- no list: it begins anew
         publish(w, "", q, HEADERS .. long(short "x-death" .. own))
         local properties = arrived(w, dead)
         assert_in(short "x-death" .. "A", properties, "x-death")
         assert_in(short "queue" .. "S" .. long(q), properties, "the death")
      end
   end)

   it("was dead before, as its x-first-death headers say, and x-death does not (FIELD-R21)", function()
      local w = confirming()
      local dead, q = w:queue(1), broker.name "q"
      declare(w, q, { { "x-dead-letter-exchange", "S", long "" }, { "x-dead-letter-routing-key", "S", long(dead) },
         { "x-message-ttl", "I", u32(0) } })
      publish(w, "", q, HEADERS .. long(short "x-first-death-queue" .. "S" .. long "other"))
      local properties = arrived(w, dead)
      assert_in(short "x-first-death-queue" .. "S" .. long(q), properties, "the queue")
      assert.is_nil(properties:find(short "x-first-death-queue" .. "S" .. long "other", 1, true))
   end)
end)

describe("arguments that are odd", function()
   after_each(close_all)

   for _, f in ipairs(FIELDS) do
      it("are taken with declares, binds and consumes: " .. f[1] .. " (FIELD-R21)", function()
         local w = confirming()
         local q, x = broker.name "q", broker.name "x"
         local arguments = { { f[2], f[3], f[4] } }
         declare(w, q, arguments)
         w:say(1, 40, 10, u16(0) .. short(x) .. short "headers" .. "\4" .. wire.table(arguments))
         w:expect("exchange.declare-ok", 1)
         w:say(1, 50, 20, u16(0) .. short(q) .. short(x) .. short "" .. "\0" .. wire.table(arguments))
         w:expect("queue.bind-ok", 1)
         publish(w, x, "", HEADERS .. long(field(f)))
         assert.equal(HEADERS .. long(field(f)), arrived(w, q))
         publish(w, x, "", HEADERS .. long(short "other" .. "V"))
         assert.is_nil((w:get(1, q)))
         w:say(1, 60, 20, u16(0) .. short(q) .. short "" .. "\2" .. wire.table(arguments))
         w:expect("basic.consume-ok", 1)
         w:say(1, 50, 50, u16(0) .. short(q) .. short(x) .. short "" .. wire.table(arguments))
         w:expect("queue.unbind-ok", 1)
      end)
   end

   it("make a binding of its own by order of fields and types (FIELD-R21)", function()
      local w = confirming()
      local q, x = w:queue(1), broker.name "x"
      w:say(1, 40, 10, u16(0) .. short(x) .. short "fanout" .. "\4" .. wire.table {}) -- auto-delete: it goes with its last binding
      w:expect("exchange.declare-ok", 1)
      local function bind(fields)
         w:say(1, 50, 20, u16(0) .. short(q) .. short(x) .. short "" .. "\0" .. wire.table(fields))
         w:expect("queue.bind-ok", 1)
      end
      local function unbind(fields)
         w:say(1, 50, 50, u16(0) .. short(q) .. short(x) .. short "" .. wire.table(fields))
         w:expect("queue.unbind-ok", 1)
      end
      local function is_there()
         w:open_channel(2)
         w:say(2, 40, 10, u16(0) .. short(x) .. short "fanout" .. "\1" .. wire.table {})
         local answer = w:frame()
         if answer.name == "exchange.declare-ok" then
            w:say(2, 20, 40, u16(200) .. short "" .. u16(0) .. u16(0))
            w:expect("channel.close-ok", 2)
            return true
         end
         w:say(2, 20, 41)
         return false
      end
      local a, b = { "a", "I", u32(1) }, { "b", "V", "" }
      bind { a, b }
      bind { b, a } -- the same
      unbind { { "a", "l", wire.u64(1) }, b } -- another
      assert.is_true(is_there())
      unbind { a }
      assert.is_true(is_there())
      unbind { b, a }
      assert.is_false(is_there())
   end)
end)
