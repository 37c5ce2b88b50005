--- A program that would rather use a core than wait to be woken.
-- SPDX-License-Identifier: MIT
local broker = require "broker"
local loop = require "moonrabbit.loop.loop"
local mr = require "moonrabbit"

local eventually = broker.eventually

-- How often this thread has gone to sleep.
local function sleeps()
   for line in io.lines "/proc/self/status" do
      local n = line:match "^voluntary_ctxt_switches:%s*(%d+)"
      if n then return tonumber(n) end
   end
end

local function has_cores()
   for line in io.lines "/proc/self/status" do
      local list = line:match "^Cpus_allowed_list:%s*(%S+)"
      if list then return list:find "[-,]" ~= nil end
   end
end

describe("a busy poll", function()
   after_each(function()
      mr.busy_poll(nil)
      loop.close(1)
   end)

   local function sleeps_of_confirms()
      local ch = assert(mr.connect("memory://"):channel())
      local queue = assert(ch:queue_declare { exclusive = true }).queue
      assert(ch:confirm_select())
      for _ = 1, 50 do assert(ch:publish("", queue, "x")) end
      local before = sleeps()
      for _ = 1, 500 do assert(ch:publish("", queue, "x")) end
      local count = sleeps() - before
      assert(ch:close())
      return count
   end

   it("finds an answer without a sleep, also in the next runtime", function()
      if not has_cores() then return pending "one core: the answer could not come meanwhile" end
      eventually("less sleep", function() -- another process may hold the answers up
         mr.busy_poll(0)
         local usual = sleeps_of_confirms()
         mr.busy_poll(0.001)
         local now = sleeps_of_confirms()
         loop.close(1)
         return usual > 250 and now < usual / 2 and sleeps_of_confirms() < usual / 2
      end)
   end)

   it("is refused what is no time, or too long for a quick answer", function()
      for _, wrong in ipairs { -0.001, 0.0011, 0 / 0, 1 / 0 } do
         assert.has_error(function() mr.busy_poll(wrong) end, '"s" must be from 0 to 0.001 seconds')
      end
      assert.has_error(function() mr.busy_poll "long" end, 'argument 1 ("s") must be a number, not a string')
   end)
end)
