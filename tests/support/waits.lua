--- waits: conditions with a deadline, by either clock.
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"

local waits = {}

local PATIENCE = 30 -- seconds, of a busy machine: what never comes is told of later, nothing else

local function wait(what, seconds, condition, now)
   local deadline = now() + seconds
   local value = condition()
   while not value do
      if now() > deadline then error("in vain waited for: " .. what, 3) end
      mr.sleep(0.005)
      value = condition()
   end
   return value
end

--- Pumps until condition() holds, and returns what it gave; fails after `seconds` (30).
function waits.eventually(what, condition, seconds) return wait(what, seconds or PATIENCE, condition, mr.now) end

--- The same by the wall clock, for tests that move that of mr.now().
function waits.within(what, seconds, condition) return wait(what, seconds, condition, os.time) end

--- Runs lose() and waits until the connection has lost its broker, also if it has come back by then.
function waits.loss(conn, lose)
   local epoch = conn.epoch
   lose()
   waits.eventually("the loss", function() return not conn.is_open or conn.epoch > epoch end)
end

--- Runs fn(...) in a task of its own; a table with `result`, `err` and `done`, filled when it ends.
function waits.background(fn, ...)
   local box = {}
   mr.spawn(function(...)
      box.result, box.err = fn(...)
      box.done = true
   end, ...)
   return box
end

return waits
