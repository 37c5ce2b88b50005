--- cli.monitor_text: a settled message, as the page /monitor has it, for people.
-- SPDX-License-Identifier: MIT
local each = require "moonrabbit.base.each"
local escaped = require "moonrabbit.cli.escaped"
local json = require "moonrabbit.base.json"
local json_text = require "moonrabbit.cli.json_text"
local status_text = require "moonrabbit.cli.status_text"

local monitor_text = {}

local WORDS = { dead_letter = "dead letter", no_ack = "no ack" }
local COLOURS = { retry = "yellow", requeue = "yellow", nack = "red", reject = "red", dead_letter = "red", lost = "red" }
local WIDTH, TOOK = 11, 7 -- of "dead letter"; of a duration

-- A value of NAME=VALUE in one word, or in quotes.
local function worded(v)
   local text = escaped(v)
   if text ~= "" and not text:find '[%s"=]' then return text end
   return '"' .. text:gsub('[\\"]', "\\%0") .. '"'
end

local function clock(time) return os.date("%H:%M:%S", math.floor(time)) .. ("%.3f"):format(time % 1):sub(2) end

-- What it has besides the fixed columns; what says nothing is left out.
local function rest_of(entry)
   local list = { { "key", entry.routing_key }, { "exchange", entry.exchange ~= "" and entry.exchange or nil },
      { "id", entry.message_id }, { "size", entry.size }, { "attempt", entry.attempt and entry.attempt > 1 and entry.attempt or nil },
      { "redelivered", entry.redelivered and "yes" or nil }, { "multiple", entry.multiple and "yes" or nil },
      { "delay", entry.delay and status_text.duration(entry.delay) }, { "to", entry.dead_letter }, { "error", entry.error } }
   local parts = {}
   for i = 1, 10 do
      local name, v = list[i][1], list[i][2]
      if v ~= nil then parts[#parts + 1] = name .. "=" .. worded(v) end
   end
   return table.concat(parts, " ")
end

-- Headers by name.
local function headers_of(headers)
   local names, parts = {}, {}
   for name in each(headers) do names[#names + 1] = name end
   table.sort(names)
   for i, name in ipairs(names) do
      local v = headers[name]
      parts[i] = worded(name) .. "=" .. (type(v) == "string" and worded(v) or escaped(json_text(json.encode(v))))
   end
   return table.concat(parts, " ")
end

local function right(text, width) return (" "):rep(width - #text) .. text end

--- The lines of an entry.
-- @tparam table entry decoded
-- @tparam function paint of cli.terminal
-- @treturn string one line, and one more for headers and for the body, if it has them; without an end of line
function monitor_text.of(entry, paint)
   local where = entry.worker and ("[%d] "):format(entry.worker) or ""
   if entry.not_shown then
      return paint("yellow", ("%s(%d not shown: they came faster than they were read)"):format(where, entry.not_shown))
   end
   local outcome = WORDS[entry.outcome] or entry.outcome
   local padded, colour = escaped(outcome) .. (" "):rep(WIDTH - #outcome), COLOURS[entry.outcome]
   if colour then padded = paint(colour, padded) end
   local took = right(entry.seconds and status_text.duration(entry.seconds) or "-", TOOK)
   local lines = { ("%s %s%s  %s %s  %s"):format(clock(entry.time), where, worded(entry.queue or "-"), padded, took, rest_of(entry)) }
   if entry.headers then lines[#lines + 1] = "   headers " .. headers_of(entry.headers) end
   if entry.body then lines[#lines + 1] = "   body    " .. escaped(entry.body) end
   if entry.body_base64 then lines[#lines + 1] = "   base64  " .. escaped(entry.body_base64) end
   return table.concat(lines, "\n")
end

return monitor_text
