--- utf8_text: whether bytes are UTF-8.
-- SPDX-License-Identifier: MIT
local utf8_text = require "moonrabbit.base.utf8_text"
local is_valid = utf8_text.is_valid

describe("UTF-8", function()
   it("is what RFC 3629 says", function()
      for _, text in ipairs { "", "plain", "\0\127", "gr\195\188n", "\224\160\128", "\237\159\191", "\239\191\191", "\240\144\128\128",
         "\244\143\191\191", "a\226\130\172b" } do assert.is_true(is_valid(text), text) end
   end)

   it("is no lone, cut, overlong or surrogate sequence", function()
      for _, text in ipairs { "\128", "\195", "\195(", "\192\175", "\193\191", "\224\159\191", "\237\160\128", "\240\143\191\191",
         "\244\144\128\128", "\245\128\128\128", "a\226\130", "\226\130\172\172", "\255" } do assert.is_false(is_valid(text)) end
   end)

   it("is made of what is none: each stray byte becomes U+FFFD, characters stay", function()
      local x = "\239\191\189"
      for text, wanted in pairs { [""] = "", plain = "plain", ["gr\195\188n"] = "gr\195\188n", ["\255a\195"] = x .. "a" .. x,
         ["\226\130\172\172b"] = "\226\130\172" .. x .. "b", ["\237\160\128"] = x:rep(3) } do
         assert.equal(wanted, utf8_text.repaired(text))
         assert.is_true(is_valid(utf8_text.repaired(text)))
      end
   end)
end)
