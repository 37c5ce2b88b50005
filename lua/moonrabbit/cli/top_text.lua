--- cli.top_text: the lines of `moonrabbit top` for a screen of a given size.
-- SPDX-License-Identifier: MIT
-- Pure. Each line is a text and a style; what a style says is said in words, too.
local escaped = require "moonrabbit.cli.escaped"
local status_text = require "moonrabbit.cli.status_text"
local text_width = require "moonrabbit.cli.text_width"
local top_rows = require "moonrabbit.cli.top_rows"
local top_state = require "moonrabbit.cli.top_state"

local top_text = {}

local NAME_LEAST = 8  -- columns of the name
local STUCK_MOST = 3  -- lines about stuck scripts

local HELP = {
   "Keys",
   "   up down k j      select a row; also Page Up, Page Down, Home, End",
   "   Tab              consumers, connections, publishers",
   "   s right, S left  order by the next column, or the one before; r: the other way round",
   "   /                show only names with this text; Enter: keep it, Escape: show all",
   "   p                pause the selected consumers, or have them go on",
   "   w                with --workers: each worker apart, or all together",
   "   h ?              this help",
   "   q Ctrl-C         leave",
   "",
   "Columns",
   "   IN/S DONE/S      messages that came, and that were settled, per second",
   "   FLIGHT           delivered and not settled; of a publisher: sent and not confirmed",
   "   P50 P99          of the handler's durations; of a publisher: until the confirm",
   "   RETRY DEAD       tried again later; moved to the dead letters",
   "   LAG              messages that wait in the queue, if the health check \"lag\" looks",
   "   LINE ASIDE       publishes that wait to be sent; that wait for a policy or a delay",
   "   UNCONF UNSENT    publishes without their confirm; bytes of publishes not written yet",
   "   LOST             times lost; IN/S OUT/S of a connection: bytes per second",
   "",
   "Any key goes back.",
}

-- ---- cells ----

local width = text_width.of

-- What fits into n columns.
local function cut(text, n)
   if width(text) <= n then return text end
   return n > 0 and text_width.first(text, n - 1) .. "~" or ""
end

local function pad(text, n, is_right)
   text = cut(text, n)
   local space = (" "):rep(n - width(text))
   return is_right and space .. text or text .. space
end

-- A number in at most five characters: 12345, 123k, 12.3M.
local function short(n)
   if n < 99999.5 then return ("%.0f"):format(n) end
   for _, unit in ipairs { "k", "M", "G", "T" } do
      n = n / 1000
      if n < 999.5 or unit == "T" then return (n < 99.95 and "%.1f%s" or "%.0f%s"):format(n, unit) end
   end
end

local WRITERS = {
   number = short,
   rate = function(n) return n > 0 and n < 9.95 and ("%.1f"):format(n) or short(n) end,
   duration = status_text.duration,
}

local function cell(row, column)
   local v = top_state.value_of(row, column[1])
   if v == nil then return column[4] == "rate" and "-" or "" end
   local write = WRITERS[column[4]]
   return write and write(v) or escaped(v)
end

