--- dead_letters: what this process has moved to the dead letters: by queue and error, with the newest examples.
-- SPDX-License-Identifier: MIT
-- For the page for browsers. Bounded: some groups, a few examples each, no bodies. Passwords are hidden before a text is cut: one
-- without its end would not be known as such.
local each = require "moonrabbit.base.each"
local redact = require "moonrabbit.base.redact"

local dead_letters = {}

local GROUPS, EXAMPLES = 100, 3
local TEXT = 200 -- bytes of an error or a reason
local OTHERS = "(other errors)"

local groups, count = {}, 0

--- What dead letters of the same fault have in common: kind and first line of the error.
-- @tparam string text the error, or the reason
-- @treturn string
function dead_letters.fingerprint(text) return (text:match "^[^\r\n]*") end

local function group_of(queue, fingerprint)
   local key = queue .. "\0" .. fingerprint
   local group = groups[key]
   if group then return group end
   if count >= GROUPS and fingerprint ~= OTHERS then return group_of(queue, OTHERS) end
   group = { queue = queue, error = fingerprint, count = 0, examples = {} }
   groups[key], count = group, count + 1
   return group
end

--- Notes a message that the broker has taken as a dead letter.
-- @tparam table letter queue, error (nil: only a reason), reason, time (seconds since 1970), attempt, message_id, routing_key
function dead_letters.note(letter)
   local text = redact(dead_letters.fingerprint(letter.error or letter.reason or "(no reason)")):sub(1, TEXT)
   local group = group_of(letter.queue, text)
   group.count, group.last = group.count + 1, letter.time
   table.insert(group.examples, 1, { time = letter.time, attempt = letter.attempt, message_id = letter.message_id,
      routing_key = letter.routing_key, reason = letter.reason and redact(letter.reason):sub(1, TEXT) })
   group.examples[EXAMPLES + 1] = nil
end

--- The groups, the one with the newest dead letter first.
-- @treturn table list of {queue, error, count, last, examples (the newest first)}
function dead_letters.list()
   local list = {}
   for _, group in each(groups) do list[#list + 1] = group end
   table.sort(list, function(a, b)
      if a.last ~= b.last then return a.last > b.last end
      return a.queue .. a.error < b.queue .. b.error
   end)
   return list
end

--- Forgets all.
function dead_letters.clear() groups, count = {}, 0 end

return dead_letters
