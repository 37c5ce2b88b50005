--- ledger: the numbers of failures of messages that cannot carry them in a header: a short list in this process.
-- SPDX-License-Identifier: MIT
-- A message has its number of failures in its headers. If that is impossible (its channel was closed before a copy
-- could be made, or its headers leave no room), its count is kept here, by its queue, properties and body. Messages
-- that are equal in all of these share one count. The oldest entries are removed first.
local loop = require "moonrabbit.loop.loop"
local message = require "moonrabbit.channel.message"
local properties = require "moonrabbit.base.properties"
local stamps = require "moonrabbit.channel.stamps"

local ledger = {}

local MOST = 1000  -- entries
local PART = 1024  -- bytes of a long body that are hashed, at its start and at its end

--- The number of entries: without entries no keys are needed.
ledger.count = 0

local entries, order, first, last = {}, {}, 1, 0

--- The key of a message: a string that is the same for each of its deliveries.
-- @tparam message msg
-- @tparam string queue
function ledger.key(msg, queue)
   local bytes = properties.splice(message.raw(msg), { headers = {} }, {}, stamps.all) or message.raw(msg)
   local body = msg.body
   if #body > 2 * PART then body = ("%d\0%s%s"):format(#body, body:sub(1, PART), body:sub(-PART)) end
   return queue .. "\0" .. bytes .. "\0" .. body
end

--- Notes how often a message has failed.
-- @tparam string key
-- @tparam number count
-- @tparam[opt] table err the failure, if the policy must decide about it before the handler is called again
function ledger.note(key, count, err)
   if not entries[key] then
      last = last + 1
      order[last] = key
      ledger.count = ledger.count + 1
   end
   entries[key] = { key = key, count = count, err = err }
   while last - first >= MOST do -- some of them may be removed already
      local oldest = order[first]
      order[first] = nil
      first = first + 1
      ledger.forget(oldest)
   end
end

--- The entry of a message: key, count, err; or nil.
function ledger.find(key) return entries[key] end

--- Removes the entry: the message has ended, or carries its count itself from now on.
function ledger.forget(key)
   if not entries[key] then return end
   entries[key] = nil
   ledger.count = ledger.count - 1
   if ledger.count == 0 then order, first, last = {}, 1, 0 end
end

loop.on_close(function() entries, order, first, last, ledger.count = {}, {}, 1, 0, 0 end)

return ledger
