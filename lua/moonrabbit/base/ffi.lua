--- ffi: finds the library, and declares to LuaJIT what it offers.
-- SPDX-License-Identifier: MIT
-- The declarations come from the library itself, so these Lua files need nothing but it: they may be in a folder, an archive
-- or a preloaded table. The only place that knows where the library is: in the build tree, installed under any prefix, or
-- already loaded in the process.
local is_luajit, ffi = pcall(require, "ffi")
if not is_luajit then
   error("Moonrabbit needs LuaJIT: moonrabbit run SCRIPT, luajit SCRIPT, busted --lua=luajit; this is " .. _VERSION, 0)
end

local VERSION = "0.1.0" -- of these files; the library's must be the same

local SONAME = "libmoonrabbit.so." .. VERSION:match "^%d+" -- what runs needs no development files

local here = debug.getinfo(1, "S").source:match "^@(.*/)base/ffi%.lua$" or "./"

local LIBRARIES = {
   here .. "../../.build/release/lib/libmoonrabbit.so",
   here .. "../../../../lib/" .. SONAME, -- PREFIX/share/lua/5.1/moonrabbit
   here .. "../../../../lib64/" .. SONAME,
   here .. "../../../../lib/lua/5.1/" .. SONAME, -- a tree of LuaRocks
}

ffi.cdef [[
const char *mr_version(void);
const char *mr_declarations(void);
]]

local function in_process()
   return pcall(function() return ffi.C.mr_version end) and ffi.C or nil
end

local function load_first(paths)
   for _, path in ipairs(paths) do
      local file = io.open(path, "r")
      if file then
         file:close()
         return ffi.load(path)
      end
   end
end

local function load_installed()
   local ok, found = pcall(ffi.load, SONAME)
   if ok then return found end
   error("moonrabbit: cannot load " .. SONAME .. " (" .. tostring(found) .. "); MOONRABBIT_LIBRARY may name it", 0)
end

local named = os.getenv "MOONRABBIT_LIBRARY"
local C = named and ffi.load(named) or in_process() or load_first(LIBRARIES) or load_installed()

local running = ffi.string(C.mr_version())
if VERSION ~= running then
   error(("moonrabbit: these Lua files are of version %s, but the library is %s"):format(VERSION, running), 0)
end

-- Declarations stay as long as the process, this module only until package.loaded is emptied.
if not pcall(ffi.typeof, "mr_runtime") then ffi.cdef(ffi.string(C.mr_declarations())) end

return { C = C, version = running }
