--- love: games in LÖVE on a screen that nobody sees, and what is on their pictures.
-- SPDX-License-Identifier: MIT
local broker = require "broker"
local process = require "process"

local love = {}

local ROOT = debug.getinfo(1, "S").source:match "^@(.*)/tests/support/love%.lua$"
love.FOLDER = ROOT .. "/examples/hosts/love"

local screen, home

--- Starts the screen (Xvfb), and makes a folder for pictures and for what LÖVE writes.
function love.begin()
   home = broker.shell("mktemp -d"):match "%S+"
   screen = process.start "Xvfb -displayfd 1 -screen 0 1700x700x24 -nolisten tcp"
   love.display = broker.eventually("the screen", function() return ("\n" .. screen:output()):match "\n(%d+)\n" end) -- after warnings
   love.home = home
end

--- Ends it.
function love.finish()
   process.end_all()
   os.execute("rm -rf '" .. home .. "'")
end

--- Starts a game.
-- @tparam table opts name, colour, url, demo, bots (of the game); place (folder or archive; default: the folder of the example), clean
-- (true: neither LUA_PATH nor MOONRABBIT_LIBRARY), environment
function love.start(opts)
   local words = { "love", ("'%s'"):format(opts.place or love.FOLDER) }
   if opts.url then words[#words + 1] = ("'%s'"):format(opts.url) end
   for _, name in ipairs { "name", "colour", "bots", "demo", "orders", "queue" } do
      if opts[name] then words[#words + 1] = ('--%s "%s"'):format(name, opts[name]) end
   end
   local environment = ("DISPLAY=:%s HOME='%s' XDG_DATA_HOME='%s' ALSOFT_DRIVERS=null %s"):format(love.display, home, home,
      opts.environment or "")
   if opts.clean then environment = "env -u LUA_PATH -u MOONRABBIT_LIBRARY " .. environment end
   local script = os.tmpname() -- quotes within quotes would not do
   local file = assert(io.open(script, "w"))
   file:write("rm -f ", script, "\ncd /\n", "exec ", table.concat(words, " "), "\n")
   file:close()
   return process.start("sh " .. script, environment)
end

--- Where a picture goes.
function love.path(name) return ("%s/%s.png"):format(home, name) end

local Picture = {}
Picture.__index = Picture

--- Waits for a picture of a game, and reads it.
function love.picture(name)
   local path = love.path(name)
   broker.eventually("the picture " .. name, function()
      local file = io.open(path)
      return file and file:close()
   end, 60)
   local pipe = assert(io.popen(("convert '%s' -depth 8 rgb:-"):format(path)))
   local bytes = pipe:read "*a"
   pipe:close()
   assert(#bytes == 800 * 600 * 3, "not a picture of 800 x 600 but " .. #bytes .. " bytes")
   return setmetatable({ bytes = bytes, path = path }, Picture)
end

--- How many pixels of a rectangle have a colour, each part within `near` (20) of it.
-- @tparam table colour three numbers from 0 to 1
function Picture:count(colour, x1, y1, x2, y2, near)
   near = near or 20
   local r, g, b = colour[1] * 255, colour[2] * 255, colour[3] * 255
   local count, abs, bytes = 0, math.abs, self.bytes
   for y = math.max(y1, 0), math.min(y2, 599) do
      local at = (y * 800 + x1) * 3 + 1
      for _ = math.max(x1, 0), math.min(x2, 799) do
         local pr, pg, pb = bytes:byte(at, at + 2)
         if abs(pr - r) <= near and abs(pg - g) <= near and abs(pb - b) <= near then count = count + 1 end
         at = at + 3
      end
   end
   return count
end

return love
