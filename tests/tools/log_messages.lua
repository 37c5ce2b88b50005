--- log_messages: what the code logs, read from its source: for make_docs.lua.
-- SPDX-License-Identifier: MIT
-- A call is log.LEVEL("message", fields) in Lua, mr_log(log, LEVEL, "message", "key", value, ..., NULL) in C. A message may be
-- chosen by an expression: every string in that argument counts.

-- Splits the text between two brackets at its commas, outside of strings and of further brackets.
local function split(text)
   local parts, depth, from, at = {}, 0, 1, 1
   while at <= #text do
      local c = text:sub(at, at)
      if c == '"' or c == "'" then
         at = at + 1
         while text:sub(at, at) ~= c do at = at + (text:sub(at, at) == "\\" and 2 or 1) end
      elseif c:find "[%(%[{]" then depth = depth + 1
      elseif c:find "[%)%]}]" then
         depth = depth - 1
         if depth < 0 then break end
      elseif c == "," and depth == 0 then
         parts[#parts + 1] = text:sub(from, at - 1)
         from = at + 1
      end
      at = at + 1
   end
   parts[#parts + 1] = text:sub(from, at - 1)
   for i, part in ipairs(parts) do parts[i] = part:match "^%s*(.-)%s*$" end
   return parts
end

local function strings(text)
   local list = {}
   for s in text:gmatch '"([^"]*)"' do list[#list + 1] = s end
   return list
end

local ORDER = { error = 1, warn = 2, info = 3, debug = 4 }

local function add(all, text, level, fields)
   local entry = all[text] or { levels = {}, fields = {} }
   all[text] = entry
   if level then entry.levels[level] = true end
   for _, name in ipairs(fields) do entry.fields[name] = true end
end

local function names_in(table_text)
   local names = {}
   for _, part in ipairs(split(table_text:match "^{(.*)}$" or "")) do
      names[#names + 1] = part:match "^([%w_]+)%s*="
   end
   return names
end

local function read_lua(all, text)
   text = text:gsub("%-%-[^\n]*", ""):gsub("function log%.%l+%(", "")
   for level, from in text:gmatch "log%.(%l+)%(()" do
      if ORDER[level] then
         local args = split(text:sub(from, from + 2000))
         local found = args[1]:find("..", 1, true) and { (args[1]:gsub('%s*%.%.%s*"([^"]*)"', "%1"):gsub("^(%w+)", "(%1)")) }
            or strings(args[1])
         if not found[1] then found[1] = "a message that cannot be read here: " .. args[1] end
         for _, message in ipairs(found) do add(all, message, level, names_in(args[2] or "")) end
      end
   end
end

local function read_c(all, text)
   text = text:gsub("/%*.-%*/", ""):gsub('"%s*\n%s*"', "")
   for from in text:gmatch "[^%w_]mr_log%(()" do
      local args = split(text:sub(from, from + 2500))
      local fields = {}
      for i = 4, #args, 2 do
         for _, name in ipairs(strings(args[i])) do fields[#fields + 1] = name:gsub("^#", "") end
      end
      local found = strings(args[3] or "")
      local is_call = not args[1]:find "^const struct"
      if is_call and not found[1] then found[1] = "a message that cannot be read here: " .. (args[3] or "?") end
      for _, message in ipairs(found) do
         add(all, message, nil, fields)
         for level in (args[2] or ""):gmatch "MR_LOG_(%u+)" do add(all, message, level:lower(), {}) end
      end
   end
   for message in text:gmatch 'report%(s, "([^"]*)", now%)' do add(all, message, "warn", {}) end -- health/stall
end

--- All messages of the sources.
-- @tparam string root
-- @treturn table message -> {levels = set, fields = set}
return function(root)
   local all = {}
   for _, kind in ipairs { { "lua/moonrabbit", "*.lua", read_lua }, { "runtime", "*.c", read_c } } do
      local pipe = assert(io.popen(("cd '%s' && find %s -name '%s' | sort"):format(root, kind[1], kind[2])))
      for path in pipe:lines() do
         local file = assert(io.open(root .. "/" .. path))
         kind[3](all, file:read "*a")
         file:close()
      end
      pipe:close()
   end
   return all
end
