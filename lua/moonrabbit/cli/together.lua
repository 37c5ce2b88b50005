--- cli.together: the pages /status of several workers as one, with their sums.
-- SPDX-License-Identifier: MIT
-- It has the fields that the page of one process has, so whoever reads that page reads this one, too; and each worker's own page.
local each = require "moonrabbit.base.each"
local value = require "moonrabbit.base.value"

local together = {}

local LISTS = { "queues", "publishers", "connections", "consumers", "pools", "stores", "workers" }
local RANKS = { idle = 0, busy = 1, stalled = 2 } -- of the states of a script

local function add_numbers(into, from)
   for key, v in each(from) do
      if type(v) == "number" then into[key] = (into[key] or 0) + v end
   end
end

local function least(a, b) return a and b and math.min(a, b) or a or b end
local function most(a, b) return a and b and math.max(a, b) or a or b end

-- Durations: the mean is exact; the quantiles are those of the slowest worker, as quantiles cannot be added.
local function add_durations(into, count, from, more)
   if from.mean then into.mean = ((into.mean or 0) * count + from.mean * more) / math.max(count + more, 1) end
   into.p50, into.p99 = most(into.p50, from.p50), most(into.p99, from.p99)
end

-- ---- the parts of a page ----

local function add_script(sum, script, number)
   local rank, other = RANKS[script.state] or 0, RANKS[sum.state]
   local memory = sum.memory + script.memory
   if rank > other or rank == other and script.busy > sum.busy then
      for _, key in ipairs { "where", "traceback", "queue" } do sum[key] = nil end
      for key, v in each(script) do sum[key] = v end
      sum.worker = number
   end
   sum.memory = memory
end

local function add_messages(sum, messages)
   local last = least(sum.last, messages.last)
   add_numbers(sum, messages)
   sum.last = last
end

local function add_publishes(sum, publishes)
   add_durations(sum.confirm, sum.confirmed or 0, publishes.confirm or {}, publishes.confirmed or 0)
   add_numbers(sum, publishes)
end

-- The messages that wait are the queue's, whoever asks: they are not added.
local function add_queue(sum, q)
   local oldest, messages = most(sum.oldest, q.oldest), most(sum.messages, q.messages)
   add_durations(sum.handler, sum.handled or 0, q.handler or {}, q.handled)
   add_numbers(sum, q)
   sum.oldest, sum.messages = oldest, messages
end

local function add_by_name(list, key, more, add)
   for _, entry in ipairs(more or {}) do
      local sum
      for _, known in ipairs(list) do
         if known[key] == entry[key] then sum = known end
      end
      if not sum then
         sum = { [key] = entry[key], handler = {} }
         list[#list + 1] = sum
      end
      add(sum, entry)
   end
end

local function add_with_number(list, more, number)
   for _, entry in ipairs(more or {}) do
      local copy = { worker = number }
      for key, v in each(entry) do copy[key] = v end
      list[#list + 1] = copy
   end
end

local function add_page(sum, page, number)
   sum.time = most(sum.time, page.time)
   sum.stopping = sum.stopping or page.stopping
   if page.status ~= "healthy" then sum.status = page.status end
   for _, why in ipairs(page.reasons or {}) do sum.reasons[#sum.reasons + 1] = ("worker %d: %s"):format(number, why) end
   add_script(sum.script, page.script, number)
   add_messages(sum.messages, page.messages)
   add_publishes(sum.publishes, page.publishes)
   add_numbers(sum.totals, page.totals or {})
   add_by_name(sum.queues, "queue", page.queues, add_queue)
   add_by_name(sum.publishers, "publisher", page.publishers, add_numbers)
   for _, what in ipairs { "connections", "consumers", "pools", "stores" } do
      add_with_number(sum[what], page[what], number)
      local left_out = what .. "_left_out"
      sum[left_out] = page[left_out] and (sum[left_out] or 0) + page[left_out] or sum[left_out]
   end
end

local function empty(head)
   local sum = { status = "healthy", reasons = {}, stopping = false, script = { state = "idle", busy = 0, memory = 0 },
      messages = { delivered = 0, redelivered = 0, settled = 0, in_flight = 0 },
      publishes = { published = 0, confirmed = 0, returned = 0, lost = 0, outbound = 0, confirm = {} }, totals = {} }
   for _, what in ipairs(LISTS) do sum[what] = {} end
   for key, v in each(head) do sum[key] = v end
   return sum
end

--- One page of several.
-- @tparam table head fields of the supervisor's own: version, pid, uptime, restarts, time (of the page, if no worker has one)
-- @tparam table parts of each worker: worker (its number), pid, console (the path), page; without a page: reason, or nothing if it
-- has ended its work
-- @treturn table
function together.page(head, parts)
   local time = head.time
   head.time = nil
   local sum = empty(head)
   for i, part in ipairs(parts) do
      sum.workers[i] = part
      if part.page then
         add_page(sum, part.page, part.worker)
      elseif part.reason then
         sum.status = "unhealthy"
         sum.reasons[#sum.reasons + 1] = ("worker %d %s"):format(part.worker, part.reason)
      end
   end
   sum.time = sum.time or time
   if not sum.reasons[1] then sum.reasons = nil end
   return sum
end

--- The same with empty lists as JSON has them.
-- @tparam table page
-- @treturn table
function together.for_json(page)
   for _, what in ipairs(LISTS) do
      if not page[what][1] then page[what] = value.array {} end
   end
   return page
end

return together
