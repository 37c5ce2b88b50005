--- mr.metrics: counters, gauges and histograms of the script; and the page of a program beside the catalogue.
local embedded = require "embedded"
local http = require "http"
local loop = require "moonrabbit.loop.loop"
local mr = require "moonrabbit"
local pages = require "moonrabbit.cli.pages"
local prometheus = require "prometheus"
local eventually = require("waits").eventually

local function text(port)
   local code, body = http.ask(port, "/metrics")
   assert.equal(200, code)
   return body
end

-- The samples of the page: name{label=value} -> value; and the types.
local function samples(port)
   local all, list, types = {}, prometheus(text(port))
   for _, s in ipairs(list) do
      local names = {}
      for name, v in pairs(s.labels) do names[#names + 1] = name .. "=" .. v end
      table.sort(names)
      all[s.name .. (names[1] and "{" .. table.concat(names, ",") .. "}" or "")] = s.value
   end
   return all, types
end

local function refuses(part, fn, ...)
   local ok, why = pcall(fn, ...)
   assert.is_false(ok)
   assert.truthy(tostring(why):find(part, 1, true), tostring(why))
   assert.truthy(tostring(why):find("metrics_spec.lua", 1, true), tostring(why) .. " is not at the caller")
end

local function read(path)
   local file = assert(io.open(path))
   local all = file:read "*a"
   file:close()
   return all
end

describe("mr.metrics", function()
   local port
   setup(function()
      loop.close(1)
      mr.log.configure "off"
   end)
   before_each(function() port = assert(mr.health.listen "127.0.0.1:0") end)
   after_each(function() loop.close(1) end)
   teardown(function() mr.log.configure "error" end)

   it("counts, sets and observes; each on the page", function()
      local c = mr.metrics.counter("own_orders_total", "Orders.\nTwo lines, a \\.")
      local g = mr.metrics.gauge("own_level", "Level.")
      local h = mr.metrics.histogram("own_seconds", "Time.", { 0.1, 1 })
      c:inc()
      c:add(2.5)
      g:set(5)
      g:add(-7)
      g:inc()
      g:dec()
      for _, v in ipairs { 0.05, 0.1, 0.5, 7 } do h:observe(v) end
      local all, types = samples(port)
      assert.same({ "counter", "gauge", "histogram" }, { types.own_orders_total, types.own_level, types.own_seconds })
      assert.same({ 3.5, -2 }, { all.own_orders_total, all.own_level })
      assert.same({ 2, 3, 4, 4 }, { all["own_seconds_bucket{le=0.1}"], all["own_seconds_bucket{le=1}"],
         all["own_seconds_bucket{le=+Inf}"], all.own_seconds_count })
      assert.near(7.65, all.own_seconds_sum, 1e-9)
      assert.truthy(text(port):find("# HELP own_orders_total Orders.\\nTwo lines, a \\\\.\n", 1, true))
   end)

   it("counts by labels, whatever they hold; what they are given is checked", function()
      local c = mr.metrics.counter("own_paid_total", "Paid.", { "country", "by" })
      c:inc { country = "de", by = 'a "card"\\\n' }
      c:add(2, { country = "de", by = 'a "card"\\\n' })
      c:labels({ country = "fr", by = 7 }):inc()
      c:inc { country = "fr", by = "7" }
      local all = samples(port)
      assert.equal(2, all["own_paid_total{by=7,country=fr}"])
      local line = text(port):match '(own_paid_total{country="de"[^\n]*)\n'
      assert.equal([[own_paid_total{country="de",by="a \"card\"\\\\x0a"} 3]], line) -- what does not print is written as \xNN
      for _, labels in ipairs { {}, { country = "de" }, { country = "de", by = "x", more = 1 }, { country = "de", bye = "x" } } do
         refuses("needs a value for each of its labels, and no others: country, by", c.inc, c, labels)
      end
      refuses("needs a value for each of its labels", c.inc, c)
      local h = mr.metrics.histogram("own_l_seconds", "Time.", nil, { "kind" })
      h:observe(3, { kind = "x" })
      assert.equal(1, samples(port)["own_l_seconds_bucket{kind=x,le=5}"])
   end)

   it("measures a function, which may wait, fail, and return what it likes", function()
      local h = mr.metrics.histogram("own_time_seconds", "Time.", { 0.01, 30 })
      assert.same({ 1, nil, 3 }, { h:time(function()
         mr.sleep(0.02)
         return 1, nil, 3
      end) })
      local ok, why = pcall(h.time, h, function() error({ mine = true }) end)
      assert.same({ false, true }, { ok, why.mine })
      local all = samples(port)
      assert.same({ 1, 2 }, { all["own_time_seconds_bucket{le=0.01}"], all["own_time_seconds_bucket{le=30}"] })
   end)

   it("refuses at the caller what Prometheus would not take, and what is taken", function()
      local m = mr.metrics
      refuses("ends with _total", m.counter, "own_x", "X.")
      refuses("only a counter", m.gauge, "own_x_total", "X.")
      refuses("no metric's name", m.gauge, "own-x", "X.")
      refuses("the runtime's own names", m.gauge, "moonrabbit_x", "X.")
      refuses("the runtime's own names", m.counter, "process_x_total", "X.")
      refuses("reserved", m.gauge, "own_x", "X.", { "worker" })
      refuses("named twice", m.gauge, "own_x", "X.", { "a", "a" })
      refuses("must ascend", m.histogram, "own_x", "X.", { 2, 1 })
      refuses("1 to 64 buckets", m.histogram, "own_x", "X.", {})
      refuses('argument 2 ("help")', m.counter, "own_x_total")
      local h = m.histogram("own_h", "H.", { 1 })
      refuses("another metric has samples of the name", m.gauge, "own_h_sum", "X.")
      refuses("of another type, or with other labels or buckets", m.gauge, "own_h", "X.")
      refuses("of another type, or with other labels or buckets", m.histogram, "own_h", "H.", { 2 })
      assert.equal(h, m.histogram("own_h", "H.", { 1 }))
      local c = m.counter("own_up_total", "Up.")
      refuses("only counts up", c.add, c, -1)
      refuses("only counts up", c.add, c, 0 / 0)
      refuses("not a string", c.add, c, "1")
      refuses("has no labels", c.inc, c, { a = 1 })
      refuses("no NaN", h.observe, h, 0 / 0)
   end)

   it("keeps a thousand label sets of a metric, and counts all further ones together", function()
      local c = mr.metrics.counter("own_many_total", "Many.", { "id" })
      for i = 1, 1500 do c:inc { id = i } end
      c:inc { id = 3 }
      c:inc { id = 1400 }
      local all = samples(port)
      assert.same({ 2, 1, 501 }, { all["own_many_total{id=3}"], all["own_many_total{id=1000}"], all["own_many_total{id=(other)}"] })
      assert.is_nil(all["own_many_total{id=1001}"])
      c:labels({ id = "x" }):add(9)
      assert.equal(510, samples(port)["own_many_total{id=(other)}"])
   end)

   it("outlives a runtime", function()
      local c = mr.metrics.counter("own_lasting_total", "Lasting.")
      c:inc()
      loop.close(1)
      c:inc()
      port = assert(mr.health.listen "127.0.0.1:0")
      assert.equal(2, samples(port).own_lasting_total)
   end)
end)

-- ---- the catalogue ----

-- docs/metrics.md: name -> type, labels.
local function catalogue()
   local page, list = read "docs/metrics.md", {}
   for name, kind, labels in page:gmatch "\n| `([%l_]+)` | (%l+) | ([^|]*) |" do list[name] = { kind = kind, labels = labels } end
   return list
end

describe("the catalogue of metrics", function()
   local port
   before_each(function()
      loop.close(1)
      mr.log.configure "off"
   end)
   after_each(function()
      embedded.close_all()
      loop.close(1)
      mr.log.configure "error"
   end)

   it("has all that the page of a program has, and nothing else", function()
      local b = embedded.broker()
      local conn = embedded.connect { url = b.url }
      local seen = false
      local w = mr.consumer { queue = "q", connection = conn, handler = function() seen = true end }
      assert(w:wait(5))
      mr.health.configure { lag = { max = 1, every = 30 } }
      assert(assert(conn:channel()):publish("", "q", "x"))
      eventually("the message", function() return seen end)
      port = assert(mr.health.listen "127.0.0.1:0")
      local types
      eventually("all to be there", function()
         local all
         all, types = samples(port)
         return all["moonrabbit_queue_messages{queue=q}"] and all.moonrabbit_last_delivery_timestamp_seconds
      end)
      local listed, supervisors = catalogue(), {}
      for _, m in ipairs(pages.catalogue) do supervisors["moonrabbit_" .. m[1]] = true end
      for name, kind in pairs(types) do
         if not name:find "^own_" then
            assert.truthy(listed[name], name .. " is not in docs/metrics.md")
            assert.equal(kind, listed[name].kind, name)
         end
      end
      for name in pairs(listed) do
         assert.truthy(types[name] or supervisors[name], name .. " of docs/metrics.md is not on the page")
      end
      for _, s in ipairs((prometheus(text(port)))) do
         local family = s.name:gsub("_bucket$", ""):gsub("_sum$", ""):gsub("_count$", "")
         for label in pairs(s.labels) do
            local its = listed[family]
            if its then assert.truthy(label == "le" or its.labels:find("`" .. label .. "`", 1, true), family .. ": " .. label) end
         end
      end
   end)
end)
