--- base64: bytes as text, and back.
-- SPDX-License-Identifier: MIT
local base64 = require "moonrabbit.base.base64"

describe("base64", function()
   it("has the vectors of RFC 4648, both ways", function()
      for plain, coded in pairs { [""] = "", f = "Zg==", fo = "Zm8=", foo = "Zm9v", foob = "Zm9vYg==", fooba = "Zm9vYmE=",
         foobar = "Zm9vYmFy" } do
         assert.equal(coded, base64.encode(plain))
         assert.equal(plain, base64.decode(coded))
      end
   end)

   it("keeps all bytes, in any number", function()
      local all = {}
      for i = 0, 255 do all[#all + 1] = string.char(i) end
      local text = table.concat(all):rep(40)
      for size = #text - 5, #text do
         assert.equal(text:sub(1, size), base64.decode(base64.encode(text:sub(1, size))))
      end
   end)

   it("skips white space, and refuses what is not base64", function()
      assert.equal("foobar", base64.decode "Zm9v\nYmFy\n")
      for _, text in ipairs { "Zg", "Zg=", "Z===", "Zg==Zg==", "Zm9*", "====" } do assert.is_nil(base64.decode(text), text) end
   end)
end)
