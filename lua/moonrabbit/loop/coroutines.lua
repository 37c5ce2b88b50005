--- coroutines: lets the script's own coroutines wait, and protects tasks from being resumed by other code.
-- SPDX-License-Identifier: MIT
-- luacheck: ignore 122
-- A wait within a coroutine of the script suspends that coroutine, its resumer, and so on up to the task: each of them
-- is suspended in coroutine.resume, which passes the wait on. That needs a coroutine.resume (and a coroutine.wrap) that
-- support waits, so this module replaces Lua's functions. In all other cases they do the same as Lua's.
local errors = require "moonrabbit.base.errors"

local coroutines = {}

-- The functions before ours: another copy of the library may have replaced them before. ngx_lua's are bound to a request and
-- keep Lua's own as coroutine._create and so on: a task belongs to no request.
local registry = debug.getregistry()
local theirs = registry["moonrabbit.coroutine"] or { resume = coroutine.resume, yield = coroutine.yield }
registry["moonrabbit.coroutine"] = theirs

local function of_lua(name, otherwise) return rawget(coroutine, "_" .. name) or otherwise end

local resume, yield = of_lua("resume", theirs.resume), of_lua("yield", theirs.yield)
local create, running, status = coroutine.create, coroutine.running, coroutine.status

-- coroutine.isyieldable by LuaJIT's function in C: ngx_lua's table of coroutine functions is its own, and lacks it.
local function asked_of_c()
   local ffi = require "ffi"
   ffi.cdef 'int mr_lua_isyieldable(void *co) __asm__("lua_isyieldable");'
   local addresses = setmetatable({}, { __mode = "k" })
   return function()
      local co = running()
      if not co then return false end
      local address = addresses[co]
      if not address then
         address = ffi.cast("void *", tonumber(tostring(co):match "0x%x+"))
         addresses[co] = address
      end
      return ffi.C.mr_lua_isyieldable(address) ~= 0
   end
end

local can_yield = coroutine.isyieldable or asked_of_c()

--- The first value that the loop resumes with: no other code has it.
coroutines.GO = {}
--- A task yields this to let other tasks run.
coroutines.GIVE_WAY = {}
--- The coroutines of the tasks, as keys.
coroutines.ours = setmetatable({}, { __mode = "k" })
--- The coroutines of the host that have waited, as keys: a task that resumes one does not wait with it.
coroutines.of_host = setmetatable({}, { __mode = "k" })
--- Lua's own coroutine.resume, coroutine.create and coroutine.isyieldable.
coroutines.resume, coroutines.create = resume, of_lua("create", create)
coroutines.can_yield = can_yield

local has_data, set_data = pcall(require, "thread.exdata") -- of OpenResty's LuaJIT: the request that a coroutine belongs to
local NOTHING = has_data and require("ffi").cast("void *", nil)

--- Takes the running coroutine out of the request in which it was made.
function coroutines.detach()
   if has_data then set_data(NOTHING) end
end

local GO, GIVE_WAY, ours, of_host = coroutines.GO, coroutines.GIVE_WAY, coroutines.ours, coroutines.of_host
local WAIT = {} -- the first value that a waiting coroutine of the script yields
local hosts = setmetatable({}, { __mode = "kv" }) -- coroutine that runs or waits -> the task that it belongs to
local cut = setmetatable({}, { __mode = "k" })    -- those with a function of C between them and their task

local REFUSED = "a task of Moonrabbit's goes on when what it waits for has come, not by coroutine.resume: to wait for "
   .. "a callback, use mr.event()"
local WAITS = "this coroutine waits for something, and goes on when it has come: to wait for a callback, use mr.event()"

--- The task that a coroutine of the script belongs to.
-- @treturn ?thread nil: none, or unknown
-- @treturn boolean true if there is a C function between the two
function coroutines.host(co) return hosts[co], cut[co] or false end

-- Continues when the loop resumes it; returns only an explanation to any other resumer.
local function go_on(tag, ...)
   if tag == GO then return ... end
   return go_on(yield(nil, REFUSED))
end

--- Suspends the running coroutine, and its task, until the loop resumes it.
-- @param what for the loop
-- @return what the loop resumes it with
function coroutines.suspend(what)
   if ours[running()] then return go_on(yield(what)) end
   return go_on(yield(WAIT, what))
end
local suspend = coroutines.suspend

-- If a coroutine waits, its resumer waits, too.
local function passed_on(co, ...)
   local ok, mark, what = ...
   if ok and mark == WAIT then return passed_on(co, resume(co, GO, suspend(what))) end
   hosts[co], cut[co] = nil, nil
   return ...
end

-- As Lua's.
function coroutine.resume(co, ...)
   if ours[co] then return false, REFUSED end
   local me = running()
   local host = me and not of_host[co] and (ours[me] and me or hosts[me])
   if not host then
      if hosts[co] and status(co) == "suspended" then return false, WAITS end
      return theirs.resume(co, ...)
   end
   if hosts[co] then
      if status(co) == "suspended" then return false, WAITS end
      return resume(co, ...) -- it runs already: Lua reports the error
   end
   if type(co) == "thread" then hosts[co], cut[co] = host, cut[me] or not can_yield() or nil end
   return passed_on(co, resume(co, ...))
end
local resume_known = coroutine.resume

local function result(ok, ...)
   if ok then return ... end
   error((...), 0)
end

-- As Lua's.
function coroutine.wrap(fn)
   local co = create(fn)
   return function(...) return result(resume_known(co, ...)) end
end

-- As Lua's; in a task it lets other tasks run.
function coroutine.yield(...)
   if not ours[running()] then return theirs.yield(...) end
   if select("#", ...) > 0 then
      errors.blame("nobody takes the values of a coroutine.yield in a task: to wait for a callback, use mr.event()")
   end
   return go_on(yield(GIVE_WAY))
end

--- A waiter of mr.host for coroutines that nobody but their program resumes: mr.poll itself resumes them.
-- @tparam function fail fn(where, traceback) is told of the error of one, which nobody else would see
-- @treturn function
function coroutines.waiter(fail)
   return function()
      local co, is_over = running(), false
      local w = {}
      function w.wait()
         repeat theirs.yield() until is_over
      end
      function w.post()
         is_over = true
         local ok, why = resume_known(co)
         if not ok then fail("coroutine", debug.traceback(co, errors.words(why))) end
      end
      return w
   end
end

return coroutines
