--- json_text: JSON for terminals.
-- SPDX-License-Identifier: MIT
local json_text = require "moonrabbit.cli.json_text"

describe("JSON for a terminal", function()
   it("has no control characters of 8 bits, and is UTF-8", function()
      assert.equal('{"a":"gr\195\188n \226\130\172"}', json_text '{"a":"gr\195\188n \226\130\172"}')
      assert.equal('["\\u009b31m\\u0080"]', json_text '["\194\15531m\194\128"]')
      assert.equal('["\\u00ff\\u009b"]', json_text '["\255\155"]')
      assert.equal('{"a":1}', json_text '{"a":1}')
   end)
end)
