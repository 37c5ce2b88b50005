--- swapping: replaces the consumers of an edition, as a reload does.
-- SPDX-License-Identifier: MIT
local generation = require "moonrabbit.loop.generation"
local swap = require "moonrabbit.program.swap"
local task = require "moonrabbit.loop.task"

--- Carries out the plan for what fn makes in place of what there is.
-- @treturn number of consumers that were kept, of those started, of those ended
return function(fn)
   local plan
   task.spawn(function()
      local staged = generation.stage()
      fn()
      generation.chunk_ended()
      plan = swap.plan(staged.workers)
   end)
   assert(swap.check(plan))
   swap.run(plan)
   return #plan.kept, #plan.started, #plan.ended
end
