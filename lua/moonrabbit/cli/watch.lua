--- cli.watch: `--watch`: checks whether a script's files have changed.
-- SPDX-License-Identifier: MIT
-- It polls, because editors replace files instead of writing them, and not every file system reports changes. A changed file
-- counts when it is unchanged at the next check.
local ffi = require "ffi"
local each = require "moonrabbit.base.each"
local loop = require "moonrabbit.loop.loop"
local task = require "moonrabbit.loop.task"

local watch = {}

watch.PAUSE = 0.25 -- seconds between two checks

ffi.cdef [[
typedef struct {
	uint32_t mask, block_size;
	uint64_t attributes;
	uint32_t links, uid, gid;
	uint16_t mode, spare;
	uint64_t inode, size, blocks, attributes_mask;
	struct { int64_t seconds; uint32_t nanoseconds; int32_t spare; } access, birth, change, modification;
	uint64_t more[16]; /* 256 bytes in all */
} mr_statx;
int mr_statx_of(int directory, const char *path, int flags, unsigned mask, mr_statx *out) __asm__("statx");
]]

local AT_FDCWD, BASIC = -100, 0x7ff
local box = ffi.new "mr_statx"

--- Identifies the content of a file; "" if it does not exist.
function watch.stamp(path)
   if ffi.C.mr_statx_of(AT_FDCWD, path, 0, BASIC, box) ~= 0 then return "" end
   return ("%s %s %s %s"):format(tostring(box.inode), tostring(box.size), tostring(box.modification.seconds),
      box.modification.nanoseconds)
end

local function look(files)
   local seen = {}
   for _, path in ipairs(files) do seen[path] = watch.stamp(path) end
   return seen
end

-- Files that differ from their known state, and are unchanged since the last check.
local function has_changed(known, before, now)
   local changed = false
   for path, stamp in each(now) do
      known[path] = known[path] or stamp
      if stamp ~= known[path] then
         if stamp == "" or stamp ~= before[path] then return false end -- it is being replaced
         changed = true
      end
   end
   return changed
end

--- Calls changed() whenever one of the files has changed.
-- @tparam function list gives the files' names
-- @tparam function changed
function watch.start(list, changed)
   local known = look(list())
   task.background(function()
      local before = known
      while true do
         loop.sleep(watch.PAUSE)
         local now = look(list())
         if has_changed(known, before, now) then
            for path, stamp in each(now) do known[path] = stamp end
            changed()
         end
         before = now
      end
   end)
end

return watch
