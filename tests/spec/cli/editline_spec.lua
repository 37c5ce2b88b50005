--- editline: what it says where there is no libedit. The prompt itself is in tests/contract/prompt_spec.lua.
local editline = require "moonrabbit.cli.editline"
local ffi = require "ffi"

describe("a line editor", function()
   local load_library = ffi.load
   after_each(function() ffi.load = load_library end)

   it("names the package that is missing", function()
      ffi.load = function() error "libedit.so.2: cannot open shared object file" end -- luacheck: ignore 122
      local editor, why = editline.new(function() end, function() end, {})
      assert.is_nil(editor)
      assert.truthy(why:find("install the package libedit2", 1, true), why)
   end)
end)
