--- host.ngx_script: runs the script of a worker of nginx in a light thread: the same script as the command's.
-- SPDX-License-Identifier: MIT
local each = require "moonrabbit.base.each"
local driver = require "moonrabbit.host.ngx_driver"
local health = require "moonrabbit.health.health"
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"
local options = require "moonrabbit.base.options"
local script = require "moonrabbit.cli.script"
local stop = require "moonrabbit.loop.stop"
local task = require "moonrabbit.loop.task"
local waiter = require "moonrabbit.host.ngx_waiter"

local ngx_script = {}

local runs = {} -- tokens of mr.run

--- mr.run in a worker. In the script: its other tasks go on, and so does nginx, until the worker leaves or mr.stop was called.
function ngx_script.run(drain)
   if not waiter.is_script() then
      options.blame("mr.run would never return here: nginx runs until it is told to stop; in the script it waits for that")
   end
   stop.patience = drain or stop.patience
   if not driver.left() then loop.wait_in(runs) end
   waiter.let_script()
   local left = driver.left()
   return left.handlers == 0 and left.publishes == 0
end

local function end_script()
   for _, token in ipairs(runs) do task.wake(token, true) end
   runs = {}
   waiter.end_script()
end

local exit = os.exit

-- In the script and its handlers it would end all requests of the worker, too.
local function no_exit(...)
   if task.is_inside() or waiter.is_script() then
      error("os.exit would end a worker of nginx with all its requests: call mr.stop() to take no more messages", 2)
   end
   return exit(...)
end

-- The script's own globals: ngx_lua warns of those that are everybody's.
local function environment(opts)
   local env = { arg = { [0] = opts.script } }
   env._G = env
   for i, a in ipairs(opts.args) do env.arg[i] = a end
   return setmetatable(env, { __index = _G })
end

local function set_arguments(mr, opts)
   for key, value in each(opts.args) do mr.args[key] = value end
   mr.args.worker = mr.args.worker or tostring(ngx.worker.id() + 1)
end

local function main(opts)
   waiter.begin_script()
   local ok, why = script.run(opts.script, opts.args, environment(opts))
   if ok then return end
   log.error("the script failed", { script = opts.script, error = why })
   health.check("script", function() return false, "it failed: see the log" end)
end

--- Starts it.
-- @tparam table mr
-- @tparam table opts script, args
function ngx_script.start(mr, opts)
   set_arguments(mr, opts)
   os.exit = no_exit -- luacheck: ignore 122
   driver.on_end(end_script)
   driver.spawn(function() main(opts) end)
end

return ngx_script
