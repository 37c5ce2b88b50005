--- codec: events of the world as text, and back: a line of fields with tabs between them; a snapshot has more lines.
-- SPDX-License-Identifier: MIT
-- No library for JSON is needed for it, and 5000 of them a second cost little.
local codec = {}

local KINDS = {                      -- kind -> its fields in their order; "#": a number
   hop = { "from", "name", "#colour", "#x", "#y", "#face", "#carry", "#stars" },
   plant = { "from", "id", "what", "#x", "#y", "#age", "#colour" },
   pick = { "from", "id" },
   meteor = { "from", "#x", "#y" },
   hello = { "from" },
   bye = { "from" },
   snapshot = { "from" },
}
local THING = { "id", "what", "#x", "#y", "#age", "#colour" } -- lines of a snapshot
local MOST_LINES = 5000

local function line_of(first, fields, record)
   local out = { first }
   for i, field in ipairs(fields) do
      local name = field:match "%w+"
      out[i + 1] = tostring(record[name]):gsub("[\t\n]", " ")
   end
   return table.concat(out, "\t")
end

--- The text of an event.
function codec.encode(event)
   local head = line_of(event.kind, KINDS[event.kind], event)
   if event.kind ~= "snapshot" then return head end
   local lines = { head }
   for _, thing in ipairs(event.things) do lines[#lines + 1] = line_of("+", THING, thing) end
   for _, id in ipairs(event.taken) do lines[#lines + 1] = "-\t" .. id end
   for id, star in pairs(event.stars) do lines[#lines + 1] = ("*\t%s\t%d\t%d"):format(id, star[1], star[2]) end
   return table.concat(lines, "\n")
end

-- The fields after the first one; nil: they are not those.
local function record_of(line, fields, record)
   local at = line:find("\t", 1, true)
   for _, field in ipairs(fields) do
      if not at then return nil end
      local stop = line:find("\t", at + 1, true)
      local text = line:sub(at + 1, (stop or 0) - 1)
      if field:byte() == 35 then
         local number = tonumber(text)
         if not number then return nil end
         record[field:sub(2)] = number
      else
         record[field] = text
      end
      at = stop
   end
   return record
end

local function snapshot_of(event, text)
   event.things, event.taken, event.stars = {}, {}, {}
   local count = 0
   for line in text:gmatch "\n([^\n]*)" do
      count = count + 1
      if count > MOST_LINES then break end
      local sign = line:sub(1, 1)
      if sign == "+" then
         event.things[#event.things + 1] = record_of(line, THING, {})
      elseif sign == "-" then
         event.taken[#event.taken + 1] = line:sub(3)
      elseif sign == "*" then
         local star = record_of(line, { "id", "#count", "#colour" }, {})
         if star then event.stars[star.id] = { star.count, star.colour } end
      end
   end
   return event
end

--- The event of a text; nil: it is none.
function codec.decode(text)
   local line = text:match "^[^\n]*"
   local kind = line:match "^%l+"
   local fields = kind and KINDS[kind]
   local event = fields and record_of(line, fields, { kind = kind })
   if event and kind == "snapshot" then return snapshot_of(event, text) end
   return event
end

return codec
