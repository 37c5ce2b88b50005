--- cli.status_text: the page /status of a process, for people.
-- SPDX-License-Identifier: MIT
local columns = require "moonrabbit.cli.table_text"
local escaped = require "moonrabbit.cli.escaped"
local top_rows = require "moonrabbit.cli.top_rows"

local status_text = {}

--- A duration: "350 us", "12 ms", "3.2 s", "4 m 05 s", "2 h 10 m", "3 d 4 h".
function status_text.duration(s)
   if s < 0.001 then return ("%dus"):format(s * 1e6 + 0.5) end
   if s < 1 then return ("%dms"):format(s * 1000 + 0.5) end
   if s < 60 then return ("%.1fs"):format(s) end
   if s < 3600 then return ("%dm%02ds"):format(s / 60, s % 60) end
   if s < 86400 then return ("%dh%02dm"):format(s / 3600, s % 3600 / 60) end
   return ("%dd%02dh"):format(s / 86400, s % 86400 / 3600)
end
local duration = status_text.duration

local function bytes(n)
   for _, unit in ipairs { "B", "KiB", "MiB", "GiB" } do
      if n < 1024 or unit == "GiB" then return (unit == "B" and "%d %s" or "%.1f %s"):format(n, unit) end
      n = n / 1024
   end
end

-- A total per second since the page before; "" if there is none.
local function rate(new, old, seconds)
   if not old or not seconds or seconds <= 0 then return "" end
   return ("%.0f/s"):format(math.max(new - old, 0) / seconds)
end

