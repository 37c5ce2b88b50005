--- offset_file: keeps the offsets of named consumers of streams in files.
-- SPDX-License-Identifier: MIT
-- A file has the offset of the last handled message, as a line. It is replaced as a whole, so that a reader, and the next start
-- after a crash, find the old line or the new one; each process writes its own new file.
local bit = require "bit"
local ffi = require "ffi"
local checksum = require "moonrabbit.base.checksum"
local errors = require "moonrabbit.base.errors"
local state_folder = require "moonrabbit.base.state_folder"

local offset_file = {}

local WRITE_NEW = bit.bor(1, 64, 512, 524288) -- O_WRONLY, O_CREAT, O_TRUNC, O_CLOEXEC
local OWNER, FOLDER = 384, 448 -- 0600, 0700
local EEXIST, ENOENT, EACCES, ENOSPC, EROFS, EDQUOT = 17, 2, 13, 28, 30, 122
local LONG, HEAD = 200, 150 -- bytes of a name in a path: longer ones are cut, with a checksum; file systems take 255

ffi.cdef [[
int mr_file_open(const char *path, int flags, ...) __asm__("open");
long mr_file_write(int fd, const char *bytes, size_t size) __asm__("write");
int mr_file_sync(int fd) __asm__("fdatasync");
int mr_file_close(int fd) __asm__("close");
int mr_file_rename(const char *from, const char *to) __asm__("rename");
int mr_file_mkdir(const char *path, unsigned mode) __asm__("mkdir");
int mr_file_remove(const char *path) __asm__("unlink");
int mr_file_pid(void) __asm__("getpid");
char *mr_file_strerror(int number) __asm__("strerror");
]]
local C = ffi.C

local FOLDER_HINT = "the folder is $MOONRABBIT_STATE, systemd's $STATE_DIRECTORY, or ~/.local/state/moonrabbit; this user must own it"
local ROOM_HINT = "make room on the disk: it is tried again; until then a new start goes on at an older offset"
local HINTS = { [EACCES] = FOLDER_HINT, [EROFS] = FOLDER_HINT, [ENOSPC] = ROOM_HINT, [EDQUOT] = ROOM_HINT }

local function failure(what, path, number)
   number = number or ffi.errno()
   local err = errors.new("handler_failed", "config", ("cannot %s %s: %s"):format(what, path, ffi.string(C.mr_file_strerror(number))))
   err.hint = HINTS[number] or "set MOONRABBIT_STATE to a folder that this user owns, or give stream.store functions"
   return err, number
end

--- The folder of the files.
-- @tparam[opt] function getenv
-- @treturn[1] string
-- @treturn[2] nil, error
function offset_file.folder(getenv)
   local path = state_folder(getenv)
   if path then return path end
   local err = errors.new("bad_option", "config", "there is no folder for the offset: neither MOONRABBIT_STATE nor HOME is set")
   err.hint = "set MOONRABBIT_STATE to a folder, or give stream.store functions"
   return nil, err
end

-- Names may have any bytes, and many; a file's may not.
local function escape(name)
   local text = name:gsub("[^%w_%-]", function(c) return ("%%%02X"):format(c:byte()) end)
   if #text <= LONG then return text end
   return ("%s.%s"):format(text:sub(1, HEAD), checksum(name))
end

--- The path of a consumer's file.
-- @treturn[1] string
-- @treturn[2] nil, error
function offset_file.path(queue, name)
   local folder, err = offset_file.folder()
   return folder and ("%s/streams/%s/%s.offset"):format(folder, escape(queue), escape(name)), err
end

local function make_folders(path)
   for at in path:gmatch "()/" do
      local part = path:sub(1, at - 1)
      local number = part ~= "" and C.mr_file_mkdir(part, FOLDER) ~= 0 and ffi.errno() or EEXIST
      if number ~= EEXIST then
         local f = io.open(part) -- a folder above may be there and be closed to us
         if not f then return nil, (failure("make", part, number)) end
         f:close()
      end
   end
   return true
end

local function write(path, text)
   local fd = C.mr_file_open(path, WRITE_NEW, ffi.new("int", OWNER))
   if fd < 0 then return nil, failure("write", path) end
   local size = tonumber(C.mr_file_write(fd, text, #text))
   local ok = size == #text and C.mr_file_sync(fd) == 0
   local err = not ok and failure("write", path, size >= 0 and size < #text and ENOSPC or nil)
   C.mr_file_close(fd)
   if not ok then C.mr_file_remove(path) end
   return ok or nil, err
end

--- Reads an offset.
-- @tparam string path
-- @treturn[1] ?number nil: there is no file yet
-- @treturn[2] nil, error
function offset_file.load(path)
   local file, text, number = io.open(path, "rb")
   if not file then
      if number == ENOENT then return nil end
      local err = errors.new("handler_failed", "config", "cannot read " .. tostring(text))
      err.hint = FOLDER_HINT
      return nil, err
   end
   local content = file:read "*a" or ""
   file:close()
   local offset = content:match "^(%d+)\n$"
   if offset and #offset <= 15 then return tonumber(offset) end
   local err = errors.new("bad_argument", "config", ("%s has no offset: %q"):format(path, content:sub(1, 40)))
   err.recoverable, err.hint = false, "write the offset of the last handled message into it, or remove it to begin at stream.offset"
   return nil, err
end

--- Replaces an offset.
-- @treturn[1] true
-- @treturn[2] nil, error
function offset_file.save(path, offset)
   local new = ("%s.new.%d"):format(path, C.mr_file_pid())
   local text = ("%.0f\n"):format(offset)
   local ok, err, number = write(new, text)
   if not ok and number == ENOENT then
      ok, err = make_folders(path)
      if ok then ok, err = write(new, text) end
   end
   if not ok then return nil, err end
   if C.mr_file_rename(new, path) == 0 then return true end
   err = failure("replace", path)
   C.mr_file_remove(new)
   return nil, err
end

--- The functions of a store.
-- @tparam string queue
-- @treturn table load(name), save(name, offset)
function offset_file.store(queue)
   return {
      load = function(name)
         local path, err = offset_file.path(queue, name)
         if not path then return nil, err end
         return offset_file.load(path)
      end,
      save = function(name, offset)
         local path, err = offset_file.path(queue, name)
         if not path then return nil, err end
         return offset_file.save(path, offset)
      end,
   }
end

return offset_file
