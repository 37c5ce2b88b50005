--- figure_svg: a picture as text; readable on light and on dark ground.
-- SPDX-License-Identifier: MIT
local Svg = {}
Svg.__index = Svg

-- Of each class: what it colours, on light and on dark ground.
local COLOURS = {
   { "ground", "fill", "#ffffff", "#12171e" },
   { "ours", "fill", "#b3541e", "#e8894a" },
   { "other", "fill", "#8a97a8", "#66748a" },
   { "grid", "stroke", "#dde2e8", "#2b333e" },
   { "axis", "stroke", "#8a97a8", "#66748a" },
}
-- Of each curve: line and label alike.
local CURVES = { { "#b3541e", "#e8894a" }, { "#2563a8", "#6fabec" }, { "#0b7d72", "#45c4b4" }, { "#69737f", "#a0abb8" },
   { "#7d4aa8", "#bd97e6" }, { "#5c7a12", "#a3c757" } }

local function rules(shade, curves)
   local out = {}
   for _, colour in ipairs(COLOURS) do out[#out + 1] = (".%s{%s:%s}"):format(colour[1], colour[2], colour[2 + shade]) end
   for i = 1, curves do
      out[#out + 1] = (".l%d{stroke:%s;fill:none} .c%d{fill:%s}"):format(i, CURVES[i][shade], i, CURVES[i][shade])
   end
   return table.concat(out, " ")
end

--- A picture.
-- @tparam number width
-- @tparam number height
-- @tparam string title for those who cannot see it
-- @tparam[opt=0] number curves how many colours of curves (classes l1, l2... for lines and c1, c2... for text)
function Svg.new(width, height, title, curves)
   local self = setmetatable({ lines = {} }, Svg)
   self:add('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">', width, height, width, height)
   self:add("<title>%s</title>", title)
   self:add([[<style>
 text{font-family:DejaVu Sans,Verdana,Helvetica,Arial,sans-serif;font-size:12px;fill:#1c2430} .h{font-weight:bold;font-size:13px}
 .tick{font-size:11px} .thin{stroke-width:1} .line{stroke-width:1.6;stroke-linejoin:round} .thick{stroke-width:2.8;stroke-linejoin:round}
 %s
 @media (prefers-color-scheme: dark) { text{fill:#e6ebf2} %s }
</style>]], rules(1, curves or 0), rules(2, curves or 0))
   self:add('<rect class="ground" width="%d" height="%d"/>', width, height)
   return self
end

-- A tenth of a unit is all that an eye sees: 62, 487.6.
local function short(x) return ("%g"):format(math.floor(x * 10 + 0.5) / 10) end

function Svg:add(format, ...) self.lines[#self.lines + 1] = format:format(...) end

--- Text at a place.
-- @tparam string what its attributes, such as `class="h"`; or ""
function Svg:text(x, y, what, format, ...)
   local text = format:format(...):gsub("[&<>]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;" })
   self:add('<text x="%s" y="%s"%s>%s</text>', short(x), short(y), what == "" and "" or " " .. what, text)
end

function Svg:line(class, x1, y1, x2, y2)
   self:add('<line class="%s" x1="%s" y1="%s" x2="%s" y2="%s"/>', class, short(x1), short(y1), short(x2), short(y2))
end

--- A curve through points.
-- @tparam table points x1, y1, x2, y2...
function Svg:curve(class, points)
   local texts = {}
   for i = 1, #points, 2 do texts[#texts + 1] = short(points[i]) .. "," .. short(points[i + 1]) end
   self:add('<polyline class="%s" points="%s"/>', class, table.concat(texts, " "))
end

function Svg:finish()
   return table.concat(self.lines, "\n") .. "\n</svg>\n"
end

return Svg
