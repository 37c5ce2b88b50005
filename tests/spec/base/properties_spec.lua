--- properties: AMQP's 14 and our three.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local properties = require "moonrabbit.base.properties"
local value = require "moonrabbit.base.value"

local function trip(props)
   local buffer, size = properties.encode(props)
   local d = ffi.new "mr_delivery"
   local raw = ffi.string(buffer, size)
   d.properties, d.properties_size = raw, size
   return properties.decode(d), size
end

local function complaint(props)
   local ok, why = pcall(function() trip(props) end)
   assert.is_false(ok)
   return why
end

describe("properties", function()
   it("come back as they went", function()
      local all = { content_type = "a", content_encoding = "b", correlation_id = "c", reply_to = "d", expiration = "e",
         message_id = "f", type = "g", user_id = "h", app_id = "i", cluster_id = "j", delivery_mode = 1, priority = 9,
         timestamp = 1700000000, headers = { x = "y" } }
      assert.same(all, (trip(all)))
   end)

   it("tell an empty string from none", function()
      assert.equal("", trip({ message_id = "" }).message_id)
      assert.is_nil(trip({}).message_id)
   end)

   it("are persistent unless told otherwise (X22)", function()
      assert.equal(2, trip({}).delivery_mode)
      assert.equal(2, trip({ persistent = true }).delivery_mode)
      assert.equal(1, trip({ persistent = false }).delivery_mode)
      assert.equal(1, trip({ persistent = true, delivery_mode = 1 }).delivery_mode)
   end)

   it("take a timestamp as number, as 64-bit integer and as the object that headers have", function()
      assert.equal(5, trip({ timestamp = 5 }).timestamp)
      assert.equal(5, trip({ timestamp = 5ULL }).timestamp)
      assert.equal(5, trip({ timestamp = value.timestamp(5) }).timestamp)
      for _, wrong in ipairs { "5", 1.5, -1, 2 ^ 64, value.int(5), true } do
         assert.is_truthy(complaint({ timestamp = wrong }):find('option "timestamp"', 1, true))
      end
   end)

   it("keep what belongs to the publish alone off the wire", function()
      local _, plain = trip {}
      local _, full = trip { mandatory = true, timeout = 5, persistent = true }
      assert.equal(plain, full)
   end)

   it("name the one that is unknown, and the nearest", function()
      assert.is_truthy(complaint({ mesage_id = "x" }):find('unknown option "mesage_id": did you mean "message_id"?', 1, true))
      assert.is_truthy(complaint({ content_type = "x", tiemout = 1 }):find('"timeout"', 1, true))
   end)

   it("name the one that is unknown when their table was used before", function()
      local props = { message_id = "x", priority = 1 }
      for _ = 1, 9 do trip(props) end
      props.mesage_id = "y"
      assert.is_truthy(complaint(props):find('unknown option "mesage_id"', 1, true))
      props.mesage_id, props.priority, props.priorty = nil, nil, 2 -- as many names as before
      assert.is_truthy(complaint(props):find('unknown option "priorty"', 1, true))
      props.priorty = nil
      assert.equal("x", trip(props).message_id)
      props[1] = "z"
      assert.is_truthy(complaint(props):find('unknown option "1"', 1, true))
   end)

   it("name the one that is unknown soon when their table was used thousands of times in a row", function()
      local props = { message_id = "x" }
      for _ = 1, 5000 do properties.encode(props) end
      props.mesage_id = "y"
      local rounds, ok = 0, true
      while ok and rounds < 1000 do ok, rounds = pcall(properties.encode, props), rounds + 1 end
      assert.is_false(ok)
      assert.is_true(rounds <= 32, rounds)
      assert.is_truthy(complaint(props):find('unknown option "mesage_id"', 1, true))
      assert.equal("x", trip({ message_id = "x" }).message_id)
   end)

   it("name the one of a wrong type", function()
      assert.is_truthy(complaint({ message_id = 5 }):find('option "message_id" must be a string, not a number', 1, true))
      assert.is_truthy(complaint({ headers = "x" }):find('option "headers" must be a table', 1, true))
      assert.is_truthy(complaint({ priority = 256 }):find('option "priority" must be a whole number from 0 to 255', 1, true))
      assert.is_truthy(complaint({ delivery_mode = 1.5 }):find('option "delivery_mode"', 1, true))
      assert.is_truthy(complaint({ timeout = -1 }):find('"timeout" must be a number of seconds', 1, true))
      assert.is_truthy(complaint("x"):find("options must be a table", 1, true))
   end)

   it("refuse strings over 255 bytes", function()
      assert.equal(255, #trip({ message_id = ("x"):rep(255) }).message_id)
      assert.is_truthy(complaint({ message_id = ("x"):rep(256) }):find("255 bytes", 1, true))
   end)

   it("blame the caller", function()
      for _, wrong in ipairs { { x = 1 }, { priority = -1 }, { headers = { f = print } }, { timestamp = "x" },
         { timeout = -1 }, { type = ("x"):rep(300) } } do
         assert.is_truthy(complaint(wrong):find("properties_spec.lua:", 1, true))
      end
   end)

   it("grow with their headers", function()
      local big = { blob = ("x"):rep(100000) }
      assert.same(big, trip({ headers = big }).headers)
      assert.is_nil(trip({}).headers)
   end)
end)
