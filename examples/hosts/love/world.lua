--- world: the garden on the moon: rabbits, flowers, parcels and stars. It knows no broker and no screen.
-- SPDX-License-Identifier: MIT
-- Each window has a whole world, which changes by events: its own, and those of the others that the broker brings. Events may
-- come twice, late or in another order, and the worlds become the same: a thing (a flower, a parcel) has an id, and one that was
-- taken never comes back; the stars of a rabbit only grow.
local world = {}

world.LEFT, world.RIGHT, world.TOP, world.BOTTOM = 40, 760, 330, 560 -- where rabbits hop
world.MORTAR = { x = 400, y = 400 }
world.REACH = 34         -- how far a rabbit reaches
world.RIPE = 6           -- seconds until a flower can be picked
world.LIFE = 120         -- seconds until it withers
world.BASKET = 3         -- flowers that a rabbit carries
world.COLOURS = 8
local PULLING = 0.3      -- seconds from a pick until its winner is sure
local VANISH = 5         -- seconds without a word until a rabbit counts as gone
local SPEED = 150        -- pixels a second
local MOST_THINGS = 300  -- a world of strangers must not grow without end
local MOST_RABBITS = 200
local BY_OTHERS = "~"    -- who took it is not known: greater than each id

local World = {}
World.__index = World

--- A new world, seen by the rabbit `me`.
-- @tparam table me id, name, colour, x, y
-- @tparam function on called with what is worth a sight or a sound: on(what, x, y, colour)
function world.new(me, on)
   local w = setmetatable({ rabbits = {}, things = {}, taken = {}, stars = {}, count = 0, population = 0, now = 0,
      on = on or function() end }, World)
   w.me = w:own(me)
   return w
end

local function clamp(v, low, high) return v < low and low or v > high and high or v end
local function place(x, y) return clamp(x, world.LEFT, world.RIGHT), clamp(y, world.TOP, world.BOTTOM) end

--- The rabbit with this id; made if it is new here.
function World:rabbit(id)
   local r = self.rabbits[id]
   if r then return r end
   if self.population >= MOST_RABBITS then return nil end
   r = { id = id, name = "?", colour = 1, x = 400, y = 450, tx = 400, ty = 450, face = 1, carry = 0, phase = 0, heard = self.now,
      is_new = true }
   self.rabbits[id], self.population = r, self.population + 1
   return r
end

--- A rabbit that this window moves: the player's, or one of its bots.
function World:own(given)
   local r = self:rabbit(given.id)
   for name, value in pairs(given) do r[name] = value end
   r.tx, r.ty, r.is_ours, r.is_new, r.born = r.x, r.y, true, nil, given.born or 0
   return r
end

--- Stars that this rabbit has lit.
function World:stars_of(id) return self.stars[id] and self.stars[id].count or 0 end

--- Stars of all rabbits, also of those that are gone.
function World:lit()
   local sum = 0
   for _, star in pairs(self.stars) do sum = sum + star.count end
   return sum
end

-- ---- events ----

-- The fields of each kind of event. What comes by the broker may be anything.
local FIELDS = {
   hop = { name = "string", colour = "number", x = "number", y = "number", face = "number", carry = "number", stars = "number" },
   plant = { id = "string", what = "string", x = "number", y = "number", age = "number" },
   pick = { id = "string" },
   meteor = { x = "number", y = "number" },
   bye = {},
   snapshot = { things = "table", taken = "table", stars = "table" },
}

local function is_sound(event, fields)
   for name, kind in pairs(fields) do
      local v = event[name]
      if type(v) ~= kind or kind == "number" and not (v > -1e9 and v < 1e9) then return false end
   end
   return true
end

local apply = {}

--- Applies an event; false: it is none.
function World:apply(event)
   local fields = type(event) == "table" and type(event.from) == "string" and FIELDS[event.kind]
   if not fields or not is_sound(event, fields) then return false end
   apply[event.kind](self, event)
   return true
end

local function note_stars(self, id, count, colour)
   local star = self.stars[id]
   if not star then
      star = { count = 0, colour = colour }
      self.stars[id] = star
   end
   star.colour = colour
   if count <= star.count then return 0 end
   local more = count - star.count
   star.count = count
   return more
