--- patience: waits that have a name, and an end in time; what is still waited for when nothing moves any more.
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local model = require "model"
local add, problem = model.add, model.problem

local patience = { limit = 5 }     -- seconds
local STANDSTILL = 20              -- seconds without a word of ours: the program as a whole stands still

local computed = 0                 -- seconds that the host has spent computing, as opposed to waiting
local starved = 0                  -- seconds for which our threads were ready and the machine had no processor for them
local open = {}                    -- waits that have not ended: what, about, began, before

--- Computes, and lets nothing else of the host run meanwhile.
function patience.compute(seconds)
   local began = mr.now()
   while mr.now() - began < seconds do math.sqrt(2) end
   computed = computed + mr.now() - began
   add "computing moments"
end

-- What is asked goes from thread to thread, so their times add up; RabbitMQ's are not seen, and are as long as ours. What
-- hangs is not excused by that: its threads are not ready, at the latest when the others have ended.
local threads = {}
local function look_at_threads()
   local seconds = 0
   for _, path in ipairs(threads) do
      local file = io.open(path)
      if file then
         seconds = seconds + (tonumber(file:read("*l"):match "^%d+ (%d+)") or 0) / 1e9
         file:close()
      end
   end
   starved = model.broker and seconds or 2 * seconds
end

--- Seconds for which the machine was not there for us.
function patience.starved() return math.floor(starved) end

local function find_threads()
   local ls = assert(io.popen "echo /proc/$PPID/task/*/schedstat")
   for path in ls:read("*a"):gmatch "%S+" do table.insert(threads, path) end
   ls:close()
   look_at_threads()
end

--- How long ago something began, without what the host has computed since, or the machine has not given us.
function patience.clock() return { began = mr.now(), before = computed + starved } end
function patience.since(clock) return mr.now() - clock.began - (computed + starved - clock.before) end

local function name(wait) return ("%s of %s"):format(wait.what, wait.about) end

local function judge(wait, form)
   if wait.is_told or patience.since(wait) <= patience.limit then return end
   look_at_threads()
   local seconds = patience.since(wait)
   if seconds <= patience.limit then return end
   wait.is_told = true
   problem(form, name(wait), seconds)
end

--- Runs what waits, and counts it; the results are fn's. It must have ended in time, whatever else went on.
-- @tparam string what is counted
-- @tparam string about what it waits for: a failure tells it
function patience.within(what, about, fn, ...)
   local wait = patience.clock()
   wait.what, wait.about = what, about
   open[wait] = true
   local ok, err, more = fn(...)
   open[wait] = nil
   judge(wait, "%s took %.1f s")
   add(what)
   return ok, err, more
end

--- The same for what must not fail.
function patience.must(what, about, fn, ...)
   local ok, err, more = patience.within(what, about, fn, ...)
   if not ok then problem("%s of %s: %s", what, about, tostring(err)) end
   return ok, err, more
end

--- What is waited for, the oldest first.
function patience.waits()
   local list, texts = {}, {}
   for wait in pairs(open) do list[#list + 1] = wait end
   table.sort(list, function(a, b) return a.began < b.began end)
   for i = 1, math.min(#list, 10) do texts[i] = ("%s for %.1f s"):format(name(list[i]), patience.since(list[i])) end
   return #list > 0 and ("%d waits: %s"):format(#list, table.concat(texts, "; ")) or "nothing"
end

-- Where the program as a whole stands still, nothing within can say so: a shell beside it hears what it waits for each
-- second, says the last it heard when no word comes, and ends the program.
local beside = assert(io.popen(([[exec bash -c '
   while :; do
      read -r -t %d line; code=$?
      [ $code = 0 ] || break
      last=$line
   done
   [ $code -gt 128 ] || exit 0
   echo "PROBLEM: the program stands still; it waited last for $last"
   kill -KILL $PPID']]):format(STANDSTILL), "we"))

--- Names the waits that do not end, until is_over() is true.
function patience.watch(is_over)
   find_threads()
   model.spawn(function()
      while not is_over() do
         look_at_threads()
         for wait in pairs(open) do judge(wait, "%s has not ended for %.1f s") end
         beside:write(patience.waits(), "\n")
         beside:flush()
         mr.sleep(0.5)
      end
      beside:close()
   end)
end

return patience
