--- check_mirror: fails when a source file has no test, or a test that should mirror a source file has none.
-- SPDX-License-Identifier: MIT
--
--   luajit tests/tools/check_mirror.lua [ROOT]
--   luajit tests/tools/check_mirror.lua --self-test
--
-- runtime/FOLDER/NAME.c has tests/unit/FOLDER/test_NAME.c, and lua/moonrabbit/FOLDER/NAME.lua has
-- tests/spec/FOLDER/NAME_spec.lua. A file without one is named in the head of a test that covers it, with a word that
-- stands in the code of both: what the test calls, sets or reads there.
--
--    Covers: runtime/base/arena.c by mr_arena_alloc
--
-- A claim is wrong when there is no such file, when the word is missing on either side, and when the file has a test of its
-- name by now. `without` is for files that no test names anything of, and says why; it must not grow.
--
-- A test in tests/unit or tests/spec that has neither a source file of its name nor a claim says what it is about that is of
-- no one file:
--
--    Feature: a host whose memory runs out

-- file -> what it is that no test names it, and what runs it, by gcov and by a hook that counts calls (2026-11)
local without = {
   ["runtime/bridge/bridge.c"] = "opens and closes the rest of its folder: api/test_pool runs all of it",
   ["runtime/bridge/ending.c"] = "the end of the process: api/test_log runs 71 % of its lines",
   ["runtime/broker/client/quit.c"] = "the end of a channel: broker/client/test_session runs all of it",
   ["runtime/engine/loop.c"] = "the I/O thread: api/test_pool runs 68 % of its lines",
   ["runtime/io/services.c"] = "one reading of the clock: link/test_recovery runs it",
   ["lua/moonrabbit/channel/stamps.lua"] = "a list of names",
   ["lua/moonrabbit/channel/timing.lua"] = "a hook of the loop: contract/core_spec runs all of it",
}

