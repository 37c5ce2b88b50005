-- report: turns the runs of the bench into results.json and Markdown tables.
-- SPDX-License-Identifier: MIT
--
--   luajit report.lua FOLDER [PAGE]     reads FOLDER/runs.tsv and facts.tsv, writes FOLDER/results.json
--                                       and table.md; with PAGE puts the tables between their markers:
--                                       latencies are a block of their own, and what was not run stays
package.path = arg[0]:match "^(.-)[^/]*$" .. "?.lua;" .. package.path
local cjson = require "cjson"
local latency = require "latency"

local YARDSTICK, OURS, BESIDE = "rabbitmq-c", "moonrabbit", "rabbitmq-c-1core"
local BLOCKS = {                   -- of the page: its name, heading, modes
   { "bench", "Results", { "consume", "consume-noack", "publish", "publish-confirm", "stream", "mem", "idle" } },
   { "latency", "Latency", { "rtt", "confirm-one" } },
}
local CLIENTS = { "moonrabbit", "moonrabbit-view", "moonrabbit-busy", "moonrabbit-1core", "rabbitmq-c", "rabbitmq-c-1core",
   "amqp091-go", "pika", "rabbitmq-java", "amqplib", "drain" }
local FACTS = { "date", "cpu", "cores", "kernel", "load", "commit", "moonrabbit", "librabbitmq4",
   "golang-github-rabbitmq-amqp091-go-dev", "go", "python3-pika", "python",
   "librabbitmq-client-java", "java", "amqplib", "node", "libluajit-5.1-2", "gcc", "rabbitmq-server" }

local TITLE = {
   ["consume"] = "Consume, prefetch 1000, every message settled",
   ["consume-noack"] = "Consume without acks",
   ["publish"] = "Publish without confirms",
   ["publish-confirm"] = "Publish with confirms, 1000 outstanding (pika: one at a time, its only way)",
   ["stream"] = "Read a stream of RabbitMQ from its first message, prefetch 1000, every message acked",
   ["rtt"] = "Round trip through RabbitMQ: publish, consume, reply, consume",
   ["confirm-one"] = "One confirmed publish after another, through RabbitMQ",
}

local SHOWN = {                    -- label -> name in the tables
   ["moonrabbit"] = "**moonrabbit** (Lua)",
   ["moonrabbit-view"] = "**moonrabbit**, bodies by `msg:view()`",
   ["moonrabbit-busy"] = "**moonrabbit**, `mr.busy_poll(0.0001)`",
   ["moonrabbit-1core"] = "**moonrabbit**, on the peer's core",
   ["rabbitmq-c"] = "rabbitmq-c (C)",
   ["rabbitmq-c-1core"] = "rabbitmq-c, on the peer's core",
   ["amqp091-go"] = "amqp091-go (Go)",
   ["pika"] = "pika (Python)",
   ["rabbitmq-java"] = "RabbitMQ's client (Java)",
   ["amqplib"] = "amqplib (node)",
   ["drain"] = "*raw C, no library*",
}

local METHOD = [[
# Performance

How fast Moonrabbit is beside other clients, on one machine, in one run. `sh tests/bench/run.sh` makes
these figures anew.

**The peer.** `tests/bench/load_peer.c` is an AMQP server without a broker: it answers the handshake and
the declarations, sends pre-encoded deliveries in writes of up to 256 KiB as far as the prefetch allows
(a consumer that settles gets more when a quarter of its prefetch is free, or after a millisecond), checks
every ack for range and repetition, and confirms publishes with one `basic.ack` per read. A wrong ack fails
the run. "Raw C" in the tables is a program that only looks for the frames: it shows what the peer can do.
Where a client comes within a factor of two of it, as at 64 KiB, the peer and the kernel's copying set the
pace, and messages a second say little about the client: compare the CPU there.

**The clients.** Each is used as its own examples do: rabbitmq-c with `amqp_consume_message` and one
`amqp_basic_ack` per message; amqp091-go with a channel of deliveries, `Ack(false)` and NotifyPublish (its
deferred confirmations lose a confirm that comes fast, in 1.5.0); pika's BlockingConnection with a callback;
RabbitMQ's Java client with a ConnectionFactory as it is, a DeliverCallback, `basicAck(tag, false)`, and a
ConfirmListener that clears a sorted map which a semaphore bounds; node's amqplib with `channel.consume`,
`channel.ack`, and a ConfirmChannel with a callback for each message, waiting for `drain` where `publish` asks
for it. Moonrabbit's is a Lua handler that returns, which settles the message. Every client reads each body.
Messages carry a content type and a delivery mode. One confirmed publish after another: `amqp_basic_publish` and
`amqp_simple_wait_frame`; NotifyPublish; `basic_publish` after `confirm_delivery`; `waitForConfirmsOrDie`; a promise
for each message; Moonrabbit's is `assert(ch:publish(...))`.

**The figures.** Messages a second from the first message to the last; publishing, from the first call
until `channel.close-ok`, so that the peer has taken everything. CPU is user and system time of the client
process, all its threads, by `getrusage`. Min, median and max of five runs, the clients taking turns; a run
lasts about a second and includes a client's own warm-up, such as a compiler's. Nothing is pinned to a core,
with one exception: "on the peer's core" has rabbitmq-c and the peer share a core, where a small write need
not wake another one. That is about twice as fast, and where the scheduler happens to do it unasked the
figures of rabbitmq-c spread. A latency is of one trip after the other, 5000 a run after 100 that do not count;
percentiles are of the trips of all runs together, and one that fewer than five trips exceed is not given.
]]

