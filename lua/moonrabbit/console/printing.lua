--- printing: values for the eyes of somebody at a console: indented, to a depth, without secrets.
-- SPDX-License-Identifier: MIT
-- The library inspect.lua writes tables. What it must not see is replaced before: its own walk has no bounds.
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"
local show = require "moonrabbit.base.show"
local value = require "moonrabbit.base.value"

local printing = {}

local DEPTH, FIELDS = 4, 100 -- levels of tables; fields of one
local LONG = 300             -- bytes of a string within a table
local LONGEST = 65536        -- bytes of all
local NODES = 10000          -- values, with those within them
local BEGIN, END = "\1", "\2" -- around text that is not to look like a string

local Typed = debug.getmetatable(value.int(0)) -- the type of objects of mr.int, mr.array...

local SECRET = { password = true, passwd = true, passphrase = true, secret = true, key_password = true, client_secret = true }

--- Text without the passwords of the URLs in it.
printing.redact = require "moonrabbit.base.redact"

--- How many values may be shown.
-- @treturn table left
function printing.budget() return { left = NODES } end

-- False if there are too many values already.
local function spend(budget)
   budget.left = budget.left - 1
   return budget.left >= 0
end

local function short(text)
   text = printing.redact(text)
   if #text <= LONG then return text end
   return ("%s... (%d bytes in all)"):format(text:sub(1, LONG), #text)
end

local function as_words(text) return BEGIN .. text:gsub("[%c]", " ") .. END end

local function is_secret(key) return type(key) == "string" and SECRET[key:lower()] or false end

local plain

local function key_of(key)
   if type(key) == "table" then return as_words(show(key, true)) end
   return type(key) == "string" and printing.redact(key) or key
end

-- At most so many fields, and none that is too deep.
local function plain_table(t, seen, depth)
   local meta = debug.getmetatable(t)
   if meta and (rawget(meta, "__tostring") or rawget(meta, "__name")) then return as_words(short(show(t, true))) end
   if seen[t] then return as_words "(again)" end
   if depth >= DEPTH then return as_words(next(t) == nil and "{}" or "{...}") end
   seen[t] = true
   local out, count, more = {}, 0, 0
   for key, v in each(t) do
      if count < FIELDS and spend(seen.budget) then
         out[key_of(key)] = is_secret(key) and as_words "***" or plain(v, seen, depth + 1)
         count = count + 1
      else
         more = more + 1
      end
   end
   if more > 0 then out[as_words "..."] = as_words(("%d more fields"):format(more)) end
   seen[t] = nil
   return out
end

function plain(v, seen, depth)
   local kind = type(v)
   if kind == "string" then return short(v) end
   if kind == "table" then return plain_table(v, seen, depth) end
   if kind == "number" or kind == "boolean" or kind == "nil" then return v end
   return as_words(short(show(v, true)))
end

-- Arrays and bytes hold what may be secret; other typed values are numbers.
local function plain_typed(v, path, budget)
   if v.type == "A" then return value.array(printing.without_secrets(v.value, path, budget)) end
   if type(v.value) == "string" then return value.bytes(printing.redact(v.value)) end
   return v
end

--- A copy of a value without secrets, for JSON.
-- @param v
-- @tparam[opt] table path what v is within
-- @tparam[opt] table budget left: how many more values it may have
-- @treturn any tables without their metatables, but mr.null and typed values as they are
-- Raises a text for a table within itself, and for too many values.
function printing.without_secrets(v, path, budget)
   budget = budget or printing.budget()
   if not spend(budget) then error("too many values", 0) end
   if type(v) == "string" then return printing.redact(v) end
   if type(v) ~= "table" or v == value.null then return v end
   path = path or {}
   if path[v] then error("a table holds itself", 0) end
   if debug.getmetatable(v) == Typed then return plain_typed(v, path, budget) end
   path[v] = true
   local out = {}
   for key, field in each(v) do
      local name = type(key) == "string" and printing.redact(key) or key
      out[name] = is_secret(key) and "***" or printing.without_secrets(field, path, budget)
   end
   path[v] = nil
   return out
end

-- The library is the system's own: a script may have a module of that name, and a folder of anybody's such a file.
local function find_inspect()
   local here = type(_G.arg) == "table" and tostring(_G.arg[0]):match "^(.*/)" or nil
   for place in package.path:gmatch "[^;]+" do
      local is_system = (place:find "^/usr/" or place:find "^/opt/") and not place:find("/..", 1, true)
      if is_system and not (here and place:sub(1, #here) == here) then
         local chunk = loadfile((place:gsub("%?", "inspect")))
         local ok, library = pcall(chunk or error, "inspect")
         if ok and type(library) == "table" and type(library.inspect) == "function" then return library end
      end
   end
   return false
end

local inspect -- false: there is none; nil: not looked for yet

local function printable(text)
   return (text:gsub("%c", function(c) return c == "\n" and c or ("\\%d"):format(c:byte()) end)
      :gsub("\194([\128-\159])", function(c) return ("\\194\\%d"):format(c:byte()) end))
end

local function write(v)
   if inspect == nil then inspect = find_inspect() end
   if not inspect then return printable(show(v, true)) end
   return printable((inspect.inspect(v):gsub('%["\\1(.-)\\2"%]', "%1"):gsub("['\"]\\1(.-)\\2['\"]", "%1")))
end

-- An error, and what to do about it.
local function error_text(e)
   return printable(printing.redact(tostring(e) .. (e.hint ~= "" and "\n   hint: " .. e.hint or "")))
end

--- A value as text of several lines.
-- @param v
-- @tparam[opt] table budget of printing.budget, for several values together
-- @treturn string without control characters but line ends, at most 64 KiB
function printing.show(v, budget)
   if errors.is(v) then return error_text(v) end
   if type(v) == "string" then
      return printable((("%q"):format(printing.redact(v)):gsub("\\\n", "\\n"):gsub("\n", "\\10"))):sub(1, LONGEST)
   end
   local text = write(plain(v, { budget = budget or printing.budget() }, 0))
   if text:sub(1, 1) == BEGIN then text = text:gsub("[\1\2]", "") end
   if #text <= LONGEST then return text end
   return ("%s\n... (%d bytes in all)"):format(text:sub(1, LONGEST), #text)
end

return printing
