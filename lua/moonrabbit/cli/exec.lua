--- cli.exec: runs a command of the shell with bytes at its standard input, and waits for its end.
-- SPDX-License-Identifier: MIT
local bit = require "bit"
local errno = require "moonrabbit.cli.errno"
local ffi = require "ffi"
local loop = require "moonrabbit.loop.loop"
local spawn = require "moonrabbit.cli.spawn"
local task = require "moonrabbit.loop.task"
local wait = require "moonrabbit.loop.wait"

local exec = {}

ffi.cdef [[
int mr_exec_pipe(int *ends, int flags) __asm__("pipe2");
int mr_exec_fcntl(int fd, int command, ...) __asm__("fcntl");
long mr_exec_write(int fd, const void *data, size_t size) __asm__("write");
int mr_exec_close(int fd) __asm__("close");
void (*mr_exec_signal(int number, void (*handler)(int)))(int) __asm__("signal");
]]

local CLOEXEC, NONBLOCK, SETFL = 524288, 2048, 4
local AGAIN, INTERRUPTED, BROKEN = 11, 4, 32
local PIPE, IGNORE = 13, 1
local waiting = {} -- tokens of those that wait for a child

--- To be called at each SIGCHLD.
function exec.on_child()
   local tokens = waiting
   waiting = {}
   for _, token in ipairs(tokens) do task.wake(token, true) end
end

--- Makes a write to a command that does not read fail, instead of ending this process.
function exec.prepare() ffi.C.mr_exec_signal(PIPE, ffi.cast("void (*)(int)", IGNORE)) end

-- Writes all; a command that does not read it is no failure.
local function feed(fd, text)
   local at = 0
   local bytes = ffi.cast("const char *", text)
   while at < #text do
      local n = tonumber(ffi.C.mr_exec_write(fd, bytes + at, #text - at))
      if n >= 0 then
         at = at + n
      else
         local code = ffi.errno()
         if code == BROKEN then return true end
         if code ~= AGAIN and code ~= INTERRUPTED then return nil, "standard input of the command: " .. errno(code) end
         if code == AGAIN then wait.fd(fd, "w") end
      end
   end
   return true
end

local function ended(pid)
   local how = spawn.ended(pid)
   while not how do
      local token = task.token()
      waiting[#waiting + 1] = token
      loop.wait(token, 1) -- a second at most, should a signal have been merged with another one
      how = spawn.ended(pid)
   end
   return how
end

--- Runs a command in the calling task.
-- @tparam string command for sh -c
-- @tparam string input
-- @tparam table variables of its environment
-- @treturn[1] table {code=} or {signal=}
-- @treturn[2] nil, string what is wrong
function exec.run(command, input, variables)
   local ends = ffi.new "int[2]"
   if ffi.C.mr_exec_pipe(ends, CLOEXEC) ~= 0 then return nil, "pipe: " .. errno() end
   ffi.C.mr_exec_fcntl(ends[1], SETFL, ffi.cast("int", bit.bor(NONBLOCK, 1)))
   local pid, why = spawn.shell(command, variables, ends[0])
   ffi.C.mr_exec_close(ends[0])
   if not pid then
      ffi.C.mr_exec_close(ends[1])
      return nil, why
   end
   local ok
   ok, why = feed(ends[1], input)
   ffi.C.mr_exec_close(ends[1])
   local how = ended(pid)
   if not ok then return nil, why end
   return how
end

return exec
