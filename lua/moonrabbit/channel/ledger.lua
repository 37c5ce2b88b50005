--- ledger: how often messages have failed that cannot say so themselves: a short list in this process.
-- SPDX-License-Identifier: MIT
-- A message says in its headers how often it has failed. Where that cannot be (its channel was closed before a copy
-- could be made, or its headers leave no room) its count stands here, under what the message is: its queue, its
-- properties and its body. Messages that are alike in all of these share one count. The oldest entries go first.
local loop = require "moonrabbit.loop.loop"
local message = require "moonrabbit.channel.message"
local properties = require "moonrabbit.base.properties"
local stamps = require "moonrabbit.channel.stamps"

local ledger = {}

local MOST = 1000  -- entries
local PART = 1024  -- bytes of a long body that are hashed, at its start and at its end

--- Entries there are: with none, nobody needs to know what a message is.
ledger.count = 0

local entries, order, first, last = {}, {}, 1, 0

--- What a message is, whenever it comes, as a string.
-- @tparam message msg
-- @tparam string queue
function ledger.key(msg, queue)
   local bytes = properties.splice(message.raw(msg), { headers = {} }, {}, stamps.all) or message.raw(msg)
   local body = msg.body
   if #body > 2 * PART then body = ("%d\0%s%s"):format(#body, body:sub(1, PART), body:sub(-PART)) end
   return queue .. "\0" .. bytes .. "\0" .. body
end

--- Notes that a message has failed so often.
-- @tparam string key
-- @tparam number count
-- @tparam[opt] table err why; then it is judged for that before its handler is called again
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

--- The message is done with, or says it itself from here on.
function ledger.forget(key)
   if not entries[key] then return end
   entries[key] = nil
   ledger.count = ledger.count - 1
   if ledger.count == 0 then order, first, last = {}, 1, 0 end
end

loop.on_close(function() entries, order, first, last, ledger.count = {}, {}, 1, 0, 0 end)

return ledger
