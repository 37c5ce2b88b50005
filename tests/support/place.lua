--- place: a folder of a test's own, in which nobody else may read.
-- SPDX-License-Identifier: MIT
local place = {}

--- Makes one.
-- @tparam[opt] table files texts by name; each gets the mode 0600
-- @treturn string its path
function place.make(files)
   local path = os.tmpname()
   os.remove(path)
   assert(os.execute("mkdir -m 700 " .. path) == 0)
   for name, text in pairs(files or {}) do
      local file = assert(io.open(path .. "/" .. name, "w"))
      file:write(text)
      file:close()
      os.execute(("chmod 600 %s/%s"):format(path, name))
   end
   return path
end

--- Makes a file in it; without a text an empty one.
function place.add(path, name, text)
   local file = assert(io.open(path .. "/" .. name, "w"))
   file:write(text or "")
   file:close()
end

--- Removes it, with all that is in it.
function place.remove(path) os.execute("rm -rf " .. path) end

return place
