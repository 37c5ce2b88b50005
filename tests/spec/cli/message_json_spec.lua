--- message_json: messages as JSON, and back.
-- Covers: lua/moonrabbit/cli/carried.lua by properties
-- SPDX-License-Identifier: MIT
local base64 = require "moonrabbit.base.base64"
local carried = require "moonrabbit.cli.carried"
local json = require "moonrabbit.base.json"
local message_json = require "moonrabbit.cli.message_json"
local mr = require "moonrabbit"
local value = require "moonrabbit.base.value"

local ch, queue

-- A message with these properties and this body, as JSON.
local function through(raw, body)
   local publishing, ticket = require "moonrabbit.channel.publish", require "moonrabbit.channel.confirm"
   local t = ticket.new(0)
   assert(publishing.post(ch, t, "", queue, body, { mandatory = true }, raw))
   assert(t:wait())
   local msg = assert(ch:get(queue))
   msg:ack()
   return message_json.line(msg), require("moonrabbit.channel.message").raw(msg)
end

describe("a message as JSON", function()
   setup(function()
      ch = assert(mr.connect("memory://"):channel())
      assert(ch:confirm_select())
      queue = assert(ch:queue_declare { exclusive = true }).queue
   end)
   teardown(function() ch.connection:close() end)

   local HEADERS = { text = "a\n\"b\"", yes = true, no = false, whole = value.of_type("l", 7), large = 2 ^ 40,
      huge = 9007199254740993LL, real = 2.5, round = value.of_type("d", 5), single = value.of_type("f", 0.5),
      byte = value.of_type("b", -7), octet = value.of_type("B", 200), short = value.of_type("s", -300),
      word = value.of_type("u", 65535), int = value.of_type("I", -70000), long = value.of_type("i", 4294967295),
      at = value.timestamp(1700000000), money = value.decimal(1999, 2), raw = value.bytes "\0\255", none = value.null,
      list = value.array { "a", 1, value.null, value.array {}, { deep = value.of_type("s", 1) } }, empty = value.array {},
      object = { a = { b = "c" } }, nothing = {}, ["$T"] = "a name", odd = { ["$T"] = 1 }, bytes_in_text = "\255\254",
      [("k"):rep(128)] = 1 }

   it("keeps the type of each header and property, without the encoded ones", function()
      local all = { headers = HEADERS, content_type = "text/plain", content_encoding = "gzip", correlation_id = "c", reply_to = "r",
         expiration = "60000", message_id = "m\0", type = "t", user_id = "guest", app_id = "a", cluster_id = "x", delivery_mode = 2,
         priority = 9, timestamp = 1700000000 }
      local text, raw = through(message_json.encode(all), "body")
      assert.is_nil(text:find("properties_base64", 1, true), text)
      local back = assert(message_json.read(text))
      assert.is_true(message_json.is_same(message_json.properties(raw), message_json.properties(back.raw)))
      assert.equal('T', message_json.properties(back.raw).headers.at.type)
      assert.same({ queue, "", queue, "body" }, { back.queue, back.exchange, back.routing_key, back.body })
   end)

   it("adds no property that was not there", function()
      local text = through("\0\0", "")
      assert.same({}, json.decode(text).properties)
      assert.equal("\0\0", message_json.read(text).raw)
   end)

   it("adds the encoded properties where JSON cannot keep them", function()
      local wide = base64.decode "IAAAAAAWAWFMAAAAAAAAAAcBYmQAAAAAAAAAAA==" -- {a = 7 as 'L', b = 0.0}
      local text, raw = through(wide, "")
      assert.equal(base64.encode(raw), json.decode(text).properties_base64)
      assert.equal(raw, message_json.read(text).raw)
   end)

   it("keeps numbers that are none", function()
      local text = through(message_json.encode { headers = { a = value.of_type("d", math.huge),
         b = value.of_type("f", -math.huge) } }, "")
      assert.is_truthy(text:find('{"$d":"inf"}', 1, true))
      local headers = message_json.properties(message_json.read(text).raw).headers
      assert.same({ math.huge, -math.huge }, { headers.a.value, headers.b.value })
   end)

   it("has bodies as text or base64, byte for byte", function()
      for _, body in ipairs { "", "gr\195\188n \0\1\127 \226\128\168", "\255\254\0", ("x"):rep(5000) .. "\195" } do
         assert.equal(body, message_json.read((through("\0\0", body))).body)
      end
   end)

   it("says what is wrong with a line", function()
      for line, why in pairs { ["x"] = "", ["[]"] = "body or body_base64 is missing", ["3"] = "must be an object",
         ['{"body":3}'] = "body must be a string", ['{"body_base64":"*"}'] = "base64",
         ['{"body":"","properties":{"colour":"red"}}'] = "colour", ['{"body":"","properties":{"headers":{"a":{"$Z":1}}}}'] = '"Z"',
         ['{"body":"","properties":{"priority":"x"}}'] = "priority",
         ['{"body":"","properties":{"headers":{"a":{"$b":1000}}}}'] = "", ['{"body":"","properties_base64":"AAAA"}'] = "",
         ['{"body":"","properties":{"headers":{"a":{"$I":"x"}}}}'] = "must be a number", ['{"body":"","properties":7}'] = "object" } do
         local made, text = message_json.read(line)
         assert.is_nil(made, line)
         assert.is_truthy(text:find(why, 1, true) and not text:find ".lua:", line .. " " .. text)
      end
   end)
end)

describe("carried properties", function()
   it("are the same bytes, but for what would send the message elsewhere or be refused", function()
      local plain = message_json.encode { headers = { a = 1 }, user_id = "guest", expiration = "1" }
      assert.equal(plain, carried.properties(plain, "guest"))
      local raw = message_json.encode { headers = { CC = value.array { "q" }, BCC = value.array { "q" }, ["x-delivery-count"] = 1,
         ["x-death"] = value.null, a = value.of_type("s", 1) }, user_id = "other" }
      assert.same({ headers = { ["x-death"] = value.null, a = value.of_type("s", 1), ["x-mr-user-id"] = "other" } },
         message_json.properties(carried.properties(raw, "guest")))
      assert.same({ headers = { b = "c", a = value.of_type("s", 1) }, user_id = "other" },
         message_json.properties(carried.properties(raw, "other", { b = "c" }, { ["x-death"] = true })))
   end)
end)
