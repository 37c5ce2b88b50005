--- comma: a locale with a decimal comma, compiled where none is installed.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"

local comma = {}

ffi.cdef [[
int setenv(const char *name, const char *value, int overwrite);
int unsetenv(const char *name);
char *comma_setlocale(int category, const char *name) __asm__("setlocale");
]]

local ALL = 6 -- LC_ALL

local SOURCE = [[
LC_NUMERIC
decimal_point ","
thousands_sep "."
grouping 3;3
END LC_NUMERIC
]]

--- Compiles one into a folder, which is the caller's to remove; its name is "comma".
function comma.compile()
   local folder = os.tmpname()
   os.remove(folder)
   assert(os.execute("mkdir " .. folder) == 0)
   local file = assert(io.open(folder .. "/source", "w"))
   file:write(SOURCE)
   file:close()
   os.execute(("localedef -c -i %s/source --no-archive %s/comma >%s/log 2>&1"):format(folder, folder, folder)) -- 1: warnings
   return folder
end

--- Sets the whole locale, as a host does, so that 1.5 is written 1,5. Raises an error when none can be had.
-- @treturn function sets it back to "C"
function comma.set()
   local folder = comma.compile()
   ffi.C.setenv("LOCPATH", folder, 1)
   local is_set = ffi.C.comma_setlocale(ALL, "comma") ~= nil
   ffi.C.unsetenv "LOCPATH" -- processes started later have no business there; newlocale of glibc 2.36 loses memory with it
   os.execute("rm -rf " .. folder)
   if not is_set then error("no locale with a decimal comma could be compiled: is localedef here?", 2) end
   return function() ffi.C.comma_setlocale(ALL, "C") end
end

return comma
