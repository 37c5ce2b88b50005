--- gaps: times between two events of a kind, as percentiles, apart for each fault.
-- SPDX-License-Identifier: MIT
-- Each gap is counted in a histogram whose classes are 5 % apart. A gap belongs to the fault during which it ended.
local mr = require "moonrabbit"

local gaps = {}

local STEP = math.log(1.05)

local histograms, order = {}, {} -- "what, fault" -> classes
local last, longest = {}, {}     -- what -> time of its last event; the longest gap of this fault
local fault = "none"

local function histogram(name)
   local h = histograms[name]
   if not h then
      h = { n = 0, max = 0, classes = {} }
      histograms[name] = h
      order[#order + 1] = name
   end
   return h
end

local function put(name, seconds)
   local h = histogram(name)
   local class = math.floor(math.log(math.max(seconds, 1e-5)) / STEP)
   h.n, h.max = h.n + 1, math.max(h.max, seconds)
   h.classes[class] = (h.classes[class] or 0) + 1
end

--- An event of this kind has happened.
function gaps.mark(what)
   local now = mr.now()
   if last[what] then
      local gap = now - last[what]
      put(("%-22s %-8s each gap"):format(what, fault), gap)
      longest[what] = math.max(longest[what] or 0, gap)
   end
   last[what] = now
end

--- A fault begins or, with "none", is over. Returns the longest gaps of the time before, by kind.
function gaps.during(new)
   local former = longest
   for what, gap in pairs(longest) do put(("%-22s %-8s longest"):format(what, fault), gap) end
   longest, fault = {}, new
   return former
end

--- Forgets when the last events were, as publishing ends.
function gaps.rest() last = {} end

local function percentile(h, p)
   local classes, left = {}, h.n * p
   for class in pairs(h.classes) do classes[#classes + 1] = class end
   table.sort(classes)
   for _, class in ipairs(classes) do
      left = left - h.classes[class]
      if left <= 0 then return math.min(math.exp((class + 1) * STEP), h.max) end
   end
   return h.max
end

--- Prints a line for each.
function gaps.print()
   table.sort(order)
   print(("%-41s %8s %8s %8s %8s %8s"):format("gaps in seconds", "count", "p50", "p90", "p99", "max"))
   for _, name in ipairs(order) do
      local h = histograms[name]
      print(("%-41s %8d %8.3f %8.3f %8.3f %8.3f"):format(name, h.n, percentile(h, 0.5), percentile(h, 0.9), percentile(h, 0.99),
         h.max))
   end
end

return gaps
