--- demo: a player by script, for shows and tests: steps with ";" between them.
-- SPDX-License-Identifier: MIT
--
--   go X Y         hop there                     plant, pick      use the paws there
--   play SECONDS   play by itself, as a bot      wait SECONDS
--   until WHAT N   wait for `rabbits`, `flowers`, `ripe`, `parcels`, `stars` to be N or more, for `badge NAME`, or
--                  for `at NAME X Y`
--   shot FILE      a picture of the window       say WORDS        print a line
--   restart, quit  as the keys do                measure SECONDS  print what the frames took
local bots = require "bots"
local hud = require "hud"
local world = require "world"

local demo = {}

require("ffi").cdef "int moonrabbit_setenv(const char *, const char *, int) __asm__(\"setenv\");"
local PLACE = "MOONRABBIT_GAME_DEMO" -- the step to go on with: a restart keeps the process's environment, and nothing else

local steps, at, began, ctx

local function split(text)
   local list = {}
   for step in text:gmatch "[^;]+" do
      local words = {}
      for word in step:gmatch "%S+" do words[#words + 1] = word end
      if words[1] then list[#list + 1] = words end
   end
   return list
end

--- Begins a script.
-- @tparam string text the steps
-- @tparam table context world, status (of wire), act (fn(event)), quit (fn(how)), now (fn), took (fn: seconds of the last poll)
function demo.start(text, context)
   steps, at, ctx = split(text), tonumber(os.getenv(PLACE)) or 1, context
   began = ctx.now()
   io.stdout:setvbuf "line"
end

local function count(what)
   local n = 0
   if what == "rabbits" then
      for _, r in pairs(ctx.world.rabbits) do n = n + (r.is_new and 0 or 1) end
      return n
   end
   if what == "stars" then return ctx.world:lit() end
   for _, thing in pairs(ctx.world.things) do
      local is_parcel = thing.what == "parcel"
      if what == "parcels" then n = n + (is_parcel and 1 or 0)
      elseif not is_parcel then n = n + ((what == "flowers" or ctx.world:is_ripe(thing)) and 1 or 0) end
   end
   return n
end

-- Written aside, so that who sees the file has all of it.
local function shoot(path)
   love.graphics.captureScreenshot(function(image)
      local file = assert(io.open(path .. ".part", "wb"))
      file:write(image:encode("png"):getString())
      file:close()
      assert(os.rename(path .. ".part", path))
      demo.is_shot = true
   end)
end

-- Each is called with each frame until it gives true.
local run = {}

function run.go(dt, x, y)
   local me = ctx.world.me
   local dx, dy = x - me.x, y - me.y
   if dx * dx + dy * dy < 16 then
      ctx.world:steer(me, 0, 0, dt)
      return true
   end
   ctx.world:steer(me, dx, dy * 1.3, dt)
end

function run.plant()
   local event = ctx.world:use(ctx.world.me)
   if event then ctx.act(event) end
   return event ~= nil
end
run.pick = run.plant

-- Is the rabbit of that name there?
local function is_at(name, x, y)
   for _, r in pairs(ctx.world.rabbits) do
      if r.name == name and world.distance(r, { x = tonumber(x), y = tonumber(y) }) < 6 then return true end
   end
   return false
end

run["until"] = function(_, what, n, ...)
   if what == "at" then return is_at(n, ...) end
   if what == "badge" then return select(2, hud.badge(ctx.status, ctx.now())) == n end
   return count(what) >= tonumber(n)
end

function run.play(dt, seconds)
   bots.play(ctx.world, ctx.world.me, dt, ctx.act)
   return ctx.now() - began > tonumber(seconds)
end

function run.wait(_, seconds) return ctx.now() - began > tonumber(seconds) end

function run.shot(_, path)
   if demo.is_shot == nil then
      demo.is_shot = false
      shoot(path)
   end
   if not demo.is_shot then return false end
   demo.is_shot = nil
   return true
end

-- A frame's work is all between two waits for the next one: messages, update, drawing and its presentation. 60 of them are begun
-- in each second, as a screen would have it; a virtual one knows no pace of its own.
local PACE = 1 / 60

local function measure_frames()
   local m = { work = {}, poll = {}, cpu = {}, count = ctx.status.count, began = ctx.now(), due = ctx.now() + PACE }
   local sleep = love.timer.sleep
   love.timer.sleep = function() -- love.run calls it at the end of each frame
      local now = ctx.now()
      if m.last then
         m.cpu[#m.cpu + 1] = os.clock() - m.clock
         m.work[#m.work + 1] = now - m.last
         m.poll[#m.poll + 1] = ctx.took()
      end
      if m.due > now then sleep(m.due - now) end
      m.last, m.clock = ctx.now(), os.clock()
      m.due = math.max(m.due + PACE, m.last)
   end
   function m.finish()
      love.timer.sleep = sleep
      table.sort(m.work)
      table.sort(m.poll)
      table.sort(m.cpu)
      local function of(list, part) return list[math.max(1, math.ceil(#list * part))] * 1000 end
      print(("measured: frames=%d p50=%.3f p99=%.3f max=%.3f cpu_p50=%.3f cpu_p99=%.3f"):format(#m.work, of(m.work, 0.5),
         of(m.work, 0.99), of(m.work, 1), of(m.cpu, 0.5), of(m.cpu, 0.99)))
      print(("messages: rate=%.0f p50=%.3f p99=%.3f"):format((ctx.status.count - m.count) / (ctx.now() - m.began),
         of(m.poll, 0.5), of(m.poll, 0.99)))
   end
   return m
end

local measuring

function run.measure(_, seconds)
   measuring = measuring or measure_frames()
   if ctx.now() - began < tonumber(seconds) then return false end
   measuring.finish()
   measuring = nil
   return true
end

function run.say(_, ...)
   print("demo: " .. table.concat({ ... }, " "))
   return true
end

function run.quit()
   ctx.quit()
   return true
end

function run.restart()
   require("ffi").C.moonrabbit_setenv(PLACE, tostring(at + 1), 1)
   ctx.quit "restart"
   return true
end

--- Goes on with the script.
function demo.step(dt)
   local step = steps and steps[at]
   if not step then return end
   local fn = run[step[1]] or error(("the demo knows no step %q"):format(step[1]))
   if not fn(dt, unpack(step, 2)) then return end
   at, began = at + 1, ctx.now()
end

--- True while the script plays.
function demo.is_on() return steps ~= nil and steps[at] ~= nil end

return demo
