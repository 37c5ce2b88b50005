-- check_layers: fails when a file includes upwards, uses a library it may not, or grows too long.
-- SPDX-License-Identifier: MIT
--
--   luajit tests/tools/check_layers.lua [ROOT]     checks ROOT/runtime and ROOT/lua (ROOT: here)
--   luajit tests/tools/check_layers.lua ROOT --strict   circles of modules are breaches, too: a.c includes b.h and b.c a.h,
--                                                       or a.c calls a function of b.c and b.c one of a.c; and so are
--                                                       extern functions that do not bear their file's name
--   luajit tests/tools/check_layers.lua --self-test
--
-- The rules are the table of docs/architecture.md. A new folder or library gets its line here.

local functions = dofile((arg[0]:match("^.*/") or "") .. "functions.lua")

local C_LINES, LUA_LINES = 500, 400
local HEADER, HEADER_LINES = "include/moonrabbit.h", 1000 -- the manual of the C library is one page

local may_include = {              -- folder -> folders or single headers it may include, beside its own
   include = {},
   base = {},
   bridge = { "base" },
   config = { "base" },
   codec = { "base" },
   amqp = { "base", "codec" },
   net = { "base" },
   ["broker/store"] = { "base", "codec" },
   ["broker/client"] = { "base", "codec", "broker/store" },
   ["broker/server"] = { "base", "net", "codec", "config", "bridge/ending.h", "bridge/notices.h", "broker/store",
      "broker/client", "redis" },
   io = { "base", "bridge" },
   redis = { "base", "net", "codec", "config", "link/backoff.h", "broker/store" },
   link = { "base", "bridge", "config", "codec", "amqp", "net", "io", "broker/server/server.h" },
   health = { "base", "bridge", "config", "codec", "amqp", "net", "io", "link", "broker/server/server.h" },
   engine = { "base", "bridge", "config", "codec", "amqp", "net", "io", "link", "health", "broker/server/server.h" },
   api = { "base", "bridge", "config", "engine/engine.h", "broker/server/server.h" },
   main = {},
}
local may_require = {              -- folder of lua/moonrabbit -> folders that it may require, beside its own
   base = {},
   loop = { "base" },
   channel = { "base", "loop" },
   connection = { "base", "loop", "channel" },
   topology = { "base", "loop", "channel", "connection" },
   delay = { "base", "loop", "channel", "connection", "topology" },
   redelivery = { "base", "loop", "channel", "connection", "delay" },
   consumer = { "base", "loop", "channel", "connection", "redelivery", "topology" },
   publisher = { "base", "loop", "channel", "connection", "topology", "delay" },
   pool = { "base", "loop", "channel", "connection" },
   rpc = { "base", "loop", "channel", "connection" },
   health = { "base", "loop", "channel" },
   program = { "base", "loop", "channel", "connection", "consumer" },
   host = { "base", "loop", "channel", "connection", "health", "program", "cli" },
   console = { "base", "loop", "channel", "connection", "redelivery", "consumer", "health", "pool", "program" },
}                                  -- all may be required by cli/ and by the modules beside the folders
local PUBLIC = { ["moonrabbit.h"] = true, ["moonrabbit_testing.h"] = true } -- every folder may include them

local third_party = {              -- { header, patterns of the files that may include it }
   { "^amqp[%w_]*%.h$", "^codec/rabbitmqc%.h$", "^codec/method%.c$", "^codec/table%.c$", "^codec/properties%.c$" },
   { "^rabbitmq%-c/", "^codec/rabbitmqc%.h$", "^codec/method%.c$", "^codec/table%.c$", "^codec/properties%.c$" },
   { "^openssl/", "^net/tls", "^redis/store%.c$" },
   { "^ares", "^net/resolve" },
   { "^ev%.h$", "^base/ev%.h$", "^include/moonrabbit_ev%.h$" },
   { "^uv%.h$", "^include/moonrabbit_uv%.h$" },
   { "^glib", "^include/moonrabbit_glib%.h$" },
   { "^hiredis/", "^redis/wire%." },
   { "^microhttpd%.h$", "^health/http%.", "^health/visitor%." },
   { "^jansson%.h$", "^redis/" },
   { "^stdatomic%.h$", "^bridge/" },
   -- resolve: pthread_once around c-ares' global start, ending: around atexit; no thread, no lock of ours
   { "^pthread%.h$", "^engine/", "^bridge/ending%.c$", "^broker/server/server%.", "^broker/server/registry%.c$", "^net/resolve%.c$",
      "^net/tls[%w_]*%.c$", -- likewise: once for the process
      "^base/status%.c$", -- likewise: the errors that need no memory
      "^base/descriptor%.c$", "^base/thread%." }, -- pthread_atfork; how every thread is started
   { "^threads%.h$" },
   { "^lua[%w]*%.h", "^main/" },
   { "^lauxlib%.h$", "^main/" },
}

