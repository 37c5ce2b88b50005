--- once: work that is done once for all who ask for it meanwhile.
-- SPDX-License-Identifier: MIT
local errors = require "moonrabbit.base.errors"
local task = require "moonrabbit.loop.task"
local time_limit = require "moonrabbit.loop.time_limit"

--- Does work once for all callers: a call during the work waits and gets the same result. `of[key]` is the list of waiting
-- callers. The work is always completed: no handler's time limit ends it, and all callers get its error.
return function(of, key, fn, ...)
   if of[key] then
      local token = task.token()
      table.insert(of[key], token)
      return task.wait(token)
   end
   of[key] = {}
   local done, ok, err = time_limit.apart(pcall, fn, ...)
   local waiting, why = of[key], ok
   of[key] = nil
   if not done then ok, err = nil, errors.new("bad_argument", "channel", errors.words(why)) end
   for _, token in ipairs(waiting) do task.wake(token, ok, err) end
   if not done then error(why, 0) end
   return ok, err
end
