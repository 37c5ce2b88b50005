--- value: Lua values to field tables and back.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local C = require("moonrabbit.base.ffi").C
local value = require "moonrabbit.base.value"

-- Through C and back, and what the wire would call the type of `v`.
local function trip(v)
   local t = value.encode { v = v }
   local type_ = string.char(t.fields[0].value.type)
   local out = value.decode(t).v
   C.mr_table_free(t)
   return out, type_
end

local function complaint(v)
   local ok, why = pcall(trip, v)
   assert.is_false(ok)
   return why
end

-- A table of C's with one value, as it may come from the wire.
local function received(type_, field, v, decimals)
   local t, box = C.mr_table_new(), ffi.new "mr_value"
   box.type = type_:byte()
   box.as[field] = v
   box.decimals = decimals or 0
   assert.equal(0, C.mr_table_add(t, "v", 1, box))
   local out = value.decode(t).v
   C.mr_table_free(t)
   return out
end

describe("value, going out", function()
   it("gives each Lua type its own on the wire", function()
      local cases = { { "text", "S" }, { "", "S" }, { "a\0b", "S" }, { true, "t" }, { false, "t" }, { 0, "l" }, { -7, "l" },
         { 2 ^ 53, "l" }, { 1.5, "d" }, { 2 ^ 70, "d" } }
      for _, case in ipairs(cases) do
         local out, type_ = trip(case[1])
         assert.equal(case[2], type_)
         if case[1] ~= 2 ^ 53 then assert.equal(case[1], out) end
      end
   end)

   it("keeps 64-bit integers exact", function()
      for _, n in ipairs { 9007199254740993LL, -9007199254740993LL, 0x7fffffffffffffffLL, -0x8000000000000000LL } do
         local out, type_ = trip(n)
         assert.equal("l", type_)
         assert.is_true(ffi.istype("int64_t", out))
         assert.is_true(out == n)
      end
      assert.equal(5, (trip(5ULL)))
   end)

   it("refuses an unsigned integer that the wire's signed one cannot hold", function()
      assert.is_truthy(complaint(0x8000000000000000ULL):find('key "v"', 1, true))
   end)

   it("takes a sequence for an array, any other table for a table", function()
      local out, type_ = trip { 1, "two", { 3 } }
      assert.equal("A", type_)
      assert.same({ 1, "two", { 3 } }, out)
      out, type_ = trip { a = 1, b = { c = "d" } }
      assert.equal("F", type_)
      assert.same({ a = 1, b = { c = "d" } }, out)
      assert.equal("F", select(2, trip {}))
   end)

   it("has explicit types", function()
      assert.same({ {}, "A" }, { trip(value.array {}) })
      assert.same({ { 1, 2 }, "A" }, { trip(value.array { 1, 2 }) })
      assert.same({ 7, "l" }, { trip(value.int(7)) })
      assert.same({ "raw\0", "x" }, { trip(value.bytes "raw\0") })
      assert.equal("T", select(2, trip(value.timestamp(1700000000))))
      assert.equal("V", select(2, trip(value.null)))
      assert.equal("D", select(2, trip(value.decimal(314, 2))))
   end)

   it("refuses explicit values that make no sense, blaming the caller", function()
      for _, wrong in ipairs {
         function() value.int(1.5) end, function() value.int "1" end, function() value.int(2 ^ 63) end,
         function() value.int(0x8000000000000000ULL) end, function() value.timestamp(-1) end,
         function() value.bytes(1) end, function() value.array "x" end, function() value.decimal(-1) end,
         function() value.decimal(2 ^ 32) end, function() value.decimal(1, 256) end, function() value.int(0 / 0) end,
      } do
         local ok, why = pcall(wrong)
         assert.is_false(ok)
         assert.is_truthy(why:find("value_spec.lua:", 1, true))
      end
   end)

   it("names the key of what has no type", function()
      assert.is_truthy(complaint(print):find('key "v": a function has no AMQP type', 1, true))
      assert.is_truthy(complaint({ a = { b = coroutine.create(print) } }):find('key "b": a thread', 1, true))
   end)

   it("refuses keys that are no strings, and long ones (S3)", function()
      assert.is_truthy(complaint({ a = 1, [1] = 2 }):find("a table key must be a string, not a number", 1, true))
      assert.is_truthy(complaint({ [("k"):rep(129)] = 1 }):find("longer than 128 bytes", 1, true))
      assert.is_truthy(complaint({ [("k"):rep(129)] = {} }):find("longer than 128 bytes", 1, true))
      assert.same({ [("k"):rep(128)] = 1 }, (trip { [("k"):rep(128)] = 1 }))
   end)

   it("refuses cycles", function()
      local loop = { a = {} }
      loop.a.b = loop
      assert.is_truthy(complaint(loop):find("holds itself", 1, true))
      local array = {}
      array[1] = value.array(array)
      assert.is_truthy(complaint(array):find("holds itself", 1, true))
   end)

   it("takes the same table twice when there is no cycle", function()
      local shared = { 1 }
      assert.same({ a = { 1 }, b = { 1 } }, (trip { a = shared, b = shared }))
   end)

   it("limits the depth", function()
      local deep = {}
      for _ = 1, 40 do deep = { deep } end
      assert.is_truthy(complaint(deep):find("nested deeper than 32", 1, true))
      local fine = {}
      for _ = 1, 29 do fine = { fine } end
      trip(fine)
   end)

   it("keeps the order of a list", function()
      local t = value.encode_list { { "z", 1 }, { "a", "x" }, { "m", true } }
      local keys = {}
      for i = 0, t.count - 1 do keys[#keys + 1] = ffi.string(t.fields[i].key.data, t.fields[i].key.size) end
      C.mr_table_free(t)
      assert.same({ "z", "a", "m" }, keys)
   end)

   it("blames the caller", function()
      local ok, why = pcall(function() value.encode { a = print } end)
      assert.is_false(ok)
      assert.is_truthy(why:find("value_spec.lua:", 1, true))
   end)
end)

describe("value, coming in", function()
   it("reads every type of the wire", function()
      local natural, integer = { B = 200, u = 60000, i = 4000000000, L = 7 }, { b = -100, s = -30000, I = -2000000000, l = -7 }
      for type_, n in pairs(natural) do assert.equal(n, received(type_, "natural", n)) end
      for type_, n in pairs(integer) do assert.equal(n, received(type_, "integer", n)) end
      assert.equal(true, received("t", "boolean", true))
      assert.equal(0.5, received("f", "real", 0.5))
      assert.equal(1e300, received("d", "real", 1e300))
      assert.equal(value.null, received("V", "natural", 0))
   end)

   it("gives integers beyond 2^53 as 64-bit cdata of their sign, smaller ones as numbers", function()
      assert.equal(2 ^ 53 - 1, received("l", "integer", 0x1fffffffffffffLL))
      local big = received("l", "integer", 0x20000000000001LL)
      assert.is_true(ffi.istype("int64_t", big) and big == 9007199254740993LL)
      big = received("L", "natural", 0xffffffffffffffffULL)
      assert.is_true(ffi.istype("uint64_t", big) and big == 0xffffffffffffffffULL)
   end)

   it("gives timestamps and decimals as objects that go out again as they came", function()
      local at = received("T", "natural", 1700000000)
      assert.equal(1700000000, at.value)
      assert.equal("1700000000", tostring(at))
      assert.equal(value.timestamp(1700000000), at)
      assert.equal(at, (trip(at)))
      local pi = received("D", "natural", 314, 2)
      assert.same({ 314, 2 }, { pi.value, pi.decimals })
      assert.equal("314e-2", tostring(pi))
      assert.equal(pi, (trip(pi)))
   end)

   it("keeps the places of nulls in arrays", function()
      local out = trip { 1, value.null, 3 }
      assert.equal(3, #out)
      assert.equal(value.null, out[2])
      assert.equal("null", tostring(out[2]))
   end)
end)