local private = {                  -- headers of one module: { who else may include them, why }
   ["codec/rabbitmqc.h"] = { "is for the codec", "^codec/method%.c$", "^codec/table%.c$", "^codec/properties%.c$" },
   ["amqp/session.h"] = { "is for the link, and not for its recovery", "^amqp/", "^link/state%.h$", "^link/io%.h$" },
}

local banned = {                   -- { what the code must not say, why, files that may }
   -- registry: names of brokers, looked up when a connection is made (docs/decisions/0003)
   { "%f[%w_]pthread_mutex", "no mutex: share nothing", "^broker/server/registry%.c$" },
   { "%f[%w_]pthread_rwlock", "no lock: share nothing" },
   { "%f[%w_]mtx_%l+%s*%(", "no mutex: share nothing" },
   { "%f[%w_]abort%s*%(", "the library never ends the process", "^main/" },
   { "%f[%w_]_?[eE]xit%s*%(", "the library never ends the process", "^main/" },
   { "%f[%w_]quick_exit%s*%(", "the library never ends the process", "^main/" },
   { "%f[%w_]sigaction%s*%(", "the library changes no signal handlers", "^main/", "^bridge/signals%.c$" }, -- that only asks
   { "%f[%w_]signal%s*%(", "the library changes no signal handlers", "^main/" },
   { "%f[%w_]ev_default_loop", "the library owns its loop" },
   -- alloc: the test counters (fail the n-th, blocks alive); clock: how far tests have moved it; relaxed
   { "%f[%w_]__atomic_", "atomics live in bridge/", "^bridge/", "^base/alloc%.c$", "^base/clock%.c$",
      "^base/descriptor%.c$" }, -- which numbers are ours, asked by nobody but a forked child
   { "%f[%w_]_Atomic%f[^%w_]", "atomics live in bridge/", "^bridge/" },
   { "%f[%w_]__sync_", "atomics live in bridge/", "^bridge/" },
   { "%f[%w_]strto[df]%s*%(", "a host's locale may have a decimal comma: base/number", "^base/number%.c$" },
   { "%f[%w_]ato[fl]?%s*%(", "it takes anything for a number", "^main/" },
   { "%f[%w_]u?n?sleep%s*%(", "nothing sleeps" },
   { "%f[%w_]nanosleep%s*%(", "nothing sleeps" },
}

-- A class lives in one file (docs/decisions/0019), but for tables that are not ours: file -> those that it adds functions to.
local foreign = {
   ["moonrabbit/loop/coroutines.lua"] = { coroutine = true }, -- Lua's own: it is what the module is for
   ["moonrabbit/loop/watchdog.lua"] = { profile = true },     -- LuaJIT's: who profiles else takes turns with us
}

local breaches, print_breach

local function complain(...)
   breaches = breaches + 1
   print_breach(string.format(...))
end

local function matches_any(text, patterns, first)
   for i = first, #patterns do
      if text:match(patterns[i]) then return true end
   end
   return false
end

