--- cli.history: the lines that were typed at a prompt, in a file for the next session.
-- SPDX-License-Identifier: MIT
-- Each entry is appended when it is typed, so that sessions beside each other keep all of theirs; while the file is made short,
-- others wait to append. A line end within an entry is written as \n, a backslash as \\.
local directory = require "moonrabbit.cli.directory"
local errno = require "moonrabbit.cli.errno"
local ffi = require "ffi"

local history = {}

ffi.cdef [[
int mr_history_open(const char *path, int flags, ...) __asm__("open");
long mr_history_write(int fd, const void *data, size_t size) __asm__("write");
int mr_history_close(int fd) __asm__("close");
int mr_history_lock(int fd, int how) __asm__("flock");
int mr_history_truncate(int fd, int64_t size) __asm__("ftruncate64");
]]

local WRITE, CREATE, APPEND, CLOEXEC = 1, 64, 1024, 524288
local SHARED, ALONE, NO_WAIT = 1, 2, 4 -- locks; each ends when its descriptor is closed
local PRIVATE = 384 -- 0600
local MOST = 1000 -- entries that are kept
local LONGEST = 16384 -- bytes of one

--- The file; nil: there is no home directory.
function history.path()
   local state, home = os.getenv "XDG_STATE_HOME", os.getenv "HOME"
   if state and state:sub(1, 1) == "/" then return state .. "/moonrabbit/history" end
   if not home or home == "" then return nil end
   return home .. "/.local/state/moonrabbit/history"
end

--- An entry as a line of the file.
function history.encode(text) return (text:gsub("\\", "\\\\"):gsub("\n", "\\n")) end

--- A line of the file as an entry.
function history.decode(line)
   return (line:gsub("\\(.)", function(c) return c == "n" and "\n" or c end))
end

local function append(path, text)
   local fd = ffi.C.mr_history_open(path, WRITE + CREATE + CLOEXEC + APPEND, ffi.cast("int", PRIVATE))
   if fd < 0 then return nil, ("%s: %s"):format(path, errno()) end
   ffi.C.mr_history_lock(fd, SHARED) -- where there are no locks, it is as good without
   local ok = ffi.C.mr_history_write(fd, text, #text) == #text
   local why = not ok and ("%s: %s"):format(path, errno()) or nil
   ffi.C.mr_history_close(fd)
   return ok or nil, why
end

local function lines_of(path)
   local lines, file = {}, io.open(path)
   if not file then return lines end
   for line in file:lines() do lines[#lines + 1] = line end
   file:close()
   return lines
end

-- The last lines are written over the first, in the same file: those who wait to append have it open.
local function shorten(path, fd)
   local lines = lines_of(path)
   if #lines <= 2 * MOST then return end -- somebody else has just done it
   local text = table.concat(lines, "\n", #lines - MOST + 1) .. "\n"
   if ffi.C.mr_history_write(fd, text, #text) == #text then ffi.C.mr_history_truncate(fd, #text) end
end

-- Now and then. Not while others append: there is a next time.
local function shorten_alone(path)
   local fd = ffi.C.mr_history_open(path, WRITE + CLOEXEC)
   if fd < 0 then return end
   if ffi.C.mr_history_lock(fd, ALONE + NO_WAIT) == 0 then shorten(path, fd) end
   ffi.C.mr_history_close(fd)
end

--- The entries of earlier sessions, the oldest first.
-- @tparam string path
-- @treturn table
function history.load(path)
   local lines, list = lines_of(path), {}
   if #lines > 2 * MOST then shorten_alone(path) end
   for i = math.max(#lines - MOST + 1, 1), #lines do list[#list + 1] = history.decode(lines[i]) end
   return list
end

--- Appends an entry.
-- @tparam string path
-- @tparam string text
-- @treturn[1] true
-- @treturn[2] nil, string what is wrong
function history.add(path, text)
   if #text > LONGEST then return true end
   local line = history.encode(text) .. "\n"
   if append(path, line) then return true end
   directory.make(path:match "^(.*)/")
   return append(path, line)
end

return history
