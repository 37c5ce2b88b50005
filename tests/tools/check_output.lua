--- check_output: compares what a command printed with what a page says that it prints.
-- SPDX-License-Identifier: MIT
--
--   luajit tests/tools/check_output.lua PAGE COMMAND SKIP FILE
--
-- PAGE has a fenced block whose first line is "$ COMMAND"; the lines after it are the output. "..." in a line stands for
-- any text; a line that is "..." alone for any number of lines. SKIP lines after the first are not expected.
local page, command, skip, file = arg[1], arg[2], tonumber(arg[3]), arg[4]

local function lines_of(path)
   local list = {}
   for line in io.lines(path) do list[#list + 1] = line end
   return list
end

local function expected_lines()
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

local expected, printed = expected_lines(), lines_of(file)
for _ = 1, skip do table.remove(expected, 1) end

local at = 1
for i, line in ipairs(expected) do
   if line == "..." then
      local after = expected[i + 1] and pattern_of(expected[i + 1])
      while after and printed[at] and not printed[at]:find(after) do at = at + 1 end
      if not after then at = #printed + 1 end
   elseif printed[at] and printed[at]:find(pattern_of(line)) then
      at = at + 1
   else
      io.write(("%s says:  %s\nprinted: %s\n\nall of it:\n%s\n"):format(page, line, printed[at] or "(nothing more)",
         table.concat(printed, "\n")))
      os.exit(1)
   end
end
if at <= #printed then
   print(("%s does not say: %s"):format(page, printed[at]))
   os.exit(1)
end
