--- options: strict tables that say what is wrong with them.
-- SPDX-License-Identifier: MIT
local options = require "moonrabbit.base.options"

local SPEC = { queue = "string", durable = "boolean", prefetch_count = "number", arguments = "table" }

local function complaint(given, required)
   local ok, why = pcall(function() options.check(given, SPEC, required, 2) end)
   assert.is_false(ok)
   return why
end

describe("options", function()
   it("gives back what is right", function()
      local given = { queue = "q", durable = false, prefetch_count = 1, arguments = {} }
      assert.equal(given, options.check(given, SPEC, { "queue" }))
   end)

   it("lets an option be of several types, and names them", function()
      local spec = { dead_letter = "string|boolean" }
      options.check({ dead_letter = false }, spec)
      options.check({ dead_letter = "d" }, spec)
      local ok, why = pcall(options.check, { dead_letter = 3 }, spec)
      assert.is_false(ok)
      assert.truthy(why:find('option "dead_letter" must be a string or a boolean, not a number', 1, true), why)
   end)

   it("takes nothing for an empty table", function()
      assert.same({}, options.check(nil, SPEC))
   end)

   it("names the option that is unknown and the nearest one", function()
      local why = complaint { prefetch = 1, queu = "x" } -- either may be found first
      assert.is_truthy(why:find('unknown option "queu": did you mean "queue"?', 1, true)
         or why:find('unknown option "prefetch"', 1, true))
      assert.is_truthy(complaint({ prefetch_cuont = 1 }):find('did you mean "prefetch_count"?', 1, true))
   end)

   it("lists the options when none is near", function()
      local why = complaint { zzzzzzzzzzz = 1 }
      assert.is_truthy(why:find("known are arguments, durable, prefetch_count, queue", 1, true))
   end)

   it("refuses keys that are no names", function()
      assert.is_truthy(complaint({ "q" }):find('unknown option "1"', 1, true))
   end)

   it("names the option of a wrong type, and both types", function()
      local why = complaint { durable = "yes" }
      assert.is_truthy(why:find('option "durable" must be a boolean, not a string', 1, true))
   end)

   it("names the option that is missing", function()
      assert.is_truthy(complaint({}, { "queue" }):find('option "queue" is missing', 1, true))
   end)

   it("refuses what is no table", function()
      assert.is_truthy(complaint("q"):find("options must be a table, not a string", 1, true))
   end)

   it("blames the line of its caller's caller", function()
      local function library(given) options.check(given, SPEC) end
      local line = debug.getinfo(1, "l").currentline + 1
      local ok, why = pcall(function() library { queu = 1 } end)
      assert.is_false(ok)
      assert.is_truthy(why:find(("options_spec.lua:%d:"):format(line), 1, true))
   end)

   it("finds the nearest name", function()
      local names = { "heartbeat", "hostname", "port" }
      assert.equal("heartbeat", options.nearest("hearbeat", names))
      assert.equal("port", options.nearest("prot", names))
      assert.is_nil(options.nearest("qqqqqqqq", names))
      assert.is_nil(options.nearest("", names))
   end)

   it("checks whole numbers within bounds", function()
      assert.equal(5, options.whole("n", 5, 0, 10))
      assert.is_nil(options.whole("n", nil, 0, 10))
      for _, wrong in ipairs { -1, 11, 1.5, 0 / 0, 1 / 0 } do
         local ok, why = pcall(function() options.whole("n", wrong, 0, 10) end)
         assert.is_false(ok)
         assert.is_truthy(why:find('option "n" must be a whole number from 0 to 10', 1, true))
      end
   end)

   it("checks seconds", function()
      assert.equal(0, options.seconds("timeout", 0))
      assert.is_nil(options.seconds("timeout", nil))
      for _, wrong in ipairs { -1, 0 / 0, "1", true } do
         assert.has_error(function() options.seconds("timeout", wrong) end)
      end
   end)

   it("checks arguments by position", function()
      assert.equal("x", options.argument(1, "queue", "x", "string"))
      local ok, why = pcall(function() options.argument(2, "handler", nil, "function") end)
      assert.is_false(ok)
      assert.is_truthy(why:find('argument 2 ("handler") must be a function, not a nil', 1, true))
   end)
end)
