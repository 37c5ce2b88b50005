--- budget: how long the frames of a host are that polls with a budget, while messages wait without end.
-- SPDX-License-Identifier: MIT
--
--   luajit tests/bench/budget.lua [FRAMES [BUDGET [HANDLER]]]
--
-- A frame is one mr.poll(BUDGET), or, as a host in C does it, mr_runtime_poll for one event after the other until the
-- budget is used. Each message takes HANDLER seconds of computing. What is printed: the way, frames, and how long they took:
-- p50, p99, p99.9 and the longest, in milliseconds.
local ffi = require "ffi"
local C = require("moonrabbit.base.ffi").C
local mr = require "moonrabbit"

local budget = {}

local function compute(seconds)
   local until_ = mr.now() + seconds
   while mr.now() < until_ do end
end

-- A queue of the embedded broker that is never empty, consumed without acks.
local function fill(ch, queue, count)
   for _ = 1, count do assert(ch:publish_async("", queue, "x", { persistent = false })) end
end

local function measure(frames, frame, refill)
   local times = {}
   for i = 1, frames do
      local from = mr.now()
      frame()
      times[i] = mr.now() - from
      if i % 100 == 0 then refill() end
   end
   table.sort(times)
   local function at(share) return times[math.max(1, math.ceil(#times * share))] * 1000 end
   return { p50 = at(0.5), p99 = at(0.99), p999 = at(0.999), longest = at(1) }
end

-- The loop of a C host: an event, its handler, a look at the clock.
local function frame_of_c(rt, seconds, handler)
   local ev = ffi.new "mr_event[1]"
   return function()
      local deadline = C.mr_now() + seconds
      while C.mr_runtime_poll(rt, ev, 1, 0) == 1 do
         if ev[0].type == C.MR_EV_DELIVERY then
            compute(handler)
            C.mr_delivery_release(rt, ev[0].as.delivery)
         end
         C.mr_event_fini(ev)
         if C.mr_now() >= deadline then break end
      end
   end
end

--- Measures.
-- @tparam string way "lua" or "c"
-- @tparam number frames
-- @tparam number seconds the budget of a frame
-- @tparam number handler seconds of computing for each message
-- @treturn table p50, p99, p999, longest: milliseconds of a frame
-- @treturn number handled messages, by the poll of Lua
function budget.run(way, frames, seconds, handler)
   local ch = assert(mr.connect("memory://budget"):channel())
   local queue, handled = assert(ch:queue_declare { exclusive = true }).queue, 0
   local per_100 = math.ceil(100 * seconds / handler) + 100
   fill(ch, queue, per_100 * 3)
   assert(ch:consume(queue, function()
      handled = handled + 1
      compute(handler)
   end, { no_ack = true }))
   local frame = way == "lua" and function() mr.poll(seconds) end
      or frame_of_c(require("moonrabbit.loop.loop").runtime(), seconds, handler)
   for _ = 1, 50 do frame() end -- compiled, and every queue filled
   local result = measure(frames, frame, function() fill(ch, queue, per_100) end)
   require("moonrabbit.loop.loop").close(1)
   return result, handled
end

if arg and arg[0] and arg[0]:find "budget%.lua$" then
   local frames, seconds, handler = tonumber(arg[1] or 10000), tonumber(arg[2] or 0.001), tonumber(arg[3] or 0.0001)
   for _, way in ipairs { "lua", "c" } do
      local r = budget.run(way, frames, seconds, handler)
      print(("%s\t%d frames\tp50 %.2f\tp99 %.2f\tp99.9 %.2f\tlongest %.2f ms"):format(way, frames, r.p50, r.p99, r.p999, r.longest))
   end
   os.exit(0)
end

return budget
