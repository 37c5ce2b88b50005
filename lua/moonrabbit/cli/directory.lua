--- cli.directory: folders: what is in one, and making one.
-- SPDX-License-Identifier: MIT
local errno = require "moonrabbit.cli.errno"
local ffi = require "ffi"

local directory = {}

ffi.cdef [[
typedef struct mr_directory mr_directory;
mr_directory *mr_opendir(const char *path) __asm__("opendir");
typedef struct { uint64_t inode; int64_t offset; uint16_t size; uint8_t type; char name[256]; } mr_directory_entry;
mr_directory_entry *mr_readdir(mr_directory *directory) __asm__("readdir64");
int mr_closedir(mr_directory *directory) __asm__("closedir");
int mr_mkdir(const char *path, unsigned mode) __asm__("mkdir");
]]

local OWN = 448 -- 0700

--- The names in a folder, "." and ".." among them, in no order.
-- @tparam string path
-- @treturn[1] table
-- @treturn[2] nil, string what is wrong
function directory.names(path)
   local open, list = ffi.C.mr_opendir(path), {}
   if open == nil then return nil, ("%s: %s"):format(path, errno()) end
   local entry = ffi.C.mr_readdir(open)
   while entry ~= nil do
      list[#list + 1] = ffi.string(entry.name)
      entry = ffi.C.mr_readdir(open)
   end
   ffi.C.mr_closedir(open)
   return list
end

--- Makes a folder, and those above it, for this user alone (mode 0700). What is there stays; a use of it tells what has failed.
-- @tparam string path
function directory.make(path)
   for at in (path .. "/"):gmatch "()/" do
      if at > 1 then ffi.C.mr_mkdir(path:sub(1, at - 1), OWN) end
   end
end

return directory
