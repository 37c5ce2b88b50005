local C = require("moonrabbit.ffi").C
local value = require "moonrabbit.value"

local function around(t)
   local encoded = value.encode(t)
   local back = value.decode(encoded)
   C.mr_table_free(encoded)
   return back
end

describe("value", function()
   it("takes plain Lua values there and back", function()
      local t = { s = "text", t = true, n = 3, d = 1.5, list = { 1, "a", { k = false } }, deep = { er = {} } }
      assert.same(t, around(t))
   end)

   it("keeps 64-bit integers beyond 2^53 exact", function()
      local back = around { big = 9007199254740993LL, low = -9223372036854775807LL, fits = 12LL }
      assert.is_true(back.big == 9007199254740993LL)
      assert.is_true(back.low == -9223372036854775807LL)
      assert.equal(12, back.fits)
   end)

   it("keeps explicit types", function()
      local back = around { ts = value.timestamp(5), none = value.null, dec = value.decimal(314, 2) }
      assert.is_true(back.ts == value.timestamp(5))
      assert.is_true(back.none == value.null)
      assert.is_true(back.dec == value.decimal(314, 2))
      assert.equal("5", tostring(back.ts))
   end)

   it("refuses what AMQP has no type for, naming the key", function()
      for _, bad in ipairs { { f = print }, { [1.5] = 1 }, { big = 2 ^ 63 * 1ULL + 1ULL }, { [("k"):rep(129)] = 1 } } do
         assert.has_error(function() value.encode(bad) end)
      end
      local ok, why = pcall(value.encode, { handler = print })
      assert.is_false(ok)
      assert.truthy(why:find('"handler"', 1, true))
   end)

   it("refuses tables that hold themselves, and too deep ones", function()
      local t = {}
      t.t = t
      assert.has_error(function() value.encode(t) end)
      local deep = {}
      for _ = 1, 40 do deep = { d = deep } end
      assert.has_error(function() value.encode(deep) end)
   end)
end)
