--- metrics_page: docs/metrics.md, for make_docs.lua.
-- SPDX-License-Identifier: MIT
local BEFORE = [[
# Metrics

The tables are made by `tests/tools/make_docs.lua` from `runtime/health/catalogue.h` and `lua/moonrabbit/cli/pages.lua`; a
test compares them with the page of a program that runs.

`moonrabbit run --http 8080 worker.lua`, or `mr.health.listen "8080"`, serves `/metrics` ([health](health.md)) in Prometheus'
text format 0.0.4. The I/O thread writes it: it is right while the script computes, sleeps or hangs.

- [prometheus/moonrabbit.rules.yml](prometheus/moonrabbit.rules.yml): alert rules, to be named under `rule_files`. Their limits
  are a beginning: change them to what your queues need.
- [grafana/moonrabbit.json](grafana/moonrabbit.json): a dashboard. In Grafana: Dashboards, New, Import.

```yaml
rule_files: [moonrabbit.rules.yml]
scrape_configs:
  - job_name: moonrabbit
    static_configs: [{ targets: ["worker-1:8080", "worker-2:8080"] }]
```

## The catalogue

Where nothing is said, an alert is of no use; the metric explains others.

]]

local AFTER = [[

**Labels are bounded.** 64 queues have a label of their own, all others share `queue="(other)"`; queues that the broker names
share `queue="(server-named)"`; those of connections with `recover = false` are `(unknown)` in `moonrabbit_consumers`.

**Buckets** of both histograms: 10 µs, 25 µs, 50 µs and so on, up to 100 s.

**How handlers are timed.** Reading the clock costs 25 ns, a message about 150 ns of the script's thread. So a batch of
32 or more messages whose handlers take less than 5 µs each is measured as a whole, and its time is divided among them:
all of them are in the first bucket anyway. If such a batch took long, it is assumed that one handler was slow, and that
one gets the rest of the time. All other handlers are measured one by one. Apart from that, count and sum are exact.

**The oldest handler** is looked for once a second while handlers run: of those that wait, their stacks are read; the one that
keeps the script busy is known at once. Loops over `messages()` are not handlers.

## With `--workers`

The supervisor's page has every series of every worker with the label `worker`, and its own three. Counters are not added
up on the page: a worker that is started again begins at 0, and a sum would fall by all that it had counted, which
Prometheus takes for a new start of all. `sum without (worker) (rate(...))` is right.

| metric | type | meaning | what to do |
| --- | --- | --- | --- |
]]

local OWN = [==[

## Metrics of the script

```lua
local mr = require "moonrabbit"
local paid = mr.metrics.counter("orders_paid_total", "Orders that were paid.", { "country" })
local open = mr.metrics.gauge("database_connections_open", "Connections to the database.")
local took = mr.metrics.histogram("invoice_seconds", "How long an invoice took.", { 0.1, 0.5, 1, 5 })

local function handler(msg)
   took:time(function() mr.log.debug("an invoice", { size = #msg.body }) end)
   paid:inc { country = "de" }
end
open:set(2)
```

| | |
| --- | --- |
| `mr.metrics.counter(name, help [, labels])` | `c:inc([labels])`, `c:add(n [, labels])` |
| `mr.metrics.gauge(name, help [, labels])` | `g:set(v [, labels])`, `g:add(n [, labels])`, `g:inc`, `g:dec` |
| `mr.metrics.histogram(name, help [, buckets [, labels]])` | `h:observe(v [, labels])`, `h:time(fn [, labels])` |
| `m:labels { country = "de" }` | the same for one label set, without a look-up |

- A metric counts in memory that the I/O thread reads: a store of some nanoseconds. A call with labels looks them up, which takes
  about 300 ns: where that counts, keep what `labels` returns.
- Names are checked as Prometheus says, when the metric is made: letters, digits and `_`; a counter ends with `_total`, nothing
  else does; `moonrabbit_` and `process_` are the library's; the labels `le` and `worker` and those with `__` are reserved. Each
  call gives a value for each label, and no others. All that is an error at the caller.
- **A metric has at most 1000 label sets**: further ones are counted together, with the value `(other)`, and a warning says so. An
  order's number is no label. Values are cut at 120 bytes. A program has at most 256 metrics.
- The same name is the same metric, wherever it is made again. A reload (SIGHUP, `--watch`) keeps the values; a metric with another
  type, other labels or other buckets is an error of the new script, and the old one goes on: that needs a restart.
- In another host (`mr.poll`) they work the same; a host in C has `mr_metric_new` and its kin
  ([moonrabbit.h](../runtime/include/moonrabbit.h)).
]==]

-- The lines of C's table: X(name, type, "labels", "meaning", "what to do").
return function(read)
   local out = { BEFORE .. "| metric | type | labels | meaning | what to do |\n| --- | --- | --- | --- | --- |" }
   for line in read("runtime/health/catalogue.h"):gmatch "[^\n]+" do
      local name, kind, labels, meaning, advice = line:match '^%s*X%(([%l_]+), (%l+), "([^"]*)", "([^"]*)", "([^"]*)"%)'
      if name then
         out[#out + 1] = ("| `%s` | %s | %s | %s | %s |"):format(name:find "^process_" and name or "moonrabbit_" .. name, kind,
            labels == "" and "" or ("`%s`"):format(labels:gsub(",", "`, `")), meaning, advice)
      end
   end
   local text = table.concat(out, "\n") .. "\n" .. AFTER
   for name, kind, meaning, advice in read("lua/moonrabbit/cli/pages.lua"):gmatch
      '\n   { "([%l_]+)", "(%l+)", "([^"]*)",%s*"([^"]*)" },' do
      text = text .. ("| `moonrabbit_%s` | %s | %s | %s |\n"):format(name, kind, meaning, advice)
   end
   return text .. OWN
end
