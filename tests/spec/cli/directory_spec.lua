--- directory: what is in a folder, and making one.
-- Covers: lua/moonrabbit/cli/file_status.lua by of_path
local directory = require "moonrabbit.cli.directory"
local file_status = require "moonrabbit.cli.file_status"

describe("a folder", function()
   local place
   before_each(function()
      place = os.tmpname()
      os.remove(place)
   end)
   after_each(function() os.execute("rm -rf " .. place) end)

   it("is made with those above it, for its owner alone, and may be there already", function()
      for _ = 1, 2 do
         directory.make(place .. "/a/b")
         assert.same({ kind = file_status.FOLDER, uid = file_status.of_path(place).uid, mode = 448, is_private = true },
            file_status.of_path(place .. "/a/b"))
      end
   end)

   it("tells the names in it, or why not", function()
      directory.make(place)
      for _, name in ipairs { "one", "two\n\255" } do assert(io.open(place .. "/" .. name, "w")):close() end
      local names = directory.names(place)
      table.sort(names)
      assert.same({ ".", "..", "one", "two\n\255" }, names)
      local none, why = directory.names(place .. "/one")
      assert.is_nil(none)
      assert.truthy(why:find("Not a directory", 1, true), why)
   end)

   it("is told from what links to it, and from a file that others may read", function()
      directory.make(place)
      os.execute(("ln -s %s %s/link && : >%s/file && chmod 644 %s/file"):format(place, place, place, place))
      assert.not_equal(file_status.FOLDER, file_status.of_path(place .. "/link").kind)
      local status = file_status.of_path(place .. "/file")
      assert.same({ file_status.FILE, 420, false }, { status.kind, status.mode, status.is_private })
      assert.is_nil(file_status.of_path(place .. "/nothing"))
   end)
end)
