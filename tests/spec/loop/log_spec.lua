--- log: one line for each call, on standard error.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local lib = require "moonrabbit.base.ffi"

local written
local fake = setmetatable({
   mr_log_write = function(_, level, text, size, fields)
      local list = {}
      for i = 0, fields and fields.count - 1 or -1 do
         local f = fields.fields[i]
         list[#list + 1] = ffi.string(f.key.data, f.key.size) .. ":" .. string.char(f.value.type)
      end
      written = { level, ffi.string(text, size), table.concat(list, " ") }
   end,
   mr_runtime_log = function(_, level, format) written = { level, format } end,
}, { __index = lib.C })
package.loaded["moonrabbit.base.ffi"] = { C = fake, version = lib.version }
package.loaded["moonrabbit.loop.loop"] = { runtime = function() return nil end }
package.loaded["moonrabbit.loop.log"] = nil
local log = require "moonrabbit.loop.log"
package.loaded["moonrabbit.base.ffi"], package.loaded["moonrabbit.loop.loop"] = lib, nil

describe("log", function()
   before_each(function() written = nil end)

   it("has a function for each level", function()
      for level, name in pairs { [0] = "error", "warn", "info", "debug" } do
         log[name]("text")
         assert.same({ level, "text", "" }, written)
      end
   end)

   it("sorts the fields, the error last, and keeps numbers and booleans", function()
      log.info("text", { queue = "q", error = "long", attempt = 2, zeal = true, at = {} })
      assert.same({ 2, "text", "at:S attempt:l queue:S zeal:t error:S" }, written)
   end)

   it("refuses what cannot be logged, blaming the caller", function()
      for _, wrong in ipairs { function() log.info(5) end, function() log.info("x", "y") end,
         function() log.info("x", { [1] = "y" }) end } do
         local ok, why = pcall(wrong)
         assert.is_false(ok)
         assert.is_truthy(why:find("log_spec.lua:", 1, true), why)
      end
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
