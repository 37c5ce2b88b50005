--- monitor_line: a settled message as a line of JSON, without secrets.
-- SPDX-License-Identifier: MIT
local base64 = require "moonrabbit.base.base64"
local each = require "moonrabbit.base.each"
local json = require "moonrabbit.base.json"
local printing = require "moonrabbit.console.printing"
local short = require "moonrabbit.base.short"
local show = require "moonrabbit.base.show"
local utf8_text = require "moonrabbit.base.utf8_text"

local monitor_line = {}

local ORDER = { "time", "queue", "exchange", "routing_key", "message_id", "size", "redelivered", "attempt", "outcome", "multiple",
   "seconds", "delay", "dead_letter", "error" } -- then: headers, and body or body_base64
local KEYS = {}
for i, name in ipairs(ORDER) do KEYS[i] = ('%s"%s":'):format(i > 1 and "," or "", name) end -- a line begins with its time
local TEXT = 200   -- bytes of an error
local BEYOND = 512 -- bytes of a body behind those that are shown: a password without its end would not be known as one

local redact = printing.redact

--- An error as a short text.
-- @tparam string text
-- @treturn string its first line
function monitor_line.short(text) return short.head(redact(text:match "^[^\r\n]*"), TEXT) end

-- The last word may be a URL whose password is longer than what a line needs.
local function without_end(text)
   local at = text:match "^.*[%s\"']()" or 1
   local _, colon = text:find("://[^/:]*:", at)
   return colon and text:sub(1, colon) .. "***" or text
end

-- The first bytes of a body as text, or else as base64. `start`: those, and what is beyond.
local function body_of(start, is_whole, size)
   local text = is_whole and start or short.head(start, #start)
   local shown = redact(text)
   if not is_whole then shown = without_end(shown) end
   if utf8_text.is_valid(text) then return short.head(shown, size) end
   return nil, base64.encode(shown:sub(1, size))
end

--- How many bytes of a body a line needs.
-- @tparam table filter
-- @treturn number 0: none
function monitor_line.needed(filter) return filter.body and filter.body + BEYOND or 0 end

-- By name, so that the same headers read the same.
local function headers_of(msg)
   local ok, headers = pcall(function() return printing.without_secrets(msg.headers) end)
   if not ok then return json.encode { ["(cannot be shown)"] = redact(tostring(headers)) } end
   local names, parts = {}, {}
   for name in each(headers) do names[#names + 1] = name end
   table.sort(names)
   for i, name in ipairs(names) do
      local is_writable, text = pcall(json.encode, headers[name])
      parts[i] = json.encode(name) .. ":" .. (is_writable and text or json.encode(show(headers[name], true)))
   end
   return "{" .. table.concat(parts, ",") .. "}"
end

-- A value as JSON: the usual ones without the tables of the encoder.
local function written(v)
   if type(v) == "number" then return ("%.14g"):format(v) end
   if type(v) ~= "string" then return tostring(v) end
   return v:find '[%c"\\/\127-\255]' and json.encode(v) or '"' .. v .. '"'
end

-- What a message has that need not be decodable.
local function attempt(fn)
   local ok, v = pcall(fn)
   return ok and v or nil
end

--- What all monitors show of a message.
-- @tparam message msg it can be read
-- @tparam table about size (of the body), queue, time, outcome, seconds, delay, dead_letter, error, multiple: each may be nil
-- @treturn table fields of a line
function monitor_line.fields(msg, about)
   local id, seconds = attempt(function() return msg.message_id end), about.seconds
   return { time = about.time, queue = about.queue and redact(about.queue), exchange = redact(msg.exchange),
      routing_key = redact(msg.routing_key), message_id = id and redact(id), size = about.size, redelivered = msg.redelivered,
      attempt = attempt(function() return msg.attempt end), outcome = about.outcome, multiple = about.multiple,
      seconds = seconds and math.floor(seconds * 1e6 + 0.5) / 1e6, delay = about.delay, dead_letter = about.dead_letter,
      error = about.error }
end

--- The line.
-- @tparam table fields of monitor_line.fields
-- @tparam message msg
-- @tparam table filter headers, body
-- @tparam string start the first bytes of the body, as many as are needed
-- @treturn string JSON in UTF-8, with its end of line
function monitor_line.text(fields, msg, filter, start)
   local text = "{"
   for i = 1, #ORDER do
      local v = fields[ORDER[i]]
      if v ~= nil then text = text .. KEYS[i] .. written(v) end
   end
   if filter.headers then text = text .. ',"headers":' .. headers_of(msg) end
   if filter.body then
      local body, packed = body_of(start, #start == fields.size, filter.body)
      text = text .. (body and ',"body":' or ',"body_base64":') .. written(body or packed)
   end
   return utf8_text.repaired(text) .. "}\n"
end

return monitor_line
