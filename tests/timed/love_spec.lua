--- The game in LÖVE while 5000 messages arrive in each second: what a frame takes. Without a graphics card the processor draws.
-- Feature: the game keeps its frames
local broker = require "broker"
local love = require "love"
local process = require "process"

local SECONDS = 5
local FRAME = 1 / 60

describe("the game in LÖVE under 5000 messages a second", function()
   setup(love.begin)
   teardown(love.finish)

   -- The figures of one run of the game: of its frames, and of the messages.
   local function measure()
      local url = broker.tcp_url
      local p = love.start { name = "Meter", colour = 1, url = url,
         demo = ("until badge connected; say in; until rabbits 20; wait 1; measure %d; quit"):format(SECONDS) }
      p:says "demo: in"
      local crowd = process.start(("%s run --url %s %s/crowd.lua 20 5000"):format(broker.command, url, love.FOLDER))
      local out, code = p:wait()
      crowd:stop()
      assert.equal(0, code, out)
      local function figures(what)
         local found = {}
         for name, value in out:match(what .. ": ([^\n]+)"):gmatch "(%S+)=(%S+)" do found[name] = tonumber(value) end
         return found
      end
      local frame, messages = figures "measured", figures "messages"
      print(("note: a frame of the game: p50 %.2f, p99 %.2f, max %.2f ms, of the processor p99 %.2f ms; %d frames"):format(frame.p50,
         frame.p99, frame.max, frame.cpu_p99, frame.frames))
      print(("note: its %d messages/s: p50 %.2f, p99 %.2f ms of a frame"):format(messages.rate, messages.p50, messages.p99))
      local holds = messages.rate > 4500 and messages.rate < 5500 and frame.frames > SECONDS * 50 and frame.p99 <= FRAME * 1000
      return holds, out
   end

   -- Five tries: what else the machine does in one of them is not the game's.
   it("keeps 60 frames a second at p99", function()
      local holds, out
      for _ = 1, 5 do
         holds, out = measure()
         if holds then break end
      end
      assert(holds, out)
   end)
end)
