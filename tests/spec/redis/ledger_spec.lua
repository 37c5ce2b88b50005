--- tests/model/redis_ledger.lua for MR_LEDGER_SECONDS (20): faults at random, and nothing that was confirmed is lost.
-- Feature: a ledger of what Redis was given
-- SPDX-License-Identifier: MIT
local build = require "build"
local shell = require "shell"

local SECONDS = tonumber(os.getenv "MR_LEDGER_SECONDS") or 20
if build.is_tsan then return end -- its processes are many; ASan sees what they do wrong

local COMMAND = os.getenv "MOONRABBIT_COMMAND"

describe("processes of ours and one of kombu's on a Redis, all of which are killed and stopped at random", function()
   it("lose nothing that was confirmed, and handle nothing twice without a reason", function()
      local out, code = shell(("%s run --log-level error tests/model/redis_ledger.lua %g 2>&1"):format(COMMAND, SECONDS), SECONDS + 240)
      assert.equal(0, code, out)
      assert.truthy(out:find("the ledger of Redis holds", 1, true), out)
      for _, what in ipairs { "confirmed", "handled", "dead", "fault: kill_" } do
         assert.truthy(out:find("\n" .. what, 1, true), what .. " is missing in:\n" .. out)
      end
   end)
end)
