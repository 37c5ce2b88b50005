--- tests/cluster/chaos.lua for MR_CHAOS_SECONDS (10): random faults, and a ledger over publishers, consumers, retries and dead letters.
-- SPDX-License-Identifier: MIT
local shell = require "shell"

local SECONDS = tonumber(os.getenv "MR_CHAOS_SECONDS") or 10
local COMMAND = os.getenv "MOONRABBIT_COMMAND"

describe("publishers and consumers on nodes that are hurt at random", function()
   it("lose nothing that was confirmed, and handle nothing twice without a reason", function()
      local out, code = shell(("%s run --log-level error tests/cluster/chaos.lua %g 2>&1"):format(COMMAND, SECONDS), SECONDS + 300)
      out = out:gsub("[^\n]*level=error[^\n]*\n", "")
      assert.equal(0, code, out)
      assert.truthy(out:find("the ledger holds", 1, true), out)
      for _, what in ipairs { "confirmed of quorum", "confirmed of classic", "dead letters", "fault: " } do
         assert.truthy(out:find(what, 1, true), what .. " is missing in:\n" .. out)
      end
      print(("ledger: %s s of random faults, seed %s: %d confirmed, longest gap without a confirm %s"):format(SECONDS,
         out:match "seed (%d+)", out:match "confirmed of quorum%s+(%d+)" + out:match "confirmed of classic%s+(%d+)",
         out:match "longest gaps: confirms ([^;,]*)"))
   end)
end)
