--- progress: the bar's line.
-- SPDX-License-Identifier: MIT
local progress = require "moonrabbit.cli.progress"

describe("the bar", function()
   it("shows its part, the rate, and the time left", function()
      assert.equal("[######------------------] 250/1000  125/s  0:06 left", progress.line(250, 1000, 2))
      assert.equal("[########################] 1000/1000  10/s  0:00 left", progress.line(1000, 1000, 100))
      assert.equal("[------------------------] 1/100000  1/s  27:46:39 left", progress.line(1, 100000, 1))
   end)

   it("has no end where the total is not known, or nothing is done", function()
      assert.equal("12  6/s  0:02", progress.line(12, nil, 2))
      assert.equal("[------------------------] 0/5  0/s  ?", progress.line(0, 5, 3))
   end)
end)
