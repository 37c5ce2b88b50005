--- sprites: all pictures of the game, drawn once by code: one atlas for what moves, one canvas for the moon.
-- SPDX-License-Identifier: MIT
local g = love.graphics

local sprites = { quads = {} }

local CELL = 160 -- pixels of a cell of the atlas; a rabbit is drawn at about a third of that
local WIDTH, HEIGHT = 800, 600

--- One colour for each rabbit.
sprites.colours = {
   { 1.00, 0.36, 0.38 }, { 0.25, 0.72, 1.00 }, { 1.00, 0.80, 0.25 }, { 0.45, 0.88, 0.50 },
   { 0.80, 0.52, 1.00 }, { 1.00, 0.58, 0.22 }, { 0.30, 0.90, 0.85 }, { 1.00, 0.55, 0.78 },
}

-- A disc whose colour goes from the middle to the rim.
local function disc(x, y, rx, ry, inner, outer)
   local vertices = { { x, y, 0, 0, unpack(inner) } }
   for i = 0, 48 do
      local a = i / 48 * 2 * math.pi
      vertices[#vertices + 1] = { x + math.cos(a) * rx, y + math.sin(a) * ry, 0, 0, unpack(outer) }
   end
   g.setColor(1, 1, 1)
   g.draw(g.newMesh(vertices, "fan", "static"))
end

local function oval(x, y, rx, ry, angle)
   g.push()
   g.translate(x, y)
   g.rotate(angle or 0)
   g.ellipse("fill", 0, 0, rx, ry, 32)
   g.pop()
end

-- ---- the rabbit: it looks to the right; (80, 140) is where it stands ----

local FUR, SHADE, PINK = { 0.97, 0.96, 0.98 }, { 0.80, 0.80, 0.90 }, { 1.0, 0.72, 0.76 }

local function ear(x, y, angle)
   g.setColor(SHADE)
   oval(x - 1, y, 9, 29, angle)
   g.setColor(FUR)
   oval(x + 1, y, 8, 28, angle)
   g.setColor(PINK)
   oval(x + 2, y + 2, 4, 20, angle)
end

local function face(x, y)
   g.setColor(FUR)
   oval(x, y, 27, 24)
   g.setColor(0.16, 0.13, 0.22)
   oval(x + 10, y - 4, 4.5, 6)
   g.setColor(1, 1, 1)
   oval(x + 11.5, y - 6.5, 1.7, 2.2)
   g.setColor(PINK)
   oval(x + 25, y + 4, 3.6, 2.8)
   g.setColor(1, 0.62, 0.68, 0.55)
   oval(x + 12, y + 8, 6, 4)
end

local function sitting()
   g.setColor(SHADE)
   oval(34, 122, 13, 12)
   oval(72, 114, 40, 30)
   g.setColor(FUR)
   oval(32, 119, 12, 11)
   oval(73, 111, 39, 28)
   g.setColor(SHADE)
   oval(60, 136, 25, 8)
   oval(102, 136, 13, 7)
   g.setColor(FUR)
   oval(61, 134, 24, 7)
   oval(103, 134, 12, 6)
   oval(57, 118, 23, 20)
   ear(86, 44, -0.18)
   ear(104, 42, 0.16)
   face(102, 82)
end

local function hopping()
   g.setColor(SHADE)
   oval(28, 104, 12, 11)
   oval(70, 102, 42, 25, -0.12)
   oval(32, 127, 20, 7, 0.6)
   oval(120, 124, 17, 6, -0.5)
   g.setColor(FUR)
   oval(27, 101, 11, 10)
   oval(71, 99, 41, 23, -0.12)
   oval(34, 124, 19, 6, 0.6)
   oval(121, 121, 16, 5, -0.5)
   ear(78, 50, -0.75)
   ear(94, 44, -0.45)
   face(107, 77)
end

-- White, so that it takes any colour.
local function scarf(x, y, tail)
   g.setColor(0.78, 0.78, 0.78)
   g.polygon("fill", x - 12, y + 2, x - 36 - tail, y + 4 + tail, x - 30 - tail, y + 20 + tail * 0.6, x - 6, y + 12)
   g.setColor(1, 1, 1)
   oval(x, y + 2, 23, 9, -0.1)
   g.setColor(0.88, 0.88, 0.88)
   oval(x - 2, y + 5, 19, 4, -0.1)
end

-- ---- plants and things; they stand at (80, 140) ----

local function leaves(height)
   g.setColor(0.20, 0.55, 0.42)
   g.setLineWidth(6)
   g.line(80, 140, 78, 140 - height * 0.5, 80, 140 - height)
   g.setColor(0.32, 0.75, 0.52)
   oval(64, 132 - height * 0.2, 19, 7, 0.5)
   oval(97, 130 - height * 0.25, 19, 7, -0.5)
end

local function petals(y, size)
   for i = 0, 5 do
      local a = i / 6 * 2 * math.pi + 0.5
      g.setColor(0.92, 0.92, 0.96)
      oval(80 + math.cos(a) * size, y + math.sin(a) * size, size * 0.78, size * 0.52, a)
   end
   g.setColor(1, 1, 1)
   oval(80, y, size * 0.75, size * 0.75)
end

local draw = {
   sit = sitting, hop = hopping,
   sit_scarf = function() scarf(92, 101, 0) end,
   hop_scarf = function() scarf(92, 96, 10) end,
   sprout = function()
      g.setColor(0.32, 0.75, 0.52)
      oval(70, 130, 14, 6, 0.6)
      oval(91, 129, 14, 6, -0.6)
   end,
   bud = function()
      leaves(52)
   end,
   bud_head = function()
      g.setColor(1, 1, 1)
      oval(80, 84, 12, 17)
   end,
   stem = function() leaves(74) end,
   bloom = function() petals(58, 22) end,
   heart = function()
      g.setColor(1, 0.86, 0.35)
      oval(80, 58, 12, 12)
      g.setColor(1, 0.95, 0.65)
      oval(77, 55, 5, 5)
   end,
   glow = function() disc(80, 80, 78, 78, { 1, 1, 1, 0.75 }, { 1, 1, 1, 0 }) end,
   shadow = function() disc(80, 80, 78, 78, { 0.05, 0.03, 0.15, 0.55 }, { 0.05, 0.03, 0.15, 0 }) end,
   star = function()
      local points = {}
      for i = 0, 9 do
         local a, r = i / 10 * 2 * math.pi - math.pi / 2, i % 2 == 0 and 70 or 30
         points[#points + 1] = 80 + math.cos(a) * r
         points[#points + 1] = 80 + math.sin(a) * r
      end
      g.setColor(1, 1, 1)
      for _, triangle in ipairs(love.math.triangulate(points)) do g.polygon("fill", triangle) end
   end,
   white = function()
      g.setColor(1, 1, 1)
      g.rectangle("fill", 20, 20, CELL - 40, CELL - 40)
   end,
   parcel = function()
      g.setColor(0.74, 0.52, 0.32)
      g.rectangle("fill", 42, 84, 76, 56, 6)
      g.setColor(0.84, 0.62, 0.40)
      g.rectangle("fill", 42, 84, 76, 18, 6)
   end,
   ribbon = function()
      g.setColor(1, 1, 1)
      g.rectangle("fill", 73, 84, 14, 56)
      g.rectangle("fill", 42, 100, 76, 10)
      oval(68, 78, 14, 8, 0.5)
      oval(92, 78, 14, 8, -0.5)
   end,
   parachute = function()
      g.setColor(0.9, 0.9, 0.9, 0.8)
      g.setLineWidth(2)
      for _, x in ipairs { 18, 60, 100, 142 } do g.line(x, 74, 80, 150) end
      g.setColor(1, 1, 1)
      g.arc("fill", 80, 76, 66, math.pi, 2 * math.pi)
      g.setColor(0.82, 0.82, 0.86)
      g.arc("fill", 80, 76, 66, math.pi * 1.33, math.pi * 1.67)
   end,
   mortar = function()
      g.setColor(0.36, 0.22, 0.16)
      g.polygon("fill", 34, 84, 126, 84, 112, 142, 48, 142)
      oval(80, 142, 33, 8)
      g.setColor(0.52, 0.33, 0.22)
      g.polygon("fill", 40, 86, 96, 86, 90, 142, 54, 142)
      g.setColor(0.66, 0.44, 0.29)
      oval(80, 84, 46, 15)
      g.setColor(0.25, 0.14, 0.12)
      oval(80, 85, 36, 10)
      g.setColor(0.98, 0.95, 0.90)
      oval(80, 87, 28, 7)
   end,
   pestle = function()
      g.setColor(0.62, 0.42, 0.28)
      g.rectangle("fill", 73, 10, 14, 80, 5)
      g.setColor(0.76, 0.55, 0.38)
      g.rectangle("fill", 66, 74, 28, 60, 9)
   end,
}

-- Draws in a canvas with smooth edges, and gives its picture.
local function painted(width, height, paint)
   local canvas = g.newCanvas(width, height, { msaa = 4 })
   g.push "all"
   g.origin()
   g.setCanvas(canvas)
   g.clear(0, 0, 0, 0)
   paint()
   g.pop()
   return canvas:newImageData()
end

-- The canvas has colours that are multiplied by their alpha, and a picture has not.
local function straighten(data)
   data:mapPixel(function(_, _, r, gr, b, a)
      if a > 0 and a < 1 then return math.min(r / a, 1), math.min(gr / a, 1), math.min(b / a, 1), a end
      return r, gr, b, a
   end)
   return data
end

-- The part of a cell that is not empty: who draws without a graphics card pays for each pixel.
local function bounds(data, x, y)
   local left, top, right, bottom = CELL, CELL, 0, 0
   for py = 0, CELL - 1 do
      for px = 0, CELL - 1 do
         local _, _, _, alpha = data:getPixel(x + px, y + py)
         if alpha > 0 then
            left, right, top, bottom = math.min(left, px), math.max(right, px), math.min(top, py), math.max(bottom, py)
         end
      end
   end
   return math.max(left - 2, 0), math.max(top - 2, 0), math.min(right + 3, CELL), math.min(bottom + 3, CELL)
end

local function make_atlas()
   local names, columns = {}, 6
   for name in pairs(draw) do names[#names + 1] = name end
   table.sort(names)
   local rows = math.ceil(#names / columns)
   local function corner(i) return (i - 1) % columns * CELL, math.floor((i - 1) / columns) * CELL end
   local data = painted(columns * CELL, rows * CELL, function()
      for i, name in ipairs(names) do
         g.push()
         g.translate(corner(i))
         draw[name]()
         g.pop()
      end
   end)
   for i, name in ipairs(names) do
      local x, y = corner(i)
      local left, top, right, bottom = bounds(data, x, y)
      if name == "white" then left, top, right, bottom = 40, 40, 120, 120 end -- smaller pictures of the atlas mix what is side by side
      sprites.quads[name] = { g.newQuad(x + left, y + top, right - left, bottom - top, columns * CELL, rows * CELL), left, top }
   end
   sprites.atlas = g.newImage(straighten(data), { mipmaps = true })
   sprites.atlas:setFilter("linear", "linear")
   sprites.atlas:setMipmapFilter "nearest"
end

-- ---- the moon ----

local function gradient(top, bottom, y1, y2)
   g.setColor(1, 1, 1)
   g.draw(g.newMesh({ { 0, y1, 0, 0, unpack(top) }, { WIDTH, y1, 0, 0, unpack(top) }, { WIDTH, y2, 0, 0, unpack(bottom) },
      { 0, y2, 0, 0, unpack(bottom) } }, "fan", "static"))
end

local function small_stars(random)
   for i = 1, 260 do
      local x, y = random:random(0, WIDTH), random:random(0, 330)
      local bright = 0.25 + random:random() * 0.6
      g.setColor(0.85, 0.88, 1, bright)
      g.circle("fill", x, y, i % 17 == 0 and 1.5 or 0.7 + random:random() * 0.3)
   end
end

local function earth(x, y, r)
   disc(x, y, r * 2.1, r * 2.1, { 0.35, 0.6, 1, 0.30 }, { 0.35, 0.6, 1, 0 })
   g.stencil(function() g.circle("fill", x, y, r, 64) end, "replace", 1)
   g.setStencilTest("greater", 0)
   disc(x - r * 0.3, y - r * 0.3, r * 1.6, r * 1.6, { 0.36, 0.66, 1 }, { 0.05, 0.16, 0.45 })
   g.setColor(0.36, 0.68, 0.42)
   oval(x - r * 0.35, y - r * 0.25, r * 0.42, r * 0.26, 0.5)
   oval(x - r * 0.15, y + r * 0.05, r * 0.22, r * 0.3, -0.2)
   oval(x - r * 0.05, y + r * 0.5, r * 0.22, r * 0.36, 0.3)
   oval(x + r * 0.55, y - r * 0.15, r * 0.32, r * 0.42, 0.4)
   g.setColor(1, 1, 1, 0.85)
   oval(x - r * 0.1, y - r * 0.62, r * 0.55, r * 0.08, 0.1)
   oval(x + r * 0.25, y + r * 0.22, r * 0.5, r * 0.07, -0.15)
   oval(x - r * 0.5, y + r * 0.3, r * 0.35, r * 0.06, 0.2)
   oval(x, y - r * 0.98, r * 0.4, r * 0.14)
   disc(x + r * 0.75, y + r * 0.55, r * 1.5, r * 1.5, { 0.02, 0.02, 0.12, 0.85 }, { 0.02, 0.02, 0.12, 0 })
   g.setStencilTest()
end

local function crater(x, y, r)
   local flat = 0.38
   g.setColor(1, 0.98, 0.92, 0.55)
   g.ellipse("fill", x, y + r * 0.07, r * 1.08, r * flat * 1.12, 48)
   disc(x, y, r, r * flat, { 0.66, 0.64, 0.72, 0.9 }, { 0.50, 0.49, 0.60, 0.95 })
   disc(x + r * 0.05, y + r * 0.12, r * 0.84, r * flat * 0.72, { 0.78, 0.76, 0.80, 1 }, { 0.68, 0.66, 0.73, 0.4 })
end

local function ground()
   g.stencil(function() g.ellipse("fill", 400, 1010, 1150, 730, 200) end, "replace", 1)
   g.setStencilTest("greater", 0)
   gradient({ 0.95, 0.92, 0.84 }, { 0.56, 0.55, 0.68 }, 270, HEIGHT)
   g.setColor(1, 1, 0.95, 0.5)
   g.setLineWidth(3)
   g.ellipse("line", 400, 1010, 1150, 730, 200)
   for _, c in ipairs { { 120, 318, 34 }, { 640, 312, 46 }, { 260, 345, 22 }, { 720, 400, 60 }, { 70, 440, 66 }, { 530, 352, 26 },
      { 250, 500, 54 }, { 590, 540, 84 }, { 400, 580, 40 }, { 140, 575, 46 }, { 420, 320, 16 }, { 770, 520, 34 } } do
      crater(c[1], c[2], c[3])
   end
   local random = love.math.newRandomGenerator(7)
   for _ = 1, 200 do
      local y = 300 + random:random() ^ 0.8 * 300
      g.setColor(0.45, 0.44, 0.55, 0.22)
      g.ellipse("fill", random:random(0, WIDTH), y, 1 + (y - 280) / 90, 0.6 + (y - 280) / 220)
   end
   g.setStencilTest()
   disc(400, 410, 150, 46, { 1, 0.93, 0.7, 0.40 }, { 1, 0.93, 0.7, 0 })
end

local function make_moon()
   local canvas = g.newCanvas(WIDTH, HEIGHT, { msaa = 4 })
   g.push "all"
   g.origin()
   g.setCanvas { canvas, stencil = true }
   g.clear(0, 0, 0, 1)
   gradient({ 0.035, 0.030, 0.125 }, { 0.22, 0.15, 0.42 }, 0, 330)
   disc(250, 170, 480, 130, { 0.55, 0.40, 0.85, 0.22 }, { 0.55, 0.40, 0.85, 0 })
   small_stars(love.math.newRandomGenerator(3))
   disc(400, 300, 620, 90, { 1, 0.85, 0.9, 0.28 }, { 1, 0.85, 0.9, 0 })
   earth(640, 128, 58) -- scene.lua keeps the stars away from it
   ground()
   g.pop()
   sprites.moon = g.newImage(canvas:newImageData())
   sprites.moon:setFilter("nearest", "nearest") -- mostly 1:1, and without a graphics card a mix costs a third of a frame
end

--- Draws all pictures, once.
function sprites.load()
   make_atlas()
   make_moon()
end

local function put(name, x, y, turn, sx, sy, from_x, from_y)
   local quad = sprites.quads[name]
   g.draw(sprites.atlas, quad[1], x, y, turn, sx, sy, from_x - quad[2], from_y - quad[3])
end

--- Draws one sprite whose feet are at (x, y); `size` is its height on the screen.
function sprites.put(name, x, y, size, flip, turn)
   local s = size / CELL
   put(name, x, y, turn or 0, s * (flip or 1), s, 80, 140)
end

--- The same around its middle.
function sprites.centre(name, x, y, size, turn)
   local s = size / CELL
   put(name, x, y, turn or 0, s, s, 80, 80)
end

--- The same, flattened, for shadows.
function sprites.flat(name, x, y, width, height) put(name, x, y, 0, width / CELL, height / CELL, 80, 80) end

--- A line, as a stretched sprite, so that it is drawn together with the others.
function sprites.line(x1, y1, x2, y2, width)
   local dx, dy = x2 - x1, y2 - y1
   put("white", (x1 + x2) / 2, (y1 + y2) / 2, math.atan2(dy, dx), math.sqrt(dx * dx + dy * dy) * 2 / CELL, width * 2 / CELL, 80, 80)
end

--- The moon and the sky, which cover all.
function sprites.background()
   g.setColor(1, 1, 1)
   g.setBlendMode("replace", "premultiplied") -- there is nothing to mix them with
   g.draw(sprites.moon)
   g.setBlendMode "alpha"
end

return sprites