local function add(lines, more)
   for _, line in ipairs(more) do lines[#lines + 1] = line end
end

local function left_out(lines, count, what)
   if count then lines[#lines + 1] = ("  and %d more %s"):format(count, what) end
end

--- The title: the program, its state, and what its script is at.
-- @tparam table page
-- @tparam ?string name
-- @treturn string
function status_text.title(page, name)
   local script = page.script
   local state = script.state
   if script.busy > 0 then state = ("%s for %s"):format(state, duration(script.busy)) end
   local workers = page.workers and (", %d workers"):format(#page.workers) or ""
   return ("%s (pid %d): %s, up %s, script %s, Lua %s%s"):format(escaped((name or "a process"):gsub("%.workers$", "")), page.pid,
      page.status, duration(page.uptime), state, bytes(script.memory), workers)
end

local function head(lines, page, name)
   local script = page.script
   lines[1] = ("%s, Moonrabbit %s"):format(status_text.title(page, name), page.version)
   for _, why in ipairs(page.reasons or {}) do lines[#lines + 1] = "  " .. escaped(why) end
   local whose = script.worker and ("worker %d is "):format(script.worker) or ""
   if script.where then lines[#lines + 1] = ("  %sbusy with %s"):format(whose, escaped(script.where)) end
   for line in (script.traceback or ""):gmatch "[^\n]+" do lines[#lines + 1] = "    " .. escaped(line) end
end

local function what_it_is_at(part)
   if part.reason then return part.reason end
   local script = part.page and part.page.script
   if not script then return "ended" end
   if script.busy <= 0 then return script.state end
   return ("%s for %s%s"):format(script.state, duration(script.busy), script.where and ": " .. script.where or "")
end

local function workers(lines, page)
   if not page.workers then return end
   local rows = {}
   for i, part in ipairs(page.workers) do
      local own = part.page or {}
      rows[i] = { part.worker, part.pid, own.status, own.uptime and duration(own.uptime), own.script and bytes(own.script.memory),
         what_it_is_at(part) }
   end
   add(lines, { "", "Workers" })
   add(lines, columns({ "NUMBER", "PID", "STATUS", "UP", "LUA", "SCRIPT" }, rows, "  "))
end

local function optional(n) return n and duration(n) or "" end

--- The connections of a page.
-- @tparam table page
-- @tparam[opt] string indent before each line
-- @tparam[opt] table before an earlier page, for rates
-- @treturn table lines
function status_text.connections(page, indent, before)
   local rows, of_workers = top_rows.connections(page, before), page.workers ~= nil
   local titles = { "NUMBER", "STATE", "SINCE", "HOST", "VHOST", "USER", "CHANNELS", "LOSSES", "IN", "OUT", "UNCONFIRMED", "" }
   if of_workers then table.insert(titles, 1, "WORKER") end
   for i, c in ipairs(rows) do
      rows[i] = { c.number, c.state, optional(c.since), c.name, c.virtual_host, c.user, c.channels, c.losses,
         c.receiving and bytes(c.receiving) .. "/s" or "", c.sending and bytes(c.sending) .. "/s" or "", c.unconfirmed, c.note }
      if of_workers then table.insert(rows[i], 1, c.worker) end
   end
   local lines = columns(titles, rows, indent)
   left_out(lines, page.connections_left_out, "connections")
   return lines
end

-- What is known of the Redis behind redis://; one line each, and why it is not reached.
local function stores(lines, page)
   local rows = {}
   for i, s in ipairs(page.stores or {}) do
      local name = s.version and ("%s, %s %s"):format(s.server, s.version, s.role or "") or s.server
      rows[i] = { name, s.state, duration(s.since), s.losses, s.round_trip and duration(s.round_trip) or "", s.commands, bytes(s.bytes_in),
         bytes(s.bytes_out), s.fetched, s.unacked, s.waiting, s.error }
      if page.workers then table.insert(rows[i], 1, s.worker) end
   end
   if not rows[1] then return end
   local titles = { "SERVER", "STATE", "SINCE", "LOSSES", "ROUND TRIP", "COMMANDS", "IN", "OUT", "FETCHED", "UNACKED", "WAITING", "" }
   if page.workers then table.insert(titles, 1, "WORKER") end
   add(lines, { "", "Redis" })
   add(lines, columns(titles, rows, "  "))
end

local function condition(row)
   local away = row.consumers - row.on - row.paused
   local words = { tostring(row.on) }
   if away > 0 then words[#words + 1] = away .. " away" end
   if row.paused > 0 then words[#words + 1] = row.paused .. " paused" end
   return words[2] and table.concat(words, ", ") or row.on
end

local function per_second(n) return n and ("%.0f/s"):format(n) or "" end

--- The queues of a page that have consumers, or whose messages were handled.
-- @tparam table page
-- @tparam[opt] string indent before each line
-- @tparam[opt] table before an earlier page, for rates
-- @treturn table lines; none if there is no such queue
function status_text.queues(page, indent, before)
   local rows = top_rows.consumers(page, before)
   if #rows == 0 then return {} end
   table.sort(rows, function(a, b) return a.name < b.name end)
   for i, row in ipairs(rows) do
      rows[i] = { row.name, condition(row), row.handled, per_second(row.coming), per_second(row.settling), row.in_flight,
         optional(row.p50), optional(row.p99), optional(row.oldest), row.failed, row.retried, row.dead, row.lag }
   end
   local lines = columns({ "QUEUE", "CONSUMERS", "HANDLED", "IN", "SETTLED", "IN FLIGHT", "P50", "P99", "OLDEST", "FAILED", "RETRIED",
      "DEAD", "WAITING" }, rows, indent)
   left_out(lines, page.consumers_left_out, "consumers")
   return lines
end

local function publishers(lines, page, before)
   local rows = top_rows.publishers(page, before)
   if #rows == 0 then return end
   table.sort(rows, function(a, b) return a.name < b.name end)
   for i, row in ipairs(rows) do
      rows[i] = { row.name, row.accepted, per_second(row.publishing), row.line, row.in_flight, row.aside }
   end
   add(lines, { "", "Publishers" })
   add(lines, columns({ "EXCHANGE", "PUBLISHED", "RATE", "IN LINE", "IN FLIGHT", "ASIDE" }, rows, "  "))
end

local function publishes(lines, page, before, seconds)
   local p, m = page.publishes, page.messages
   local op, om = before and before.publishes or {}, before and before.messages or {}
   add(lines, { "", "Messages" })
   add(lines, columns({ "", "TOTAL", "RATE", "" }, {
      { "delivered", m.delivered, rate(m.delivered, om.delivered, seconds),
         m.last and "the last one " .. duration(m.last) .. " ago" or "" },
      { "settled", m.settled, rate(m.settled, om.settled, seconds), ("%d in flight"):format(m.in_flight) },
      { "published", p.published, rate(p.published, op.published, seconds), bytes(p.outbound) .. " not yet written" },
      { "confirmed", p.confirmed, rate(p.confirmed, op.confirmed, seconds),
         p.confirm.p99 and ("p50 %s, p99 %s"):format(duration(p.confirm.p50), duration(p.confirm.p99)) or "" },
      { "returned", p.returned }, { "lost", p.lost },
   }, "  "))
end

--- The lines.
-- @tparam table page
-- @tparam ?string name of the process
-- @tparam[opt] table before an earlier page of it, for rates
-- @treturn table
function status_text.lines(page, name, before)
   local lines, seconds = {}, before and page.time - before.time
   head(lines, page, name)
   workers(lines, page)
   add(lines, { "", "Connections" })
   add(lines, status_text.connections(page, "  ", before))
   stores(lines, page)
   local by_queue = status_text.queues(page, "  ", before)
   if by_queue[1] then add(lines, { "", "Consumers by queue" }) end
   add(lines, by_queue)
   publishers(lines, page, before)
   publishes(lines, page, before, seconds)
   return lines
end

return status_text
