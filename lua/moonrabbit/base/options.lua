--- options: checks tables of options: unknown names and wrong types are errors with a hint.
-- SPDX-License-Identifier: MIT
local aliases = require "moonrabbit.base.aliases"
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"

local options = {}

options.blame = errors.blame -- for modules that check more than options

--- Levenshtein's distance.
-- @treturn number
function options.distance(a, b)
   local row = {}
   for j = 0, #b do row[j] = j end
   for i = 1, #a do
      local diagonal = row[0]
      row[0] = i
      for j = 1, #b do
         local above = row[j]
         local cost = a:byte(i) == b:byte(j) and 0 or 1
         row[j] = math.min(diagonal + cost, above + 1, row[j - 1] + 1)
         diagonal = above
      end
   end
   return row[#b]
end

--- The known name most similar to `word`, or nil if none is similar.
function options.nearest(word, names)
   local best, least = nil, math.floor((#word + 1) / 2) + 1
   table.sort(names)
   for _, name in ipairs(names) do
      local d = options.distance(word, name)
      if d < least then best, least = name, d end
   end
   return best
end

--- What to write instead of an unknown word: what it is called here, else the most similar name, else all of them.
-- @param word
-- @tparam table names
-- @treturn string such as: did you mean "queue"?
function options.advice(word, names)
   local known = {}
   for _, name in ipairs(names) do known[name] = true end
   local meant = aliases.of(tostring(word), known) or options.nearest(tostring(word), names)
   if meant then return (meant:find "[= ]" and "did you mean %s?" or 'did you mean "%s"?'):format(meant) end
   table.sort(names)
   return "known are " .. table.concat(names, ", ")
end

local function unknown(name, spec)
   local names = {}
   for known in each(spec) do names[#names + 1] = known end
   options.blame(('unknown option "%s": %s'):format(tostring(name), options.advice(name, names)))
end

-- "string", or one of several: "string|boolean".
local function is_of(kind, wanted)
   return kind == wanted or ("|" .. wanted .. "|"):find("|" .. kind .. "|", 1, true) ~= nil
end

--- Checks a table against its specification.
-- @tparam table given what the caller passed, or nil
-- @tparam table spec name -> type name ("string", "number", "boolean", "table", "function"), or several such
-- as "string|boolean"; a name in `required` must be present
-- @tparam[opt] table required list of names
-- @treturn table `given`, or an empty table
function options.check(given, spec, required)
   if given == nil then given = {} end
   if type(given) ~= "table" then options.blame(("options must be a table, not a %s"):format(type(given))) end
   for name, value in each(given) do
      local wanted = spec[name]
      if not wanted then unknown(name, spec) end
      if not is_of(type(value), wanted) then
         options.blame(('option "%s" must be a %s, not a %s'):format(name, wanted:gsub("|", " or a "), type(value)))
      end
   end
   for _, name in ipairs(required or {}) do
      if given[name] == nil then options.blame(('option "%s" is missing'):format(name)) end
   end
   return given
end

--- Checks an option that must be a list, if it is given: names instead of indexes would be ignored.
-- @tparam string name
-- @tparam ?table list
-- @treturn table `list`, or an empty one
function options.list(name, list)
   local count = 0
   for key in each(list or {}) do
      if type(key) ~= "number" then
         options.blame(('option "%s" must be a list, as { {...}, {...} }: it has the name "%s"'):format(name, tostring(key)))
      end
      count = count + 1
   end
   if count ~= #(list or {}) then options.blame(('option "%s" must be a list without holes'):format(name)) end
   return list or {}
end

--- A list of tables, or one such table, which is recognised by a name in it.
-- @treturn table a list
function options.list_of(name, list, known)
   for key in each(list or {}) do
      if known[key] then return { list } end
   end
   return options.list(name, list)
end

--- Checks an option that must be a whole number within bounds, if it is given.
-- @treturn number
function options.whole(name, n, least, most)
   if n == nil or (n >= least and n <= most and n == math.floor(n)) then return n end
   options.blame(('option "%s" must be a whole number from %d to %d'):format(name, least, most))
end

--- Checks an option in seconds that must not be negative, if it is given.
-- @treturn number
function options.seconds(name, n)
   if n == nil or (type(n) == "number" and n >= 0) then return n end
   options.blame(('"%s" must be a number of seconds, not negative'):format(name))
end

--- Checks the type of an argument.
function options.argument(position, name, value, wanted)
   if type(value) == wanted then return value end
   options.blame(('argument %d ("%s") must be a %s, not a %s'):format(position, name, wanted, type(value)))
end

return options
