--- A short soak: tests/fault/soak.lua for a few seconds.
local broker = require "broker"

describe("a soak of 15 seconds", function()
   it("leaves a ledger that balances", function()
      local out, code = broker.shell(broker.command .. " run --log-level warn tests/fault/soak.lua 15 20240229 2>&1")
      assert.equal(0, code, out)
      assert.truthy(out:find("the ledger balances", 1, true), out)
      assert.is_true(tonumber(out:match "\nfaults%s+(%d+)") >= 4, out)
      assert.is_true(tonumber(out:match "\nconsumed%s+(%d+)") >= 500, out)
   end)
end)
