--- host: waits in the coroutines of a host that has a scheduler of its own.
-- SPDX-License-Identifier: MIT
-- The host gives an object for each wait: w:wait() suspends its coroutine, w:post() has it resumed. A post is called at the end
-- of a turn, outside of all tasks, so that a host may resume its coroutine in it.
local errors = require "moonrabbit.base.errors"

local host = {}

--- The host's function that gives an object for a wait; nil: a wait pumps the loop.
host.waiter = nil
--- Says why a wait that is in no coroutine cannot run the loop: fn() returns words, or nil; nil: it always can.
host.outside = nil
--- What mr.run does in a host that runs by itself: fn(drain); nil: it runs the loop.
host.run = nil
--- Starts fn(...) where a wait by the host's own means suspends nobody else, and returns when it ends or waits so; nil: such a
-- wait suspends our loop, or is an error.
host.apart = nil
--- True if the main chunk is one of the host's coroutines, too.
host.has_main = false

--- In the error of each wait that the end of the runtime ends.
host.CLOSED = "the runtime was closed while this waited"

local BEING_MADE = {}
local MAIN = {} -- stands for the main chunk
-- coroutine -> the object of its next wait: it is made before anything is sent. Weak, because most objects know their coroutine,
-- which may die without that wait.
local spare = setmetatable({}, { __mode = "kv" })
-- Holds the object until its wait has begun: no other coroutine prepares one before that. Else it might be collected meanwhile,
-- and the host asked for another one when all is sent.
local prepared
local posts, count = {}, 0      -- entries whose waits are over

local function methods(w) return w.wait, w.post end

local function made()
   local ok, w = pcall(host.waiter)
   if not ok then return nil, "the waiter of mr.host failed: " .. errors.words(w) end
   local is_object, wait, post = pcall(methods, w)
   if not is_object or type(wait) ~= "function" or type(post) ~= "function" then
      return nil, ("the waiter of mr.host must return an object with the methods wait and post, not %s"):format(
         w == nil and "nil" or "this " .. type(w))
   end
   return w
end

--- Makes the object of the next wait in `co` (nil: the main chunk); raises an error if the host gives none.
function host.prepare(co)
   co = co or MAIN
   local w = spare[co]
   if w == BEING_MADE then errors.blame("the waiter of mr.host must not wait itself") end
   prepared = w
   if w then return end
   spare[co] = BEING_MADE
   local why
   w, why = made()
   spare[co], prepared = w, w
   if why then errors.blame(why) end
end

-- What came for a wait that nobody is in any more.
local function give_back(entry)
   local undo = entry.undo
   entry.undo = nil
   if undo then undo() end
end

--- The value of a wait must not be lost: calls undo() if the coroutine never takes it.
function host.guard(entry, undo)
   entry.undo = undo
   entry.guard = newproxy(true)
   getmetatable(entry.guard).__gc = function() give_back(entry) end
end

local function finish(entries, token, entry, ok, why)
   if ok and entry.n and not entry.why then
      entry.undo = nil
      return unpack(entry, 1, entry.n)
   end
   if entries[token] == entry then entries[token] = nil end
   entry.is_gone = true
   give_back(entry)
   if not ok then error(why, 0) end -- the host's own, such as that this coroutine was killed
   errors.blame(entry.why or "the waiter of mr.host came back from wait() before post() was called")
end

--- Waits in a coroutine of the host until `token` is woken; returns the waker's value.
-- @tparam table entries token -> entry
-- @tparam number token
-- @tparam ?thread co the running coroutine; nil: the main chunk
function host.wait(entries, token, co)
   co = co or MAIN
   host.prepare(co)
   local w = prepared
   spare[co], prepared = nil, nil
   local entry = { w = w }
   entries[token] = entry
   return finish(entries, token, entry, pcall(w.wait, w))
end

--- Has the coroutine of an entry resumed at the end of the turn.
function host.post(entry)
   count = count + 1
   posts[count] = entry
end

--- Ends the wait of an entry by an error.
function host.fail(entry, why)
   entry.why = why
   host.post(entry)
end

--- True if the end of a wait was not told to the host yet.
function host.has_posts() return count > 0 end

--- Tells the host which waits are over. Those that end meanwhile are told of in the next turn.
-- @tparam function report fn(where, why)
function host.post_all(report)
   local list = posts
   posts, count = {}, 0
   for _, entry in ipairs(list) do
      if not entry.is_gone then
         local ok, why = pcall(entry.w.post, entry.w)
         if not ok then
            report("host", "a post of the waiter of mr.host failed, so what it waited for is dropped: " .. errors.words(why))
            entry.why = "the post of this wait failed: " .. errors.words(why)
            give_back(entry)
         end
      end
   end
end

--- A line of the log without what the host's own log adds.
function host.plain(line) return (line:gsub("^time=%S+ level=%S+ ", "")) end

return host
