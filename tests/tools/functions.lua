--- functions: which file defines which extern function of runtime/, and which file uses it; for check_layers.lua.
-- SPDX-License-Identifier: MIT
--
-- It reads text, not C: comments and strings must have been blanked. A module is a .c file and the header of the same name.

local functions = {}

local function module_of(name) return (name:gsub("%.%w+$", "")) end
local function folder_of(name) return name:match("^(.*)/") or "" end

local function sorted_keys(map)
   local keys = {}
   for key in pairs(map) do keys[#keys + 1] = key end
   table.sort(keys)
   return keys
end

-- The functions that the .c files define for others, by name: { mr_map_get = "base/map" }. `codes`: file -> its text.
function functions.defined(codes)
   local defined = {}
   for name, code in pairs(codes) do
      if name:find("%.c$") then
         for head, found in ("\n" .. code):gmatch("\n([%a_][^\n;{}=()#]-)%f[%w_](mr_[%w_]+)%b()%s*{") do
            if not head:find("^static%f[%W]") then defined[found] = module_of(name) end
         end
      end
   end
   return defined
end

-- What a file does, without what it only declares: of a header only its bodies and macros.
local function doing(name, code)
   code = code:gsub("%f[%w_]struct%s+[%w_]+", ""):gsub("%f[%w_]union%s+[%w_]+", ""):gsub("%f[%w_]enum%s+[%w_]+", "")
   if name:find("%.c$") then return code end
   local parts = {}
   for body in code:gmatch("%b{}") do parts[#parts + 1] = body end
   for macro in code:gsub("\\\n", " "):gmatch("#%s*define[^\n]*") do parts[#parts + 1] = macro end
   return table.concat(parts, "\n")
end

-- Who calls, or takes the address of, whose functions in the same folder: calls[module][other] = one of them. What is
-- reached through a struct of function pointers names no function here, so that ports and tables of a class do not count.
local function calls_between(codes, defined)
   local calls = {}
   for name, code in pairs(codes) do
      local module = module_of(name)
      for used in doing(name, code):gmatch("%f[%w_]mr_[%w_]+") do
         local other = defined[used]
         if other and other ~= module and folder_of(other) == folder_of(module) then
            local list = calls[module] or {}
            calls[module] = list
            if not list[other] or used < list[other] then list[other] = used end
         end
      end
   end
   return calls
end

local function reached_from(calls, module)
   local seen, left = {}, { module }
   while #left > 0 do
      for other in pairs(calls[table.remove(left)] or {}) do
         if not seen[other] then
            seen[other] = true
            left[#left + 1] = other
         end
      end
   end
   return seen
end

-- Complains once about each set of files of a folder that all reach each other by calls.
function functions.check_circles(codes, complain)
   local calls, reached, done = calls_between(codes, functions.defined(codes)), {}, {}
   for module in pairs(calls) do reached[module] = reached_from(calls, module) end
   local function is_in_circle(one, other) return reached[one][other] and reached[other] and reached[other][one] end
   for _, module in ipairs(sorted_keys(calls)) do
      local ways = {}
      for _, member in ipairs(done[module] and {} or sorted_keys(calls)) do
         for _, other in ipairs(is_in_circle(module, member) and sorted_keys(calls[member]) or {}) do
            if is_in_circle(module, other) then
               done[member] = true
               ways[#ways + 1] = ("%s -> %s by %s"):format(member, other, calls[member][other])
            end
         end
      end
      if #ways > 0 then complain("circle by calls: %s", table.concat(ways, ", ")) end
   end
end

-- ---- names ----

-- What else a file's functions may be called after: the struct whose methods they are, where it is not called as the file is.
-- No line may be added for a function that can bear its file's name.
local families = {
   ["amqp/channel_requests"] = { "amqp_channel" },
   ["amqp/channel_state"] = { "amqp_channel" },
   ["amqp/session_requests"] = { "session" },
   ["amqp/session_state"] = { "session" },
   ["api/handle"] = { "command" },
   ["base/alloc"] = { "malloc", "calloc", "realloc", "free", "strdup_n" }, -- as in C
   ["base/compare"] = { "value", "table" },
   ["base/status"] = { "error" },
   ["base/value"] = { "table" },
   ["bridge/gauge"] = { "board" },
   ["broker/client/session_state"] = { "broker_session" },
   ["broker/server/peer"] = { "wire" },
   ["codec/method"] = { "codec" },
   ["codec/walk"] = { "parts" },
   ["engine/loop"] = { "engine" },
   ["health/http"] = { "httpd" },
   ["link/recovery_state"] = { "recovery" },
   ["net/resolve"] = { "resolver" },
   ["net/tls_context"] = { "tls_store" },
}

-- Is a function called after a stem, in the singular or in the plural: mr_STEM, or mr_STEM_something?
local function bears(name, stem)
   stem = "^mr_" .. stem:gsub("s$", "") .. "s?"
   return name:find(stem .. "$") or name:find(stem .. "_")
end

-- A name may also say the folder, where another folder has a file of that name: mr_broker_session_open.
local function bears_file(name, module)
   local file = module:match("[^/]+$")
   if bears(name, file) then return true end
   for folder in folder_of(module):gmatch("[^/]+") do
      if bears(name, folder .. "_" .. file) then return true end
   end
   return false
end

-- Complains about each extern function that is neither public nor called after its file, and, unless the tree `is_part`,
-- about each family that has no function any more.
function functions.check_names(codes, is_part, complain)
   local public, defined, met = {}, functions.defined(codes), {}
   for name, code in pairs(codes) do
      for declared in (folder_of(name) == "include" and code or ""):gmatch("%f[%w_](mr_[%w_]+)%s*%(") do public[declared] = true end
   end
   for _, name in ipairs(sorted_keys(defined)) do
      local module = defined[name]
      local is_fine = public[name] or bears_file(name, module)
      for _, stem in ipairs(is_fine and {} or families[module] or {}) do
         if bears(name, stem) then is_fine, met[module .. stem] = true, true end
      end
      if not is_fine then complain("%s.c: %s does not bear its file's name", module, name) end
   end
   for _, module in ipairs(is_part and {} or sorted_keys(families)) do
      for _, stem in ipairs(families[module]) do
         if not met[module .. stem] then complain("functions.lua: nothing in %s needs the family %s any more", module, stem) end
      end
   end
end

return functions
