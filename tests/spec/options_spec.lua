local options = require "moonrabbit.options"

describe("options", function()
   local spec = { queue = "string", durable = "boolean", prefetch_count = "number" }

   it("passes what is right, and an empty table for nothing", function()
      local given = { queue = "q", durable = true }
      assert.equal(given, options.check(given, spec))
      assert.same({}, options.check(nil, spec))
   end)

   it("names the nearest name for one that is unknown", function()
      assert.has_error(function() options.check({ qeue = "q" }, spec, nil, 0) end,
         'unknown option "qeue": did you mean "queue"?')
   end)

   it("lists the names when none is near", function()
      local ok, why = pcall(options.check, { xyzzy = 1 }, spec, nil, 0)
      assert.is_false(ok)
      assert.truthy(why:find("durable, prefetch_count, queue", 1, true))
   end)

   it("refuses a wrong type and a missing name", function()
      assert.has_error(function() options.check({ queue = 1 }, spec, nil, 0) end)
      assert.has_error(function() options.check({}, spec, { "queue" }, 0) end, 'option "queue" is missing')
      assert.has_error(function() options.check("q", spec, nil, 0) end)
   end)
end)
