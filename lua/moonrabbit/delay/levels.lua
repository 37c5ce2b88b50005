--- levels: a delay as a sum of fixed lengths, each of which has a queue; see docs/decisions/0022-delays.md.
-- SPDX-License-Identifier: MIT
-- Pure.
local levels = {}

local PASSES = 16 -- queues of the greatest length, one behind the other

-- In ms, and their names. A queue's time to live is at most 2^32-1 ms.
local LENGTHS, NAMES = {}, {}
local function add(ms, name) LENGTHS[#LENGTHS + 1], NAMES[#NAMES + 1] = ms, name end
for pass = PASSES, 2, -1 do add(2 ^ 22 * 1000, ("%ds.%d"):format(2 ^ 22, pass)) end
for n = 22, 0, -1 do add(2 ^ n * 1000, ("%ds"):format(2 ^ n)) end
for _, ms in ipairs { 500, 250, 125, 64, 32, 16, 8, 4, 2, 1 } do add(ms, ("%dms"):format(ms)) end

local STEPS = { 1000, 500, 200, 100, 50, 20, 10, 5, 2, 1 } -- ms; what a delay is rounded up to
local PRECISION = 250 -- a step is at most this part of the delay

--- Seconds; the longest delay.
levels.LONGEST = 0
for _, ms in ipairs(LENGTHS) do levels.LONGEST = levels.LONGEST + ms end
levels.LONGEST = math.floor(levels.LONGEST / 1000)

local ms_of = {}
for i, name in ipairs(NAMES) do ms_of[name] = LENGTHS[i] end

--- The ms of a level.
function levels.length(name) return ms_of[name] end

--- Rounds a delay up, so that it takes few levels: to the ms below half a second, to a second above four minutes.
function levels.round(seconds)
   local ms = math.ceil(seconds * 1000 - 1e-6)
   for _, step in ipairs(STEPS) do
      if step * PRECISION <= ms or step == 1 then return math.ceil(ms / step) * step end
   end
end

--- The names of the levels that a delay passes, the longest one first. None: it is less than a millisecond.
-- @tparam number seconds at most levels.LONGEST
-- @treturn table
function levels.of(seconds)
   local ms, list = levels.round(seconds), {}
   for i, length in ipairs(LENGTHS) do
      if ms >= length then
         ms = ms - length
         list[#list + 1] = NAMES[i]
      end
   end
   return list
end

return levels
