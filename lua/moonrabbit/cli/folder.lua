--- cli.folder: a folder that only this user can read, for the workers' sockets and notes.
-- SPDX-License-Identifier: MIT
-- The process holds a lock on its folder, which the kernel gives up however the process ends: so the next one that makes a folder
-- finds those of killed processes, and removes them.
local beside = require "moonrabbit.cli.beside"
local directory = require "moonrabbit.cli.directory"
local errno = require "moonrabbit.cli.errno"
local ffi = require "ffi"
local file_status = require "moonrabbit.cli.file_status"

local folder = {}

ffi.cdef [[
char *mr_mkdtemp(char *name) __asm__("mkdtemp");
int mr_folder_open(const char *path, int flags, ...) __asm__("open");
int mr_folder_close(int fd) __asm__("close");
int mr_folder_lock(int fd, int how) __asm__("flock");
unsigned mr_folder_user(void) __asm__("geteuid");
]]

local PREFIX = "moonrabbit-run."
local CLOEXEC = 524288
local ALONE_NO_WAIT = 2 + 4
local EWOULDBLOCK = 11
local ATTEMPTS = 5

local held = {} -- path -> the descriptor that has its lock

local function is_own(path)
   local status = file_status.of_path(path)
   return status and status.kind == file_status.FOLDER and status.uid == ffi.C.mr_folder_user() and status.is_private
end

-- The descriptor that has the folder's lock; nil: another process has it, or it is gone (the second result is true), or there are
-- no locks here.
local function locked(path)
   local fd = ffi.C.mr_folder_open(path, CLOEXEC)
   if fd < 0 then return nil, not is_own(path) end
   local is_free = ffi.C.mr_folder_lock(fd, ALONE_NO_WAIT) == 0
   local is_taken = not is_free and ffi.errno() == EWOULDBLOCK or not is_own(path)
   if is_free and not is_taken then return fd end
   ffi.C.mr_folder_close(fd)
   return nil, is_taken
end

local function remove(path, fd)
   for _, name in ipairs(directory.names(path) or {}) do
      if name ~= "." and name ~= ".." then os.remove(path .. "/" .. name) end
   end
   os.remove(path)
   if fd then ffi.C.mr_folder_close(fd) end
end

-- Removes those of processes that have died.
local function sweep(place)
   for _, name in ipairs(directory.names(place) or {}) do
      local path = place .. "/" .. name
      local fd = name:sub(1, #PREFIX) == PREFIX and is_own(path) and locked(path)
      if fd then remove(path, fd) end
   end
end

--- Makes one, below TMPDIR; its path is absolute.
-- @treturn[1] string
-- @treturn[2] nil, string what is wrong
function folder.make()
   local place = os.getenv "TMPDIR" or ""
   if place == "" then place = "/tmp" end
   if place:sub(1, 1) ~= "/" then place = (beside.folder "-" or "") .. "/" .. place end
   sweep(place)
   local path
   for _ = 1, ATTEMPTS do -- another process may find one before it is locked, and remove it
      local name = place .. "/" .. PREFIX .. "XXXXXX"
      local box = ffi.new("char[?]", #name + 1, name)
      if ffi.C.mr_mkdtemp(box) == nil then return nil, name .. ": " .. errno() end
      path = ffi.string(box)
      local fd, is_taken = locked(path)
      held[path] = fd
      if not is_taken then break end
   end
   return path -- without a lock where there are none: then nobody removes it either
end

--- Removes one, with the files in it.
function folder.remove(path)
   remove(path, held[path])
   held[path] = nil
end

return folder
