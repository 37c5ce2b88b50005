--- errno: the system's words for what it refused.
local errno = require "moonrabbit.cli.errno"
local ffi = require "ffi"

describe("the text of an errno", function()
   it("is that of a code", function()
      assert.equal("No such file or directory", errno(2))
   end)

   it("is that of the last call that failed", function()
      ffi.errno(13)
      assert.equal("Permission denied", errno())
   end)
end)
