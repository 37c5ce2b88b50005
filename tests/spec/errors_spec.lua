local errors = require "moonrabbit.errors"

describe("errors", function()
   it("have every field, and print as one line with the hint", function()
      local err = errors.new("connection_refused", "connection", "a:1: nothing listens")
      assert.equal("connection_refused", err.kind)
      assert.equal("connection", err.scope)
      assert.is_true(err.recoverable)
      assert.is_nil(err.code)
      assert.truthy(err.hint:find("5672", 1, true))
      local line = tostring(err)
      assert.truthy(line:find("^connection_refused: a:1: nothing listens %["))
      assert.falsy(line:find "\n")
   end)

   it("know each kind of the library by number and name", function()
      assert.equal("ok", errors.kinds[0])
      for number, name in pairs(errors.kinds) do assert.equal(number, errors.numbers[name]) end
      assert.is_true(errors.is(errors.new("timeout", "channel")))
      assert.is_false(errors.is {})
   end)
end)
