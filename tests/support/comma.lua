--- comma: a locale with a decimal comma, compiled where none is installed (Debian's package locales has the sources).
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"

local comma = {}

ffi.cdef "int setenv(const char *name, const char *value, int overwrite);"

--- Sets LC_NUMERIC so that 1.5 is written 1,5.
-- @treturn[1] function sets it back to "C"
-- @treturn[2] nil there is no such locale here
function comma.set()
   local function back() os.setlocale("C", "numeric") end
   if os.setlocale("de_DE.UTF-8", "numeric") then return back end
   local folder = os.tmpname()
   os.remove(folder)
   local made = os.execute(("mkdir %s && localedef -i de_DE -f UTF-8 --no-archive %s/de_DE.UTF-8 >%s/log 2>&1"):format(folder,
      folder, folder))
   ffi.C.setenv("LOCPATH", folder, 1)
   local name = made and os.setlocale("de_DE.UTF-8", "numeric")
   os.execute("rm -rf " .. folder)
   return name and back
end

return comma
