--- cli.message_options: properties and headers on the command line, with their types.
-- SPDX-License-Identifier: MIT
local message_options = {}

--- For the help of the commands.
message_options.HELP = [[
A header is a string (--header colour=red) unless it names its type: --header count:int=5. Types: int, double,
bool, timestamp (seconds since 1970), bytes (base64), json (objects and arrays, too), null, and a
letter of AMQP: b B s u I i l f d.]]

--- Adds the options.
function message_options.describe(c)
   c:option("-p --property", "A property of AMQP, such as content_type=text/plain; may be repeated."):argname "NAME=VALUE":count "*"
   c:option("-H --header", "A header; may be repeated."):argname "NAME[:TYPE]=VALUE":count "*"
end

local function number(text)
   local v = require("moonrabbit.base.json").decode(text)
   if type(v) == "number" or type(v) == "cdata" then return v end
   error("not a number", 0)
end

local TYPES = {
   string = function(text) return text end,
   int = number,
   bool = function(text)
      if text ~= "true" and text ~= "false" then error("not true or false", 0) end
      return text == "true"
   end,
   null = function() return require("moonrabbit.base.value").null end,
   bytes = function(text) return { ["$x"] = text } end,
   json = function(text) return require("moonrabbit.base.json").decode(text) end,
}
local LETTERS = { double = "d", timestamp = "T" }
for letter in ("bBsuIilfd"):gmatch "." do LETTERS[letter] = letter end

-- The value as message_json reads it.
local function header_value(kind, text)
   if LETTERS[kind] then return { ["$" .. LETTERS[kind]] = number(text) } end
   if not TYPES[kind] then error(('no type "%s"'):format(kind), 0) end
   return TYPES[kind](text)
end

local NUMBERS = { delivery_mode = true, priority = true, timestamp = true }

local function property(out, pair)
   local name, text = pair:match "^([^=]+)=(.*)$"
   if not name then error("it is not NAME=VALUE", 0) end
   if name == "headers" then error("headers are given by --header", 0) end
   out[name] = NUMBERS[name] and number(text) or text
end

local function header(out, pair)
   local name, text = pair:match "^([^=]+)=(.*)$"
   if not name then error("it is not NAME=VALUE", 0) end
   local bare, kind = name:match "^(.+):(%a+)$"
   out[bare or name] = header_value(kind or "string", text)
end

-- Calls read for each of the pairs; errors name the option.
local function each(out, list, option, read)
   for _, pair in ipairs(list or {}) do
      local ok, why = pcall(read, out, pair)
      if not ok then return nil, ("%s %s: %s"):format(option, pair, why) end
   end
   return true
end

--- The encoded properties of a command line; persistent unless delivery_mode says otherwise.
-- @tparam table options property, header
-- @treturn[1] string
-- @treturn[2] nil, string what is wrong
function message_options.encode(options)
   local message_json = require "moonrabbit.cli.message_json"
   local props, headers = { delivery_mode = 2 }, {}
   local ok, why = each(props, options.property, "--property", property)
   if ok then ok, why = each(headers, options.header, "--header", header) end
   if not ok then return nil, why end
   if next(headers) then props.headers = headers end
   local raw
   ok, raw = pcall(function() return message_json.encode(message_json.read_properties(props)) end)
   if not ok then return nil, (tostring(raw):gsub("^[^ ]*%.lua:%d+: ", "")) end
   return raw
end

return message_options
