--- main: a garden on the moon, shared by all windows that are connected to the same broker.
-- SPDX-License-Identifier: MIT
--
--   love examples/hosts/love [URL] [--name NAME] [--colour 1..8] [--bots N] [--demo STEPS] [--orders SCRIPT]
--
-- URL: amqp://..., else AMQP_URL, else memory://: alone, with bots. The steps of a demo are in demo.lua. SCRIPT consumes beside
-- the game, such as examples/hosts/shared/orders.lua: each order that is done falls from the sky.
local source = love.filesystem.getSource()
if not source:find "%.love$" then -- a folder: the library is beside it, as in its repository
   package.path = ("%s/../../../lua/?.lua;%s/../../../lua/?/init.lua;%s"):format(source, source, package.path)
end

local host = require "moonrabbit.love"
local bots = require "bots"
local demo = require "demo"
local hud = require "hud"
local scene = require "scene"
local sounds = require "sounds"
local wire = require "wire"
local world = require "world"

local POLL = 0.002 -- seconds of each frame for messages
local NAMES = { "Usagi", "Bun", "Hopper", "Pip", "Nibbles", "Jade", "Snow", "Hazel" }
local METEORS = 14 -- seconds between two, about

local mr, w
local figures = { rate = 0, poll = 0, is_shown = false }
local counted, counted_at, next_meteor = 0, 0, 0

local function options_of(args)
   local given = { url = os.getenv "AMQP_URL" }
   local i = 1
   while args[i] do
      local name = args[i]:match "^%-%-(%w+)$"
      if name then
         given[name] = args[i + 1]
         i = i + 1
      elseif args[i]:find "^%w+://" then given.url = args[i] end
      i = i + 1
   end
   if not given.url or given.url == "" then given.url = "memory://" end
   return given
end

-- What a rabbit of this window does happens here at once, and at the others when they hear of it. What a bot does comes back
-- by the broker, as what strangers do.
local function act(event)
   local r = w.rabbits[event.from]
   if not (r and r.is_bot) then w:apply(event) end
   wire.tell(event)
end

local function new_player(given)
   local random = love.math.newRandomGenerator(os.time() * 1000 + math.floor(love.timer.getTime() * 1e6) % 1000)
   local id = ("%08x"):format(random:random(0, 2 ^ 32 - 1))
   return { id = id, name = (given.name or NAMES[random:random(#NAMES)]):sub(1, 12),
      colour = math.min(math.max(math.floor(tonumber(given.colour) or random:random(world.COLOURS)), 1), world.COLOURS),
      x = random:random(220, 580), y = random:random(440, 540), born = os.time() % 100000 }
end

function love.load(args)
   local given = options_of(args)
   scene.load()
   sounds.load()
   w = world.new(new_player(given), function(what, ...)
      scene.on(what, ...)
      sounds.on(what)
   end)
   require("moonrabbit").set_default_url(given.url)
   mr = host.start { budget = POLL, stop = 0.5, script = given.orders, args = { host = "game", queue = given.queue } }
   mr.on_stop(wire.bye)
   wire.start(mr, given.url, w)
   bots.add(w, tonumber(given.bots) or wire.connection.transport == "memory" and 3 or 0)
   if given.demo then
      demo.start(given.demo, { world = w, status = wire.status, act = act, now = mr.now, quit = love.event.quit,
         took = function() return host.took end })
   end
   next_meteor = mr.now() + METEORS
end

local function steer(dt)
   local down, me = love.keyboard.isDown, w.me
   local dx = (down("right", "d") and 1 or 0) - (down("left", "a") and 1 or 0)
   local dy = (down("down", "s") and 1 or 0) - (down("up", "w") and 1 or 0)
   if dx ~= 0 or dy ~= 0 then me.goal = nil end
   if me.goal then
      dx, dy = me.goal.x - me.x, (me.goal.y - me.y) * 1.3
      if dx * dx + dy * dy < 25 then dx, dy, me.goal = 0, 0, nil end
   end
   w:steer(me, dx, dy, dt)
end

-- The rabbit that was first sends the meteors for all.
local function maybe_meteor()
   if mr.now() < next_meteor then return end
   next_meteor = mr.now() + METEORS * (0.6 + 0.8 * love.math.random())
   for id in pairs(w.rabbits) do
      if id < w.me.id then return end
   end
   act { kind = "meteor", from = w.me.id, x = love.math.random(120, 680), y = love.math.random(380, 540) }
end

local function measure(took)
   figures.poll = figures.poll * 0.95 + took * 0.05
   local now, count = mr.now(), wire.status.count
   if now - counted_at < 1 then return end
   figures.rate, counted, counted_at = math.floor((count - counted) / (now - counted_at) + 0.5), count, now
end

function love.update(dt)
   dt = math.min(dt, 0.1)
   if demo.is_on() then demo.step(dt) else steer(dt) end
   bots.step(w, dt, act)
   maybe_meteor()
   w:step(dt)
   wire.step()
   scene.step(dt)
   measure(host.took)
end

local scale, left, top = 1, 0, 0

function love.draw()
   local width, height = love.graphics.getDimensions()
   scale = math.min(width / 800, height / 600)
   left, top = math.floor((width - 800 * scale) / 2), math.floor((height - 600 * scale) / 2)
   love.graphics.translate(left, top)
   love.graphics.scale(scale)
   scene.draw(w)
   hud.draw(w, wire.status, mr.now(), figures)
end

local function use()
   local event = w:use(w.me)
   if event then act(event) end
end

function love.keypressed(key)
   if key == "space" or key == "return" then use()
   elseif key == "f3" then figures.is_shown = not figures.is_shown
   elseif key == "m" then sounds.is_on = not sounds.is_on
   elseif key == "r" then love.event.quit "restart"
   elseif key == "escape" then love.event.quit() end
end

function love.mousepressed(x, y, button)
   if button ~= 1 then return use() end
   w.me.goal = { x = math.min(math.max((x - left) / scale, world.LEFT), world.RIGHT),
      y = math.min(math.max((y - top) / scale, world.TOP), world.BOTTOM) }
end
