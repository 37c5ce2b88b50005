--- check_output: compares what a command printed with what a page says that it prints.
-- SPDX-License-Identifier: MIT
--
--   luajit tests/tools/check_output.lua PAGE COMMAND SKIP FILE [KIND...]
--   luajit tests/tools/check_output.lua --self-test
--
-- PAGE has a fenced block whose first line is "$ COMMAND"; the lines after it are the output. "..." in a line stands for
-- any text; a line that is "..." alone for any number of lines. SKIP lines after the first are not expected.
-- Each KIND is such a line, too. Lines of one kind come from one writer, in that writer's order; those of several kinds
-- that follow one another may be mixed in any way. All other lines stand where the page has them.

local function lines_of(path)
   local list = {}
   for line in io.lines(path) do list[#list + 1] = line end
   return list
end

local function expected_lines(page, command)
   local list, is_inside
   for _, line in ipairs(lines_of(page)) do
      if line == "$ " .. command then
         list, is_inside = {}, true
      elseif is_inside and line:find "^```" then
         return list
      elseif is_inside then
         list[#list + 1] = line
      end
   end
   error(("%s has no block that begins with \"$ %s\""):format(page, command))
end

local function pattern_of(line)
   local escaped = line:gsub("[%^%$%(%)%%%.%[%]%*%+%-%?]", "%%%0")
   return "^" .. escaped:gsub("%%%.%%%.%%%.", ".*") .. "$"
end

-- The same lines, those of the first kind first wherever kinds are mixed: a list that no mixture changes.
local function sorted(lines, kinds)
   local list, runs = {}, {}
   local function put_runs()
      for i = 1, #kinds do
         for _, line in ipairs(runs[i] or {}) do list[#list + 1] = line end
      end
      runs = {}
   end
   for _, line in ipairs(lines) do
      local kind
      for i, pattern in ipairs(kinds) do kind = kind or line:find(pattern) and i end
      if kind then
         runs[kind] = runs[kind] or {}
         table.insert(runs[kind], line)
      else
         put_runs()
         list[#list + 1] = line
      end
   end
   put_runs()
   return list
end

-- What the first difference is; nil: none.
local function difference(expected, printed, kinds)
   local patterns = {}
   for i, kind in ipairs(kinds) do patterns[i] = pattern_of(kind) end
   expected, printed = sorted(expected, patterns), sorted(printed, patterns)
   local at = 1
   for i, line in ipairs(expected) do
      if line == "..." then
         local after = expected[i + 1] and pattern_of(expected[i + 1])
         while after and printed[at] and not printed[at]:find(after) do at = at + 1 end
         if not after then at = #printed + 1 end
      elseif printed[at] and printed[at]:find(pattern_of(line)) then
         at = at + 1
      else
         return ("the page says: %s\nprinted:       %s"):format(line, printed[at] or "(nothing more)")
      end
   end
   return printed[at] and "the page does not say: " .. printed[at]
end

-- ---- self-test ----

local KINDS = { "log ...", "sent ...", "got ..." }
local PAGE = { "begin ...", "log open", "sent 1", "sent 2", "log ...", "got 1", "got 2", "end", "..." }

local function joined(...)
   local list = {}
   for _, part in ipairs { ... } do
      for _, line in ipairs(part) do list[#list + 1] = line end
   end
   return list
end

-- Calls fn with each way to mix the lists.
local function each_mixture(lists, fn, before)
   before = before or {}
   local is_done = true
   for i, list in ipairs(lists) do
      if #list > 0 then
         is_done = false
         local rest = { unpack(lists) }
         rest[i] = { unpack(list, 2) }
         each_mixture(rest, fn, joined(before, { list[1] }))
      end
   end
   if is_done then fn(before) end
end

local function self_test()
   local tried, wrong = 0, 0
   local function try(is_same, printed)
      tried = tried + 1
      if (difference(PAGE, printed, KINDS) == nil) == is_same then return end
      wrong = wrong + 1
      io.stderr:write("self-test: ", is_same and "not taken:\n" or "taken:\n", table.concat(printed, "\n"), "\n")
   end
   local function try_mixtures(is_same, ...)
      each_mixture({ ... }, function(mixed) try(is_same, joined({ "begin it" }, mixed, { "end", "more" })) end)
   end
   local log, sent, got = { "log open", "log close" }, { "sent 1", "sent 2" }, { "got 1", "got 2" }
   try_mixtures(true, log, sent, got)
   try_mixtures(false, { log[2], log[1] }, sent, got)
   try_mixtures(false, log, { sent[2], sent[1] }, got)
   try_mixtures(false, log, sent, { "got 1" })
   try_mixtures(false, log, sent, { "got 1", "got 1", "got 2" })
   try_mixtures(false, log, sent, got, { "a line of no kind" })
   try(false, joined({ "begin it" }, log, sent, { "got 1", "end", "got 2", "more" }))
   try(false, joined({ "log open", "begin it", "log close" }, sent, got, { "end", "more" }))
   try(false, joined({ "begin it" }, log, sent, got))
   print(("output self-test: %d samples, %d wrong"):format(tried, wrong))
   return wrong == 0
end

if arg[1] == "--self-test" then os.exit(self_test() and 0 or 1) end

local page, command, skip, file = arg[1], arg[2], tonumber(arg[3]), arg[4]
local expected, printed = expected_lines(page, command), lines_of(file)
for _ = 1, skip do table.remove(expected, 1) end
local text = difference(expected, printed, { unpack(arg, 5) })
if text then
   print(("%s is not what was printed\n%s\n\nall of it:\n%s"):format(page, text, table.concat(printed, "\n")))
   os.exit(1)
end
