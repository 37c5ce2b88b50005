--- body: bytes and a content type of what a program hands over.
local body = require "moonrabbit.base.body"

describe("a body", function()
   it("that is a string stays as it is, and says nothing of itself", function()
      assert.same({ "a\0b" }, { body.encode "a\0b" })
      assert.same({ "x" }, { body.encode("x", "raw") })
   end)

   it("that is anything else is JSON", function()
      assert.same({ '{"id":7}', "application/json" }, { body.encode { id = 7 } })
      assert.same({ "7", "application/json" }, { body.encode(7) })
      assert.same({ "false", "application/json" }, { body.encode(false) })
   end)

   it("is JSON throughout when that is asked for", function()
      assert.same({ '"x"', "application/json" }, { body.encode("x", "json") })
   end)

   it("says why it is none", function()
      assert.truthy(select(2, body.encode(print)):find("cannot be a function", 1, true))
      assert.truthy(select(2, body.encode(nil)):find("cannot be a nil", 1, true))
      assert.truthy(select(2, body.encode({ print })):find("JSON", 1, true))
      assert.truthy(select(2, body.encode({}, "raw")):find("must be a string", 1, true))
   end)

   it("has serializers of two names", function()
      assert.equal("json", body.check "json")
      assert.is_nil(body.check(nil))
      local ok, why = pcall(body.check, "jsn")
      assert.is_false(ok)
      assert.truthy(why:find('did you mean "json"?', 1, true))
   end)
end)
