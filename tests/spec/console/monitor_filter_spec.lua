--- monitor_filter: what a monitor is asked for.
-- SPDX-License-Identifier: MIT
local monitor_filter = require "moonrabbit.console.monitor_filter"

describe("a monitor's filter", function()
   it("has patterns of the shell, and shows little by default", function()
      assert.same({ headers = false }, monitor_filter.read {})
      local filter = monitor_filter.read { queue = "orders.*", key = "a?c", headers = "", body = "10" }
      assert.same({ true, 10 }, { filter.headers, filter.body })
      assert.is_true(filter.queue "orders.eu")
      assert.is_false(filter.queue "orders")
      assert.is_true(filter.key "abc")
   end)

   it("is refused in one line", function()
      for what, fields in pairs { ["--queue takes a name or a pattern, not an empty text"] = { queue = "" },
         ["--key takes a name or a pattern, not an empty text"] = { key = "" },
         ["--key takes at most 255 bytes, not 256"] = { key = ("x"):rep(256) },
         ['--body takes a whole number from 1 to 65536, not "0"'] = { body = "0" },
         ['--body takes a whole number from 1 to 65536, not "1.5"'] = { body = "1.5" },
         ['--body takes a whole number from 1 to 65536, not "nan"'] = { body = "nan" },
         ['--body takes a whole number from 1 to 65536, not "70000"'] = { body = 70000 } } do
         assert.same({ nil, what }, { monitor_filter.read(fields, "--") })
      end
   end)
end)
