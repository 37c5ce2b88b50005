--- figure_curves: curves in a frame with two axes.
-- SPDX-License-Identifier: MIT
local curves = {}

curves.LEFT, curves.RIGHT, curves.PLOT, curves.HEIGHT = 70, 590, 220, 290 -- of a panel: the frame's edges, its height, and the whole's
local LABEL = 15                   -- between two names beside the frame

--- A panel: its title, its frame, the lines of both axes with their figures.
-- @tparam table canvas figure_svg
-- @tparam number y of its title
-- @tparam table panel title, x and y: axes with from, to, ticks ({ place, text } each) and name
-- @treturn function that turns a place on both axes into one on the canvas
function curves.frame(canvas, y, panel)
   local left, right, top, bottom = curves.LEFT, curves.RIGHT, y + 14, y + 14 + curves.PLOT
   local ax, ay = panel.x, panel.y
   local function place(px, py)
      return left + (px - ax.from) / (ax.to - ax.from) * (right - left), bottom - (py - ay.from) / (ay.to - ay.from) * (bottom - top)
   end
   canvas:text(16, y, 'class="h"', "%s", panel.title)
   for _, tick in ipairs(ax.ticks) do
      local x = place(tick[1], ay.from)
      canvas:line("grid thin", x, top, x, bottom)
      canvas:text(x, bottom + 16, 'class="tick" text-anchor="middle"', "%s", tick[2])
   end
   for _, tick in ipairs(ay.ticks) do
      local _, at = place(ax.from, tick[1])
      canvas:line("grid thin", left, at, right, at)
      canvas:text(left - 8, at + 4, 'class="tick" text-anchor="end"', "%s", tick[2])
   end
   canvas:line("axis thin", left, bottom, right, bottom)
   canvas:line("axis thin", left, top, left, bottom)
   canvas:text((left + right) / 2, bottom + 34, 'text-anchor="middle"', "%s", ax.name)
   return place
end

-- Names stand at the height of their curve's end, or as near as the others let them.
local function spread(ends, top, bottom)
   table.sort(ends, function(a, b) return a.y < b.y end)
   for i, one in ipairs(ends) do
      one.at = math.max(one.y, top)
      if i > 1 then one.at = math.max(one.at, ends[i - 1].at + LABEL) end
   end
   for i = #ends, 1, -1 do
      ends[i].at = math.min(ends[i].at, i == #ends and bottom or ends[i + 1].at - LABEL)
   end
end

--- Draws curves, and their names to the right of the frame.
-- @tparam table list each with name, colour (1, 2...), points (places on the axes: x1, y1, x2, y2...), is_ours
-- @tparam function place as from curves.frame
-- @tparam number y of the panel's title
function curves.draw(canvas, list, place, y)
   local ends = {}
   for i = #list, 1, -1 do         -- the first on top of the others
      local curve, points = list[i], {}
      for k = 1, #curve.points, 2 do points[k], points[k + 1] = place(curve.points[k], curve.points[k + 1]) end
      canvas:curve(("l%d %s"):format(curve.colour, curve.is_ours and "thick" or "line"), points)
      ends[#ends + 1] = { x = points[#points - 1], y = points[#points], curve = curve }
   end
   spread(ends, y + 14, y + 14 + curves.PLOT)
   for _, one in ipairs(ends) do
      canvas:curve(("l%d thin"):format(one.curve.colour), { one.x, one.y, curves.RIGHT + 14, one.at })
      canvas:text(curves.RIGHT + 18, one.at + 4, ('class="c%d%s"'):format(one.curve.colour, one.curve.is_ours and " h" or ""),
         "%s", one.curve.name)
   end
end

return curves
