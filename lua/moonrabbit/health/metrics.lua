--- metrics: counters, gauges and histograms of the script's own, on the page /metrics.
-- SPDX-License-Identifier: MIT
-- The numbers are words of memory that the I/O thread reads: counting is a store, and the page is right while the script is
-- stuck. The library keeps the metrics: they outlive a reload, and a runtime.
local ffi = require "ffi"
local C = require("moonrabbit.base.ffi").C
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"
local options = require "moonrabbit.base.options"

local metrics = {}

local MOST = 1000 -- label sets of a metric, as in the C library; all further ones are one
local OTHER = "(other)"
local BUCKETS = { 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 } -- seconds; those of Prometheus' own clients

local by_name = {}

-- ---- label sets ----

local function blame_labels(self)
   local names = self.names
   if not names[1] then options.blame(('the metric "%s" has no labels'):format(self.name)) end
   options.blame(('the metric "%s" needs a value for each of its labels, and no others: %s'):format(self.name,
      table.concat(names, ", ")))
end

local function find_words(self, values)
   local list = ffi.new("const char *[?]", #values + 1)
   for i, v in ipairs(values) do list[i - 1] = v end
   local words = C.mr_metric_words(self.handle, list)
   return words ~= nil and words or nil
end

-- What counts all label sets beyond the first thousand.
local function others(self)
   if self.others then return self.others end
   local values = {}
   for i = 1, #self.names do values[i] = OTHER end
   self.others = find_words(self, values) or options.blame(tostring(errors.new("no_memory", "config")))
   log.warn("a metric has too many label sets; further ones are counted as (other)", { metric = self.name, most = MOST })
   return self.others
end

local function add(self, values)
   if self.count >= MOST then return others(self) end
   local words = find_words(self, values)
   if not words then return others(self) end
   local node = self.children
   for i = 1, #values - 1 do
      node[values[i]] = node[values[i]] or {}
      node = node[values[i]]
   end
   node[values[#values]] = words
   self.count = self.count + 1
   return words
end

-- The words of a label set.
local function words_of(self, labels)
   if type(labels) ~= "table" then blame_labels(self) end
   local names, count = self.names, 0
   for _ in each(labels) do count = count + 1 end
   if count ~= #names then blame_labels(self) end
   local values, node = {}, self.children
   for i = 1, count do
      local v = labels[names[i]]
      if v == nil then blame_labels(self) end
      if type(v) ~= "string" then v = tostring(v) end
      values[i] = v
      node = node and node[v]
   end
   return node or add(self, values)
end

local function check_number(n)
   if type(n) ~= "number" then options.blame(("a metric counts numbers, not a %s"):format(type(n))) end
end

-- ---- the kinds ----

local Counter = { __name = "moonrabbit.counter" }
Counter.__index = Counter

--- Adds to a counter.
-- @tparam number n not negative
-- @tparam[opt] table labels the value of each label: { status = "paid" }
function Counter:add(n, labels)
   if type(n) ~= "number" or n < 0 or n ~= n then
      check_number(n)
      options.blame(('the counter "%s" only counts up'):format(self.name))
   end
   local words = labels == nil and self.words or words_of(self, labels)
   words[0] = words[0] + n
end

--- Adds 1.
-- @tparam[opt] table labels as of add
function Counter:inc(labels)
   local words = labels == nil and self.words or words_of(self, labels)
   words[0] = words[0] + 1
end

local Gauge = { __name = "moonrabbit.gauge" }
Gauge.__index = Gauge

--- Sets a gauge.
-- @tparam number v the value
-- @tparam[opt] table labels the value of each label
function Gauge:set(v, labels)
   check_number(v)
   local words = labels == nil and self.words or words_of(self, labels)
   words[0] = v
end

--- Adds to a gauge; a negative number subtracts.
-- @tparam number n what to add
-- @tparam[opt] table labels as of set
function Gauge:add(n, labels)
   check_number(n)
   local words = labels == nil and self.words or words_of(self, labels)
   words[0] = words[0] + n
end

--- Adds 1.
-- @tparam[opt] table labels as of set
function Gauge:inc(labels) self:add(1, labels) end

--- Subtracts 1.
-- @tparam[opt] table labels as of set
function Gauge:dec(labels) self:add(-1, labels) end

local Histogram = { __name = "moonrabbit.histogram" }
Histogram.__index = Histogram

--- Counts a value in its bucket.
-- @tparam number v the value, in the unit of the buckets
-- @tparam[opt] table labels the value of each label
function Histogram:observe(v, labels)
   if type(v) ~= "number" or v ~= v then
      check_number(v)
      options.blame(('the histogram "%s" counts no NaN'):format(self.name))
   end
   local words = labels == nil and self.words or words_of(self, labels)
   local bounds, i = self.bounds, 1
   while bounds[i] and v > bounds[i] do i = i + 1 end
   words[0] = words[0] + v
   words[i] = words[i] + 1
end

local function end_time(self, began, labels, ok, ...)
   self:observe(C.mr_now() - began, labels)
   if not ok then error((...), 0) end
   return ...
end

--- Calls a function and counts its seconds, waits included, also if it raises an error.
-- @tparam function fn called without arguments
-- @tparam[opt] table labels as of observe
-- @return what fn returns
function Histogram:time(fn, labels)
   options.argument(1, "fn", fn, "function")
   if labels ~= nil or not self.words then words_of(self, labels) end -- before fn is called
   return end_time(self, C.mr_now(), labels, pcall(fn))
end

-- The metric with one label set: without labels, and quicker.
local function bind(self, labels)
   return setmetatable({ name = self.name, names = {}, words = words_of(self, labels), bounds = self.bounds },
      getmetatable(self))
end

--- The counter of one label set: its methods take no labels, and need no look-up.
-- @tparam table labels the value of each label
-- @treturn counter
function Counter:labels(labels) return bind(self, labels) end

--- The gauge of one label set.
-- @tparam table labels the value of each label
-- @treturn gauge
function Gauge:labels(labels) return bind(self, labels) end

--- The histogram of one label set.
-- @tparam table labels the value of each label
-- @treturn histogram
function Histogram:labels(labels) return bind(self, labels) end

-- ---- making one ----

local TYPES = { [Counter] = C.MR_COUNTER, [Gauge] = C.MR_GAUGE, [Histogram] = C.MR_HISTOGRAM }

local function same(a, b)
   if #a ~= #b then return false end
   for i = 1, #a do
      if a[i] ~= b[i] then return false end
   end
   return true
end

local function array(kind, list)
   local out = ffi.new(kind, #list + 1)
   for i, v in ipairs(list) do out[i - 1] = v end
   return out
end

local function must(status, err)
   if status == 0 then return end
   local why = ffi.string(err.text)
   options.blame(why ~= "" and why or tostring(errors.of_status(status, "config")))
end

local function show(self)
   local err = ffi.new "mr_error"
   must(C.mr_metric_show(loop.runtime(), self.handle, err), err)
end

local function new(class, name, help, labels, bounds)
   local box, err = ffi.new "mr_metric *[1]", ffi.new "mr_error"
   must(C.mr_metric_new(TYPES[class], name, help, array("const char *[?]", labels), #labels, array("double[?]", bounds),
      #bounds, box, err), err)
   local self = setmetatable({ name = name, names = labels, bounds = bounds, children = {}, count = 0,
      handle = ffi.gc(box[0], C.mr_metric_free) }, class)
   show(self)
   if not labels[1] then self.words = find_words(self, {}) or options.blame(tostring(errors.new("no_memory", "config"))) end
   by_name[name] = self
   return self
end

-- The metric of this name, if it is the same; a script that is loaded again makes its metrics again.
local function of(class, name, help, labels, bounds)
   options.argument(1, "name", name, "string")
   options.argument(2, "help", help, "string")
   labels = options.list("labels", labels)
   for i, label in ipairs(labels) do options.argument(i, "labels", label, "string") end
   for i, bound in ipairs(bounds) do options.argument(i, "buckets", bound, "number") end
   local known = by_name[name]
   if not known then return new(class, name, help, { unpack(labels) }, { unpack(bounds) }) end
   if getmetatable(known) ~= class or not same(known.names, labels) or not same(known.bounds, bounds) then
      options.blame(('there is a metric "%s" of another type, or with other labels or buckets: only a restart changes them')
         :format(name))
   end
   return known
end

--- A counter on /metrics: it only counts up. The same name again is the same counter. A name that Prometheus does not take, or
-- that is of the library (moonrabbit_*, process_*), is an error. Of the label sets of a metric the first 1000 are counted
-- each, all others together as "(other)", with a warning.
-- @tparam string name ends with _total
-- @tparam string help its meaning
-- @tparam[opt] table labels the names of its labels: { "status" }
-- @treturn counter methods inc, add, labels
function metrics.counter(name, help, labels) return of(Counter, name, help, labels, {}) end

--- A gauge on /metrics: a value that goes up and down.
-- @tparam string name as of counter, without _total
-- @tparam string help its meaning
-- @tparam[opt] table labels the names of its labels
-- @treturn gauge methods set, add, inc, dec, labels
function metrics.gauge(name, help, labels) return of(Gauge, name, help, labels, {}) end

--- A histogram on /metrics: counts values in buckets.
-- @tparam string name as of gauge
-- @tparam string help its meaning
-- @tparam[opt] table buckets their upper bounds, ascending; default: 5 ms to 10 s, in seconds
-- @tparam[opt] table labels the names of its labels
-- @treturn histogram methods observe, time, labels
function metrics.histogram(name, help, buckets, labels)
   return of(Histogram, name, help, labels, buckets == nil and BUCKETS or options.list("buckets", buckets))
end

loop.on_open(function()
   for _, self in each(by_name) do show(self) end
end)

return metrics
