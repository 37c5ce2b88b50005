--- cli.disk: files that must survive a crash of the machine.
-- SPDX-License-Identifier: MIT
local errno = require "moonrabbit.cli.errno"
local ffi = require "ffi"

local disk = {}

ffi.cdef [[
int mr_disk_open(const char *path, int flags, ...) __asm__("open");
int mr_disk_close(int fd) __asm__("close");
int mr_disk_fsync(int fd) __asm__("fsync");
int mr_disk_fileno(void *file) __asm__("fileno");
]]

local WRITE_CREATE_EXCLUSIVE = 1 + 64 + 128
local FOLDER = 65536 + 524288 -- O_DIRECTORY, O_CLOEXEC
local MODE = 384              -- 0600
local NO_DISK, READ_ONLY = 22, 30 -- EINVAL, EROFS: a pipe or a terminal has nothing to sync

--- Makes a new file that only this user can read: messages may be secret.
-- @tparam string path
-- @treturn[1] file
-- @treturn[2] nil, string what is wrong: also if there is one
function disk.create(path)
   local fd = ffi.C.mr_disk_open(path, WRITE_CREATE_EXCLUSIVE, ffi.cast("int", MODE))
   if fd < 0 then return nil, path .. ": " .. errno() end
   ffi.C.mr_disk_close(fd)
   return io.open(path, "wb")
end

local function sync(fd)
   if ffi.C.mr_disk_fsync(fd) == 0 then return true end
   local code = ffi.errno()
   if code == NO_DISK or code == READ_ONLY then return true end
   return nil, errno(code)
end

--- Has all that was written to a file be on the disk. A pipe has none.
-- @tparam file file
-- @treturn[1] true
-- @treturn[2] nil, string what is wrong
function disk.sync(file)
   local ok, why = file:flush()
   if not ok then return nil, tostring(why) end
   return sync(ffi.C.mr_disk_fileno(file))
end

--- Has the name of a new file be on the disk, too.
-- @tparam string path
-- @treturn[1] true
-- @treturn[2] nil, string what is wrong
function disk.sync_folder(path)
   local folder = path:match "^(.*/)[^/]*$" or "."
   local fd = ffi.C.mr_disk_open(folder, FOLDER)
   if fd < 0 then return nil, folder .. ": " .. errno() end
   local ok, why = sync(fd)
   ffi.C.mr_disk_close(fd)
   return ok, why
end

return disk
