--- scene: draws the world: the moon, what is on it, the stars that the rabbits have lit, and sparks.
-- SPDX-License-Identifier: MIT
local sprites = require "sprites"
local world = require "world"
local g = love.graphics

local scene = {}

local MOST_SPARKS = 250
local MOST_STARS = 160
local FIVE = 5
local MOST_NAMES = 12 -- in a crowd nobody could read them, and each costs a tenth of a millisecond without a graphics card
local EARTH = { x = 640, y = 128 }
local sparks, flights, clock = {}, {}, 0
local random = love.math.newRandomGenerator(os.time())
local small, plain, big

function scene.load()
   sprites.load()
   small, plain, big = g.newFont(11), g.newFont(14), g.newFont(30)
end

-- ---- sparks and flights ----

local function spark(x, y, colour, speed, life)
   if #sparks >= MOST_SPARKS then return end
   local a = random:random() * 2 * math.pi
   local v = speed * (0.4 + 0.6 * random:random())
   sparks[#sparks + 1] = { x = x, y = y, vx = math.cos(a) * v, vy = math.sin(a) * v * 0.7 - speed * 0.5, colour = colour, at = 0,
      life = life * (0.6 + 0.4 * random:random()) }
end

local function burst(x, y, colour, count, speed, life)
   for _ = 1, count do spark(x, y, colour, speed, life or 0.8) end
end

-- Where the n-th star of a rabbit is in the sky: the same in each window. Five stars are a constellation.
local function star_place(seed, n)
   local group = math.floor((n - 1) / FIVE)
   local a, b = (group * 0.618034 + seed) % 1, (group * 0.7548777 + seed * 7.31) % 1
   local turn, wide = n * 1.256637 + group * 2.4 + seed * 6, 15 + 17 * ((n * 0.381966 + seed) % 1)
   local x, y = 215 + a * 530, 82 + b * 150
   if (x - EARTH.x) ^ 2 + (y - EARTH.y) ^ 2 < 110 ^ 2 then x = x - 190 end
   return x + math.cos(turn) * wide * 1.5, y + math.sin(turn) * wide
end

local function seed_of(id)
   local seed = 0
   for i = 1, #id do seed = (seed * 31 + id:byte(i)) % 9973 end
   return seed * 0.618034 % 1 -- ids that are alike are far from each other
end

local tell = {}

