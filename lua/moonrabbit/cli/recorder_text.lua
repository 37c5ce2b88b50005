--- cli.recorder_text: events of the flight recorder, for people.
-- SPDX-License-Identifier: MIT
local columns = require "moonrabbit.cli.table_text"

local recorder_text = {}

local function time_text(t)
   return ("%s.%06d"):format(os.date("%H:%M:%S", math.floor(t)), math.floor(t % 1 * 1e6))
end
recorder_text.time = time_text

local function where(e)
   if not e.connection then return "" end
   return e.channel and ("%d/%d"):format(e.connection, e.channel) or tostring(e.connection)
end

-- 5, or 5..9 for events in a row, or x5 where they have no numbers.
local function numbers(e)
   if not e.number then return e.count and "x" .. e.count or "" end
   return (e.count and "%.0f..%.0f" or "%.0f"):format(e.number, e.number + (e.count or 1) - 1)
end

--- The lines: time, kind, name, CONNECTION/CHANNEL, number, queue of the consumer, text.
-- @tparam table page with the list `events`
-- @treturn table
function recorder_text.lines(page)
   local rows = {}
   for i, e in ipairs(page.events) do
      rows[i] = { time_text(e.time), e.kind, e.name, where(e), numbers(e), e.queue or "",
         (e.code and e.code .. " " or "") .. (e.text or "") }
   end
   if #rows == 0 then return { "no such events" } end
   return columns({ "TIME", "KIND", "WHAT", "AT", "NUMBER", "QUEUE", "TEXT" }, rows)
end

return recorder_text