end

function apply.hop(self, e)
   local r = self:rabbit(e.from)
   if not r then return end
   r.heard = self.now
   r.name, r.colour = e.name:sub(1, 12), clamp(math.floor(e.colour), 1, world.COLOURS)
   r.carry = clamp(e.carry, 0, world.BASKET)
   local x, y = place(e.x, e.y)
   if r.is_new then
      r.is_new, r.x, r.y = nil, x, y
      self.on("come", x, y, r.colour)
   end
   if r ~= self.me then r.tx, r.ty, r.face = x, y, e.face < 0 and -1 or 1 end
   for _ = 1, math.min(note_stars(self, e.from, math.floor(e.stars), r.colour), 12) do
      self.on("star", world.MORTAR.x, world.MORTAR.y, r.colour)
   end
end

function apply.plant(self, e)
   if self.things[e.id] or self.taken[e.id] or self.count >= MOST_THINGS or e.age >= world.LIFE then return end
   local x, y = place(e.x, e.y)
   local r = self.rabbits[e.from]
   self.things[e.id] = { id = e.id, what = e.what == "parcel" and "parcel" or "flower", x = x, y = y, born = self.now - e.age,
      colour = clamp(math.floor(tonumber(e.colour) or r and r.colour or 1), 1, world.COLOURS), label = e.label and tostring(e.label) }
   self.count = self.count + 1
   if e.age < 1 then self.on(e.what, x, y, self.things[e.id].colour) end
end

-- Two may pick the same flower at the same time, and each broker's queue may tell of it in another order: while it is pulled out,
-- the lesser id wins, in each window.
function apply.pick(self, e)
   local thing = self.things[e.id]
   if not thing then
      if not self.taken[e.id] then self.taken[e.id] = self.now end
      return
   end
   if thing.by and thing.by <= e.from then return end
   thing.by, thing.pulled = e.from, thing.pulled or self.now
   self.taken[e.id] = self.now
end

function apply.meteor(self, e)
   local x, y = place(e.x, e.y)
   self.on("meteor", x, y, 1)
   for _, thing in pairs(self.things) do
      if (thing.x - x) ^ 2 + (thing.y - y) ^ 2 < 110 ^ 2 then thing.born = math.min(thing.born, self.now - world.RIPE) end
   end
end

local function remove_rabbit(self, r)
   if not self.rabbits[r.id] or r == self.me then return end
   self.rabbits[r.id], self.population = nil, self.population - 1
   self.on("go", r.x, r.y, r.colour)
end

function apply.bye(self, e)
   local r = self.rabbits[e.from]
   if r then remove_rabbit(self, r) end
end

function apply.snapshot(self, e)
   for _, id in ipairs(e.taken) do
      if type(id) == "string" then apply.pick(self, { id = id, from = BY_OTHERS }) end
   end
   for _, thing in ipairs(e.things) do
      if type(thing) == "table" then
         thing.from = e.from
         if is_sound(thing, FIELDS.plant) then apply.plant(self, thing) end
      end
   end
   for id, star in pairs(e.stars) do
      if type(id) == "string" and type(star) == "table" and type(star[1]) == "number" and type(star[2]) == "number" then
         note_stars(self, id, math.floor(star[1]), clamp(math.floor(star[2]), 1, world.COLOURS))
      end
   end
end

