--- moonrabbit.uv: runs Moonrabbit in libuv's loop: in Neovim (vim.loop), and in LuaJIT with lua-luv.
-- SPDX-License-Identifier: MIT
-- A wait in a coroutine suspends that coroutine only: mr.poll resumes it. In Neovim nothing of the script runs in the callback
-- of the loop, where the editor's API is forbidden (:help lua-loop-callbacks), but in the editor's main loop (vim.schedule).
local coroutines = require "moonrabbit.loop.coroutines"
local host = require "moonrabbit.loop.host"
local mr = require "moonrabbit"
local loop = require "moonrabbit.loop.loop"
local options = require "moonrabbit.base.options"
local task = require "moonrabbit.loop.task"

local adapter = {}

local vim = rawget(_G, "vim")
local luv                     -- the binding in use
local handle                  -- of libuv, which watches the descriptor; nil: not started
local budget
local is_stopping = false

local function fail(where, trace)
   if is_stopping and trace:find(host.CLOSED, 1, true) then return end -- as of any task that waits at the end
   task.report(where, trace)
end

local function notify(level, line) vim.notify("moonrabbit: " .. host.plain(line), vim.log.levels[level:upper()]) end

-- An error of a turn is none of libuv's loop.
local function turn()
   local ok, why = pcall(mr.poll, budget)
   if not ok then task.report("a turn", tostring(why)) end
end

-- Until the editor's main loop has come to the turn, libuv would call again and again.
local function in_main_loop()
   local mine = handle
   mine:stop()
   vim.schedule(function()
      if mine ~= handle then return end
      turn()
      if mine == handle then mine:start("r", in_main_loop) end
   end)
end

local function watch()
   handle = luv.new_poll(mr.fd())
   handle:start("r", vim and in_main_loop or turn)
end

-- A new runtime, after a stop, has another descriptor.
loop.on_open(function()
   if not handle then return end
   handle:stop()
   handle:close()
   watch()
end)

--- Starts: from now on libuv's loop calls `mr.poll` when there is something to do. In Neovim, lines of the log go to vim.notify.
-- @tparam[opt] table uv vim.loop, or the result of require "luv"; nil: the one that is there
-- @tparam[opt] table opts budget=0.004 (seconds of a turn for messages; then libuv's other callbacks have theirs)
function adapter.start(uv, opts)
   opts = options.check(opts, { budget = "number" })
   options.seconds("budget", opts.budget)
   if handle then return end
   luv = uv or vim and vim.loop or require "luv"
   budget = opts.budget or 0.004
   mr.host { waiter = coroutines.waiter(fail) }
   watch()
   if not vim then return end
   mr.log.sink(notify)
   vim.api.nvim_create_autocmd("VimLeavePre", { once = true, callback = function() adapter.stop() end })
end

--- Stops: consumers are cancelled, running handlers finish, confirms arrive, connections close; then nothing of it keeps
-- uv.run running any more. In a coroutine only that one waits; elsewhere nothing else runs meanwhile. In Neovim it is called at
-- the end of the editor.
-- @tparam[opt] table opts drain=1 (seconds for handlers and confirms)
-- @treturn boolean true if all messages were settled and all publishes confirmed
function adapter.stop(opts)
   opts = options.check(opts, { drain = "number" })
   options.seconds("drain", opts.drain)
   if not handle then return true end
   is_stopping = true
   mr.stop()
   local is_complete = mr.run { drain = opts.drain or 1 } -- in a coroutine it waits, and libuv's loop goes on
   is_stopping = false
   handle:stop()
   handle:close()
   handle = nil
   -- lua-luv crashes at the end of the Lua state if its loop has not seen that a handle was closed.
   if not vim and not luv.loop_mode() then luv.run "nowait" end
   return is_complete
end

return adapter
