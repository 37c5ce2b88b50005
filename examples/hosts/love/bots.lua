--- bots: rabbits that play by themselves, for a window without company, and for the demo.
-- SPDX-License-Identifier: MIT
local world = require "world"

local bots = {}

local NAMES = { "Yutu", "Tsuki", "Hase", "Clover", "Luna", "Mochi" }
local random = love.math.newRandomGenerator(os.time())

local function somewhere()
   return { x = random:random(world.LEFT + 20, world.RIGHT - 20), y = random:random(world.TOP + 10, world.BOTTOM - 10) }
end

-- The next place to go to, and what to do there.
local function decide(w, r)
   local ripe
   for _, thing in pairs(w.things) do
      if w:is_ripe(thing) and (not ripe or world.distance(r, thing) < world.distance(r, ripe)) then ripe = thing end
   end
   local side = r.x < world.MORTAR.x and -46 or 46
   if r.carry >= world.BASKET or r.carry > 0 and not ripe then
      return { x = world.MORTAR.x + side, y = world.MORTAR.y + 12 + random:random(0, 20) }
   end
   local is_bare = w.count < 5 * w.population
   if ripe and not (is_bare and random:random() < 0.6) then return { x = ripe.x, y = ripe.y, uses = true, thing = ripe.id } end
   local goal = somewhere()
   goal.uses = is_bare
   return goal
end

--- Moves a rabbit for dt seconds, as a player would.
-- @tparam function act called with the event of what it does
function bots.play(w, r, dt, act)
   local plan = r.plan
   if not plan or plan.thing and not w.things[plan.thing] then
      if w.now < (r.rests or 0) then return w:steer(r, 0, 0, dt) end
      plan = decide(w, r)
      r.plan = plan
   end
   local dx, dy = plan.x - r.x, plan.y - r.y
   if dx * dx + dy * dy > 36 then return w:steer(r, dx, dy * 1.3, dt) end
   w:steer(r, 0, 0, dt)
   local event = plan.uses and w:use(r)
   if event then act(event) end
   r.plan, r.rests = nil, w.now + 0.4 + random:random() * 1.2
end

--- Adds bots to the world.
function bots.add(w, count)
   local first = random:random(#NAMES)
   for i = 1, count do
      local at = somewhere()
      w:own { id = ("%s.bot%d"):format(w.me.id, i), name = NAMES[(first + i) % #NAMES + 1], x = at.x, y = at.y, is_bot = true,
         colour = (w.me.colour + i - 1) % world.COLOURS + 1, rests = w.now + i * 0.7 }
   end
end

--- Moves all bots.
function bots.step(w, dt, act)
   for _, r in pairs(w.rabbits) do
      if r.is_bot then bots.play(w, r, dt, act) end
   end
end

return bots
