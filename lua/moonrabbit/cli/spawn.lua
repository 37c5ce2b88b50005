--- cli.spawn: starts and ends processes of this command.
-- SPDX-License-Identifier: MIT
local each = require "moonrabbit.base.each"
local bit = require "bit"
local errno = require "moonrabbit.cli.errno"
local ffi = require "ffi"
local signals = require "moonrabbit.cli.signals"

local spawn = {}

ffi.cdef [[
typedef struct { char bytes[512]; } __attribute__((aligned(16))) mr_spawnattr; /* glibc's has 336 */
int mr_posix_spawn(int *pid, const char *path, const void *actions, const mr_spawnattr *attributes,
	const char *const *argv, const char *const *envp) __asm__("posix_spawn");
int mr_posix_spawnattr_init(mr_spawnattr *) __asm__("posix_spawnattr_init");
int mr_posix_spawnattr_destroy(mr_spawnattr *) __asm__("posix_spawnattr_destroy");
int mr_posix_spawnattr_setflags(mr_spawnattr *, short) __asm__("posix_spawnattr_setflags");
int mr_posix_spawnattr_setpgroup(mr_spawnattr *, int) __asm__("posix_spawnattr_setpgroup");
int mr_posix_spawnattr_setsigmask(mr_spawnattr *, const unsigned long *set) __asm__("posix_spawnattr_setsigmask");
int mr_posix_spawnattr_setsigdefault(mr_spawnattr *, const unsigned long *set) __asm__("posix_spawnattr_setsigdefault");
typedef struct { char bytes[256]; } __attribute__((aligned(16))) mr_spawn_actions; /* glibc's has 80 */
int mr_spawn_actions_init(mr_spawn_actions *) __asm__("posix_spawn_file_actions_init");
int mr_spawn_actions_destroy(mr_spawn_actions *) __asm__("posix_spawn_file_actions_destroy");
int mr_spawn_actions_adddup2(mr_spawn_actions *, int from, int to) __asm__("posix_spawn_file_actions_adddup2");
int mr_sigemptyset(unsigned long *set) __asm__("sigemptyset");
int mr_sigaddset(unsigned long *set, int number) __asm__("sigaddset");
int mr_waitpid(int pid, int *status, int options) __asm__("waitpid");
int mr_kill(int pid, int number) __asm__("kill");
int mr_getpid(void) __asm__("getpid");
extern char **mr_environ __asm__("environ");
]]

local SETPGROUP, SETSIGDEF, SETSIGMASK, NOHANG, KILL, PIPE = 2, 4, 8, 1, 9, 13
local ours = {} -- pids of children that have not been waited for
spawn.KILL = KILL

-- This process's environment with some names set, or left out (false).
local function environment(changes)
   local list, at = {}, 0
   while ffi.C.mr_environ[at] ~= nil do
      local pair = ffi.string(ffi.C.mr_environ[at])
      if changes[pair:match "^[^=]*"] == nil then list[#list + 1] = pair end
      at = at + 1
   end
   for name, value in each(changes) do
      if value then list[#list + 1] = name .. "=" .. value end
   end
   return list
end

-- Its own process group, so that only this process gets a terminal's Ctrl-C. Signals are blocked until it is ready.
local function attributes_of()
   local attributes, set = ffi.new "mr_spawnattr", ffi.new "unsigned long[16]"
   ffi.C.mr_posix_spawnattr_init(attributes)
   ffi.C.mr_posix_spawnattr_setflags(attributes, SETPGROUP + SETSIGMASK)
   ffi.C.mr_posix_spawnattr_setpgroup(attributes, 0)
   ffi.C.mr_sigemptyset(set)
   for _, name in ipairs { "HUP", "INT", "TERM", "QUIT", "USR1", "USR2" } do ffi.C.mr_sigaddset(set, signals[name]) end
   ffi.C.mr_posix_spawnattr_setsigmask(attributes, set)
   return attributes
end

-- A NULL-terminated array of the strings, which must live as long as the array.
local function array(list)
   local out = ffi.new("const char *[?]", #list + 1)
   for i, text in ipairs(list) do out[i - 1] = text end
   out[#list] = nil
   return out
end

--- Starts this command again.
-- @tparam table arguments without the program's name
-- @tparam table changes of the environment
-- @treturn[1] number pid
-- @treturn[2] nil, string what is wrong
function spawn.start(arguments, changes)
   local argv, envp, pid = { "moonrabbit", unpack(arguments) }, environment(changes), ffi.new "int[1]"
   local attributes = attributes_of()
   local code = ffi.C.mr_posix_spawn(pid, "/proc/self/exe", nil, attributes, array(argv), array(envp))
   ffi.C.mr_posix_spawnattr_destroy(attributes)
   if code ~= 0 then return nil, errno(code) end
   ours[pid[0]] = true
   return pid[0]
end

-- Another program: its own process group, too, but with no signal blocked or ignored.
local function plain_attributes()
   local attributes, none, set = ffi.new "mr_spawnattr", ffi.new "unsigned long[16]", ffi.new "unsigned long[16]"
   ffi.C.mr_posix_spawnattr_init(attributes)
   ffi.C.mr_posix_spawnattr_setflags(attributes, SETPGROUP + SETSIGDEF + SETSIGMASK)
   ffi.C.mr_posix_spawnattr_setpgroup(attributes, 0)
   ffi.C.mr_sigemptyset(none)
   ffi.C.mr_posix_spawnattr_setsigmask(attributes, none)
   ffi.C.mr_sigemptyset(set)
   ffi.C.mr_sigaddset(set, PIPE)
   ffi.C.mr_posix_spawnattr_setsigdefault(attributes, set)
   return attributes
end

--- Starts a command of the shell.
-- @tparam string command
-- @tparam table changes of the environment
-- @tparam number input descriptor for its standard input
-- @treturn[1] number pid
-- @treturn[2] nil, string what is wrong
function spawn.shell(command, changes, input)
   local argv, envp, pid = { "sh", "-c", command }, environment(changes), ffi.new "int[1]"
   local attributes, actions = plain_attributes(), ffi.new "mr_spawn_actions"
   ffi.C.mr_spawn_actions_init(actions)
   ffi.C.mr_spawn_actions_adddup2(actions, input, 0)
   local code = ffi.C.mr_posix_spawn(pid, "/bin/sh", actions, attributes, array(argv), array(envp))
   ffi.C.mr_spawn_actions_destroy(actions)
   ffi.C.mr_posix_spawnattr_destroy(attributes)
   if code ~= 0 then return nil, errno(code) end
   ours[pid[0]] = true
   return pid[0]
end

--- Checks whether a child has ended.
-- @treturn ?table {code=} or {signal=}; nil: no
function spawn.ended(pid)
   local status = ffi.new "int[1]"
   if not ours[pid] or ffi.C.mr_waitpid(pid, status, NOHANG) ~= pid then return nil end
   ours[pid] = nil
   local signal = bit.band(status[0], 0x7f)
   if signal ~= 0 then return { signal = signal } end
   return { code = bit.band(bit.rshift(status[0], 8), 0xff) }
end

--- Sends a signal to a child that has not ended.
function spawn.signal(pid, number)
   if ours[pid] then ffi.C.mr_kill(pid, number) end
end

--- Our own process id.
function spawn.pid() return ffi.C.mr_getpid() end

return spawn
