--- lazy: modules that wait for their first use; help needs no library.
local lazy = require "moonrabbit.cli.lazy"
local shell = require "shell"

describe("a lazy module", function()
   local NAME = "moonrabbit.cli.lazy_spec.made"
   after_each(function() package.preload[NAME], package.loaded[NAME] = nil, nil end)

   it("is loaded when a field of it is read, once", function()
      local count = 0
      package.preload[NAME] = function()
         count = count + 1
         return { answer = 42 }
      end
      local stand_in = lazy(NAME)
      assert.equal(0, count)
      assert.equal(42, stand_in.answer)
      assert.is_nil(stand_in.question)
      assert.equal(1, count)
   end)

   it("lets the help of every command be made where there is no library", function()
      local out, code = shell([[MOONRABBIT_LIBRARY=/nonexistent.so luajit -e '
         local parser = require("moonrabbit.cli").parser()
         for _, command in ipairs(parser._commands) do assert(#command:get_help() > 0) end
         print(#parser._commands > 10)']])
      assert.same({ "true\n", 0 }, { out, code })
   end)
end)
