--- cli.beside: puts a script's folder first in the search path of `require`.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"

local beside = {}

ffi.cdef [[
char *mr_realpath(const char *path, char *resolved) __asm__("realpath");
void mr_free(void *) __asm__("free");
]]

local first = { path = "", cpath = "" } -- the front part for the running script

-- The absolute name of a file or folder, with symbolic links resolved; nil: it does not exist.
local function whole(path)
   local name = ffi.C.mr_realpath(path, nil)
   if name == nil then return nil end
   local text = ffi.string(name)
   ffi.C.mr_free(name)
   return text
end

--- The folder of a script; for standard input ("-"): the current folder.
-- @treturn ?string nil: the script does not exist
function beside.folder(script)
   if script == "-" then return whole "." end
   local path = whole(script)
   if not path then return nil end
   local folder = path:match "^(.*)/[^/]*$"
   return folder == "" and "/" or folder
end

-- package.path and package.cpath for one folder. Folders with the special characters of these paths are left out.
local function of(folder)
   if not folder or folder:find "[;?]" then return { path = "", cpath = "" } end
   folder = folder == "/" and "" or folder
   return { path = ("%s/?.lua;%s/?/init.lua;"):format(folder, folder), cpath = ("%s/?.so;"):format(folder) }
end

-- A path without the part that we have added.
local function rest(which)
   local text, mine = package[which], first[which]
   return text:sub(1, #mine) == mine and text:sub(#mine + 1) or text
end

--- The package.path of a script in that folder.
-- @treturn string
function beside.path(folder) return of(folder).path .. rest "path" end

--- Makes `require` search this folder first, instead of the previous one.
-- @tparam ?string folder
function beside.put_first(folder)
   local new = of(folder)
   package.path, package.cpath = new.path .. rest "path", new.cpath .. rest "cpath"
   first = new
end

return beside
