--- overdue: reports handlers that wait for very long, with their message and their place.
-- SPDX-License-Identifier: MIT
-- Called by sampling, which looks at waiting handlers anyway. One that computes is reported by the I/O thread.
local C = require("moonrabbit.base.ffi").C
local each = require "moonrabbit.base.each"
local in_flight = require "moonrabbit.channel.in_flight"
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"
local marks = require "moonrabbit.loop.mark"

local overdue = {}

local MOST = 20 -- lines at a time; the rest is counted

local next_at = setmetatable({}, { __mode = "k" }) -- message -> its age at the next report

--- Reports those that are due.
-- @tparam number oldest when the oldest waiting handler has begun
function overdue.look(oldest)
   local limit = marks.waiting
   if limit == 0 or C.mr_now() - oldest < limit then return end
   local list = in_flight.waiting()
   local count, more = 0, 0
   for _, one in ipairs(list) do
      if (one.entry.seconds or 0) >= (next_at[one.msg] or limit) then
         count = count + 1
         next_at[one.msg] = 2 * one.entry.seconds -- again when it is twice as old
         if count <= MOST then log.warn("a handler does not end", one.entry) else more = more + 1 end
      end
   end
   if more > 0 then log.warn("more handlers do not end", { handlers = more }) end
end

--- Writes what each handler waits at: SIGUSR1.
-- @tparam string signal
function overdue.tell_all(signal)
   local list = in_flight.waiting()
   log.info("handlers at work", { handlers = #list, signal = signal })
   for i, one in ipairs(list) do
      if i > MOST then return log.info("more handlers at work", { handlers = #list - MOST }) end
      one.entry.traceback = one.traceback()
      log.info("a handler waits", one.entry)
   end
end

loop.on_close(function()
   for msg in each(next_at) do next_at[msg] = nil end
end)

return overdue
