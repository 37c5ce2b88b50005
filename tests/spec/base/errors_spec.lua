--- errors: what scripts get as the second result.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local errors = require "moonrabbit.base.errors"

describe("errors", function()
   it("knows every kind by number and by name", function()
      for number, kind in pairs(errors.kinds) do assert.equal(number, errors.numbers[kind]) end
      for _, kind in ipairs { "connection_refused", "precondition_failed", "lost", "settled", "empty", "bad_option" } do
         assert.is_number(errors.numbers[kind])
      end
   end)

   it("has all the fields that the documentation names", function()
      local err = errors.new("timeout", "publish")
      assert.equal("timeout", err.kind)
      assert.equal("publish", err.scope)
      assert.is_true(#err.text > 0)
      assert.is_true(#err.hint > 0)
      assert.is_boolean(err.recoverable)
      assert.is_nil(err.code)
      assert.is_nil(err.errno)
   end)

   it("has a hint of its own where the kind's does not fit the cause (FIELD-W35)", function()
      assert.equal("wait longer", errors.new("timeout", "pool", "none was released", "wait longer").hint)
      assert.falsy(errors.new("timeout", "publish").hint:find("taken effect", 1, true))
      assert.truthy(errors.of_status(errors.numbers.bad_argument, "publish").hint:find("255 bytes", 1, true))
      assert.falsy(errors.new("bad_argument", "config", '"x" is no port').hint:find("255 bytes", 1, true))
   end)

   it("prints as one line that ends with the hint", function()
      local err = errors.new("settled", "message", "settled before")
      assert.equal(("settled: settled before [%s]"):format(err.hint), tostring(err))
      err.code = 406
      assert.is_truthy(tostring(err):find("settled (406): ", 1, true))
      err.hint = ""
      assert.equal("settled (406): settled before", tostring(err))
      assert.equal("x settled (406): settled before", "x " .. err)
   end)

   it("copies everything that C says", function()
      local e = ffi.new("mr_error", { kind = errors.numbers.connection_refused, code = 320, system = 111, scope = 1 })
      e.recoverable = false
      e.text = "nobody listens"
      local err = errors.of_c(e)
      assert.same({ "connection_refused", 320, 111, "connection", false, "nobody listens" },
         { err.kind, err.code, err.errno, err.scope, err.recoverable, err.text })
   end)

   it("takes the kind's own text when C gives none, and nil for no error", function()
      local e = ffi.new "mr_error"
      assert.is_nil(errors.of_c(e))
      e.kind = errors.numbers.stale
      assert.equal(errors.new("stale", "message").text, errors.of_c(e).text)
   end)

   it("refuses a kind that does not exist", function()
      assert.has_error(function() errors.new("tiemout", "publish") end)
   end)

   it("tells its own errors from other tables", function()
      assert.is_true(errors.is(errors.new("lost", "publish")))
      assert.is_false(errors.is({ kind = "lost" }))
      assert.is_false(errors.is("lost"))
      assert.is_false(errors.is(nil))
   end)

   it("traces an error to the script's part of the stack", function()
      local function script() error("oops", 0) end
      local _, trace = xpcall(script, errors.trace)
      assert.equal("oops", trace:match "^[^\n]*")
      assert.is_truthy(trace:find("errors_spec.lua", 1, true))
   end)

   it("traces a script whose folder is called moonrabbit, down to its own xpcall", function()
      local source = "local trace = ...\nreturn select(2, xpcall(function() error 'oops\\n\\nagain' end, trace))"
      local trace = loadstring(source, "@/opt/moonrabbit/app.lua")(errors.trace)
      assert.equal("oops\n\nagain", trace:match "^[^:]*:%d+: (.-)\nstack traceback:")
      assert.truthy(trace:find("/opt/moonrabbit/app.lua:2: in function <[^\n]*\n%s+%[C%]: in function 'xpcall'\n"
         .. "%s+/opt/moonrabbit/app.lua:2: in "))
   end)

   it("takes no file for the library's when it was loaded from a place that says nothing", function()
      local source = assert(io.open(debug.getinfo(errors.new, "S").source:sub(2))):read "*a"
      for _, name in ipairs { "=bundle", "@bundle.lua", "bundle" } do
         local other = loadstring(source, name)()
         for _, file in ipairs { "@/opt/app.lua", "@", "=stdin" } do assert.is_false(other.is_library(file)) end
      end
      assert.is_true(errors.is_library(debug.getinfo(errors.new, "S").source))
   end)

   it("traces whatever was raised", function()
      for _, thing in ipairs { 1, true, errors.new("lost", "publish") } do
         local _, trace = xpcall(function() error(thing, 0) end, errors.trace)
         assert.equal(tostring(thing), trace:match "^[^\n]*")
      end
      local _, trace = xpcall(function() error() end, errors.trace)
      assert.equal("nil", trace:match "^[^\n]*")
   end)
end)

describe("a Lua that is not LuaJIT", function()
   it("is told what to take instead (FIELD-W35)", function()
      local pipe = io.popen(("LUA_PATH='%s' lua5.1 -e 'require \"moonrabbit\"' 2>&1"):format(package.path))
      local out = pipe:read "*a"
      pipe:close()
      assert.truthy(out:find("Moonrabbit needs LuaJIT", 1, true) and out:find("busted --lua=luajit", 1, true), out)
   end)
end)