-- Lists the files below `directory` that end in one of the extensions, as paths relative to it.
local function files_below(directory, extensions)
   local found = {}
   local pipe = assert(io.popen("cd '" .. directory .. "' 2>/dev/null && find . -type f | sort"))
   for path in pipe:lines() do
      if extensions[path:match("%.(%w+)$") or ""] then found[#found + 1] = path:sub(3) end
   end
   pipe:close()
   return found
end

local function read(path)
   local file = assert(io.open(path, "rb"))
   local text = file:read("*a")
   file:close()
   return text
end

local function each_line(text)
   return (text:gsub("\n$", "") .. "\n"):gmatch("(.-)\r?\n")
end

-- Blanks C comments and string literals, so that prose may name what code may not; lines keep their numbers.
local function code_of(text)
   local function blank(s) return (s:gsub("[^\n]", " ")) end
   local out, at = {}, 1
   while true do
      local start = text:find('["\'/]', at)
      if not start then break end
      out[#out + 1] = text:sub(at, start - 1)
      local c, stop = text:sub(start, start + 1), nil
      if c == "/*" then
         stop = select(2, text:find("*/", start + 2, true)) or #text
      elseif c == "//" then
         stop = (text:find("\n", start, true) or #text + 1) - 1
      elseif c:sub(1, 1) ~= "/" then
         local quote = c:sub(1, 1)
         stop = start + 1
         while stop < #text and text:sub(stop, stop) ~= quote do
            stop = stop + (text:sub(stop, stop) == "\\" and 2 or 1)
         end
      end
      out[#out + 1] = stop and blank(text:sub(start, stop)) or "/"
      at = (stop or start) + 1
   end
   out[#out + 1] = text:sub(at)
   return table.concat(out)
end

local function may_see(folder, target)
   if PUBLIC[target] then return true end
   local there = target:match("^(.*)/")
   if not there or there == folder then return true end
   for _, name in ipairs(may_include[folder]) do
      if name == there or name == target then return true end
   end
   return false
end

-- Judges one #include; returns the path of the header in runtime/, nil for a foreign one.
local function check_include(name, folder, number, open, target)
   if open == "<" then
      for _, rule in ipairs(third_party) do
         if target:match(rule[1]) and not matches_any(name, rule, 2) then
            complain("%s:%d: <%s> does not belong here", name, number, target)
         end
      end
      return nil
   end
   if target:find("..", 1, true) then
      complain("%s:%d: \"%s\" goes around the include path", name, number, target)
   elseif not may_see(folder, target) then
      complain("%s:%d: %s/ may not include \"%s\"", name, number, folder, target)
   elseif private[target] and not matches_any(name, private[target], 2) then
      complain("%s:%d: \"%s\" %s", name, number, target, private[target][1])
   end
   if PUBLIC[target] then return "include/" .. target end
   return target:find("/", 1, true) and target or folder .. "/" .. target
end

-- Returns what a file includes, and its text without comments and strings.
local function check_c_file(root, name)
   local folder = name:match("^(.*)/") or "?"
   if not may_include[folder] then
      complain("%s: no rule for the folder %s/; add it to check_layers.lua", name, folder)
      return {}, ""
   end
   local text = read(root .. "/" .. name)
   local includes, number = {}, 0
   for line in each_line(text) do
      number = number + 1
      local open, target = line:match('^%s*#%s*include%s*([<"])([^>"]+)')
      if open then
         local header = check_include(name, folder, number, open, target)
         if header then includes[#includes + 1] = header end
      end
   end
   local limit = name == HEADER and HEADER_LINES or C_LINES
   if number > limit then complain("%s: %d lines, limit %d", name, number, limit) end
   number = 0
   local code = code_of(text)
   for line in each_line(code) do
      number = number + 1
      for _, rule in ipairs(banned) do
         local found = line:match(rule[1])
         if found and not matches_any(name, rule, 3) then
            complain("%s:%d: '%s': %s", name, number, found, rule[2])
         end
      end
   end
   return includes, code
end

-- A module is a .c file and the header of the same name: joins what both include.
local function modules_of(includes)
   local modules = {}
   for name, targets in pairs(includes) do
      local module = name:gsub("%.%w+$", "")
      local list = modules[module] or {}
      modules[module] = list
      for _, target in ipairs(targets) do
         local other = target:gsub("%.%w+$", "")
         if other ~= module then list[#list + 1] = other end
      end
   end
   for _, list in pairs(modules) do table.sort(list) end
   return modules
end

-- Reports every cycle once: depth first, a grey name met again closes a circle.
local function check_cycles(includes, report)
   local colour, trail = {}, {}
   local function visit(name)
      if colour[name] == "black" or not includes[name] then return end
      trail[#trail + 1] = name
      if colour[name] == "grey" then
         report("include cycle: %s", table.concat(trail, " -> "))
      else
         colour[name] = "grey"
         for _, target in ipairs(includes[name]) do visit(target) end
         colour[name] = "black"
      end
      trail[#trail] = nil
   end
   local names = {}
   for name in pairs(includes) do names[#names + 1] = name end
   table.sort(names)
   for _, name in ipairs(names) do visit(name) end
end

-- Judges one require of a module of ours.
local function check_require(name, number, target)
   local folder, there = name:match("^moonrabbit/(%w+)/"), target:match("^moonrabbit%.(%w+)%.")
   if not folder or folder == "cli" or folder == there then return end
   if not may_require[folder] then
      return complain("lua/%s: no rule for the folder %s/; add it to check_layers.lua", name, folder)
   end
   for _, other in ipairs(may_require[folder]) do
      if other == there then return end
   end
   complain("lua/%s:%d: %s/ may not require \"%s\"", name, number, folder, target)
end

-- Does a text make the table of that name? What `require` gives, or a field of another table, is only borrowed.
local function makes(text, owner)
   for value in text:gmatch("\n[ \t]*local[^\n=]-%f[%w_]" .. owner .. "%f[^%w_][^\n=]*= ?([^\n]*)") do
      if not value:find("^require") and not value:find("^[%a_][%w_]*%.[%w_., ]+$") then return true end
   end
   return false
end

-- The table that a line adds a function to, where it is another file's. Within a function a small name may be an
-- instance: there only modules, and classes by their capital, are told.
local function reopened(code, text)
   local indent, owner = code:match("^(%s*)function ([%a_][%w_]*)[.:]")
   if not owner then indent, owner = code:match("^(%s*)([%a_][%w_]*)%.[%w_]+%s*=%s*function%f[^%w_]") end
   if not owner or makes(text, owner) then return nil end
   local required = "\n[ \t]*local[^\n=]-%f[%w_]" .. owner .. "%f[^%w_][^\n=]*= require"
   return (indent == "" or owner:find("^%u") or text:find(required)) and owner
end

-- A class lives in one file, no module is loaded for what that does, and no private method is called from another file.
local function check_class(name, number, code, text)
   local owner = reopened(code, text)
   if owner and not (foreign[name] or {})[owner] then
      complain("lua/%s:%d: %s is made elsewhere: a class lives in one file", name, number, owner)
   end
   local loaded = code:match("^require%s*%(?%s*[\"'](moonrabbit%.[%w_.]+)[\"']%)?%s*$")
   if loaded then complain("lua/%s:%d: %s is loaded for a side effect", name, number, loaded) end
   for method in code:gmatch("[%w_%])][.:](_%l[%w_]*)") do
      if not text:find("[.:]" .. method .. "%f[^%w_]%s*=") and not text:find("function [%w_]+[.:]" .. method .. "%(") then
         complain("lua/%s:%d: %s is private to another file", name, number, method)
      end
   end
end

-- What the library declares to LuaJIT's FFI bears its prefix: a script may declare C's names as it likes.
local function check_cdef(name, number, line)
   local found = line:match("^[%w_ *]-%f[%w_]([%a_][%w_]*)%([^;]*;%s*$") or line:match("cdef *[\"'%[]+[%w_ *]-%f[%w_]([%a_][%w_]*)%(")
   if found and not found:find "^mr_" and found ~= "__asm__" and not line:find "^%s*local" and not line:find "^%s*return" then
      complain("lua/%s:%d: %s: what ffi.cdef declares is named mr_..., by __asm__", name, number, found)
   end
end

local MAY_TOUCH_COROUTINES = { ["moonrabbit/loop/task.lua"] = true, ["moonrabbit/loop/obstacle.lua"] = true,
   ["moonrabbit/loop/coroutines.lua"] = true }

local function check_lua_file(root, name)
   local number, text = 0, "\n" .. read(root .. "/" .. name)
   for line in each_line(text:sub(2)) do
      number = number + 1
      local code = line:gsub("%-%-.*", "")
      check_cdef(name, number, line)
      check_class(name, number, code, text)
      if code:match("%f[%w_]coroutine%f[^%w_]") and not MAY_TOUCH_COROUTINES[name] then
         complain("lua/%s:%d: only task.lua, obstacle.lua and coroutines.lua touch coroutines", name, number)
      end
      for target in code:gmatch("require%s*%(?%s*[\"'](moonrabbit%.[%w_.]+)[\"']") do check_require(name, number, target) end
      -- Such a loop is fine in a function that is never compiled: one that jit.off names.
      if code:match(" in pairs%(") or code:match(" in next,") and not text:find("jit.off(", 1, true) then
         complain("lua/%s:%d: the compiler spoils such loops: take each (lua/moonrabbit/base/each.lua)", name, number)
      end
   end
   if number > LUA_LINES then complain("lua/%s: %d lines, limit %d", name, number, LUA_LINES) end
end

-- Checks a tree; returns how many files it saw and how many breaches it found. `is_part`: not all of the source.
local function check(root, printer, is_strict, is_part)
   breaches, print_breach = 0, printer
   local includes, codes, count = {}, {}, 0
   for _, name in ipairs(files_below(root .. "/runtime", { c = true, h = true })) do
      includes[name], codes[name] = check_c_file(root .. "/runtime", name)
      count = count + 1
   end
   if is_strict then
      check_cycles(modules_of(includes), complain)
      functions.check_circles(codes, complain)
      functions.check_names(codes, is_part, complain)
   else
      check_cycles(includes, complain)
   end
   for _, name in ipairs(files_below(root .. "/lua", { lua = true })) do
      check_lua_file(root .. "/lua", name)
      count = count + 1
   end
   return count, breaches
end

-- Self-test: { file, its text, a piece of the complaint expected, or false when it is in order }
local samples = {
   { "runtime/base/a.c", '#include "link/link.h"', 'base/ may not include "link/link.h"' },
   { "runtime/net/a.c", '#include "config/uri.h"', 'net/ may not include "config/uri.h"' },
   { "runtime/api/a.c", '#include "link/link.h"', 'api/ may not include "link/link.h"' },
   { "runtime/api/a.c", '#include "engine/engine.h"', false },
   { "runtime/main/a.c", '#include "base/log.h"', 'main/ may not include' },
   { "runtime/amqp/a.c", '#include "../link/link.h"', "goes around" },
   { "runtime/base/a.c", '#include "moonrabbit.h"\n#include "moonrabbit_testing.h"\n#include "base/log.h"', false },
   { "runtime/config/uri.c", "#include <amqp.h>", "<amqp.h> does not belong here" },
   { "runtime/codec/frame.c", "#include <rabbitmq-c/amqp.h>", "<rabbitmq-c/amqp.h> does not belong here" },
   { "runtime/codec/table.h", "#include <amqp.h>", "<amqp.h> does not belong here" },
   { "runtime/codec/rabbitmqc.h", "#include <amqp.h>\n#include <amqp_framing.h>\n#include <rabbitmq-c/amqp.h>", false },
   { "runtime/codec/method.c", "#include <amqp_framing.h>", false },
   { "runtime/codec/guard.c", '#include "codec/rabbitmqc.h"', '"codec/rabbitmqc.h" is for the codec' },
   { "runtime/codec/method.c", '#include "codec/rabbitmqc.h"', false },
   { "runtime/link/recovery.h", '#include "amqp/session.h"', "is for the link" },
   { "runtime/link/state.h", '#include "amqp/session.h"', false },
   { "runtime/engine/a.c", "# include <rabbitmq-c/amqp.h>", "does not belong here" },
   { "runtime/net/tcp.c", "#include <openssl/ssl.h>", "does not belong here" },
   { "runtime/net/tls_io.c", "#include <openssl/ssl.h>", false },
   { "runtime/net/tcp.c", "#include <ares.h>", "does not belong here" },
   { "runtime/net/tcp.c", "#include <ev.h>", "does not belong here" },
   { "runtime/engine/a.c", "#include <pthread.h>", false },
   { "runtime/base/ev.h", "#include <ev.h>", false },
   { "runtime/engine/a.c", "#include <stdatomic.h>", "does not belong here" },
   { "runtime/api/a.c", "#include <pthread.h>", "does not belong here" },
   { "runtime/api/a.c", "#include <lua.h>", "does not belong here" },
   { "runtime/engine/a.c", "static pthread_mutex_t lock;", "no mutex" },
   { "runtime/engine/a.c", "\tif (x) abort();", "never ends the process" },
   { "runtime/engine/a.c", "\tmr_abort(x); /* abort() */ // exit(1)\n\tputs(\"exit(1)\");", false },
   { "runtime/engine/a.c", "\tchar quote = '\"'; exit(1);", "never ends the process" },
   { "runtime/main/main.c", "\texit(1);", false },
   { "runtime/engine/a.c", "\tusleep(5);", "nothing sleeps" },
   { "runtime/engine/a.c", "\t__atomic_load_n(&x, 0);", "atomics live in bridge/" },
   { "runtime/stray/a.c", "int x;", "no rule for the folder" },
   { "runtime/base/a.c", ("int x;\n"):rep(C_LINES), false },
   { "runtime/base/a.c", ("int x;\n"):rep(C_LINES + 1), "501 lines, limit 500" },
   { "runtime/" .. HEADER, ("int x;\n"):rep(C_LINES + 1), false },
   { "lua/moonrabbit/a.lua", ("local x\n"):rep(LUA_LINES), false },
   { "lua/moonrabbit/a.lua", ("local x\n"):rep(LUA_LINES + 1), "401 lines, limit 400" },
   { "lua/moonrabbit/a.lua", "local yield = coroutine.yield", "only task.lua" },
   { "lua/moonrabbit/a.lua", "-- coroutine.yield is not used here", false },
   { "lua/moonrabbit/loop/task.lua", "local yield = coroutine.yield", false },
   { "lua/moonrabbit/base/a.lua", 'local log = require "moonrabbit.loop.log"', 'base/ may not require "moonrabbit.loop.log"' },
   { "lua/moonrabbit/loop/a.lua", 'local t = require("moonrabbit.testing")', 'loop/ may not require "moonrabbit.testing"' },
   { "lua/moonrabbit/stray/a.lua", 'local each = require "moonrabbit.base.each"', "no rule for the folder" },
   { "lua/moonrabbit/loop/a.lua",
      'local e, l = require "moonrabbit.base.each", require "moonrabbit.loop.log" -- require "moonrabbit.rpc.x"', false },
   { "lua/moonrabbit/cli/a.lua", 'local pool = require "moonrabbit.pool.pool"', false },
   { "lua/moonrabbit/a.lua", 'require "moonrabbit.simple"', "loaded for a side effect" },
   { "lua/moonrabbit/a.lua", 'require("moonrabbit.simple").open()', false },
   { "lua/moonrabbit/a.lua", "local X = { n = 1 }\nfunction X:go() end\nfunction X.stop() end", false },
   { "lua/moonrabbit/a.lua", "local X, Y = {}, {}\nfunction Y:go() end", false },
   { "lua/moonrabbit/a.lua", 'local x = require "moonrabbit.b"\nfunction x.more() end', "x is made elsewhere" },
   { "lua/moonrabbit/a.lua", 'local x = require "moonrabbit.b"\nlocal X = x.methods\nfunction X:more() end', "X is made elsewhere" },
   { "lua/moonrabbit/a.lua", 'local x = require("moonrabbit.b").methods\nfunction x:more() end', "x is made elsewhere" },
   { "lua/moonrabbit/a.lua", 'local x = require "moonrabbit.b"\nx.more = function() end', "x is made elsewhere" },
   { "lua/moonrabbit/a.lua", "local x = {}\nx.more = function() end", false },
   { "lua/moonrabbit/a.lua", "thing:_go()", "_go is private" },
   { "lua/moonrabbit/a.lua", "call(thing._go)", "_go is private" },
   { "lua/moonrabbit/a.lua", "local X = {}\nfunction X:_go() end\nlocal x = X\nx:_go()", false },
   { "lua/moonrabbit/loop/coroutines.lua", "function coroutine.more() end", false },
   { "lua/moonrabbit/a.lua", "local b = require \"moonrabbit.c\"\ndo\n   function b.d() end\nend", "b is made elsewhere" },
   { "lua/moonrabbit/a.lua", "return function(Class)\n   function Class:d() end\nend", "Class is made elsewhere" },
   { "lua/moonrabbit/a.lua", "return function(one)\n   function one.d() end\nend", false },
   { "lua/moonrabbit/a.lua", "local b = require \"moonrabbit.c\"\nlocal Class, d = b.Class, b.d\nfunction Class:e() end",
      "Class is made elsewhere" },
   { "lua/moonrabbit/a.lua", "ffi.cdef [[\nint kill(int pid, int number);\n]]", "kill: what ffi.cdef declares" },
   { "lua/moonrabbit/a.lua", "ffi.cdef 'void *memmem(const void *a, size_t b);'", "memmem: what ffi.cdef declares" },
   { "lua/moonrabbit/a.lua", "ffi.cdef [[\nint mr_kill(int pid, int number) __asm__(\"kill\");\n]]", false },
   { "lua/moonrabbit/a.lua", "for k in pairs(t) do", "take each" },
   { "lua/moonrabbit/a.lua", "for k, v in next, t do", "take each" },
   { "lua/moonrabbit/a.lua", "for k in each(t) do -- in pairs(t)", false },
}

-- Self-test: { several files, a piece of the complaint expected, or false when they are in order, strictly? }
local includes_of_each_other = {
   ["runtime/base/a.h"] = "",
   ["runtime/base/b.h"] = "",
   ["runtime/base/a.c"] = '#include "base/a.h"\n#include "base/b.h"',
   ["runtime/base/b.c"] = '#include "base/a.h"\n#include "base/b.h"',
}
local trees = {
   { { ["runtime/base/a.h"] = '#include "base/b.h"', ["runtime/base/b.h"] = '#include "base/c.h"',
      ["runtime/base/c.h"] = '#include "base/a.h"' }, "include cycle: base/a.h -> base/b.h -> base/c.h -> base/a.h" },
   { includes_of_each_other, false },
   { includes_of_each_other, "include cycle: base/a -> base/b -> base/a", true },
}

-- Two files of a folder: is it a circle when a.c says the one, b.c the other?
local function add_calls(a, b, expected)
   local files = { ["runtime/base/a.c"] = "int mr_a(int x)\n{\n" .. a .. "\n}\n",
      ["runtime/base/b.c"] = b .. "\nstruct mr_b *mr_b(int x,\n\tint y)\n{\n}\nint mr_b_more(void) { return 0; }\n" }
   trees[#trees + 1] = { files, expected, true }
end

local CIRCLE = "circle by calls: base/a -> base/b by mr_b, base/b -> base/a by mr_a"
add_calls("\tmr_b(1, 2);", "void mr_b_go(void) { mr_a(1); }", CIRCLE)
add_calls("\tcall(&mr_b);", "static int (*const f)(int) = mr_a;", CIRCLE)
add_calls("\tmr_b_more();\n\tmr_b(1, 2);", "static int go(void) { return mr_a(1); }", CIRCLE)
add_calls("\tmr_b(1, 2);", "", false)
add_calls("\tmr_b(1, 2);", "/* mr_a */ struct mr_a; enum mr_a x;\nchar *s = \"mr_a\"; // mr_a", false)
add_calls("\tmr_b(1, 2);", "static int go(struct port *p) { return p->a(mr_a_more, 1); }", false)
add_calls("\tmr_c(1, 2);", "static int mr_c(int x) { return mr_a(1); }", false)
trees[#trees + 1] = { { ["runtime/base/a.c"] = "void mr_a(void) { mr_b(); }", ["runtime/base/b.c"] = "void mr_b(void) { mr_c(); }",
   ["runtime/base/c.c"] = "void mr_c(void) {}", ["runtime/base/c.h"] = "void mr_a(void);\n#define C(x) \\\n\tmr_a()" },
   "circle by calls: base/a -> base/b by mr_b, base/b -> base/c by mr_c, base/c -> base/a by mr_a", true }
trees[#trees + 1] = { { ["runtime/base/a.c"] = "void mr_a(void) { mr_b(); }", ["runtime/base/b.c"] = "void mr_b(void) {}",
   ["runtime/base/b.h"] = "void mr_b(void);\nvoid mr_a(void); /* of a.c */" }, false, true }
trees[#trees + 1] = { { ["runtime/base/a.c"] = "void mr_a(void) { mr_b(); }", ["runtime/base/b.c"] = "void mr_b(void) {}",
   ["runtime/base/b.h"] = "static inline void go(void) { mr_a(); }" }, "circle by calls", true }
trees[#trees + 1] = { { ["runtime/base/a.c"] = "void mr_a(void) { mr_b(); }", ["runtime/bridge/b.c"] = "void mr_b(void) { mr_a(); }" },
   false, true }

-- An extern function bears its file's name.
local function add_name(file, name, expected)
   trees[#trees + 1] = { { ["runtime/include/moonrabbit.h"] = "MR_API int mr_go(int x);", ["runtime/" .. file] =
      "static int mr_inside(void)\n{\n}\n\nint " .. name .. "(int x)\n{\n}\n" }, expected, true }
end

add_name("base/waits.c", "mr_waits", false)
add_name("base/waits.c", "mr_wait_for", false)
add_name("base/wait.c", "mr_waits_for", false)
add_name("base/wait.c", "mr_waiter", "base/wait.c: mr_waiter does not bear its file's name")
add_name("base/wait.c", "mr_go", false)
add_name("broker/client/wait.c", "mr_broker_wait", false)
add_name("broker/client/wait.c", "mr_client_wait_for", false)
add_name("broker/client/wait.c", "mr_store_wait", "does not bear")
add_name("base/alloc.c", "mr_free", false)
add_name("base/wait.c", "mr_free", "does not bear")

local function try_sample(root, files, expected, is_strict)
   os.execute("rm -rf '" .. root .. "/runtime' '" .. root .. "/lua'")
   for name, text in pairs(files) do
      os.execute("mkdir -p '" .. root .. "/" .. name:match("^(.*)/") .. "'")
      local file = assert(io.open(root .. "/" .. name, "wb"))
      file:write(text)
      file:close()
   end
   local said = {}
   local _, found = check(root, function(line) said[#said + 1] = line end, is_strict, true)
   local text = table.concat(said, "\n")
   local is_right
   if expected then
      is_right = found == 1 and text:find(expected, 1, true) ~= nil
   else
      is_right = found == 0
   end
   if is_right then return 0 end
   io.stderr:write(("self-test: %s: expected %s, got %s\n"):format(
      next(files), expected or "no complaint", found == 0 and "none" or text))
   return 1
end

local function self_test()
   local root, wrong = os.tmpname(), 0
   os.remove(root)
   for _, sample in ipairs(samples) do
      wrong = wrong + try_sample(root, { [sample[1]] = sample[2] }, sample[3])
   end
   for _, tree in ipairs(trees) do wrong = wrong + try_sample(root, tree[1], tree[2], tree[3]) end
   os.execute("rm -rf '" .. root .. "'")
   print(("layers self-test: %d samples, %d wrong"):format(#samples + #trees, wrong))
   return wrong == 0
end

if arg[1] == "--self-test" then os.exit(self_test() and 0 or 1) end
local count, found = check(arg[1] or ".", function(line) io.stderr:write(line, "\n") end, arg[2] == "--strict")
if count == 0 then
   io.stderr:write("layers: no files found below ", arg[1] or ".", "\n")
   os.exit(1)
end
print(("layers: %d files, %s"):format(count, found == 0 and "clean" or found .. " breach(es)"))
os.exit(found == 0 and 0 or 1)
