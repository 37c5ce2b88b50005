--- apart: tasks in a host whose own waits suspend the running code whole, coroutines and all: fibers.
-- SPDX-License-Identifier: MIT
-- Each worker of task runs in a fiber. If it waits by the host's means, the turn goes on at once, and the host resumes the fiber
-- later, outside of all turns: the worker may then end its job or wait by ours, as in a turn.
local coroutines = require "moonrabbit.loop.coroutines"
local each = require "moonrabbit.base.each"
local host = require "moonrabbit.loop.host"
local marks = require "moonrabbit.loop.mark"

local apart = {}

local resume = coroutines.resume
local left = {} -- worker -> the mark that it had when it began to wait: { consumer, deadline }; true: it runs in a turn

--- Resumes a worker in a fiber of the host; came_back(worker, ok, state) is called when it suspends itself, perhaps much later.
function apart.run(worker, came_back, ...)
   left[worker] = true
   host.apart(function(...)
      local ok, state = resume(worker, ...)
      left[worker] = nil
      came_back(worker, ok, state)
   end, ...)
   if not left[worker] then return end
   local mark = marks.mark
   left[worker] = { mark.consumer, mark.deadline }
   mark.consumer, mark.deadline, mark.turn = 0, 0, mark.turn + 1
end

--- The mark that the running worker had in its turn: consumer and deadline; 0, 0: it is in one, or has none.
function apart.mark(worker)
   local mark = left[worker]
   if type(mark) ~= "table" then return 0, 0 end
   return mark[1], mark[2]
end

--- Calls fn(worker) for each that waits by the host's means, or goes on after that.
function apart.each(fn)
   for worker, mark in each(left) do
      if mark ~= true then fn(worker) end
   end
end

return apart
