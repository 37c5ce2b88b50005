--- log_page: docs/log.md, for make_docs.lua.
-- SPDX-License-Identifier: MIT
local HEAD = [[
# Messages of the log

Made by `tests/tools/make_docs.lua`: message, level and fields are read from the code, the rest is in
`tests/tools/log_catalogue.lua`. A message that is not listed fails the tests.

Each line also has `time`, `level`, and `worker` with `--workers`. A field that says nothing is left out. Match on `msg`, not on
the order of fields. The [changelog](CHANGELOG.md) names messages that have changed. [worker](worker.md#the-log) shows lines,
[troubleshooting](troubleshooting.md) has each `kind`.

| msg | level | when | what to do | fields |
| --- | --- | --- | --- | --- |]]

local LEVELS = { "error", "warn", "info", "debug" }

local function levels_of(entry, told)
   if told.level then return told.level end
   local list = {}
   for _, level in ipairs(LEVELS) do
      if entry.levels[level] then list[#list + 1] = level end
   end
   return table.concat(list, ", ")
end

local function fields_of(entry, told)
   if told.fields then return told.fields end
   local list = {}
   for name in pairs(entry.fields) do list[#list + 1] = name end
   table.sort(list)
   return table.concat(list, ", ")
end

--- The page.
-- @tparam table messages of log_messages
-- @tparam table catalogue
-- @tparam function complain is told what is lacking
return function(messages, catalogue, complain)
   local names, out = {}, { HEAD }
   for name in pairs(messages) do names[#names + 1] = name end
   table.sort(names, function(a, b) return a:lower() < b:lower() end)
   for _, name in ipairs(names) do
      local told = catalogue[name]
      if not told then
         complain(('the log\'s message "%s" is not in tests/tools/log_catalogue.lua'):format(name))
      else
         local cells = { levels_of(messages[name], told), told[1], told[2], fields_of(messages[name], told) }
         if cells[1] == "" or told[1] == "" then complain(('"%s" lacks its level, or when it is written'):format(name)) end
         out[#out + 1] = ("| `%s` | %s |"):format(name, table.concat(cells, " | "))
      end
   end
   for name in pairs(catalogue) do
      if not messages[name] then complain(('the code logs no "%s": tests/tools/log_catalogue.lua'):format(name)) end
   end
   return table.concat(out, "\n") .. "\n"
end
