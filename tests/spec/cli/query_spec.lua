--- query: paths with a query, of names and values that may be anything.
local query = require "moonrabbit.cli.query"

describe("the query of a path", function()
   it("encodes the names like the values", function()
      assert.equal("/control?do=pause&x%26do%3Ddrain%0D%0A=a%20b", query.path("/control", { ["do"] = "pause", ["x&do=drain\r\n"] = "a b" }))
   end)

   it("is left out where there are no fields, and takes numbers, bytes and empty values", function()
      assert.equal("/status", query.path("/status", {}))
      assert.equal("/x?empty=&n=0.5&text=%FF~", query.path("/x", { empty = "", n = 0.5, text = "\255~" }))
   end)
end)
