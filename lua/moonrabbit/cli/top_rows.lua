--- cli.top_rows: what `moonrabbit top` lists, of two pages /status: consumers, connections, publishers, with rates.
-- SPDX-License-Identifier: MIT
local each = require "moonrabbit.base.each"

local top_rows = {}

local function most(a, b) return a and b and math.max(a, b) or a or b end

-- A total per second since the page before; nil: there is none, or it began anew.
local function rate(new, old, seconds)
   if not new or not old or not seconds or seconds <= 0 or new < old then return nil end
   return (new - old) / seconds
end

local function plus(a, b) return (a or b) and (a or 0) + (b or 0) end

-- The pages of the workers, or that of the one process there is, each with the earlier one of the same process.
local function parts_of(page, before)
   local list, earlier = {}, {}
   for _, part in ipairs(before and before.workers or { { pid = before and before.pid, page = before } }) do
      if part.page then earlier[part.pid] = part.page end
   end
   for _, part in ipairs(page.workers or { { pid = page.pid, page = page } }) do
      local own, old = part.page, earlier[part.pid]
      if own then
         list[#list + 1] = { worker = part.worker, console = part.console, page = own, before = old,
            seconds = old and own.time - old.time }
      end
   end
   return list
end

local function by(list, key)
   local found = {}
   for _, entry in ipairs(list or {}) do found[key(entry)] = entry end
   return found
end

--- The queues that the broker has named share one label, as in the metrics.
function top_rows.label(queue) return (queue == "" or queue:find "^amq%.") and "(server-named)" or queue end

