--- The game in LÖVE, on a screen that nobody sees: two windows with one world, a broker that goes and comes back, restart and end.
-- Feature: the example game, as it is played
local broker = require "broker"
local love = require "love"
local mr = require "moonrabbit"
local process = require "process"
local screen = require "screen"

local eventually = broker.eventually
local RED, BLUE = { 1.00, 0.36, 0.38 }, { 0.25, 0.72, 1.00 }                             -- rabbits 1 and 2
local CONNECTED, MEMORY, RETRYING, LOST = { 0.25, 0.86, 0.47 }, { 0.45, 0.72, 1 }, { 1, 0.62, 0.20 }, { 1, 0.40, 0.36 }

-- The badge's dot.
local function badge(picture, colour) return picture:count(colour, 400, 14, 790, 40, 3) end
-- What has a rabbit's colour where it stands: its scarf.
local function scarf(picture, colour, x, y) return picture:count(colour, x - 55, y - 60, x + 55, y + 4, 32) end
-- A flower in bloom.
local function bloom(picture, colour, x, y) return picture:count(colour, x - 22, y - 66, x + 22, y - 22, 32) end

-- A broker that can be stopped and started again at the same port.
local function broker_of_its_own()
   if broker.is_rabbitmq then
      local function server(what)
         return broker.shell(("sh %s %s %s"):format(os.getenv "MR_RABBITMQ_SH", what, os.getenv "MR_RABBITMQ_DIR"))
      end
      return { url = broker.url, stop = function() server "stop" end, start = function() server "start" end, finish = function() end }
   end
   local own = {}
   local function start(port)
      own.process = process.start(("%s broker --listen 127.0.0.1:%d"):format(broker.command, port))
      own.process:says "amqp://"
   end
   start(0)
   own.url = own.process:output():match "amqp:[^%s;]+"
   local port = tonumber(own.url:match ":(%d+)")
   function own.stop() own.process:stop() end
   function own.start() start(port) end
   own.finish = own.stop
   return own
end

local function connections_of_games(conn_url)
   if broker.is_rabbitmq then
      local _, n = broker.ctl("list_connections -q client_properties"):gsub("moonrabbit game", "")
      return n
   end
   assert(conn_url == broker.tcp_url)
   local n = 0
   for _, c in ipairs(broker.connections()) do
      n = n + ((c.client_properties.connection_name or ""):find("moonrabbit game", 1, true) and 1 or 0)
   end
   return n
end

-- The exchange goes with the last queue that is bound to it: then the games have left nothing.
local function has_left_nothing()
   local ch = broker.channel()
   local ok, err = ch:exchange_declare { exchange = "moonrabbit.garden", type = "topic", passive = true }
   if ok then ch:close() end
   return not ok and err.kind == "not_found"
end

