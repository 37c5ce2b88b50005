--- prometheus: reads the text format 0.0.4, strictly; raises an error on what Prometheus would not take, and on
-- names that are neither ours nor of a test (own_*).
-- SPDX-License-Identifier: MIT
local UNESCAPED = { ["\\\\"] = "\\", ['\\"'] = '"', ["\\n"] = "\n" }

local function labels_of(text, line)
   local labels, rest = {}, text
   while rest ~= "" do
      local name, from = rest:match '^([%a_][%w_]*)="()'
      if not name then error("bad label in: " .. line) end
      local at = from
      while rest:sub(at, at) ~= '"' do
         if at > #rest then error("open label in: " .. line) end
         local pair = rest:sub(at, at + 1)
         if pair:sub(1, 1) == "\\" and not UNESCAPED[pair] then error("bad escape in: " .. line) end
         at = at + (pair:sub(1, 1) == "\\" and 2 or 1)
      end
      if labels[name] then error("label twice in: " .. line) end
      labels[name] = rest:sub(from, at - 1):gsub("\\.", UNESCAPED)
      rest = rest:sub(at + 1):gsub("^,", "")
   end
   return labels
end

local function family_of(types, name)
   if types[name] then return name end
   local base = name:match "^(.*)_bucket$" or name:match "^(.*)_sum$" or name:match "^(.*)_count$"
   return base and types[base] == "histogram" and base or nil
end

local function check_name(name, kind)
   if kind == "counter" and not name:find "_total$" then error("a counter without _total: " .. name) end
   if kind ~= "counter" and name:find "_total$" then error("_total, but no counter: " .. name) end
   for _, begin in ipairs { "moonrabbit", "process", "own" } do
      if name:find("^" .. begin .. "_[a-z_]+$") then return end
   end
   error("not a name of ours: " .. name)
end

--- The page as a list of {name, labels, value}, and the types by family.
return function(page)
   local samples, types, helps, seen, current = {}, {}, {}, {}, nil
   if page:sub(-1) ~= "\n" then error "the last line does not end" end
   for line in page:gmatch "([^\n]*)\n" do
      local what, name, rest = line:match "^# (%u+) (%S+) (.+)$"
      if what == "HELP" then
         if helps[name] then error("HELP twice: " .. name) end
         helps[name], current = rest, name
      elseif what == "TYPE" then
         if types[name] or name ~= current then error("TYPE out of place: " .. line) end
         types[name] = rest
         check_name(name, rest)
      else
         local full, labels, value = line:match "^([%a_:][%w_:]*)(%b{}) (%S+)$"
         if not full then full, value = line:match "^([%a_:][%w_:]*) (%S+)$" end
         if not full or not tonumber(value) then error("not a sample: " .. line) end
         if family_of(types, full) ~= current then error("a sample out of its family: " .. line) end
         local key = full .. (labels or "")
         if seen[key] then error("a sample twice: " .. line) end
         seen[key] = true
         samples[#samples + 1] = { name = full, labels = labels_of(labels and labels:sub(2, -2) or "", line),
            value = tonumber(value) }
      end
   end
   return samples, types
end