-- Adds a row of a worker: with those of the same name as one, or, if the workers are shown apart, as one of its own.
local function collect(all, by_name, row, is_split, merge_into)
   local known = not is_split and by_name[row.name]
   if known then return merge_into(known, row) end
   if is_split and row.worker then row.key = ("%d %s"):format(row.worker, row.name) end
   all[#all + 1], by_name[row.name] = row, row
end

-- ---- consumers ----

local function consumer_key(c) return ("%s/%s/%s"):format(c.connection, c.channel, c.number) end

local function queue_row(rows, label, part)
   local row = rows[label]
   if row then return row end
   row = { key = label, name = label, worker = part.worker, consumers = 0, on = 0, paused = 0, names = {}, consoles = { part.console } }
   rows[label], rows[#rows + 1] = row, row
   return row
end

local function add_queues(rows, part)
   local old = by(part.before and part.before.queues, function(q) return q.queue end)
   for _, q in ipairs(part.page.queues) do
      local row, was = queue_row(rows, q.queue, part), old[q.queue]
      row.paused, row.consumers = q.paused or 0, q.paused or 0
      row.handled, row.failed, row.retried, row.dead, row.lag = q.handled, q.failed, q.retried, q.dead, q.messages
      row.p50, row.p99, row.oldest = q.handler.p50, q.handler.p99, q.oldest
      row.handling = rate(q.handled, was and was.handled, part.seconds)
      if row.paused > 0 then row.names[q.queue] = true end
   end
end

-- A consumer that has come since, or has come back, began with nothing.
local function gone_by(c, was, what)
   local before = was and was[what] or 0
   return math.max((c[what] or 0) - (c[what] and c[what] >= before and before or 0), 0)
end

local function add_consumers(rows, part)
   local old = by(part.before and part.before.consumers, consumer_key)
   for _, c in ipairs(part.page.consumers) do
      local row, was, seconds = queue_row(rows, top_rows.label(c.queue), part), old[consumer_key(c)], part.seconds
      row.consumers, row.on = row.consumers + 1, row.on + (c.state == "consuming" and 1 or 0)
      row.names[c.queue] = true
      row.in_flight = plus(row.in_flight, c.in_flight)
      if seconds and seconds > 0 then
         row.coming = plus(row.coming, c.delivered and gone_by(c, was, "delivered") / seconds)
         row.settling = plus(row.settling, c.settled and gone_by(c, was, "settled") / seconds)
      end
   end
end

local SUMS = { "consumers", "on", "paused", "handled", "failed", "retried", "dead", "in_flight", "coming", "settling", "handling" }
local MOSTS = { "p50", "p99", "oldest", "lag" }

local function merge_consumers(row, more)
   for _, what in ipairs(SUMS) do row[what] = plus(row[what], more[what]) end
   for _, what in ipairs(MOSTS) do row[what] = most(row[what], more[what]) end
   for name in each(more.names) do row.names[name] = true end
   for _, console in ipairs(more.consoles) do row.consoles[#row.consoles + 1] = console end
   row.worker = nil
end

--- The consumers by queue.
-- @tparam table page
-- @tparam ?table before
-- @tparam[opt] boolean is_split each worker's apart
-- @treturn table rows: name (of the queue), worker, consumers, on, paused, coming, settling (per second; nil: not known), in_flight,
-- p50, p99, oldest, failed, retried, dead, lag, names (queues to pause), consoles (of the workers)
function top_rows.consumers(page, before, is_split)
   local all, by_name = {}, {}
   for _, part in ipairs(parts_of(page, before)) do
      local rows = {}
      add_queues(rows, part)
      add_consumers(rows, part)
      for _, row in ipairs(rows) do
         row.settling = row.settling or row.handling
         collect(all, by_name, row, is_split, merge_consumers)
      end
   end
   return all
end

-- ---- connections ----

--- The connections.
-- @treturn table rows: name (the host), worker, number, state, since, user, virtual_host, channels, losses, receiving, sending (bytes per
-- second), unconfirmed, outbound, note
function top_rows.connections(page, before)
   local all = {}
   for _, part in ipairs(parts_of(page, before)) do
      local old = by(part.before and part.before.connections, function(c) return c.number end)
      for _, c in ipairs(part.page.connections) do
         local was = old[c.number] or {}
         all[#all + 1] = { key = ("%s %s"):format(part.worker, c.number), name = c.host, worker = part.worker, number = c.number,
            state = c.state, since = c.since, user = c.user, virtual_host = c.virtual_host, channels = #c.channels,
            losses = math.max(c.opened - 1, 0), outbound = c.outbound, unconfirmed = c.unconfirmed,
            receiving = rate(c.bytes_in, was.bytes_in, part.seconds), sending = rate(c.bytes_out, was.bytes_out, part.seconds),
            note = c.blocked and "blocked: " .. c.blocked or c.error or "" }
      end
   end
   return all
end

-- ---- publishers ----

local function merge_publishers(row, more)
   for _, what in ipairs { "line", "in_flight", "aside", "accepted", "publishing" } do row[what] = plus(row[what], more[what]) end
   row.p99, row.worker = most(row.p99, more.p99), nil
end

--- The publishers by exchange: those of mr.publisher; what a program publishes otherwise is in the head's numbers.
-- @treturn table rows: name, worker, line, in_flight, aside, publishing (per second), p99 (of all confirms of that process)
function top_rows.publishers(page, before, is_split)
   local all, by_name = {}, {}
   for _, part in ipairs(parts_of(page, before)) do
      local old = by(part.before and part.before.publishers, function(p) return p.publisher end)
      for _, p in ipairs(part.page.publishers or {}) do
         local was = old[p.publisher]
         local row = { key = p.publisher, name = p.publisher, worker = part.worker, line = p.in_line, in_flight = p.in_flight,
            aside = p.aside, accepted = p.accepted, publishing = rate(p.accepted, was and was.accepted, part.seconds),
            p99 = part.page.publishes.confirm.p99 }
         collect(all, by_name, row, is_split, merge_publishers)
      end
   end
   return all
end

--- The rates of all together, per second; nil: not known yet.
-- @treturn table delivered, settled, published, confirmed
function top_rows.totals(page, before)
   local sum = {}
   for _, part in ipairs(parts_of(page, before)) do
      local own, old = part.page, part.before
      for where, names in each { messages = { "delivered", "settled" }, publishes = { "published", "confirmed" } } do
         for _, name in ipairs(names) do sum[name] = plus(sum[name], rate(own[where][name], old and old[where][name], part.seconds)) end
      end
   end
   return sum
end

return top_rows
