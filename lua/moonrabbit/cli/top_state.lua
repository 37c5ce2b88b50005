--- cli.top_state: what `moonrabbit top` shows and what its keys change: the list, its order, the filter, the selected row.
-- SPDX-License-Identifier: MIT
-- Pure: no terminal and no process. A key may be an order to the caller, such as "quit".
local rows_of = require "moonrabbit.cli.top_rows"

local top_state = {}

local MOMENT = 0.5 -- seconds

--- The lists, in the order of the key Tab, and the columns of each: field, title, width (nil: what is left), kind. The first column is
-- the name. `worker` is there only when workers are shown apart.
top_state.LISTS = {
   { name = "consumers", columns = {
      { "name", "QUEUE" }, { "worker", "W", 3, "number" }, { "state", "STATE", 8, "text" }, { "coming", "IN/S", 6, "rate" },
      { "settling", "DONE/S", 6, "rate" }, { "in_flight", "FLIGHT", 6, "number" }, { "p50", "P50", 5, "duration" },
      { "p99", "P99", 5, "duration" }, { "retried", "RETRY", 5, "number" }, { "dead", "DEAD", 5, "number" },
      { "lag", "LAG", 6, "number" } } },
   { name = "connections", columns = {
      { "name", "HOST" }, { "worker", "W", 3, "number" }, { "number", "NO", 3, "number" }, { "state", "STATE", 10, "text" },
      { "since", "SINCE", 5, "duration" }, { "losses", "LOST", 4, "number" }, { "receiving", "IN/S", 5, "rate" },
      { "sending", "OUT/S", 5, "rate" }, { "unconfirmed", "UNCONF", 6, "number" }, { "outbound", "UNSENT", 6, "number" },
      { "note", "NOTE", 24, "text" }, { "channels", "CHAN", 4, "number" } } },
   { name = "publishers", columns = {
      { "name", "EXCHANGE" }, { "worker", "W", 3, "number" }, { "publishing", "PUB/S", 6, "rate" }, { "line", "LINE", 7, "number" },
      { "in_flight", "FLIGHT", 7, "number" }, { "aside", "ASIDE", 7, "number" }, { "p99", "P99", 5, "duration" } } },
}

local State = {}
State.__index = State

--- Makes the state of a fresh top: consumers, the busiest first.
function top_state.new()
   return setmetatable({ list = 1, sorts = { 4, 5, 3 }, ups = {}, filter = "", rows = {}, pages = {}, first = 1, selected = 1 }, State)
end