-- Reading ----------------------------------------------------------------------------------------

local function read_facts(path)
   local facts = {}
   for line in io.lines(path) do
      local key, value = line:match "^(.-)\t(.*)$"
      facts[key] = value
   end
   return facts
end

--- groups[mode][body][label] is the list of runs.
local function read_runs(path)
   local groups, runs = {}, {}
   for line in io.lines(path) do
      local label, round, client, peer = line:match "^(.-)\t(.-)\t(.-)\t(.*)$"
      local run = cjson.decode(client)
      run.label, run.round, run.peer = label, tonumber(round), cjson.decode(peer)
      runs[#runs + 1] = run
      local by_body = groups[run.mode] or {}
      groups[run.mode] = by_body
      local by_label = by_body[run.body] or {}
      by_body[run.body] = by_label
      by_label[label] = by_label[label] or {}
      table.insert(by_label[label], run)
   end
   return groups, runs
end

--- What the peer counted against a run, or nil.
local function objection(run)
   local peer = run.peer
   if run.label == "drain" or not peer.connections then return nil end
   local messages = run.mode:find "^publish" and run.messages
   if messages and peer.published ~= messages then return "the peer took " .. peer.published .. " messages" end
   if run.mode == "publish-confirm" and peer.confirmed ~= messages then return "unconfirmed messages" end
   if peer.unsettled > 0 then return peer.unsettled .. " messages left unsettled" end
end

local function read_failures(path)
   local failures = {}
   for line in io.lines(path) do
      local label, mode, body, round = line:match "^(.-)\t(.-)\t(.-)\t(.*)$"
      failures[#failures + 1] = { label = label, mode = mode, body = tonumber(body), round = tonumber(round) }
   end
   return failures
end

-- Numbers ----------------------------------------------------------------------------------------

local function spread(runs, field)
   local values = {}
   for i, run in ipairs(runs or {}) do values[i] = run[field] end
   if #values == 0 then return nil end
   table.sort(values)
   local middle = math.floor((#values + 1) / 2)
   return { min = values[1], median = (values[middle] + values[#values + 1 - middle]) / 2, max = values[#values] }
end

local function at(groups, mode, body, label)
   return groups[mode] and groups[mode][body] and groups[mode][body][label]
end

--- Three significant digits: 1.25 M, 226 k, 45.8 k, 4.34.
local function figure(x)
   if x >= 1e6 then return figure(x / 1e6) .. " M" end
   if x >= 1e4 then return figure(x / 1e3) .. " k" end
   if x >= 100 then return string.format("%.0f", x) end
   return string.format(x >= 10 and "%.1f" or x >= 1 and "%.2f" or "%.3f", x)
end

local function three(s)
   return s and string.format("%s / **%s** / %s", figure(s.min), figure(s.median), figure(s.max)) or "-"
end

-- Targets ----------------------------------------------------------------------------------------

--- Each: what, which figure of ours, which of the yardstick's, the factor, and whether more is better.
local TARGETS = {
   { "consume, 100 B, settled: throughput of rabbitmq-c acking each", { "consume", "rate" }, { "consume", "rate" }, 5, true },
   { "consume, 100 B, settled: CPU per message of rabbitmq-c *without* acks",
      { "consume", "cpu_us_per_msg" }, { "consume-noack", "cpu_us_per_msg" }, 1.5, false },
   { "publish, 100 B, no confirms: throughput of rabbitmq-c", { "publish", "rate" }, { "publish", "rate" }, 4, true },
   { "publish, 100 B, 1000 outstanding confirms: throughput of rabbitmq-c *without* confirms",
      { "publish-confirm", "rate" }, { "publish", "rate" }, 2, true },
   { "round trip, median: time of rabbitmq-c blocking", { "rtt", "median_us" }, { "rtt", "median_us" }, 1.25, false },
   { "a confirmed publish after another, median: time of rabbitmq-c", { "confirm-one", "median_us" }, { "confirm-one", "median_us" },
      0.95, false },
   { "the same: CPU of rabbitmq-c", { "confirm-one", "cpu_us_per_msg" }, { "confirm-one", "cpu_us_per_msg" }, 1.3, false },
}
local LIMITS = {                   -- figures of ours alone
   { "a long run (20 million messages): growth of resident memory after the first million, KiB", "mem", "growth_kib", 2048 },
   { "an idle connection of 1000: resident memory, KiB", "idle", "kib_per_connection", 10 },
}

local function verdict(is_met)
   if is_met == nil then return "not run" end
   return is_met and "met" or "**missed**"
end

local function judge(groups)
   local out = {}
   for _, t in ipairs(TARGETS) do
      local text, ours, theirs, factor, more = unpack(t, 1, 5)
      local a = spread(at(groups, ours[1], 100, OURS), ours[2])
      local b = spread(at(groups, theirs[1], 100, YARDSTICK), theirs[2])
      local c = spread(at(groups, theirs[1], 100, BESIDE), theirs[2])
      local ratio, is_met
      if a and b then
         ratio = a.median / b.median
         if more then is_met = ratio >= factor else is_met = ratio <= factor end
      end
      out[#out + 1] = { mode = ours[1], text = text, wanted = (more and "at least " or "at most ") .. factor .. "x",
         got = ratio and string.format("%.2fx", ratio) or "-", is_met = is_met,
         beside = a and c and string.format("%.2fx", a.median / c.median) or "-" }
   end
   for _, l in ipairs(LIMITS) do
      local a = spread(at(groups, l[2], 100, OURS), l[3])
      local is_met
      if a then is_met = a.median < l[4] + (l[2] == "mem" and 1 or 0) end
      out[#out + 1] = { mode = l[2], text = l[1], wanted = (l[2] == "mem" and "at most " or "under ") .. l[4],
         got = a and string.format("%.1f", a.median) or "-", is_met = is_met, beside = "-" }
   end
   return out
end

-- Writing ----------------------------------------------------------------------------------------

local function sorted_keys(t)
   local keys = {}
   for key in pairs(t) do keys[#keys + 1] = key end
   table.sort(keys)
   return keys
end

local function mode_table(add, groups, mode)
   add("\n### %s\n", TITLE[mode])
   add("| body | client | messages/s, min / median / max | CPU us/message, min / median / max | x rabbitmq-c |\n|---|---|---|---|---|")
   for _, body in ipairs(sorted_keys(groups[mode])) do
      local base = spread(at(groups, mode, body, YARDSTICK), "rate")
      for _, label in ipairs(CLIENTS) do
         local runs = at(groups, mode, body, label)
         local s = spread(runs, "rate")
         if s then
            add("| %d | %s | %s | %s | %s |", body, SHOWN[label], three(s), three(spread(runs, "cpu_us_per_msg")),
               base and string.format("%.2f", s.median / base.median) or "-")
         end
      end
   end
end

--- A time in us; "-" where there are too few trips for it.
local function us(value)
   return value and string.format(value >= 100 and "%.0f" or "%.1f", value) or "-"
end

local function latency_table(add, groups, mode)
   add("\n### %s\n", TITLE[mode])
   add("| client | p50, us | p99 | p99.9 | longest | median of a run, min / median / max | CPU us/message, min / median / max "
      .. "| x rabbitmq-c |\n|---|---|---|---|---|---|---|---|")
   local base = spread(at(groups, mode, 100, YARDSTICK), "median_us")
   for _, label in ipairs(CLIENTS) do
      local runs = at(groups, mode, 100, label)
      if runs then
         local s = spread(runs, "median_us")
         add("| %s | %s | %s | %s | %s | %s | %s | %s |", SHOWN[label], us(runs.latency.p50), us(runs.latency.p99), us(runs.latency.p999),
            us(runs.latency.longest), three(s), three(spread(runs, "cpu_us_per_msg")),
            base and string.format("%.2f", s.median / base.median) or "-")
      end
   end
end

--- What figure.lua draws: the shortest time and those at 8 points of each decade of 1 / (1 - share), unseen by a reader.
local function latency_curves(add, groups, modes)
   add("\n![Time of round trips and of confirmed publishes by percentile, beside other clients](pictures/latency.svg)\n")
   for _, mode in ipairs(modes) do
      for _, label in ipairs(CLIENTS) do
         local runs = at(groups, mode, 100, label)
         local points = {}
         for i, time in ipairs(runs and runs.latency.curve or {}) do points[i] = us(time) end
         if #points > 1 then add("<!-- curve %s %s: %s -->", mode, label, table.concat(points, " ")) end
      end
   end
end

local function not_in_figures(add, is_of_block, runs, failures)
   for _, run in ipairs(runs) do
      local text = is_of_block[run.mode] and objection(run)
      if text then add("\n**Not valid**: %s, %s, %d bytes, round %d: %s.", run.label, run.mode, run.body, run.round, text) end
   end
   for _, f in ipairs(failures) do
      if is_of_block[f.mode] then
         add("\n**Failed, and not in the figures**: %s, %s, %d bytes, round %d.", f.label, f.mode, f.body, f.round)
      end
   end
end

--- The text of a block, or nil if nothing of it was run.
local function markdown(block, groups, runs, failures, facts, targets)
   local lines, is_of_block, has_run = {}, {}, false
   local function add(...) lines[#lines + 1] = string.format(...) end
   for _, mode in ipairs(block[3]) do
      is_of_block[mode] = true
      has_run = has_run or groups[mode] ~= nil
   end
   if not has_run then return nil end
   local machine = {}
   for _, key in ipairs(FACTS) do
      if facts[key] then machine[#machine + 1] = key .. " " .. facts[key] end
   end
   add("%s", table.concat(machine, "; ") .. ".")
   local has_beside = block[1] == "bench"
   add("\n### Targets\n\n| target | wanted | reached | |%s\n|---|---|---|---|%s",
      has_beside and " if the yardstick shares the peer's core |" or "", has_beside and "---|" or "")
   for _, t in ipairs(targets) do
      if is_of_block[t.mode] then
         add("| %s | %s | %s | %s |%s", t.text, t.wanted, t.got, verdict(t.is_met), has_beside and (" %s |"):format(t.beside) or "")
      end
   end
   for _, mode in ipairs(block[3]) do
      if groups[mode] and TITLE[mode] then (block[1] == "latency" and latency_table or mode_table)(add, groups, mode) end
   end
   if block[1] == "latency" then latency_curves(add, groups, block[3]) end
   local mem = is_of_block.mem and (at(groups, "mem", 100, OURS) or {})[1]
   if mem then
      add("\nResident memory at each million of %d messages, KiB: %s.", mem.messages + 1, table.concat(mem.rss_kib, ", "))
   end
   not_in_figures(add, is_of_block, runs, failures)
   return table.concat(lines, "\n") .. "\n"
end

local function write(path, text)
   local file = assert(io.open(path, "w"))
   assert(file:write(text))
   file:close()
end

--- Replaces what stands between the markers of a block; a page that has none gets them at its end.
local function put_into_page(path, block, text)
   local file = io.open(path)
   local page = file and file:read "*a" or METHOD
   if file then file:close() end
   local from, till = ("<!-- %s:begin -->"):format(block[1]), ("<!-- %s:end -->"):format(block[1])
   local part = from .. "\n" .. text .. till
   local first, last = page:find(from, 1, true), select(2, page:find(till, 1, true))
   if first and last then
      page = page:sub(1, first - 1) .. part .. page:sub(last + 1)
   else
      page = ("%s\n## %s\n\n%s\n"):format(page, block[2], part)
   end
   write(path, page)
end

--- The trips of all runs of a client become percentiles and a curve, which is what is kept.
local function pool_trips(groups)
   local kept = {}
   for _, mode in ipairs { "rtt", "confirm-one" } do
      for label, of_client in pairs(groups[mode] and groups[mode][100] or {}) do
         local sorted = latency.pool(of_client)
         of_client.latency = { p50 = latency.at(sorted, 0.5), p90 = latency.at(sorted, 0.9), p99 = latency.at(sorted, 0.99),
            p999 = latency.at(sorted, 0.999), longest = sorted[#sorted], trips = #sorted, curve = latency.curve(sorted) }
         kept[mode] = kept[mode] or {}
         kept[mode][label] = of_client.latency
         for _, run in ipairs(of_client) do run.trips_us = nil end
      end
   end
   return kept
end

local folder, page = arg[1], arg[2]
local facts = read_facts(folder .. "/facts.tsv")
local groups, runs = read_runs(folder .. "/runs.tsv")
local failures = read_failures(folder .. "/failures.tsv")
local targets, latencies, all = judge(groups), pool_trips(groups), {}
for _, block in ipairs(BLOCKS) do
   local text = markdown(block, groups, runs, failures, facts, targets)
   if text and page then put_into_page(page, block, text) end
   all[#all + 1] = text
end
local text = table.concat(all, "\n")
write(folder .. "/results.json",
   cjson.encode { facts = facts, targets = targets, runs = runs, failures = failures, latency = latencies } .. "\n")
write(folder .. "/table.md", text)
io.write(text)
for _, run in ipairs(runs) do
   if objection(run) then os.exit(1) end
end
