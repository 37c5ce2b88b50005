--- log: one line for each call, on standard error.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local lib = require "moonrabbit.base.ffi"

local written
local fake = setmetatable({
   mr_log_write = function(_, level, text, size, fields)
      local list, values = {}, {}
      for i = 0, fields and fields.count - 1 or -1 do
         local f = fields.fields[i]
         list[#list + 1] = ffi.string(f.key.data, f.key.size) .. ":" .. string.char(f.value.type)
         local bytes = f.value.type == string.byte "S" and f.value.as.bytes
         values[#values + 1] = ffi.string(f.key.data, f.key.size) .. "=" .. (bytes and ffi.string(bytes.data, bytes.size) or "")
      end
      written = { level, ffi.string(text, size), table.concat(list, " "), values = table.concat(values, " ") }
   end,
   mr_runtime_log = function(_, level, format) written = { level, format } end,
}, { __index = lib.C })
package.loaded["moonrabbit.base.ffi"] = { C = fake, version = lib.version }
package.loaded["moonrabbit.loop.loop"] = { runtime = function() return nil end, witness = function() return nil end }
package.loaded["moonrabbit.loop.sink"] = { is_inside = function() return false end }
package.loaded["moonrabbit.loop.log"] = nil
local log = require "moonrabbit.loop.log"
package.loaded["moonrabbit.base.ffi"], package.loaded["moonrabbit.loop.loop"], package.loaded["moonrabbit.loop.sink"] = lib, nil, nil

describe("log", function()
   before_each(function() written = nil end)

   it("has a function for each level", function()
      for level, name in pairs { [0] = "error", "warn", "info", "debug" } do
         log[name]("text")
         written.values = nil
         assert.same({ level, "text", "" }, written)
      end
   end)

   it("sorts the fields, the error last, and keeps numbers and booleans", function()
      log.info("text", { queue = "q", error = "long", attempt = 2, zeal = true, at = {} })
      assert.equal("at:S attempt:l queue:S zeal:t error:S", written[3])
   end)

   it("takes any value as the text (FIELD-W34)", function()
      local cyclic = { n = 1 }
      cyclic.self = cyclic
      local broken = setmetatable({}, { __tostring = function() error "no" end })
      for wanted, v in pairs { ["5"] = 5, ["true"] = true, ["{a=1, b={c}}"] = { b = { "c" }, a = 1 }, ["{n=1, self={...}}"] = cyclic,
         ["closed: it is closed [open it again before using it]"] = require("moonrabbit.base.errors").new("closed", "channel"),
         ["a table whose __tostring fails"] = broken, ["7ULL"] = 7ULL } do
         log.error(v)
         assert.equal(wanted, written[2])
      end
      log.error()
      assert.equal("nil", written[2])
      log.error(print)
      assert.truthy(written[2]:find "^function")
   end)

   it("takes any value as the fields, or as one of them (FIELD-W34)", function()
      log.info("x", "y")
      assert.same({ 2, "x", "value=y" }, { written[1], written[2], written.values })
      log.info("x", { "one", two = { deep = { 1, 2 } }, three = function() end, [{}] = 1 })
      assert.truthy(written.values:find("1=one", 1, true) and written.values:find("two={deep={1, 2}}", 1, true)
         and written.values:find("three=function", 1, true) and written.values:find("{}=", 1, true), written.values)
      local err = require("moonrabbit.base.errors").new("closed", "channel")
      log.info("x", err)
      assert.equal("hint=open it again before using it kind=closed error=it is closed", written.values)
      log.info("x", { [("n"):rep(300)] = 1 })
      assert.equal(120, #written.values:match "^n+")
   end)

   it("is set to a level and a format, each by itself", function()
      log.configure("debug", "json")
      assert.same({ 3, 1 }, written)
      log.configure("off")
      assert.same({ -1, 1 }, written)
      log.configure(nil, "logfmt")
      assert.same({ -1, 0 }, written)
   end)

   it("refuses a level or a format that does not exist, and stays as it was", function()
      log.configure("warn", "json")
      assert.has_error(function() log.configure "loud" end)
      assert.has_error(function() log.configure(nil, "xml") end)
      log.configure()
      assert.same({ 1, 1 }, written)
   end)
end)
