--- address: where to listen, one rule for all (FIELD-W39).
-- SPDX-License-Identifier: MIT
local read_address = require "moonrabbit.base.address"

describe("an address to listen on (FIELD-W39)", function()
   it("is a port alone, on the loopback interface, or an address with a port", function()
      for where, wanted in pairs { ["8080"] = { "127.0.0.1", 8080 }, [":8080"] = { "127.0.0.1", 8080 },
         ["*:8080"] = { "0.0.0.0", 8080 }, ["10.0.0.1:5672"] = { "10.0.0.1", 5672 }, ["[::1]:1"] = { "::1", 1 },
         ["localhost:0"] = { "localhost", 0 } } do
         assert.same(wanted, { read_address(where) })
      end
   end)

   it("needs a port, unless there is a usual one", function()
      assert.is_nil(read_address "127.0.0.1")
      assert.same({ "127.0.0.1", 5672 }, { read_address("127.0.0.1", 5672) })
      assert.same({ "::1", 5672 }, { read_address("[::1]", 5672) })
   end)

   it("is nothing else", function()
      for _, where in ipairs { "", "65536", "127.0.0.1:65536", "a:b", "::1:5", "[::1" } do
         assert.is_nil((read_address(where)), where)
      end
   end)
end)