--- The columns that are shown.
function State:columns()
   local shown = {}
   for _, column in ipairs(top_state.LISTS[self.list].columns) do
      if column[1] ~= "worker" or self.is_split or self.list == 2 and self.page and self.page.workers then shown[#shown + 1] = column end
   end
   return shown
end

--- The column that orders the rows, and whether the least is first: names from a to z, numbers from the greatest on.
-- @treturn table column
-- @treturn boolean
function State:order()
   local column = top_state.LISTS[self.list].columns[self.sorts[self.list]]
   local is_up = column[1] == "name" or column[4] == "text"
   if self.ups[self.list] then is_up = not is_up end
   return column, is_up
end

--- How a row's consumers are: "2 on", "paused", "1 of 2" consume.
function top_state.condition(row)
   if row.state then return row.state end
   if row.consumers == 0 then return "none" end
   if row.paused == row.consumers then return "paused" end
   if row.on == row.consumers then return row.on .. " on" end
   if row.on == 0 then return "away" end
   return ("%d of %d"):format(row.on, row.consumers)
end

local function value_of(row, field)
   if field == "state" then return top_state.condition(row) end
   return row[field]
end
top_state.value_of = value_of

local function sort(rows, column, is_up)
   local field = column[1]
   local function earlier(a, b)
      local x, y = value_of(a, field), value_of(b, field)
      if x ~= y then
         if x == nil or y == nil then return y == nil end -- what is not known is last
         if is_up then return x < y end
         return x > y
      end
      return a.key < b.key
   end
   table.sort(rows, earlier)
end

--- Makes the rows anew; the selected one stays the selected one.
function State:update()
   local was, list = self.rows[self.selected], top_state.LISTS[self.list].name
   local all = self.page and rows_of[list](self.page, self.before, self.is_split) or {}
   local rows, wanted = {}, self.filter:lower()
   for _, row in ipairs(all) do
      if row.name:lower():find(wanted, 1, true) then rows[#rows + 1] = row end
   end
   sort(rows, self:order())
   self.rows = rows
   for i, row in ipairs(rows) do
      if was and row.key == was.key then self.selected = i end
   end
   self.selected = math.max(math.min(self.selected, #rows), 1)
end

--- A new page has come. Rates are of half a second at least: a page asked for out of turn does not make them jump.
-- @tparam table page
function State:show(page)
   local pages = self.pages
   if pages[1] and pages[1].pid ~= page.pid then pages = {} end
   pages[#pages + 1] = page
   while pages[3] and page.time - pages[2].time >= MOMENT do table.remove(pages, 1) end
   self.pages, self.before, self.page, self.trouble = pages, pages[2] and pages[1], page, nil
   self:update()
end

--- Which rows are seen, if there is room for so many: the selected one is among them.
-- @treturn number first
-- @treturn number last
function State:seen(room)
   if self.selected < self.first then self.first = self.selected end
   if self.selected >= self.first + room then self.first = self.selected - room + 1 end
   self.first = math.max(math.min(self.first, #self.rows - room + 1), 1)
   return self.first, math.min(self.first + room - 1, #self.rows)
end

-- ---- keys ----

local function move(by)
   return function(self) self.selected = math.max(math.min(self.selected + by, #self.rows), 1) end
end

local function turn(self, by)
   local columns, at = top_state.LISTS[self.list].columns, self.sorts[self.list]
   repeat
      at = (at - 1 + by) % #columns + 1
   until columns[at][1] ~= "worker" or self.is_split
   self.sorts[self.list], self.ups[self.list] = at, nil
   self:update()
end

local function change_list(self)
   self.list, self.selected, self.first, self.rows = self.list % #top_state.LISTS + 1, 1, 1, {}
   self:update()
end

local KEYS = {
   q = function() return "quit" end,
   p = function(self) return self.list == 1 and self.rows[self.selected] and "pause" or nil end,
   s = function(self) turn(self, 1) end, right = function(self) turn(self, 1) end,
   S = function(self) turn(self, -1) end, left = function(self) turn(self, -1) end,
   r = function(self)
      self.ups[self.list] = not self.ups[self.list] or nil
      self:update()
   end,
   w = function(self)
      self.is_split = self.page and self.page.workers and not self.is_split or nil
      self.rows = {}
      self:update()
   end,
   tab = change_list,
   ["/"] = function(self) self.is_typing = true end,
   escape = function(self)
      self.filter = ""
      self:update()
   end,
   h = function(self) self.is_helping = true end, ["?"] = function(self) self.is_helping = true end,
   j = move(1), down = move(1), k = move(-1), up = move(-1), page_down = move(10), page_up = move(-10),
   home = move(-1e9), g = move(-1e9), ["end"] = move(1e9), G = move(1e9),
}

-- The filter is being typed: it holds at once.
local function type_on(self, key)
   if key == "enter" then self.is_typing = false
   elseif key == "escape" then self.is_typing, self.filter = false, ""
   elseif key == "backspace" then self.filter = self.filter:gsub("[%z\1-\127\194-\255][\128-\191]*$", "")
   elseif #key == 1 and key:byte() >= 32 then self.filter = self.filter .. key end
   self:update()
end

--- A key was pressed.
-- @tparam string key a character, or a name such as "down"
-- @treturn ?string "quit", or "pause": pause the selected row, or have it go on
function State:key(key)
   self.message = nil
   if self.is_helping then
      self.is_helping = false
      return nil
   end
   if self.is_typing then return type_on(self, key) end
   local fn = KEYS[key]
   return fn and fn(self)
end

return top_state
