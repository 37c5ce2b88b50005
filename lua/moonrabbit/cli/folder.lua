--- cli.folder: a folder that only this user can read, for the workers' sockets.
-- SPDX-License-Identifier: MIT
local beside = require "moonrabbit.cli.beside"
local errno = require "moonrabbit.cli.errno"
local ffi = require "ffi"

local folder = {}

ffi.cdef [[
char *mr_mkdtemp(char *name) __asm__("mkdtemp");
]]

--- Makes one, below TMPDIR; its path is absolute.
-- @treturn[1] string
-- @treturn[2] nil, string what is wrong
function folder.make()
   local place = os.getenv "TMPDIR" or ""
   if place == "" then place = "/tmp" end
   if place:sub(1, 1) ~= "/" then place = (beside.folder "-" or "") .. "/" .. place end
   local name = place .. "/moonrabbit-XXXXXX"
   local box = ffi.new("char[?]", #name + 1, name)
   if ffi.C.mr_mkdtemp(box) == nil then return nil, name .. ": " .. errno() end
   return ffi.string(box)
end

--- Removes one, with the files named.
function folder.remove(path, files)
   for _, file in ipairs(files) do os.remove(file) end
   os.remove(path)
end

return folder