-- The columns that fit, and the width of the name.
local function fit(columns, room)
   local shown, used = {}, 2 + NAME_LEAST
   for i, column in ipairs(columns) do
      if i == 1 then
         shown[1] = column
      elseif used + 1 + column[3] <= room then
         shown[#shown + 1], used = column, used + 1 + column[3]
      end
   end
   return shown, math.max(room - used + NAME_LEAST, NAME_LEAST)
end

local function row_text(columns, name_width, mark, text_of)
   local parts = {}
   for i, column in ipairs(columns) do
      parts[i] = pad(text_of(column), i == 1 and name_width or column[3], i > 1 and column[4] ~= "text")
   end
   return mark .. table.concat(parts, " ")
end

-- ---- the head ----

-- Of a place the end counts: file and line.
local function tail(indent, text, columns)
   local room = columns - #indent
   if width(text) > room and room > 1 then text = "~" .. text_width.last(text, room - 1) end
   return indent .. text
end

local function stuck(add, page, columns)
   local count = 0
   for _, part in ipairs(page.workers or { { page = page } }) do
      local script = part.page and part.page.script
      if script and script.busy >= 1 and count < STUCK_MOST then
         count = count + 1
         local what, place = (script.where or ""):match '^(.*"), (.*)$'
         add(("! %sscript %s for %s%s"):format(part.worker and ("worker %d: "):format(part.worker) or "", script.state,
            status_text.duration(script.busy), script.where and ": " .. escaped(what or script.where) or ""), "bad")
         if place then add(tail("    ", escaped(place), columns), "bad") end
         local inside = (script.traceback or ""):match "[^\n]+"
         if inside then add(tail("    ", escaped(inside), columns), "bad") end
      end
   end
   for i, why in ipairs(page.reasons or {}) do
      if i <= STUCK_MOST then add("! " .. escaped(why), "bad") end
   end
end

local function per_second(n) return n and WRITERS.rate(n) .. "/s" or "-" end

local function connections_text(page)
   local open, losses = 0, 0
   for _, c in ipairs(page.connections) do
      open, losses = open + (c.state == "open" and 1 or 0), losses + math.max(c.opened - 1, 0)
   end
   return ("%d of %d connections open, %d lost so far"):format(open, #page.connections, losses)
end

local function head(add, state, columns)
   local page = state.page
   if not page then return add("moonrabbit top: " .. escaped(state.name or "a process"), "title") end
   local total = top_rows.totals(page, state.before)
   add(status_text.title(page, state.name), "title")
   add(("in %s  done %s  in flight %d   published %s  confirmed %s"):format(per_second(total.delivered), per_second(total.settled),
      page.messages.in_flight, per_second(total.published), per_second(total.confirmed)))
   add(connections_text(page))
   stuck(add, page, columns)
end

local function list_text(state)
   local names = {}
   for i, list in ipairs(top_state.LISTS) do names[i] = i == state.list and "[" .. list.name .. "]" or list.name end
   local column, is_up = state:order()
   local text = ("%s   by %s, %s first"):format(table.concat(names, "  "), column[2],
      (column[1] == "name" or column[4] == "text") and (is_up and "a" or "z") or is_up and "least" or "most")
   if state.filter ~= "" and not state.is_typing then text = text .. '   only "' .. escaped(state.filter) .. '"' end
   return text
end

-- ---- the list ----

local function is_bad(state, row)
   if state.list == 1 then return row.consumers > row.on + row.paused end
   return state.list == 2 and row.state ~= "open"
end

local function list(add, state, columns_shown, name_width, room)
   local first, last = state:seen(room)
   for i = first, last do
      local row, is_selected = state.rows[i], i == state.selected
      add(row_text(columns_shown, name_width, is_selected and "> " or "  ", function(column) return cell(row, column) end),
         is_selected and "selected" or is_bad(state, row) and "bad" or nil)
   end
   if #state.rows == 0 and state.page then
      add(state.filter ~= "" and "  none has that name" or ("  no %s"):format(top_state.LISTS[state.list].name))
   end
end

local function foot(state)
   if state.is_typing then return "/" .. escaped(state.filter) .. "_" end
   if state.message then return escaped(state.message) end
   return "q quit  Tab list  s order  r reverse  / filter  p pause  h help"
end

local function collector(columns)
   local lines = {}
   return lines, function(text, style) lines[#lines + 1] = { text = cut(text, columns), style = style } end
end

--- The lines.
-- @tparam table state of cli.top_state; also name, trouble (there is no new page: why), message
-- @tparam number columns of the screen
-- @tparam number rows of the screen
-- @treturn table at most `rows` lines: text (at most `columns` wide, without control characters), style ("title", "bad",
-- "header", "selected", "keys" or nil)
function top_text.lines(state, columns, rows)
   local lines, add = collector(columns)
   if state.is_helping then
      for i, text in ipairs(HELP) do
         if i <= rows then add(text, not text:find "^ " and "title" or nil) end
      end
      return lines
   end
   head(add, state, columns)
   if state.trouble then add("! " .. escaped(state.trouble), "bad") end
   add ""
   add(list_text(state))
   local shown, name_width = fit(state:columns(), columns)
   add(row_text(shown, name_width, "  ", function(column) return column[2] end), "header")
   while #lines > math.max(rows - 2, 0) do table.remove(lines) end -- a low screen: its foot is there
   list(add, state, shown, name_width, math.max(rows - #lines - 1, 1))
   while #lines > math.max(rows - 1, 0) do table.remove(lines) end
   while #lines < rows - 1 do add "" end
   add(foot(state), "keys")
   return lines
end

return top_text
