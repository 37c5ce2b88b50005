--- figure_bars: groups of bars.
-- SPDX-License-Identifier: MIT
local page = require "figure_page"
local bars = {}

local LEFT, BAR, ROW, HEAD = 150, 480, 22, 38
bars.WIDTH = 760

--- How high a group is.
-- @tparam table group a title and a list `bars`
function bars.height(group) return HEAD + #group.bars * ROW end

--- The largest figure of several groups.
function bars.most(groups)
   local most = 0
   for _, group in ipairs(groups) do
      for _, bar in ipairs(group.bars) do most = math.max(most, page.number(bar.text)) end
   end
   return most
end

--- Draws a group.
-- @tparam table canvas figure_svg
-- @tparam table group title, unit (what is written behind each figure), bars: each with label, text (the figure), is_ours
-- @tparam number y of its title
-- @tparam number most the figure whose bar is the longest
function bars.draw(canvas, group, y, most)
   canvas:text(16, y, 'class="h"', "%s", group.title)
   for i, bar in ipairs(group.bars) do
      local top = y + 10 + (i - 1) * ROW
      local length = math.max(1, page.number(bar.text) / most * BAR)
      canvas:text(LEFT - 8, top + 13, 'text-anchor="end"', "%s", bar.label)
      canvas:add('<rect x="%d" y="%d" width="%.1f" height="16" rx="%d" class="%s"/>', LEFT, top, length, length < 4 and 0 or 2,
         bar.is_ours and "ours" or "other")
      canvas:text(LEFT + length + 6, top + 13, "", "%s%s", bar.text, group.unit or "")
   end
end

return bars
