--- cli.reload: SIGHUP and --watch: loads the script again beside the running one, checks it, and swaps it in.
-- SPDX-License-Identifier: MIT
local errors = require "moonrabbit.base.errors"
local generation = require "moonrabbit.loop.generation"
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"
local notify = require "moonrabbit.cli.notify"
local script = require "moonrabbit.cli.script"
local stop = require "moonrabbit.loop.stop"
local swap = require "moonrabbit.program.swap"
local task = require "moonrabbit.loop.task"

local reload = {}

local PATIENCE = 30 -- seconds for a main chunk

local is_at_work, is_wanted = false, false
local asked = {} -- functions that are told of the end
local outcome -- what is wrong with the last one; nil: nothing

local function refuse(wanted, why)
   outcome = tostring(why)
   notify.reloaded(why)
   log.error("reload failed; the old script goes on", { script = wanted.script, error = why })
end

-- Runs the main chunk in a task of the staged edition. Returns true, or nil and the error.
local function run_staged(run)
   local token, result, staged = task.token(), nil, nil
   task.spawn(function()
      staged = generation.stage()
      local ok, why = run()
      generation.chunk_ended()
      result = { ok, why }
      task.wake(token, true)
   end)
   if not result then loop.wait(token, PATIENCE) end
   if result then return result[1] and staged, result[2] end
   generation.give_up()
   return nil, ("the main chunk has not ended within %d s"):format(PATIENCE)
end

-- Does everything before the swap. Returns the plan, or nil and the error.
local function prepare(wanted)
   if generation.is_loading() then return nil, "the running script's main chunk has not ended: only then can it be replaced" end
   local run, list = script.again(wanted.script, wanted.arguments)
   if not run then return nil, list end
   script.tried(list)
   local staged, why = run_staged(run)
   if not staged then return nil, why end
   local plan = swap.plan(staged.workers)
   local ok, err, worker = swap.check(plan)
   if not ok then return nil, ("consumer %s: %s"):format(worker.name, tostring(err)) end
   return plan, list
end

local function try(wanted)
   local plan, list = prepare(wanted)
   if not plan or stop.is_asked() then
      generation.drop()
      outcome = "the program stops"
      if not stop.is_asked() then refuse(wanted, list) end
      return
   end
   swap.run(plan)
   outcome = nil
   script.set_files(list)
   notify.reloaded()
   log.info("reloaded", { script = wanted.script, edition = generation.current().number, kept = #plan.kept,
      started = #plan.started, ended = #plan.ended })
end

local function tell_asked()
   local list = asked
   asked = {}
   for _, fn in ipairs(list) do fn(outcome) end
end

--- Reloads, now or after the current reload.
-- @tparam table wanted
-- @tparam[opt] function on_end fn(nil, or what is wrong)
function reload.run(wanted, on_end)
   asked[#asked + 1] = on_end
   is_wanted = true
   if is_at_work or stop.is_asked() then return end
   is_at_work = true
   task.background(function()
      while is_wanted do
         is_wanted = false
         notify.reloading()
         local ok, why = pcall(try, wanted)
         if not ok then
            generation.drop()
            refuse(wanted, errors.words(why))
         end
      end
      is_at_work = false
      tell_asked()
   end)
end

--- Reloads, and waits for the end.
-- @treturn[1] string what was done
-- @treturn[2] nil, string what is wrong
function reload.await(wanted)
   if stop.is_asked() then return nil, "the program stops" end
   local token, result = task.token(), nil
   reload.run(wanted, function(why)
      result = { why }
      task.wake(token, true)
   end)
   if not result then loop.wait(token) end
   if result[1] then return nil, "the old script goes on: " .. result[1] end
   return "reloaded"
end

return reload