describe("the game in LÖVE", function()
   setup(love.begin)
   teardown(function()
      love.finish()
      broker.none_left()
   end)
   before_each(function() mr.log.configure "error" end)

   it("shows in two windows one world, goes on without its broker, and is in touch again when that is back", function()
      local own = broker_of_its_own()
      local anna = love.start { name = "Anna", colour = 1, url = own.url, demo = table.concat({ "go 250 500", "plant", "go 150 440",
         "until rabbits 2", "until ripe 2", "until badge connected", "shot " .. love.path "anna", "say ready",
         "until badge retrying", "shot " .. love.path "away", "go 330 540", "plant", "say planted", "until badge connected",
         "until ripe 3", "wait 1000" }, "; ") }
      local ben = love.start { name = "Ben", colour = 2, url = own.url, demo = table.concat({ "go 560 500", "plant", "go 650 440",
         "until rabbits 2", "until ripe 2", "until badge connected", "shot " .. love.path "ben", "say ready",
         "until badge retrying", "until badge connected", "until flowers 3", "until at Anna 330 540", "shot " .. love.path "back",
         "quit" }, "; ") }
      for _, name in ipairs { "anna", "ben" } do
         local picture = love.picture(name)
         local seen = ("%s: scarves %d %d, flowers %d %d, badge %d"):format(name, scarf(picture, RED, 150, 440),
            scarf(picture, BLUE, 650, 440), bloom(picture, RED, 250, 500), bloom(picture, BLUE, 560, 500), badge(picture, CONNECTED))
         assert(scarf(picture, RED, 150, 440) > 100 and scarf(picture, BLUE, 650, 440) > 100, seen)
         assert(bloom(picture, RED, 250, 500) > 150 and bloom(picture, BLUE, 560, 500) > 150, seen)
         assert(scarf(picture, BLUE, 150, 440) == 0 and scarf(picture, RED, 650, 440) == 0, seen)
         assert(badge(picture, CONNECTED) > 80, seen)
      end
      anna:says "demo: ready"
      ben:says "demo: ready"
      own.stop()
      local away = love.picture "away"
      assert(badge(away, CONNECTED) == 0 and badge(away, RETRYING) + badge(away, LOST) > 80, "the badge does not tell of the loss")
      anna:says "demo: planted"
      own.start()
      local back = love.picture "back"
      assert(badge(back, CONNECTED) > 80, "the badge does not tell of the return")
      assert(scarf(back, RED, 330, 540) > 100, "who went on without the broker is not where it is now")
      local out, code = ben:wait()
      assert.equal(0, code, out)
      anna:signal "TERM"
      out, code = anna:wait()
      assert.equal(0, code, out)
      own.finish()
   end)

   it("shares its world with the game in C: each shows the other's rabbit, and the flower that was planted (HOSTS)", function()
      local url, path = broker.tcp_url, love.path "garden"
      local garden = process.start(("%s %s --name Ben --colour 2 --at 600,500 --shot %s"):format(
         broker.command:gsub("bin/moonrabbit$", "example/garden"), url, path), ("DISPLAY=:%s SDL_VIDEODRIVER=x11 "
         .. "SDL_RENDER_DRIVER=software SDL_FRAMEBUFFER_ACCELERATION=0"):format(love.display))
      garden:says "connected"
      local anna
      finally(function() -- also after a failure: the next test counts connections
         for _, game in ipairs { garden, anna } do
            if not game.has_ended then game:signal "KILL" end
         end
      end)
      anna = love.start { name = "Anna", colour = 1, url = url, demo = table.concat({ "go 250 500", "plant", "go 150 440",
         "until rabbits 2", "until at Ben 600 500", "until ripe 1", "until badge connected", "shot " .. love.path "mixed", "say ready",
         "wait 1000" }, "; ") }
      local picture = love.picture "mixed"
      assert(scarf(picture, RED, 150, 440) > 100 and scarf(picture, BLUE, 600, 500) > 100, "LÖVE does not show both")
      anna:says "demo: ready"
      garden:signal "TERM"
      local out, code = garden:wait()
      assert.equal(0, code, out)
      local shot = screen.picture(path)
      assert.equal("ff5c61", shot:colour(150 - 4, 440 - 16)) -- Anna's body
      assert.equal("40b8ff", shot:colour(600 - 4, 500 - 16))
      local function stem(from) -- with a bud, or in bloom
         local n = 0
         for y = 450, 500 do
            for x = from, from + 30 do n = n + (shot:colour(x, y) == "469650" and 1 or 0) end
         end
         return n
      end
      assert(stem(235) > 5 and stem(335) == 0, "the game in C does not show the flower")
      anna:signal "TERM"
      out, code = anna:wait()
      assert.equal(0, code, out)
   end)

   it("restarts and quits in an orderly way: no consumer, queue or connection stays at the broker", function()
      local url = broker.tcp_url
      local p = love.start { name = "Rea", colour = 3, url = url, demo = table.concat({ "until badge connected", "say first", "restart",
         "until badge connected", "say second", "wait 1000" }, "; ") }
      p:says "demo: second"
      eventually("one connection", function() return connections_of_games(url) == 1 end)
      local other = love.start { name = "Eve", colour = 4, url = url, demo = "until rabbits 2; wait 1.5; until rabbits 2; say two; quit" }
      other:says "demo: two"
      local out, code = other:wait()
      assert.equal(0, code, out)
      eventually("one connection", function() return connections_of_games(url) == 1 end)
      local began = mr.now()
      p:signal "TERM"
      out, code = p:wait()
      assert.equal(0, code, out)
      assert(mr.now() - began < 5, "it took its time")
      assert.falsy(out:find("level=error", 1, true), out)
      assert(has_left_nothing(), "the exchange has still a queue")
      eventually("no connection", function() return connections_of_games(url) == 0 end)
   end)

   it("runs the shortest game of docs/embedding.md", function()
      local file = assert(io.open(love.FOLDER .. "/../../../docs/embedding.md"))
      local program = file:read "*a":match "<!%-%- file: main%.lua %-%->\n```lua\n(.-)```"
      file:close()
      os.execute(("mkdir -p '%s/short'"):format(love.home))
      file = assert(io.open(love.home .. "/short/main.lua", "w"))
      file:write((program:gsub("text = msg%.body", "text = msg.body io.stderr:write(text, '\\n')")))
      file:close()
      local p = love.start { place = love.home .. "/short", environment = "AMQP_URL=" .. broker.tcp_url }
      p:says "the first message"
      local ch = broker.channel()
      assert(ch:confirm_select())
      assert(ch:publish("amq.topic", "news.test", "the second message"))
      p:says "the second message"
      p:signal "TERM"
      local out, code = p:wait()
      assert.equal(0, code, out)
      assert.falsy(out:find("level=error", 1, true), out)
   end)

   it("plays offline with bots, as an archive in another folder, with the shared library beside it", function()
      local place = love.home .. "/elsewhere"
      local out, code = broker.shell(("sh '%s/pack.sh' '%s'"):format(love.FOLDER, place))
      assert.equal(0, code, out)
      local p = love.start { place = place .. "/moonrabbit.love", clean = true, url = "memory://", name = "Solo", colour = 1,
         demo = ("until rabbits 4; until badge memory; until flowers 1; say four; shot %s; quit"):format(love.path "solo") }
      local picture = love.picture "solo"
      assert(badge(picture, MEMORY) > 80, "no badge")
      out, code = p:wait()
      assert.equal(0, code, out)
      assert.truthy(out:find("demo: four", 1, true), out)

      assert(os.remove(place .. "/libmoonrabbit.so"))
      p = love.start { place = place .. "/moonrabbit.love", url = "memory://", demo = "until badge memory; say found; quit" }
      out, code = p:wait()
      assert.equal(0, code, out)
      assert.truthy(out:find("demo: found", 1, true), out)
   end)
end)
