--- A minute of tests/fault/soak.lua.
local broker = require "broker"

describe("a soak of a minute", function()
   it("leaves a ledger that balances", function()
      local out, code = broker.shell(broker.command .. " run --log-level warn tests/fault/soak.lua 60 20240229 2>&1", 120)
      assert.equal(0, code, out)
      assert.truthy(out:find("the ledger balances", 1, true), out)
      assert.is_true(tonumber(out:match "\nfaults%s+(%d+)") >= 8, out)
      assert.is_true(tonumber(out:match "\nconsumed%s+(%d+)") >= 2000, out)
   end)
end)
