--- awaited: waits for exchanges and queues that a consumer or publisher of this program is about to declare.
-- SPDX-License-Identifier: MIT
-- A consumer may bind to an exchange before another part of the program has declared it. So each announces its declares when
-- it is made, and reports when they are done, or will not be done.
local C = require("moonrabbit.base.ffi").C
local each = require "moonrabbit.base.each"
local loop = require "moonrabbit.loop.loop"
local task = require "moonrabbit.loop.task"

local awaited = {}

local PATIENCE = 5 -- seconds; then the request is sent anyway

local plans = {}   -- owner -> the set of names ("exchange logs") that it will declare
local waiters = {} -- tokens

local function is_about_to(name, but)
   for owner, names in each(plans) do
      if owner ~= but and names[name] then return true end
   end
   return false
end

--- The owner will declare these, unless awaited.done says otherwise.
-- @param owner
-- @tparam table exchanges list of names
-- @tparam table queues list of names
function awaited.announce(owner, exchanges, queues)
   local names = {}
   for _, name in ipairs(exchanges) do names["exchange " .. name] = true end
   for _, name in ipairs(queues) do names["queue " .. name] = true end
   if next(names) then plans[owner] = names end
end

--- The owner has declared the announced objects, or will not declare them.
function awaited.done(owner)
   if not plans[owner] then return end
   plans[owner] = nil
   local list = waiters
   waiters = {}
   for _, token in ipairs(list) do task.wake(token, true) end
end

--- Waits while another owner is about to declare it.
-- @tparam string what "exchange" or "queue"
-- @tparam string name
-- @param owner the caller
function awaited.wait(what, name, owner)
   local deadline = C.mr_now() + PATIENCE
   while is_about_to(what .. " " .. name, owner) do
      local left = deadline - C.mr_now()
      if left <= 0 then return end
      local token = task.token()
      table.insert(waiters, token)
      loop.wait(token, left)
   end
end

loop.on_close(function() plans, waiters = {}, {} end)

return awaited
