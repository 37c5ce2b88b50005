--- generation: the registrations of one run of a script's main chunk, so that the next run can replace it.
-- SPDX-License-Identifier: MIT
-- The command makes editions; in another program there is one edition, and nothing here has any effect. While a new
-- main chunk runs aside (it is staged), its registrations are deferred until the swap.
local each = require "moonrabbit.base.each"
local loop = require "moonrabbit.loop.loop"
local errors = require "moonrabbit.base.errors"
local task = require "moonrabbit.loop.task"

local generation = {}

local function new(number)
   return { number = number, connections = {}, channels = {}, consumers = {}, workers = {}, tasks = {}, owned = {},
      lasting = {}, deferred = {}, claimed = {} }
end

local current = new(1)
local staged
local is_loading = false -- the first main chunk runs

local late = {} -- workers whose main chunk took too long: their results are ignored

--- True if the caller is a staged main chunk.
function generation.is_staging()
   if next(late) and late[task.current() or 0] then error(task.STOPPED, 0) end
   return staged ~= nil and task.current() == staged.worker
end

-- The edition of the calling main chunk; nil: the caller is not a main chunk.
local function of_chunk()
   if generation.is_staging() then return staged end
   return is_loading and not task.current() and current or nil
end

--- The first main chunk begins, or has ended.
function generation.loading(is_it) is_loading = is_it end
--- True while the running edition's main chunk has not ended.
function generation.is_loading() return is_loading end

--- Calls fn() now, or, for a staged main chunk, at the swap.
function generation.later(fn)
   if generation.is_staging() then table.insert(staged.deferred, fn) else fn() end
end

--- Adds an object that a main chunk made to one of the edition's lists.
function generation.note(list, thing)
   local e = of_chunk()
   if e then table.insert(e[list], thing) end
   return thing
end

--- Calls close(thing) when the edition ends, or is discarded.
-- @tparam[opt] boolean only_of_chunk ignore objects that handlers and tasks make
function generation.own(thing, close, only_of_chunk)
   local e = of_chunk()
   if not e and not only_of_chunk then e = current end
   if e then e.owned[thing] = close end
   return thing
end

--- Calls close(thing) when the last handler of a main chunk's edition has ended, or the edition is discarded.
function generation.keep(thing, close)
   local e = of_chunk()
   if e then e.lasting[thing] = close end
   return thing
end

--- The object has ended by itself: removes it.
function generation.disown(thing)
   current.owned[thing] = nil
   if staged then staged.owned[thing] = nil end
end

--- Raises an error for calls that a staged main chunk cannot make.
function generation.refuse(what)
   if not generation.is_staging() then return end
   errors.blame(what .. " in the main chunk cannot be taken over when a script is reloaded: use mr.consumer, or restart")
end

--- Runs fn() as a task, which ends with its edition if it was started by a main chunk, or by such a task.
function generation.spawn(fn)
   loop.begin()
   local e = of_chunk() or current.tasks[task.current() or 0] and current
   if not e then return task.spawn(fn) end
   generation.later(function()
      task.spawn(function()
         local me = task.current()
         e.tasks[me] = true
         local ok, why = pcall(fn)
         e.tasks[me] = nil
         if not ok then error(why, 0) end
      end)
   end)
end

-- True if the settings are equal, except functions.
local function is_equal(a, b)
   if type(a) == "function" and type(b) == "function" then return true end
   if type(a) ~= "table" or type(b) ~= "table" then return a == b end
   for k, v in each(a) do
      if not is_equal(v, b[k]) then return false end
   end
   for k in each(b) do
      if a[k] == nil then return false end
   end
   return true
end
generation.is_equal = is_equal

--- The running connection with the same settings, for a staged main chunk.
-- @treturn ?connection nil: make a new one
function generation.connection(settings)
   if not generation.is_staging() then return nil end
   for _, conn in ipairs(current.connections) do
      if not staged.claimed[conn] and not conn.released and is_equal(conn.options, settings) then
         staged.claimed[conn] = settings
         return conn
      end
   end
end

--- Begins an edition: from now on the registrations of the calling task are staged.
-- @treturn table
function generation.stage()
   staged = new(current.number + 1)
   staged.worker = task.current()
   return staged
end

--- The staged main chunk took too long: it ends at its next wait that may be interrupted.
function generation.give_up()
   late[staged.worker] = true
   task.condemn(staged.worker)
end
--- The calling task's main chunk has ended.
function generation.chunk_ended() late[task.current()] = nil end

--- The running edition.
function generation.current() return current end

local function close_all(things)
   for thing, close in each(things) do close(thing) end
end

--- Closes objects that handlers of an edition may still have used. It waits.
function generation.close(e)
   close_all(e.lasting)
   for _, ch in ipairs(e.channels) do ch:close() end
   for _, conn in ipairs(e.connections) do
      if not current.claimed[conn] then conn:release() end
   end
end

--- Discards the staged edition.
function generation.drop()
   local e = staged
   staged = nil
   if not e then return end
   close_all(e.owned)
   for _, worker in ipairs(e.workers) do
      if worker.overdue then worker.overdue:stop() end
   end
   generation.close(e)
end

--- Makes the staged edition the running one: ends the objects of the old one, starts the deferred ones of the new one.
-- @tparam function between called in between
-- @treturn table the old one
function generation.commit(between)
   local old = current
   current, staged = staged, nil
   current.worker = nil
   close_all(old.owned)
   for conn, settings in each(current.claimed) do
      conn.options, conn.on_event = settings, settings.on_event
      table.insert(current.connections, conn)
   end
   between()
   for worker in each(old.tasks) do task.condemn(worker) end
   for _, fn in ipairs(current.deferred) do task.background(fn) end
   current.deferred = {}
   return old
end

loop.on_close(function() current, staged, late = new(1), nil, {} end)

return generation
