--- ffi: declares moonrabbit.h and moonrabbit_testing.h to LuaJIT and finds the library.
-- SPDX-License-Identifier: MIT
-- The only place that knows the locations: in the build tree, installed under any prefix, or already loaded in the process.
local is_luajit, ffi = pcall(require, "ffi")
if not is_luajit then
   error("Moonrabbit needs LuaJIT: moonrabbit run SCRIPT, luajit SCRIPT, busted --lua=luajit; this is " .. _VERSION, 0)
end

local here = debug.getinfo(1, "S").source:match "^@(.*/)base/ffi%.lua$" or "./"

local function read(path)
   local file = io.open(path, "r")
   if not file then return nil end
   local text = file:read "*a"
   file:close()
   return text
end

local function first(paths, try)
   for _, path in ipairs(paths) do
      local found = try(path)
      if found then return found, path end
   end
end

local FOLDERS = {                                          -- of the headers
   here .. "../../runtime/include/",                       -- build tree
   here .. "../../../../include/",                         -- PREFIX/share/lua/5.1/moonrabbit
   "/usr/local/include/", "/usr/include/",
}
local LIBRARIES = {
   here .. "../../.build/release/lib/libmoonrabbit.so",
   here .. "../../../../lib/libmoonrabbit.so",
}

local header, folder = first(FOLDERS, function(path) return read(path .. "moonrabbit.h") end)
if not header then error("moonrabbit: cannot find moonrabbit.h; looked in " .. table.concat(FOLDERS, ", "), 0) end
local header_path = folder .. "moonrabbit.h"

-- The part of a header for FFI.
local function declarations(path, text)
   if not text then error("moonrabbit: cannot find " .. path .. ", of the same version as moonrabbit.h beside it", 0) end
   local found = text:match "/%* ffi: begin %*/(.-)/%* ffi: end %*/"
   if not found then error("moonrabbit: " .. path .. " lacks the marks around what FFI declares", 0) end
   return (found:gsub("MR_API ", ""))
end

-- Declarations stay as long as the process, this module only until package.loaded is emptied.
if not pcall(ffi.typeof, "mr_runtime") then
   local testing_path = folder .. "moonrabbit_testing.h"
   ffi.cdef(declarations(header_path, header))
   ffi.cdef(declarations(testing_path, read(testing_path)))
end

local function in_process()
   return pcall(function() return ffi.C.mr_version end) and ffi.C or nil
end

local function load(path)
   local file = io.open(path, "r")
   if not file then return nil end
   file:close()
   return ffi.load(path)
end

local named = os.getenv "MOONRABBIT_LIBRARY"
local C = named and ffi.load(named) or in_process() or first(LIBRARIES, load) or ffi.load "moonrabbit"

local declared = header:match '#define MR_VERSION_STRING "([^"]*)"'
local running = ffi.string(C.mr_version())
if declared ~= running then
   error(("moonrabbit: %s is of version %s, but the library is %s"):format(header_path, declared, running), 0)
end

return { C = C, version = running }
