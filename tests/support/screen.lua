--- screen: a screen that nobody sees (Xvfb), for programs with a window, and the pictures that they write.
-- SPDX-License-Identifier: MIT
local broker = require "broker"
local process = require "process"

local screen = {}

local server

--- Starts the screen.
function screen.begin()
   server = process.start "Xvfb -displayfd 1 -screen 0 1024x768x24 -nolisten tcp"
   -- Its number is a line of its own; on a busy machine warnings may come before it.
   server.number = broker.eventually("the screen", function() return ("\n" .. server:output()):match "\n(%d+)\n" end)
end

--- Ends it, and what draws there.
function screen.finish()
   server:stop()
   process.end_all()
end

--- Starts a program that draws there.
-- @tparam string command
-- @treturn process
function screen.start(command)
   return process.start(command, ("DISPLAY=:%s SDL_VIDEODRIVER=x11 SDL_RENDER_DRIVER=software SDL_FRAMEBUFFER_ACCELERATION=0"):format(
      server.number))
end

local Picture = {}
Picture.__index = Picture

local function number(text, at, size)
   local sum = 0
   for i = size - 1, 0, -1 do sum = sum * 256 + text:byte(at + 1 + i) end
   return sum
end

--- Reads a BMP file of 24 bits, and removes it.
-- @treturn picture fields width and height; method colour
function screen.picture(path)
   local f = assert(io.open(path, "rb"))
   local text = f:read "*a"
   f:close()
   os.remove(path)
   assert(text:sub(1, 2) == "BM" and number(text, 28, 2) == 24, "no BMP of 24 bits")
   return setmetatable({ text = text, from = number(text, 10, 4), width = number(text, 18, 4), height = number(text, 22, 4) }, Picture)
end

--- The colour at a place, as "rrggbb".
function Picture:colour(x, y)
   local row = math.ceil(self.width * 3 / 4) * 4
   local at = self.from + (self.height - 1 - y) * row + x * 3
   local b, g, r = self.text:byte(at + 1, at + 3)
   return ("%02x%02x%02x"):format(r, g, b)
end

return screen
