--- Tests the game in C (examples/hosts/sdl) on a screen that nobody sees: two windows, a broker that goes and comes, and the end.
-- SPDX-License-Identifier: MIT
-- Feature: the game in examples/hosts/sdl
local broker = require "broker"
local mr = require "moonrabbit"
local page = require "page"
local process = require "process"
local screen = require "screen"

local GARDEN = broker.command:gsub("bin/moonrabbit$", "example/garden")
local BLUE, RED, GREEN, SKY, ORANGE = "40b8ff", "ff5c61", "40db78", "73b8ff", "ff9e33" -- rabbits 2 and 1; three states

local games = {}

local function start(url, arguments)
   games[#games + 1] = screen.start(("%s %s %s"):format(GARDEN, url, arguments))
   return games[#games]
end

-- The middle of the body of a rabbit that sits at x, y.
local function body(picture, x, y) return picture:colour(x - 4, y - 16) end

-- The colour of the badge's dot, which is to the left of the words.
local function badge(picture)
   local ground = "181430"
   for x = 400, 790 do
      local c = picture:colour(x, 26)
      if c == ground then
         for k = x, x + 30 do
            if picture:colour(k, 26) ~= ground then return picture:colour(k + 4, 26) end
         end
      end
   end
end

-- A window of this test: a channel, and the list of what it hears.
local function listen(url)
   local ch = assert(broker.connect { url = url }:channel())
   assert(ch:exchange_declare { exchange = "moonrabbit.garden", type = "topic", auto_delete = true })
   local q = assert(ch:queue_declare { exclusive = true }).queue
   assert(ch:queue_bind { queue = q, exchange = "moonrabbit.garden", routing_key = "all.#" })
   local heard = {}
   assert(ch:consume(q, function(msg) heard[#heard + 1] = msg.body end, { no_ack = true }))
   return ch, heard
end

local function count(heard, pattern)
   local n = 0
   for _, text in ipairs(heard) do n = n + (text:find(pattern) and 1 or 0) end
   return n
end

local function hears(heard, pattern, times)
   local before = count(heard, pattern)
   broker.eventually(pattern, function() return count(heard, pattern) >= before + times end)
end

local function tell(ch, kind, ...)
   assert(ch:publish("moonrabbit.garden", ("all.%s.tester"):format(kind), table.concat({ kind, "tester", ... }, "\t")))
end

-- Ends a game; its picture and what it said.
local function leave(game, path)
   game:signal "TERM"
   local out, code = game:wait()
   assert.equal(0, code, out)
   return screen.picture(path), out
end

local function shown(out)
   local p50, p99, longest, ms, frames = out:match
      "p50 ([%d.]+) ms, p99 ([%d.]+) ms, longest ([%d.]+) ms.*left in (%d+) ms and (%d+) frames"
   return tonumber(p50), tonumber(p99), tonumber(longest), tonumber(ms), tonumber(frames)
end

describe("the game in C", function()
   setup(screen.begin)
   teardown(screen.finish)
   after_each(function()
      for _, game in ipairs(games) do
         if not game.has_ended then
            game:signal "KILL"
            game:wait()
         end
      end
      games = {}
      broker.close_all()
   end)

   it("has a short example on the page, which builds, lights its lamp, and ends", function()
      local folder = broker.shell("mktemp -d"):match "%S+"
      local f = assert(io.open(folder .. "/lamp.c", "w"))
      f:write(page.program "lamp.c")
      f:close()
      local root = broker.command:match "^(.*)/%.build/"
      local library = os.getenv "MOONRABBIT_LIBRARY"
      local out, code = broker.shell(("cc -std=c11 -Wall -Wextra -Werror -I%s/runtime/include $(sdl2-config --cflags) %s/lamp.c "
         .. "-o %s/lamp %s -Wl,-rpath,%s $(sdl2-config --libs)"):format(root, folder, folder, library, library:match "^(.*)/"))
      assert.equal(0, code, out)
      local lamp = screen.start(folder .. "/lamp " .. broker.tcp_url)
      games[#games + 1] = lamp
      lamp:says "light 200"
      assert.equal(0, (select(2, lamp:stop())))
      os.execute("rm -r " .. folder)
   end)

   it("shows the rabbits of two windows and the flowers of a third, which speaks as the one in LÖVE does", function()
      local ch, heard = listen(broker.tcp_url)
      local anna_path, ben_path = os.tmpname(), os.tmpname()
      local anna = start(broker.tcp_url, "--name Anna --colour 2 --at 200,480 --shot " .. anna_path)
      local ben = start(broker.tcp_url, "--name Ben --colour 1 --at 600,500 --shot " .. ben_path)
      hears(heard, "^hop\t%x+\tAnna\t2\t200\t480\t1\t0\t0$", 1)
      hears(heard, "^hop\t%x+\tBen\t1\t600\t500\t1\t0\t0$", 1)
      assert.is_true(count(heard, "^hello\t%x+$") == 2 and count(heard, "^snapshot\t%x+") == 2)
      tell(ch, "plant", "tester.1.1", "flower", "400", "520", "60", "3")
      tell(ch, "plant", "tester.1.2", "flower", "300", "520", "60", "3")
      tell(ch, "pick", "tester.1.2")
      for _, nonsense in ipairs { "", "\t\t\t", "hop\tx", "hop\tx\ty\tred\tnan\tinf\t1e99\t0\t0", ("x"):rep(5000), "snapshot",
         "plant\tx\ty" } do
         assert(ch:publish("moonrabbit.garden", "all.hop.x", nonsense))
      end
      hears(heard, "\tAnna\t", 2) -- they have handled what came before
      hears(heard, "\tBen\t", 2)
      local picture, out = leave(anna, anna_path)
      assert.same({ BLUE, RED }, { body(picture, 200, 480), body(picture, 600, 500) })
      assert.equal(GREEN, badge(picture))
      assert.equal("ffeb82", picture:colour(400, 504)) -- the middle of a flower in bloom
      assert.not_equal("ffeb82", picture:colour(300, 504))
      hears(heard, "\tBen\t", 1)
      picture = leave(ben, ben_path)
      assert.equal(RED, body(picture, 600, 500))
      assert.not_equal(BLUE, body(picture, 200, 480)) -- Anna has said good-bye
      local p50, p99, longest, ms, frames = shown(out)
      print(("note: SDL: frames p50 %.2f, p99 %.2f, longest %.2f ms; left in %d ms"):format(p50, p99, longest, ms))
      assert.is_true(ms < 1000 and frames >= 1, out)
   end)

   it("works alone on memory://: it plants, and says that it is offline", function()
      local path = os.tmpname()
      local out, code = start("memory://", "--walk --seconds 2 --name Solo --colour 2 --at 300,450 --shot " .. path):wait()
      assert.equal(0, code, out)
      assert.truthy(out:gsub("\nleaving\n", "\n"):find("^connecting\noffline\nleft\n%d+ frames"), out) -- it may leave within a frame
      assert.equal(SKY, badge(screen.picture(path)))
   end)

   it("goes on without its broker, says so on the screen, and is in touch again when that is back", function()
      local path = os.tmpname()
      local own = process.start(broker.command .. " broker --listen 127.0.0.1:0")
      own:says "amqp://"
      local port = own:output():match "127%.0%.0%.1:(%d+)"
      local url = ("amqp://guest:guest@127.0.0.1:%s/"):format(port)
      local game = start(url, "--name Anna --colour 2 --at 200,480 --shot " .. path)
      local lonely_path = os.tmpname()
      local lonely = start(url, "--name Ben --colour 1 --at 600,500 --shot " .. lonely_path)
      game:says "connected"
      lonely:says "connected"
      own:stop()
      game:says "retrying"
      lonely:says "retrying"
      local picture, out = leave(lonely, lonely_path)
      assert.equal(ORANGE, badge(picture))
      assert.equal(RED, body(picture, 600, 500))
      local _, _, _, ms = shown(out)
      assert.is_true(ms < 1000, out)
      own = process.start(("%s broker --listen 127.0.0.1:%s"):format(broker.command, port))
      own:says "amqp://"
      game:says("connected", 2)
      local _, heard = listen(url)
      hears(heard, "\tAnna\t", 1)
      assert.equal(GREEN, badge((leave(game, path))))
      broker.close_all()
      own:stop()
   end)

   it("waits for a broker that is not there yet", function()
      local port = 20000 + os.time() % 10000
      local url = ("amqp://guest:guest@127.0.0.1:%d/"):format(port)
      local game = start(url, "--name Anna")
      game:says "retrying"
      local own = process.start(("%s broker --listen 127.0.0.1:%d"):format(broker.command, port))
      game:says "connected"
      assert.equal(0, (select(2, game:stop())))
      own:stop()
   end)

   it("leaves within half a second, frame by frame, also while its broker hangs", function()
      local own = process.start(broker.command .. " broker --listen 127.0.0.1:0")
      own:says "amqp://"
      local url = ("amqp://guest:guest@127.0.0.1:%s/"):format(own:output():match "127%.0%.0%.1:(%d+)")
      local game = start(url, "--name Anna")
      game:says "connected"
      own:signal "STOP"
      mr.sleep(0.05)
      local out, code = game:stop()
      own:signal "CONT"
      assert.equal(0, code, out)
      local _, _, _, ms, frames = shown(out)
      assert.is_true(ms >= 400 and ms < 1500 and frames >= 5, out)
      own:stop()
   end)

   it("says what is wrong with its arguments, its broker's name, and its screen", function()
      local out, code = start("", "--colour 9"):wait()
      assert.same({ 2, 1 }, { code, (out:find("usage: garden", 1, true)) })
      out, code = start("amqp://localhost:port", ""):wait()
      assert.equal(1, code)
      assert.truthy(out:find("port", 1, true), out)
      out, code = process.start(GARDEN .. " memory://", "DISPLAY=:999 SDL_VIDEODRIVER=x11"):wait()
      assert.equal(1, code)
      assert.truthy(out:find("no window", 1, true), out)
   end)
end)
