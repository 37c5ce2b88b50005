-- tasks: tasks that communicate: an event for a callback, a semaphore for jobs, a channel of values.
--
--    moonrabbit run examples/tasks.lua
local mr = require "moonrabbit"

-- A library with callbacks, such as a database's.
local function query(text, callback)
   mr.after(0.01, function() callback(nil, "the rows of " .. text) end)
end

-- Waits for the result, in this task alone.
local function rows(text)
   local answered = mr.event()
   query(text, function(err, result) answered:set(result, err) end)
   return answered:wait(5) -- the values of set; nil and an error after 5 seconds
end

local two_at_a_time = mr.semaphore(2)
local results = mr.channel(10)

mr.spawn(function()
   print((rows "select 1"))

   local at_work, done = 0, 0
   for i = 1, 5 do
      mr.spawn(function()
         two_at_a_time:with(function()
            at_work = at_work + 1
            assert(at_work <= 2)
            results:put(rows("table " .. i))
            at_work = at_work - 1
         end)
         done = done + 1
         if done == 5 then results:close() end
      end)
   end

   for result in results:values() do print(result) end
   print "all done"
end)
