--- measure: the shape of the source in numbers: how long functions are, how files lie in folders, what tests mirror.
-- SPDX-License-Identifier: MIT
--
--   luajit tests/tools/measure.lua [ROOT [BASE]]
--
-- C functions are pmccabe's; a Lua function is counted from its `function` to its `end`. Commit subjects are those of
-- BASE..HEAD, or all. What a number means stands beside it; docs/CHANGELOG.md has those of two dates.

local root, base = arg[1] or ".", arg[2]

local function run(command)
   local pipe = assert(io.popen(command))
   local text = pipe:read "*a"
   pipe:close()
   return text
end

local function files(where, pattern)
   local list = {}
   for path in run(("cd '%s' && find %s -type f | sort"):format(root, where)):gmatch "[^\n]+" do
      if path:find(pattern) then list[#list + 1] = path end
   end
   return list
end

local function read(path)
   local file = assert(io.open(root .. "/" .. path))
   local text = file:read "*a"
   file:close()
   return text
end

local function exists(path)
   local file = io.open(root .. "/" .. path)
   if file then file:close() end
   return file ~= nil
end

local function show(name, ...) print(("%-36s %s"):format(name, (...):format(select(2, ...)))) end

-- ---- functions ----

local function c_functions()
   local lengths, externs = {}, {}
   for line in run(("cd '%s' && find runtime -name '*.c' | xargs pmccabe"):format(root)):gmatch "[^\n]+" do
      local first, length, path, name = line:match "^%d+%s+%d+%s+%d+%s+(%d+)%s+(%d+)%s+(.-)%(%d+%): (%S+)"
      lengths[#lengths + 1] = tonumber(length)
      externs[#externs + 1] = { path = path, first = tonumber(first), name = name }
   end
   return lengths, externs
end

-- A text of Lua without comments and strings, each line kept.
local function bare(text)
   local out, at = {}, 1
   local function skip(stop)
      out[#out + 1] = text:sub(at, stop):gsub("[^\n]+", "")
      at = stop + 1
   end
   while at <= #text do
      local level = text:match("^%-%-%[(=*)%[", at) or text:match("^%[(=*)%[", at)
      local quote = text:match("^[\"']", at)
      if level then
         skip(select(2, text:find("]" .. level .. "]", at, true)) or #text)
      elseif text:find("^%-%-", at) then
         skip((text:find("\n", at, true) or #text + 1) - 1)
      elseif quote then
         local stop = at + 1
         while text:sub(stop, stop) ~= quote do stop = stop + (text:sub(stop, stop) == "\\" and 2 or 1) end
         out[#out + 1] = '""'
         at = stop + 1
      else
         out[#out + 1] = text:sub(at, at)
         at = at + 1
      end
   end
   return table.concat(out)
end

local OPENS = { ["function"] = true, ["do"] = true, ["then"] = true, ["repeat"] = true }

local function lua_functions(list)
   local lengths = {}
   for _, path in ipairs(list) do
      local stack, line = {}, 0
      for text in (bare(read(path)) .. "\n"):gmatch "(.-)\n" do
         line = line + 1
         for word in text:gmatch "[%a_][%w_]*" do
            if word == "elseif" then stack[#stack] = nil -- its `then` opens again
            elseif OPENS[word] then stack[#stack + 1] = { word = word, line = line }
            elseif word == "end" or word == "until" then
               local top = table.remove(stack)
               if top and top.word == "function" then lengths[#lengths + 1] = line - top.line + 1 end
            end
         end
      end
      assert(#stack == 0, path)
   end
   return lengths
end

local function show_lengths(name, lengths)
   table.sort(lengths)
   local over = 0
   for _, n in ipairs(lengths) do over = over + (n > 40 and 1 or 0) end
   show(name, "%d functions: p50 %d, p90 %d, max %d; over 40 lines: %.1f %%", #lengths, lengths[math.ceil(#lengths * 0.5)],
      lengths[math.ceil(#lengths * 0.9)], lengths[#lengths], 100 * over / #lengths)
end

-- ---- files ----

local function largest_folder(list)
   local counts, most = {}, nil
   for _, path in ipairs(list) do
      local folder = path:match "^(.*)/"
      counts[folder] = (counts[folder] or 0) + 1
      if not most or counts[folder] > counts[most] then most = folder end
   end
   return counts[most], most
end

local function lines_of(list)
   local count = 0
   for _, path in ipairs(list) do count = count + select(2, read(path):gsub("\n", "")) end
   return count
end

-- "mr_" and the file's name begin an extern's name; words of both are compared without a plural's s.
local function misnamed(list)
   local total, wrong, sources = 0, 0, {}
   for _, f in ipairs(list) do
      if not sources[f.path] then
         sources[f.path] = {}
         for line in (read(f.path) .. "\n"):gmatch "(.-)\n" do table.insert(sources[f.path], line) end
      end
      local head = sources[f.path][f.first] or ""
      if not head:find "^static" and f.name:find "^mr_" then
         total = total + 1
         local file = f.path:match "([^/]+)%.c$"
         local stem = "mr_" .. file:gsub("s$", "")
         if f.name:sub(1, #stem) ~= stem then wrong = wrong + 1 end
      end
   end
   return total, wrong
end

local function circles()
   local count, longest = 0, 0
   for line in run(("cd '%s' && luajit tests/tools/check_layers.lua . --strict 2>&1"):format(root)):gmatch "[^\n]+" do
      if line:find "cycle" or line:find "circle" then
         count = count + 1
         longest = math.max(longest, select(2, line:gsub("%->", "")))
      end
   end
   return count, longest
end

-- ---- tests ----

local function mirrors(list, to_source)
   local count = 0
   for _, path in ipairs(list) do
      local source = to_source(path)
      if source and exists(source) then count = count + 1 end
   end
   return count
end

local function unit_source(path)
   local folder, name = path:match "^tests/unit/(.*)/test_([^/]+)%.c$"
   return folder and ("runtime/%s/%s.c"):format(folder, name)
end

local function spec_source(path)
   local name = path:match "^tests/spec/(.*)_spec%.lua$"
   return name and ("lua/moonrabbit/%s.lua"):format(name)
end

-- ---- commits ----

local NO_VERBS = { a = true, an = true, the = true, what = true, who = true, one = true, no = true, all = true, some = true,
   it = true, its = true, of = true, ["in"] = true, as = true, how = true, where = true, when = true, more = true, each = true }

-- `area: verb object`: the first word behind the area is no article or pronoun, and no form on -s, -ed or -ing.
local function is_imperative(subject)
   local verb = subject:match "^[%w_/, -]+: (%l+)%f[^%w_'-]"
   if not verb or NO_VERBS[verb] then return false end
   return not (verb:find "[^s]s$" or verb:find "ed$" and verb ~= "need" and verb ~= "feed" or verb:find "ing$" and #verb > 5)
end

local function show_commits()
   local count, good = 0, 0
   local range = base and base .. "..HEAD" or "HEAD"
   for subject in run(("git -C '%s' log --no-merges --format=%%s %s"):format(root, range)):gmatch "[^\n]+" do
      count, good = count + 1, good + (is_imperative(subject) and 1 or 0)
   end
   show("commit subjects in the imperative", "%d of %d", good, count)
end

local c, lua = files("runtime", "%.[ch]$"), files("lua/moonrabbit", "%.lua$")
local lengths, functions = c_functions()
show("lines of runtime + lua", "%d + %d", lines_of(c), lines_of(lua))
show_lengths("C", lengths)
show_lengths("Lua", lua_functions(lua))
show("files in the largest folder, C", "%d (%s)", largest_folder(files("runtime", "%.c$")))
show("files in the largest folder, Lua", "%d (%s)", largest_folder(lua))
show("circles of files, longest", "%d, %d", circles())
local total, wrong = misnamed(functions)
show("externs not named after their file", "%.0f %% (%d of %d)", 100 * wrong / total, wrong, total)
local units, specs = files("tests/unit", "/test_[^/]+%.c$"), files("tests", "_spec%.lua$")
show("unit tests that mirror a source file", "%d of %d", mirrors(units, unit_source), #units)
show("specs that mirror a source file", "%d of %d", mirrors(specs, spec_source), #specs)
show_commits()
