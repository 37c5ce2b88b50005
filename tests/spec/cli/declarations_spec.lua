--- A script may declare C's functions and structs to LuaJIT's FFI as it likes: the library's names are its own.
-- Covers: lua/moonrabbit/cli/folder.lua by folder
-- SPDX-License-Identifier: MIT
local command = os.getenv "MOONRABBIT_COMMAND" or error "MOONRABBIT_COMMAND is not set: run the specs by tests/run.sh"

-- Each with types that the library does not use, before or behind what loads all of the library.
local SCRIPT = [[
local ffi = require "ffi"
local function declare()
   for _, text in ipairs {
      "typedef struct { int64_t s, n; } own_time; int clock_gettime(int id, own_time *time);",
      "intptr_t read(int fd, char *into, unsigned long size);", "int32_t kill(int32_t who, short what);",
      "long getpid(void);",
      "int16_t socket(short a, short b, short c);", "int connect(int fd, const char *to, short size);",
      "int close(short fd);",
      "int send(int fd, const char *from, int size, short flags);", "int waitpid(int who, own_time *how, int what);",
      "char *memmem(const char *a, int b, const char *c, int d);",
      "void *mkdtemp(void *name);", "int statx(int at, const char *path, int flags, unsigned mask, own_time *into);",
      "char *strerror(short number);", "void *localeconv(void);", "void *environ;",
      "char *realpath(char *a, char *b);",
      "struct timespec { int64_t seconds; };", "short posix_spawn(void *a);",
      "short sigemptyset(void *a);", "int open(const char *path, short flags);",
   } do
      local ok, why = pcall(ffi.cdef, text)
      assert(ok, text .. tostring(why))
   end
end
if arg[1] == "before" then declare() end
local mr = require "moonrabbit"
for _, name in ipairs { "ask", "folder", "input", "signals", "spawn", "watch" } do
   require("moonrabbit.cli." .. name)
end
if arg[1] == "behind" then declare() end
-- The first declaration counts: these would find the library's types.
local own = ffi.new "own_time[32]"
assert(ffi.C.clock_gettime(1, own) == 0 and own[0].s > 0)
assert(ffi.C.statx(-100, "/", 0, 0x7ff, own) == 0)
assert(ffi.C.memmem("abc", 3, "b", 1)[0] == ("b"):byte())
local conn = mr.connect "memory://"
mr.consumer { connection = conn, queue = "q", retry = mr.retry.fixed { delay = 0 },
   handler = function(msg) if msg.attempt == 1 then error "once" end print("attempt " .. msg.attempt) mr.stop() end }
assert(mr.publisher { connection = conn, routing_key = "q" }:publish { a = 1 })
]]

describe("a script with declarations of its own", function()
   for _, when in ipairs { "before", "behind" } do
      it("runs, also where they differ from the library's types, " .. when .. " it (FIELD-C15)", function()
         local path = os.tmpname()
         local f = assert(io.open(path, "w"))
         f:write(SCRIPT)
         f:close()
         local out = assert(io.popen(("%s run %s %s 2>/dev/null"):format(command, path, when)))
         local said = out:read "*a"
         out:close()
         os.remove(path)
         assert.equal("attempt 2\n", said)
      end)
   end
end)