local function files_below(root, directory, pattern)
   local list = {}
   local pipe = assert(io.popen(("cd '%s' && find %s -type f 2>/dev/null | sort"):format(root, directory)))
   for path in pipe:lines() do
      if path:find(pattern) then list[#list + 1] = path end
   end
   pipe:close()
   return list
end

local function read(path)
   local file = io.open(path, "rb")
   if not file then return nil end
   local text = file:read "*a"
   file:close()
   return text
end

-- A file's text without its comments, and without what it includes or requires.
local function code_of(path, text)
   if path:find "%.lua$" then return (text:gsub("%-%-[^\n]*", "")) end
   return (text:gsub("/%*.-%*/", " "):gsub("\n%s*#%s*include[^\n]*", "\n"))
end

-- What a test runs: itself, and the benches beside it that it includes.
local function test_code(root, path)
   local text = read(root .. "/" .. path)
   local parts = { code_of(path, text) }
   for name in text:gmatch '#include "([%w_]+_bench%.h)"' do
      for _, folder in ipairs { path:match "^(.*)/", "tests/support" } do
         local bench = read(("%s/%s/%s"):format(root, folder, name))
         if bench then parts[#parts + 1] = code_of(name, bench) end
      end
   end
   return table.concat(parts, "\n")
end

local function has_word(code, word)
   local at, stop = code:find(word, 1, true)
   while at do
      if not code:sub(at - 1, at - 1):find "[%w_]" and not code:sub(stop + 1, stop + 1):find "[%w_]" then return true end
      at, stop = code:find(word, stop + 1, true)
   end
   return false
end

local function mirror_of(path)
   local folder, name = path:match "^runtime/(.*)/([^/]+)%.c$"
   if folder then return ("tests/unit/%s/test_%s.c"):format(folder, name) end
   return (path:gsub("^lua/moonrabbit/", "tests/spec/"):gsub("%.lua$", "_spec.lua"))
end

-- What a test of tests/unit or tests/spec is named after: a file of C, a header, or a file or folder of Lua.
-- The second result is the first of these names; nil: the test need not mirror anything.
local function source_of(root, test)
   local folder, name = test:match "^tests/unit/(.*)/test_([^/]+)%.c$"
   local stem = folder and ("runtime/%s/%s"):format(folder, name)
   local endings = { ".c", ".h" }
   if not stem then
      name = test:match "^tests/spec/(.*)_spec%.lua$"
      stem, endings = name and "lua/moonrabbit/" .. name, { ".lua", "/init.lua" }
   end
   if not stem then return nil, nil end
   for _, ending in ipairs(endings) do
      if read(("%s/%s%s"):format(root, stem, ending)) then return stem .. ending, stem .. endings[1] end
   end
   return nil, stem .. endings[1]
end

-- Judges one claim; nil when it holds, else what is wrong.
local function fault_of(root, test, path, word)
   local text = read(root .. "/" .. path)
   local is_source = path:find "^runtime/.*%.c$" or path:find "^lua/moonrabbit/.*%.lua$"
   if not text or not is_source then return "there is no such source file" end
   if read(root .. "/" .. mirror_of(path)) then return "it has a test of its name: " .. mirror_of(path) end
   if not has_word(code_of(path, text), word) then return ("its code has no word %s"):format(word) end
   if not has_word(test_code(root, test), word) then return ("the test's code has no word %s"):format(word) end
   return nil
end

local function is_test(path)
   return path:find "/test_[%w_]+%.c$" or path:find "_spec%.lua$" or path:find "^tests/host/[%w_]+%.c$"
end

-- Judges what one test says of itself, and notes what it covers.
local function check_test(root, test, covered, fault)
   local claims, features = 0, 0
   for line in read(root .. "/" .. test):gmatch "[^\n]+" do
      local path, word = line:match "^[ -]%*?%-? ?Covers: (%S+) by (%S+)$"
      local wrong = path and fault_of(root, test, path, word)
      if path then covered[path], claims = true, claims + 1 end
      if wrong then fault("%s: covers %s: %s", test, path, wrong) end
      if not path and line:find "Covers:" then fault("%s: not of the form Covers: FILE by WORD: %s", test, line) end
      if line:find "^[ -]%*?%-? ?Feature: %S+ %S" then features = features + 1
      elseif line:find "^[ -]%*?%-? ?Feature:" then fault("%s: not of the form Feature: WORDS: %s", test, line) end
   end
   local source, name = source_of(root, test)
   if source and features > 0 then fault("%s: says Feature, but it mirrors %s", test, source) end
   if name and not source and claims + features == 0 then
      fault("%s: there is no %s, and it says neither what it covers nor which feature it shows", test, name)
   end
end

-- Checks a tree: how many source files it saw, and how many faults it told `complain` of.
local function check(root, reasons, complain)
   local covered, faults = {}, 0
   local function fault(...)
      faults = faults + 1
      complain(string.format(...))
   end
   for _, test in ipairs(files_below(root, "tests", "%.%l+$")) do
      if is_test(test) then check_test(root, test, covered, fault) end
   end
   local sources = files_below(root, "runtime", "%.c$")
   for _, path in ipairs(files_below(root, "lua/moonrabbit", "%.lua$")) do sources[#sources + 1] = path end
   local is_source = {}
   for _, path in ipairs(sources) do
      is_source[path] = true
      local has_test = covered[path] or read(root .. "/" .. mirror_of(path)) ~= nil
      if not has_test and not reasons[path] then
         fault("%s: no test: neither %s nor a test that says it covers it", path, mirror_of(path))
      elseif has_test and reasons[path] then
         fault("check_mirror.lua: %s has a test by now: take it off the list", path)
      end
   end
   for path in pairs(reasons) do
      if not is_source[path] then fault("check_mirror.lua: there is no %s", path) end
   end
   return #sources, faults
end

-- Self-test: { files, a piece of the complaint expected, or false when all is in order, reasons }
local A, B = "runtime/base/a.c", "lua/moonrabbit/base/b.lua"
local CLAIM = "/* test_x: x.\n * Covers: runtime/base/a.c by mr_a\n */\n"
local samples = {
   { { [A] = "int mr_a(void);" }, "no test" },
   { { [A] = "int mr_a(void);" }, false, { [A] = "a reason" } },
   { { [A] = "int mr_a(void);", ["tests/unit/base/test_a.c"] = "mr_a();" }, false },
   { { [A] = "int mr_a(void);", ["tests/unit/base/test_a.c"] = "mr_a();" }, "has a test by now", { [A] = "a reason" } },
   { { [A] = "int mr_a(void);", ["tests/unit/base/test_x.c"] = CLAIM .. "mr_a();" }, false },
   { { [A] = "int mr_a(void);", ["tests/unit/base/test_x.c"] = CLAIM .. "mr_ab(); /* mr_a */" }, "the test's code has no word mr_a" },
   { { [A] = "int mr_ab(void);", ["tests/unit/base/test_x.c"] = CLAIM .. "mr_a();" }, "its code has no word mr_a" },
   { { [A] = "int mr_a(void);", ["tests/unit/base/test_x.c"] = CLAIM .. '\n#include "x_bench.h"\n',
      ["tests/unit/base/x_bench.h"] = "mr_a();" }, false },
   { { ["tests/unit/base/test_x.c"] = CLAIM .. "mr_a();" }, "there is no such source file" },
   { { [A] = "int mr_a(void);", ["tests/unit/base/test_a.c"] = CLAIM .. "mr_a();" }, "it has a test of its name" },
   { { [B] = "function b.go() end" }, "no test" },
   { { [B] = "function b.go() end", ["tests/spec/base/b_spec.lua"] = "b.go()" }, false },
   { { [B] = "function b.go() end", ["tests/fault/x_spec.lua"] = ("--- X.\n-- Covers: %s by go\nb.go()"):format(B) }, false },
   { { [B] = "function b.go() end", ["tests/fault/x_spec.lua"] = ("--- X.\n-- Covers: %s\nb.go()"):format(B) }, "not of the form" },
   { {}, "there is no " .. A, { [A] = "a reason" } },
   { { ["tests/unit/base/test_x.c"] = "mr_a();" }, "there is no runtime/base/x.c" },
   { { ["tests/unit/base/test_x.c"] = "/* x.\n * Feature: two words\n */" }, false },
   { { ["tests/unit/base/test_x.c"] = "/* x.\n * Feature:\n */" }, "not of the form Feature" },
   { { ["tests/unit/base/test_x.c"] = "", ["runtime/base/x.h"] = "" }, false },
   { { ["tests/unit/base/test_x.c"] = "/* x.\n * Feature: two words\n */", ["runtime/base/x.h"] = "" }, "it mirrors runtime/base/x.h" },
   { { ["tests/spec/base/x_spec.lua"] = "" }, "there is no lua/moonrabbit/base/x.lua" },
   { { ["tests/spec/base/x_spec.lua"] = "--- X.\n-- Feature: two words" }, false },
   { { ["tests/spec/base_spec.lua"] = "", ["lua/moonrabbit/base/init.lua"] = "", ["tests/spec/base/init_spec.lua"] = "" }, false },
   { { ["tests/contract/x_spec.lua"] = "", ["tests/host/x.c"] = "" }, false },
}

local function self_test()
   local wrong = 0
   for number, sample in ipairs(samples) do
      local root, said = os.tmpname(), {}
      os.remove(root)
      os.execute(("mkdir -p '%s'"):format(root))
      for path, text in pairs(sample[1]) do
         os.execute(("mkdir -p '%s/%s'"):format(root, path:match "^(.*)/"))
         local file = assert(io.open(root .. "/" .. path, "wb"))
         file:write(text)
         file:close()
      end
      check(root, sample[3] or {}, function(line) said[#said + 1] = line end)
      local text = table.concat(said, "\n")
      if sample[2] and not text:find(sample[2], 1, true) or not sample[2] and text ~= "" then
         wrong = wrong + 1
         io.stderr:write(("self-test %d: expected %s, got %q\n"):format(number, sample[2] or "no complaint", text))
      end
      os.execute(("rm -rf '%s'"):format(root))
   end
   print(("mirror self-test: %d samples, %d wrong"):format(#samples, wrong))
   return wrong == 0
end

if arg[1] == "--self-test" then os.exit(self_test() and 0 or 1) end
local count, faults = check(arg[1] or ".", without, print)
local excused = 0
for _ in pairs(without) do excused = excused + 1 end
local state = faults == 0 and "as listed" or faults .. " to mend"
print(("mirror: %d source files, %d named by no test, %s"):format(count, excused, state))
os.exit(count > 0 and faults == 0 and 0 or 1)
