--- moonrabbit.love: a game in LÖVE: messages within a budget of each frame, and an end that blocks no frame.
--
--    local host = require "moonrabbit.love"
--    function love.load()
--       mr = host.start { budget = 0.002 }
--    end
--
-- SPDX-License-Identifier: MIT
-- The shared library may be beside the game's folder or .love archive; MOONRABBIT_LIBRARY names another one.
local love = rawget(_G, "love")

local function is_file(path)
   local file = io.open(path, "rb")
   if file then file:close() end
   return file ~= nil
end

-- What is loaded for the whole process is found by moonrabbit.base.ffi.
local function load_beside()
   if os.getenv "MOONRABBIT_LIBRARY" or not love then return nil end
   local path = love.filesystem.getSourceBaseDirectory() .. "/libmoonrabbit.so"
   return is_file(path) and require("ffi").load(path, true) or nil
end

local beside = load_beside() -- before moonrabbit is
local mr = require "moonrabbit"
local each = require "moonrabbit.base.each"
local hosts = require "moonrabbit.loop.host"
local loop = require "moonrabbit.loop.loop"
local options = require "moonrabbit.base.options"
local script = require "moonrabbit.cli.script"
local shutdown = require "moonrabbit.program.shutdown"
local task = require "moonrabbit.loop.task"

--- took: the seconds of the last frame's messages. is_behind: true if there were more than the budget allows.
local adapter = { took = 0, is_behind = false, library = beside }

local BUDGET, STOP = 0.002, 0.5

local state = "idle"   -- "running", "stopping", "stopped"
local budget, patience -- seconds
local give_up_at       -- the end of the patience, on mr.now's clock
local asked            -- the argument of love.event.quit: an exit code, or "restart"

local function close(seconds)
   state = "stopped"
   loop.close(seconds)
end

local over -- the event of a stop, for mr.run in a script

-- mr.run of a script.
local function wait_for_end()
   if not task.is_inside() then options.blame "mr.run would hold up the frame: in a game only a script may call it" end
   over:wait()
   return true
end

-- The script of a game runs in a task: what it waits for holds up no frame.
local function run_script(path, args)
   over = mr.event()
   hosts.run = wait_for_end
   for key, value in each(args) do mr.args[key] = value end
   mr.spawn(function()
      local ok, why = script.run(path, args)
      if not ok then mr.log.error("the script failed", { script = path, error = why }) end
   end)
end

local is_over = false

-- The stop runs in a task, so frames go on. Handlers have half of the time, farewells of connections the rest.
local function begin_stop()
   state, give_up_at = "stopping", mr.now() + patience
   if over then over:set() end
   task.background(function()
      shutdown.run(patience / 2)
      is_over = true
   end)
end

-- One frame's share.
local function poll()
   if state == "stopped" then return end
   local began = mr.now()
   adapter.is_behind = mr.poll(budget)
   local now = mr.now()
   adapter.took = now - began
   if state ~= "stopping" or not is_over and now < give_up_at then return end
   close(0)
   love.event.quit(asked)
end

-- True: the game goes on, until all is closed.
local function hook_quit()
   local game_quit = love.quit
   love.quit = function(...)
      if state == "running" then
         if game_quit and game_quit(...) then return true end
         begin_stop()
      end
      return state == "stopping"
   end
   -- LÖVE gives the argument of love.event.quit only to this one, and only if love.quit has returned true.
   local handler = love.handlers.quit
   love.handlers.quit = function(how, ...)
      asked = how
      if handler then return handler(how, ...) end
   end
end

-- An error of the game leaves only its message on the screen, and nobody polls: what is not handled goes back to its queue.
local function hook_errors()
   local handler = love.errorhandler or love.errhand
   love.errorhandler = function(...)
      if state ~= "stopped" then pcall(close, patience) end
      return handler(...)
   end
end

--- Starts Moonrabbit in the game; to be called in love.load. Each love.update begins with `mr.poll(budget)`. When the game quits
-- or restarts, it goes on for the moment that consumers, publishes and connections need to end.
-- @tparam[opt] table opts budget=0.002 (seconds of each frame for messages), stop=0.5 (seconds at most from love.event.quit until the
-- game ends), script (path of a consumer script, as of `moonrabbit run`; mr.run in it waits until the game quits; default: none),
-- args (table: the script's arguments, and the fields of its mr.args; default: none)
-- @treturn table the module moonrabbit
function adapter.start(opts)
   opts = options.check(opts, { budget = "number", stop = "number", script = "string", args = "table" })
   options.seconds("budget", opts.budget)
   options.seconds("stop", opts.stop)
   if not love or not love.update then
      options.blame "moonrabbit.love: call start in love.load, when love.update is there: it calls the poll of each frame"
   end
   if state ~= "idle" then options.blame "moonrabbit.love: it has started already" end
   budget, patience, state = opts.budget or BUDGET, opts.stop or STOP, "running"
   local update = love.update
   love.update = function(...)
      poll()
      return update(...)
   end
   hook_quit()
   hook_errors()
   if opts.script then run_script(opts.script, opts.args or {}) end
   return mr
end

return adapter
