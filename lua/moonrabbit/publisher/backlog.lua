--- backlog: counts a publisher's open publishes, also where the I/O thread reads them for the page /status.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.base.ffi").C
local loop = require "moonrabbit.loop.loop"

local backlog = {}

-- What tells it from others: its exchange; of those to the default exchange, the queue.
local function name_of(publisher)
   if publisher.exchange ~= "" then return publisher.exchange end
   return publisher.routing_key or "(default exchange)"
end

--- A publish was accepted. Publishers of one name are counted together.
-- @tparam publisher publisher
function backlog.accept(publisher)
   local words = publisher.words
   if not words then
      local name = name_of(publisher)
      words = C.mr_backlog_of(loop.runtime(), name, #name)
      if words == nil then return end -- there is no memory for it
      publisher.words = words
   end
   words.accepted = words.accepted + 1
end

--- A publish came to a place, or left it.
-- @tparam publisher publisher
-- @tparam string place "in_line", "in_flight" or "aside"
-- @tparam number by 1 or -1
function backlog.add(publisher, place, by)
   publisher[place] = publisher[place] + by
   local words = publisher.words
   if words then words[place] = words[place] + by end
end

--- The runtime is about to end, and the words with it.
-- @tparam publisher publisher
function backlog.forget(publisher) publisher.words = nil end

return backlog
