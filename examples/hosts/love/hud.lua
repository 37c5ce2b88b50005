--- hud: what is written over the world: the connection's badge, the scores, and the keys.
-- SPDX-License-Identifier: MIT
local scene = require "scene"
local sprites = require "sprites"
local g = love.graphics

local hud = {}

hud.GOAL = 30 -- stars for a feast
local HELP = 14 -- seconds for which the keys are shown
local FEAST = 7 -- seconds

hud.COLOURS = {
   connected = { 0.25, 0.86, 0.47 }, memory = { 0.45, 0.72, 1 }, connecting = { 1, 0.80, 0.30 }, retrying = { 1, 0.62, 0.20 },
   lost = { 1, 0.40, 0.36 }, blocked = { 1, 0.62, 0.20 }, failed = { 1, 0.40, 0.36 },
}

local feast_at, feasts

--- The badge's words and the name of its colour.
function hud.badge(status, now)
   if status.state == "connected" then
      if status.host:match "^memory:" then return "offline, with bots", "memory" end
      return "connected to " .. status.host, "connected"
   end
   if status.state == "retrying" then
      local left = math.max((status.delay or 0) - (now - status.since), 0)
      return ("no broker: try %d in %.1f s"):format((status.attempt or 0) + 1, left), "retrying"
   end
   if status.state == "lost" then return "connection lost", "lost" end
   if status.state == "blocked" then return "the broker takes nothing now", "blocked" end
   if status.state == "failed" then return "not connected: see the log", "failed" end
   return "connecting to " .. status.host, "connecting"
end

local function pill(x, y, width, height)
   g.setColor(0.06, 0.05, 0.17, 0.72)
   g.rectangle("fill", x, y, width, height, height / 2)
end

local function draw_badge(status, now)
   local _, plain = scene.fonts()
   local text, name = hud.badge(status, now)
   local colour, width = hud.COLOURS[name], plain:getWidth(text) + 44
   local x = 788 - width
   pill(x, 12, width, 28)
   g.setColor(colour)
   g.circle("fill", x + 17, 26, 6)
   if name ~= "connected" and name ~= "memory" then
      g.setColor(colour[1], colour[2], colour[3], 0.5 + 0.5 * math.sin(now * 6))
      g.circle("line", x + 17, 26, 9)
   end
   g.setColor(0.93, 0.93, 1)
   g.setFont(plain)
   g.print(text, x + 30, 18)
end

local rows = {}
local function by_stars(a, b)
   if a.stars ~= b.stars then return a.stars > b.stars end
   return a.name < b.name
end

local function draw_scores(w)
   local small, plain = scene.fonts()
   local n = 0
   for id, r in pairs(w.rabbits) do
      n = n + 1
      rows[n] = { name = r.name, colour = r.colour, stars = w:stars_of(id), is_me = r == w.me }
   end
   for i = n + 1, #rows do rows[i] = nil end
   table.sort(rows, by_stars)
   local shown = math.min(n, 6)
   g.setColor(0.06, 0.05, 0.17, 0.66)
   g.rectangle("fill", 12, 12, 158, 34 + 19 * shown, 12)
   g.setColor(1, 0.92, 0.62)
   sprites.centre("star", 30, 28, 20)
   g.setFont(plain)
   g.print(("%d of %d"):format(w:lit() % hud.GOAL, hud.GOAL), 46, 20)
   g.setColor(1, 0.92, 0.62, 0.25)
   g.rectangle("fill", 112, 25, 46, 6, 3)
   g.setColor(1, 0.92, 0.62)
   local done = w:lit() % hud.GOAL / hud.GOAL
   if done > 0 then g.rectangle("fill", 112, 25, math.max(46 * done, 6), 6, 3) end
   g.setFont(small)
   for i = 1, shown do
      local row, y = rows[i], 24 + 19 * i
      g.setColor(sprites.colours[row.colour])
      g.circle("fill", 29, y + 7, 5)
      g.setColor(0.93, 0.93, 1, row.is_me and 1 or 0.75)
      g.print(row.name .. (row.is_me and " (you)" or ""), 42, y)
      g.printf(tostring(row.stars), 112, y, 46, "right")
   end
end

-- Each thirty stars there is a feast.
local function draw_feast(w, now)
   local count = math.floor(w:lit() / hud.GOAL)
   if feasts and count > feasts then feast_at = now end
   feasts = count
   local since = feast_at and now - feast_at
   if not since or since > FEAST then return end
   local _, _, big = scene.fonts()
   for i = 1, 14 do
      local t = (since / FEAST + i * 0.618) % 1
      local c = sprites.colours[i % 8 + 1]
      local x, y = 30 + i * 53 + math.sin(since + i) * 14, 560 - t * 560
      g.setColor(c[1], c[2], c[3], 0.5)
      sprites.centre("glow", x, y, 70)
      g.setColor(c[1], c[2], c[3], 0.95)
      g.rectangle("fill", x - 9, y - 12, 18, 24, 6)
      g.setColor(1, 0.95, 0.7, 0.8)
      g.rectangle("fill", x - 4, y - 6, 8, 14, 4)
   end
   g.setFont(big)
   g.setColor(1, 0.95, 0.75, math.min(1, FEAST - since))
   g.printf("The sky is lit. Feast!", 0, 250, 800, "center")
end

local function draw_help(age)
   if age > HELP then return end
   local _, plain = scene.fonts()
   local text = "arrows or mouse: hop    space: plant, pick    full basket: to the mortar    F3: figures"
   local alpha = math.min(1, (HELP - age) / 2)
   g.setFont(plain)
   local width = plain:getWidth(text) + 36
   g.setColor(0.06, 0.05, 0.17, 0.72 * alpha)
   g.rectangle("fill", 400 - width / 2, 564, width, 26, 13)
   g.setColor(0.93, 0.93, 1, alpha)
   g.printf(text, 0, 569, 800, "center")
end

local function draw_figures(figures)
   local small = scene.fonts()
   g.setFont(small)
   pill(12, 566, 268, 22)
   g.setColor(0.93, 0.93, 1)
   g.print(("%d messages/s   poll %.2f ms   %d frames/s"):format(figures.rate, figures.poll * 1000, love.timer.getFPS()), 24, 570)
end

--- Draws it all.
-- @tparam world w
-- @tparam table status of wire
-- @tparam number now seconds
-- @tparam table figures rate and poll; is_shown
function hud.draw(w, status, now, figures)
   draw_feast(w, now)
   draw_scores(w)
   draw_badge(status, now)
   if figures.is_shown then draw_figures(figures) else draw_help(w.now) end
end

return hud
