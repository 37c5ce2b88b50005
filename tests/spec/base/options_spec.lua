--- options: strict tables that say what is wrong with them.
-- SPDX-License-Identifier: MIT
-- Covers: lua/moonrabbit/base/aliases.lua by x-max-length
local options = require "moonrabbit.base.options"

local SPEC = { queue = "string", durable = "boolean", prefetch_count = "number", arguments = "table" }

local function complaint(given, required)
   local ok, why = pcall(function() options.check(given, SPEC, required) end)
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

   it("knows names that people bring along from elsewhere (FIELD-W35)", function()
      local function advice(word, ...) return options.advice(word, { ... }) end
      assert.equal('did you mean "hostname"?', advice("host", "port", "hostname"))
      assert.equal('did you mean "userid"?', advice("user", "userid", "user_id"))
      assert.equal('did you mean "password"?', advice("pass", "password", "passive"))
      assert.equal('did you mean "virtual_host"?', advice("vhost", "hosts", "virtual_host"))
      assert.equal('did you mean "queue"?', advice("name", "passive", "queue"))
      assert.equal('did you mean "exchange"?', advice("name", "type", "exchange"))
      assert.equal('did you mean "prefetch"?', advice("prefetchCount", "prefetch", "priority"))
      assert.equal('did you mean arguments = { ["x-message-ttl"] = ... }?', advice("ttl", "queue", "arguments"))
      assert.equal('did you mean "expiration"?', advice("ttl", "type", "expiration"))
      assert.equal('did you mean arguments = { ["x-max-length"] = ... }?', advice("x-max-length", "queue", "arguments"))
      assert.is_truthy(complaint({ qos = 1 }):find('did you mean "prefetch_count"?', 1, true))
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

   describe("blame", function()
      -- A function of the library's, as far as the names of files tell: in a file beside options.lua.
      local function of_library(text)
         return assert(loadstring("local f = ... " .. text, (debug.getinfo(options.check, "S").source:gsub("[^/]*$", "made.lua"))))
      end
      local check = of_library "return f { queu = 1 }"
      local deep = of_library "local function one() f() return 1 end local function two() one() return 2 end two() return 3"
      local function given(t) options.check(t, SPEC) end

      local function blamed(line, fn, ...)
         local ok, why = pcall(fn, ...)
         assert.is_false(ok)
         assert.equal(("options_spec.lua:%d"):format(line), why:match "options_spec.lua:%d+", why)
      end
      local function here() return debug.getinfo(2, "l").currentline end

      it("names the line of the script that called the library", function()
         local line = here() + 1
         blamed(line, function() options.check({ queu = 1 }, SPEC) end)
      end)

      it("passes over however many functions of the library", function()
         local function misuse() options.check({ queu = 1 }, SPEC) end
         local inner = of_library "f() return 1"
         local line = here() + 1
         blamed(line, function() deep(of_library "require('moonrabbit.base.options').check({ queu = 1 }, {})") end)
         blamed(debug.getinfo(misuse, "S").linedefined, function() inner(misuse) end)
      end)

      it("is right behind a tail call of the library's", function()
         local line = here() + 2
         local tail = of_library "return require('moonrabbit.base.options').check(f, {})"
         blamed(line, function() tail { queu = 1 } return nil end)
      end)

      it("finds the caller of a script's function that ended in a tail call", function()
         local tail = of_library "return require('moonrabbit.base.options').check(f, {})"
         local function last() return tail { queu = 1 } end
         local line = here() + 1
         blamed(line, function() last() return nil end)
      end)

      it("names the callback that the library calls, not what the library was called by", function()
         local line = debug.getinfo(given, "S").linedefined
         blamed(line, function() check(given) return nil end)
      end)

      it("is right for a function that pcall calls", function()
         local line = here() + 1
         local ok, why = pcall(options.check, { queu = 1 }, SPEC)
         assert.is_false(ok)
         assert.equal(tostring(line), why:match "^[^:]*options_spec.lua:(%d+): ", why)
      end)

      it("gives no position where no script is on the stack", function()
         local _, why = coroutine.resume(coroutine.create(of_library "return require('moonrabbit.base.options').check(f, {})"), { x = 1 })
         assert.equal('unknown option "x": known are ', why)
      end)
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
