--- checksum: one text for each text.
-- SPDX-License-Identifier: MIT
local checksum = require "moonrabbit.base.checksum"

describe("a checksum", function()
   it("has 16 digits, and differs for texts that differ in one byte, in length or in order", function()
      local seen = {}
      for _, text in ipairs { "", "a", "b", "ab", "ba", ("a"):rep(300), ("a"):rep(301), "\0", "\0\0", "\255" } do
         local sum = checksum(text)
         assert.truthy(sum:find "^%x+$" and #sum == 16, sum)
         assert.is_nil(seen[sum], sum)
         seen[sum] = true
         assert.equal(sum, checksum(text))
      end
   end)
end)