--- All that a newcomer must know, as an event.
function World:snapshot()
   local things, taken, stars = {}, {}, {}
   for id, t in pairs(self.things) do
      if not t.by then
         things[#things + 1] = { id = id, what = t.what, x = t.x, y = t.y, age = self.now - t.born, colour = t.colour, label = t.label }
      end
   end
   for id in pairs(self.taken) do taken[#taken + 1] = id end
   for id, star in pairs(self.stars) do stars[id] = { star.count, star.colour } end
   return { kind = "snapshot", from = self.me.id, things = things, taken = taken, stars = stars }
end

--- The event that says where this rabbit is.
function World:hop(r)
   r = r or self.me
   return { kind = "hop", from = r.id, name = r.name, colour = r.colour, x = math.floor(r.x), y = math.floor(r.y), face = r.face,
      carry = r.carry, stars = self:stars_of(r.id) }
end

-- ---- what a rabbit does ----

--- Moves a rabbit of this window towards a direction, for dt seconds.
function World.steer(_, r, dx, dy, dt)
   local length = math.sqrt(dx * dx + dy * dy)
   r.is_moving = length > 0
   if length == 0 then return end
   r.x, r.y = place(r.x + dx / length * SPEED * dt, r.y + dy / length * SPEED * 0.75 * dt)
   r.tx, r.ty = r.x, r.y
   if dx ~= 0 then r.face = dx < 0 and -1 or 1 end
end

local function distance(a, b) return math.sqrt((a.x - b.x) ^ 2 + (a.y - b.y) ^ 2) end
world.distance = distance

--- True if a thing can be taken now.
function World:is_ripe(thing) return not thing.by and (thing.what == "parcel" or self.now - thing.born >= world.RIPE) end

--- What this rabbit can take where it is, and whether it can plant there.
-- @treturn ?thing
-- @treturn boolean
function World:around(r)
   local best, best_distance, may_plant = nil, world.REACH, distance(r, world.MORTAR) > 60
   for _, thing in pairs(self.things) do
      local d = distance(r, thing)
      if d < best_distance and self:is_ripe(thing) and (thing.what == "parcel" or r.carry < world.BASKET) then
         best, best_distance = thing, d
      end
      if d < world.REACH * 0.9 then may_plant = false end
   end
   return best, may_plant
end

--- The event of this rabbit's paws: it picks what is ripe here, or plants; nil: there is nothing to do.
function World:use(r)
   local thing, may_plant = self:around(r)
   if thing then return { kind = "pick", from = r.id, id = thing.id } end
   if not may_plant then return nil end
   r.planted = (r.planted or 0) + 1
   return { kind = "plant", from = r.id, id = ("%s.%d.%d"):format(r.id, r.born or 0, r.planted), what = "flower", x = math.floor(r.x),
      y = math.floor(r.y), age = 0, colour = r.colour }
end

-- ---- time ----

-- A pick is over: who won it has it in the basket. A parcel is a star at once.
local function finish_pick(self, thing)
   self.things[thing.id], self.count = nil, self.count - 1
   local r = self.rabbits[thing.by]
   self.on("pick", thing.x, thing.y, thing.colour)
   if not r or not r.is_ours then return end
   if thing.what == "parcel" then
      note_stars(self, r.id, self:stars_of(r.id) + 1, r.colour)
      self.on("star", r.x, r.y, r.colour)
   else
      r.carry = math.min(r.carry + 1, world.BASKET)
   end
end

local function pound(self, r)
   if r.carry == 0 or distance(r, world.MORTAR) > 62 then return end
   note_stars(self, r.id, self:stars_of(r.id) + r.carry, r.colour)
   for _ = 1, r.carry do self.on("star", world.MORTAR.x, world.MORTAR.y, r.colour) end
   r.carry = 0
end

local function step_rabbit(self, r, dt)
   if r.is_ours then
      r.heard = self.now
      pound(self, r)
   else
      local near = 1 - math.exp(-dt * 12)
      r.is_moving = math.abs(r.tx - r.x) + math.abs(r.ty - r.y) > 2
      r.x, r.y = r.x + (r.tx - r.x) * near, r.y + (r.ty - r.y) * near
   end
   if r.is_moving or r.phase % 1 > 0.08 then r.phase = r.phase + dt * 2.6 else r.phase = 0 end
   if self.now - r.heard > VANISH then remove_rabbit(self, r) end
end

--- Time goes on.
function World:step(dt)
   self.now = self.now + dt
   for _, r in pairs(self.rabbits) do step_rabbit(self, r, dt) end
   for id, thing in pairs(self.things) do
      if thing.by and self.now - thing.pulled > PULLING then finish_pick(self, thing)
      elseif self.now - thing.born > world.LIFE then self.things[id], self.count = nil, self.count - 1 end
   end
   for id, at in pairs(self.taken) do
      if self.now - at > world.LIFE then self.taken[id] = nil end -- it would have withered by now
   end
end

return world
