--- printing: values for people.
local errors = require "moonrabbit.base.errors"
local loop = require "moonrabbit.loop.loop"
local mr = require "moonrabbit"
local printing = require "moonrabbit.console.printing"
local show = printing.show

describe("a printed value", function()
   teardown(function() loop.close(1) end)

   it("is readable: fields by name, to a depth, with cycles marked", function()
      assert.equal('{\n  a = 1,\n  b = { "x", true }\n}', show { a = 1, b = { "x", true } })
      assert.truthy(show { { { { { 1 } } } } }:find("{...}", 1, true))
      local t = {}
      t.self = t
      assert.truthy(show(t):find("self = (again)", 1, true))
   end)

   it("is bounded", function()
      local many = {}
      for i = 1, 1000 do many["k" .. i] = i end
      assert.truthy(show(many):find "900 more fields")
      assert.truthy(show { ("x"):rep(5000) }:find "5000 bytes in all")
      assert.is_true(#show(("x"):rep(2 ^ 20)) <= 65536)
      local wide = {}
      for i = 1, 100 do
         wide[i] = {}
         for k = 1, 100 do wide[i][k] = ("y"):rep(200) end
      end
      assert.is_true(#show(wide) < 66000)
   end)

   it("has no secrets: not by name, nor in a URL", function()
      local text = show { password = "abc", nested = { client_secret = "abc" }, url = "amqps://user:abc@host:5671/v" }
      assert.is_nil(text:find "abc")
      assert.truthy(text:find("amqps://user:***@host:5671/v", 1, true))
      assert.equal("see amqp://u:***@h/v, amqp://h:5672/v", printing.redact "see amqp://u:p/w@x@h/v, amqp://h:5672/v")
   end)

   it("leaves the script's own module of that name alone", function()
      assert.equal("{ 1 }", show { 1 })
      assert.is_nil(package.loaded.inspect)
   end)

   it("has no control characters but line ends", function()
      local text = show { ["a\27[2J"] = "b\27]0;x\7", [{}] = 1 } .. show "\27[2J\n"
      assert.is_nil(text:gsub("\n", ""):find "%c")
      assert.is_nil((show "\194\155" .. show { "\194\155" }):find "\194")
   end)

   it("asks an object for its own words, and never fails", function()
      local broken = setmetatable({}, { __tostring = function() error "no" end })
      assert.truthy(show(broken):find "__tostring fails")
      assert.truthy(show(mr.connect "memory://"):find "^connection")
      assert.truthy(show(errors.new("timeout", "config")):find "timeout")
      assert.equal("nil", show(nil))
      assert.equal("-0.5", show(-0.5))
      assert.truthy(show(print):find "^function")
      assert.truthy(show(mr.int(5)):find "5")
   end)
end)
