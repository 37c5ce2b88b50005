--- unheard: counts the publishes that were lost without anybody having been told: the end of the program tells of them.
-- SPDX-License-Identifier: MIT
-- A publish whose ticket was thrown away, or not asked yet. The program hears of it by ticket:wait, wait_for_confirms, flush.
local unheard = {}

local MOST = 100           -- tickets that are kept, to say where they went

local all = { count = 0, tickets = {} } -- since the runtime was made
local stray = {}           -- for tickets of no channel

--- A publish has failed, and nobody was told.
-- @tparam ticket t
-- @tparam ?table owner who may be asked of it and others together: a book's tally, or a publisher
function unheard.note(t, owner)
   owner = owner or stray
   local mine = owner.unheard
   if not mine or mine.of ~= all then
      mine = { count = 0, of = all }
      owner.unheard = mine
   end
   mine.count, all.count, t.unheard = mine.count + 1, all.count + 1, mine
   if #all.tickets < MOST then table.insert(all.tickets, t) end
end

local function tell(mine, count)
   mine.count, mine.of.count = mine.count - count, mine.of.count - count
end

--- The program asks of one.
function unheard.tell(t)
   local mine = t.unheard
   t.unheard = nil
   if mine and mine.count > 0 then tell(mine, 1) end
end

--- The program asks of all that an owner has.
function unheard.tell_all(owner)
   local mine = owner.unheard
   owner.unheard = nil -- its tickets tell of nothing any more
   if mine then tell(mine, mine.count) end
end

--- How many there are.
function unheard.count() return all.count end

--- Calls fn(ticket) for those that are kept, and were not asked of.
function unheard.each(fn)
   for _, t in ipairs(all.tickets) do
      if t.unheard and t.unheard.count > 0 then fn(t) end
   end
end

--- A runtime begins: what was before was told of.
function unheard.begin_anew() all = { count = 0, tickets = {} } end

return unheard