function tell.star(x, y, colour)
   flights[#flights + 1] = { x = x, y = y - 30, from_x = x, from_y = y - 30, to_x = 200 + random:random() * 540,
      to_y = 70 + random:random() * 150, colour = colour, at = -0.12 * (#flights % 4) }
   scene.pound = clock
   burst(x, y - 34, colour, 10, 90)
end
function tell.pick(x, y, colour) burst(x, y - 16, colour, 10, 70, 0.6) end
function tell.plant(x, y) burst(x, y, 4, 5, 40, 0.5) end
tell.flower = tell.plant
function tell.parcel() end
function tell.come(x, y, colour) burst(x, y - 16, colour, 16, 90) end
function tell.go(x, y, colour) burst(x, y - 16, colour, 24, 60, 1.2) end
function tell.meteor(x, y) flights[#flights + 1] = { x = x + 300, y = -40, from_x = x + 300, from_y = -40, to_x = x, to_y = y,
   colour = 3, at = 0, is_meteor = true } end

--- Shows that something has happened.
function scene.on(what, x, y, colour)
   if tell[what] then tell[what](x, y, colour) end
end

local function step_flight(f, dt)
   f.at = f.at + dt / (f.is_meteor and 0.7 or 1.1)
   local t = math.max(f.at, 0)
   local bend = f.is_meteor and 0 or math.sin(t * math.pi) * 60
   f.x, f.y = f.from_x + (f.to_x - f.from_x) * t + bend, f.from_y + (f.to_y - f.from_y) * (1 - (1 - t) ^ 2)
   if t > 0 then spark(f.x, f.y, f.colour, 12, 0.5) end
   if f.at < 1 then return true end
   burst(f.to_x, f.to_y, f.colour, f.is_meteor and 40 or 14, f.is_meteor and 160 or 50)
end

--- Time goes on.
function scene.step(dt)
   clock = clock + dt
   for i = #sparks, 1, -1 do
      local s = sparks[i]
      s.at, s.x, s.y, s.vy = s.at + dt, s.x + s.vx * dt, s.y + s.vy * dt, s.vy + 60 * dt
      if s.at > s.life then
         sparks[i] = sparks[#sparks]
         sparks[#sparks] = nil
      end
   end
   for i = #flights, 1, -1 do
      if not step_flight(flights[i], dt) then table.remove(flights, i) end
   end
end

-- ---- what stands on the moon ----

local function depth(y) return 0.72 + 0.45 * (y - world.TOP) / (world.BOTTOM - world.TOP) end

local function draw_flower(thing, now)
   local age, size = now - thing.born, 72 * depth(thing.y)
   local x, y, sway = thing.x, thing.y, math.sin(now * 1.6 + thing.x) * 0.05
   if thing.by then size = size * 1.15 end
   local colour = sprites.colours[thing.colour]
   g.setColor(1, 1, 1)
   if age < world.RIPE * 0.35 then return sprites.put("sprout", x, y, size) end
   if age < world.RIPE then
      sprites.put("bud", x, y, size, 1, sway)
      g.setColor(colour)
      return sprites.put("bud_head", x, y, size, 1, sway)
   end
   sprites.put("stem", x, y, size, 1, sway)
   g.setColor(colour[1], colour[2], colour[3], 0.45)
   sprites.centre("glow", x, y - size * 0.5, size * 0.95)
   g.setColor(colour)
   sprites.put("bloom", x, y, size, 1, sway)
   g.setColor(1, 1, 1)
   sprites.put("heart", x, y, size, 1, sway)
end

local function draw_parcel(thing, now)
   local age, size = now - thing.born, 46 * depth(thing.y)
   local fall = math.max(1 - age / 2.5, 0)
   local x, y = thing.x + math.sin(age * 2) * 30 * fall, thing.y - fall * fall * 420
   local colour = sprites.colours[thing.colour]
   if fall > 0 then
      g.setColor(colour)
      sprites.put("parachute", x, y - size * 0.45, size * 1.5, 1, math.sin(age * 2) * 0.12)
   end
   g.setColor(1, 1, 1)
   sprites.put("parcel", x, y, size)
   g.setColor(colour)
   sprites.put("ribbon", x, y, size)
end

local function draw_rabbit(r, now)
   local d = depth(r.y)
   local size, lift = 104 * d, math.abs(math.sin(r.phase * math.pi))
   local pose = lift > 0.25 and "hop" or "sit"
   local y = r.y - lift * 20 * d
   local breath = pose == "sit" and math.sin(now * 3 + r.x * 0.1) * 0.6 or 0
   local colour = sprites.colours[r.colour]
   g.setColor(1, 1, 1)
   sprites.put(pose, r.x, y, size + breath, r.face)
   g.setColor(colour)
   sprites.put(pose .. "_scarf", r.x, y, size + breath, r.face)
   for i = 1, r.carry do
      local fx = r.x - r.face * (4 + (i - 2) * 11) * d
      g.setColor(colour)
      sprites.centre("bloom", fx, y - size * 0.28, size * 0.34)
      g.setColor(1, 1, 1)
      sprites.centre("heart", fx, y - size * 0.28, size * 0.34)
   end
end

local function draw_mortar()
   local since = clock - (scene.pound or -9)
   local beat = since < 0.9 and math.abs(math.cos(since * 10)) * (1 - since) or 0
   local m = world.MORTAR
   g.setColor(1, 1, 1)
   sprites.put("pestle", m.x + 6, m.y - 22 - beat * 34, 96, 1, 0.16)
   sprites.put("mortar", m.x, m.y + 14, 112)
   g.setColor(1, 0.9, 0.6, 0.35 + 0.15 * math.sin(clock * 2))
   sprites.centre("glow", m.x, m.y - 16, 90)
end

local function by_depth(a, b) return a.y < b.y end
local list = {}

local function collect(w)
   local n = 0
   for _, r in pairs(w.rabbits) do if not r.is_new then n = n + 1; list[n] = r end end
   for _, thing in pairs(w.things) do n = n + 1; list[n] = thing end
   n = n + 1
   list[n] = world.MORTAR
   for i = n + 1, #list do list[i] = nil end
   table.sort(list, by_depth)
end

local function draw_shadows()
   g.setColor(1, 1, 1)
   for _, one in ipairs(list) do
      local s = depth(one.y)
      if one == world.MORTAR then s = 1.9 elseif one.what then s = 0.5 * s end
      sprites.flat("shadow", one.x, one.y, s * 64, s * 21)
   end
end

local function draw_names(w)
   g.setFont(small)
   for _, r in ipairs(list) do
      if r.name and w.population <= MOST_NAMES then
         local width = small:getWidth(r.name)
         local x, y = math.floor(r.x - width / 2), math.floor(r.y + 7 * depth(r.y))
         g.setColor(0.08, 0.06, 0.2, 0.62)
         g.rectangle("fill", x - 5, y - 1, width + 10, 15, 7)
         g.setColor(sprites.colours[r.colour])
         g.print(r.name, x, y)
      end
   end
end

-- ---- the sky ----

local function draw_stars(colour, seed, first, last)
   local before_x, before_y
   for n = first, last do
      local x, y = star_place(seed, n)
      local twinkle = 0.75 + 0.25 * math.sin(clock * 2 + n * 1.7)
      g.setColor(colour[1], colour[2], colour[3], 0.45 * twinkle)
      sprites.centre("glow", x, y, 40)
      g.setColor(0.5 + colour[1] / 2, 0.5 + colour[2] / 2, 0.5 + colour[3] / 2, twinkle)
      sprites.centre("star", x, y, 13 + (n % 3) * 3)
      if before_x and (n - 1) % FIVE ~= 0 then
         g.setColor(colour[1], colour[2], colour[3], 0.4)
         sprites.line(before_x, before_y, x, y, 1.4)
      end
      before_x, before_y = x, y
   end
end

-- The latest ones, if there are too many.
local function draw_sky(w)
   local rabbits = 0
   for _ in pairs(w.stars) do rabbits = rabbits + 1 end
   local most = math.max(FIVE, math.floor(MOST_STARS / math.max(rabbits, 1)))
   local left = MOST_STARS
   for id, star in pairs(w.stars) do
      local count = math.min(star.count, most, left)
      left = left - count
      draw_stars(sprites.colours[star.colour], seed_of(id), star.count - count + 1, star.count)
   end
end

local function draw_sparks()
   for _, f in ipairs(flights) do
      local colour = sprites.colours[f.colour]
      g.setColor(colour[1], colour[2], colour[3], 0.8)
      sprites.centre("glow", f.x, f.y, f.is_meteor and 70 or 36)
      g.setColor(1, 1, 0.9)
      sprites.centre("star", f.x, f.y, f.is_meteor and 30 or 16, clock * 4)
   end
   for _, s in ipairs(sparks) do
      local c, left = sprites.colours[s.colour], 1 - s.at / s.life
      g.setColor(c[1], c[2], c[3], left)
      sprites.centre("glow", s.x, s.y, 4 + 10 * left)
   end
end

--- Draws the world.
function scene.draw(w)
   sprites.background()
   draw_sky(w)
   collect(w)
   draw_shadows()
   for _, one in ipairs(list) do
      if one == world.MORTAR then draw_mortar()
      elseif one.what == "parcel" then draw_parcel(one, w.now)
      elseif one.what then draw_flower(one, w.now)
      else draw_rabbit(one, w.now) end
   end
   draw_sparks()
   draw_names(w)
end

scene.fonts = function() return small, plain, big end

return scene
