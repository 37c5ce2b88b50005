--- cli.file_status: what a file is, whose it is, and who may do what with it.
-- SPDX-License-Identifier: MIT
local bit = require "bit"
local ffi = require "ffi"

local file_status = {}

ffi.cdef [[
typedef struct {
   uint32_t mask, block; uint64_t attributes; uint32_t links, uid, gid; uint16_t mode, pad; uint64_t rest[28];
} mr_file_status;
int mr_statx_at(int folder, const char *path, int flags, unsigned mask, mr_file_status *out) __asm__("statx");
]]

local HERE, NOFOLLOW, ITSELF = -100, 0x100, 0x1000 -- AT_FDCWD, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH
local KIND_AND_OWNER = 0x1 + 0x2 + 0x8 -- STATX_TYPE, STATX_MODE, STATX_UID
local KIND, BITS, OTHERS = 0xf000, 511, 63 -- S_IFMT, 0777; 077: what others may do

file_status.FOLDER, file_status.FILE, file_status.SOCKET = 0x4000, 0x8000, 0xc000 -- S_IFDIR, S_IFREG, S_IFSOCK

local function look(folder, path, flags)
   local status = ffi.new "mr_file_status"
   if ffi.C.mr_statx_at(folder, path, flags, KIND_AND_OWNER, status) ~= 0 then return nil end
   return { kind = bit.band(status.mode, KIND), uid = status.uid, mode = bit.band(status.mode, BITS),
      is_private = bit.band(status.mode, OTHERS) == 0 }
end

--- Of a path; of a symbolic link it is the link's own.
-- @tparam string path
-- @treturn[1] table kind (FOLDER, FILE, SOCKET or another), uid, mode (such as 384: 0600), is_private (others may do nothing)
-- @treturn[2] nil: see errno
function file_status.of_path(path) return look(HERE, path, NOFOLLOW) end

--- Of an open descriptor.
-- @tparam number fd
-- @treturn as of_path
function file_status.of_descriptor(fd) return look(fd, "", ITSELF) end

return file_status
