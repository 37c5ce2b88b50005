--- cli.progress: a bar on a terminal, with rate and time left, for what lasts over a second.
-- SPDX-License-Identifier: MIT
local terminal = require "moonrabbit.cli.terminal"

local progress = {}

local WIDTH = 24           -- of the bar
local FIRST, EACH = 1, 0.2 -- seconds until it is shown, and between two of its states
local ERASE = "\r\27[K"

local function clock(seconds)
   seconds = math.ceil(seconds)
   if seconds >= 3600 then return ("%d:%02d:%02d"):format(seconds / 3600, seconds / 60 % 60, seconds % 60) end
   return ("%d:%02d"):format(seconds / 60, seconds % 60)
end

--- The line of a state.
-- @tparam number done
-- @tparam ?number total nil: nobody knows
-- @tparam number seconds since it began
-- @treturn string
function progress.line(done, total, seconds)
   local rate = seconds > 0 and done / seconds or 0
   if not total or total <= 0 then return ("%d  %.0f/s  %s"):format(done, rate, clock(seconds)) end
   local share = math.min(done / total, 1)
   local full = math.floor(share * WIDTH)
   local left = rate > 0 and clock((total - math.min(done, total)) / rate) .. " left" or "?"
   return ("[%s%s] %d/%d  %.0f/s  %s"):format(("#"):rep(full), ("-"):rep(WIDTH - full), done, total, rate, left)
end

--- A bar; silent where standard error is no terminal.
-- @tparam function now the clock
-- @tparam ?number total
-- @treturn table methods: show(done), clear()
function progress.new(now, total)
   local began, shown, is_terminal = now(), nil, terminal.is_terminal(2)
   local self = {}
   function self.show(done)
      local time = is_terminal and now()
      if not time or time - began < FIRST or shown and time - shown < EACH then return end
      shown = time
      io.stderr:write(ERASE, progress.line(done, total, time - began))
      io.stderr:flush()
   end
   function self.clear()
      if shown then io.stderr:write(ERASE) end
   end
   return self
end

return progress
