--- cli.dot_views: what the commands of a prompt show, as lines.
-- SPDX-License-Identifier: MIT
local columns = require "moonrabbit.cli.table_text"
local status_text = require "moonrabbit.cli.status_text"

local views = {}

local duration = status_text.duration

local function rows_or(lines, empty) return #lines > 1 and lines or { empty } end

--- All of it.
function views.status(page, name) return status_text.lines(page, name) end

--- Connections, and a line for each channel.
function views.connections(page)
   local lines = status_text.connections(page)
   local rows = {}
   for _, c in ipairs(page.connections) do
      for _, ch in ipairs(c.channels) do
         rows[#rows + 1] = { c.number, ch.number, ch.prefetch or ch.global_prefetch, ch.confirms and "yes" or "" }
      end
   end
   if #rows == 0 then return rows_or(lines, "no connections") end
   lines[#lines + 1] = ""
   for _, line in ipairs(columns({ "CONNECTION", "CHANNEL", "PREFETCH", "CONFIRMS" }, rows)) do lines[#lines + 1] = line end
   return lines
end

--- Consumers at the broker, and those that are paused.
function views.consumers(page)
   local rows = {}
   for i, c in ipairs(page.consumers) do rows[i] = { c.queue, c.tag, c.state, c.connection, c.channel } end
   for _, q in ipairs(page.queues) do
      for _ = 1, q.paused or 0 do rows[#rows + 1] = { q.queue, "", "paused" } end
   end
   table.sort(rows, function(a, b) return a[1] .. "\0" .. a[2] < b[1] .. "\0" .. b[2] end)
   return rows_or(columns({ "QUEUE", "TAG", "STATE", "CONNECTION", "CHANNEL" }, rows), "no consumers")
end

--- Queues with consumers, or whose messages were handled.
function views.queues(page) return rows_or(status_text.queues(page), "no queues") end

--- Handlers at work.
-- @tparam table list of console/look.lua
function views.handlers(list)
   local rows = {}
   for i, h in ipairs(list) do
      rows[i] = { h.queue, h.tag, h.seconds and duration(h.seconds) or "", h.message_id or "", h.origin or "", h.at or "" }
   end
   return rows_or(columns({ "QUEUE", "DELIVERY", "SINCE", "MESSAGE ID", "HANDLER", "WAITS AT" }, rows), "no handlers at work")
end

local function spinning_row(script)
   local at = (script.traceback or ""):match "%s*([^\n]+)"
   return { script.queue or "", duration(script.busy), "1", (script.where or ""):match '", (.*)$' or "", at or "" }
end

--- The same from the page /status, of a script that is busy, or of several: its I/O thread does not know single messages.
-- @tparam table page
function views.handlers_of_status(page)
   local rows = {}
   for _, part in ipairs(page.workers or { { page = page } }) do
      local script = part.page and part.page.script
      if script and script.busy > 0 and (script.where or script.traceback) then rows[#rows + 1] = spinning_row(script) end
   end
   for _, q in ipairs(page.queues) do
      if q.oldest then rows[#rows + 1] = { q.queue, duration(q.oldest), "the oldest", "", "" } end
   end
   return rows_or(columns({ "QUEUE", "SINCE", "HANDLERS", "HANDLER", "AT" }, rows), "no handlers at work")
end

--- Pools.
function views.pools(page)
   local rows, titles = {}, { "POOL", "LENT", "IDLE", "LIMIT", "WAITING" }
   for i, p in ipairs(page.pools or {}) do
      rows[i] = { p.strategy, p.active, p.idle, p.limit, p.waiting }
      if page.workers then table.insert(rows[i], 1, p.worker) end
   end
   if page.workers then table.insert(titles, 1, "WORKER") end
   return rows_or(columns(titles, rows), "no pools")
end

return views
