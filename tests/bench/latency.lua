--- latency: percentiles of times, and the points of their curves; for report.lua and figure.lua.
-- SPDX-License-Identifier: MIT
local latency = {}

local STEPS = 8                    -- points of a curve in each decade of 1 / (1 - q)
local LONGER = 5                   -- a percentile needs as many times that are longer: fewer are chance

-- How many of n times are longer than the percentile q. Of 1000, of q = 0.995 exactly 5: without the rounding errors.
local function longer(n, q) return math.floor(n * (1 - q) + 1e-6) end

--- All times of several runs, sorted.
-- @tparam table runs each with a list `trips_us`
-- @treturn table
function latency.pool(runs)
   local all = {}
   for _, run in ipairs(runs) do
      for _, trip in ipairs(run.trips_us) do all[#all + 1] = trip end
   end
   table.sort(all)
   return all
end

--- The time that a share of them did not exceed.
-- @tparam table sorted times
-- @tparam number q from 0 (the shortest) to 1 (the longest)
-- @treturn number or nil: there are too few
function latency.at(sorted, q)
   if q == 1 then return sorted[#sorted] end
   if longer(#sorted, q) < LONGER then return nil end
   return sorted[math.max(1, #sorted - longer(#sorted, q))]
end

--- The share at a point of a curve.
-- @tparam number point from 1 on
function latency.share(point) return 1 - 10 ^ -((point - 1) / STEPS) end

--- Where a point lies on the axis log10(1 / (1 - q)): 0 is the shortest, 1 is 90 %, 2 is 99 %.
function latency.place(point) return (point - 1) / STEPS end

--- The points of a curve, as far as there are enough times.
-- @tparam table sorted times
-- @treturn table times
function latency.curve(sorted)
   local points = {}
   repeat
      local time = latency.at(sorted, latency.share(#points + 1))
      points[#points + 1] = time
   until not time
   return points
end

return latency
