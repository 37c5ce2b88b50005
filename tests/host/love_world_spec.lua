--- The world of the game in LÖVE: the events come to each window in another order, twice or not at all, and all have one garden.
-- Feature: the rules of the example game
package.path = ("%s/?.lua;%s"):format(require("love").FOLDER, package.path)
local codec = require "codec"
local world = require "world"

local function new(id) return world.new { id = id, name = id, colour = 1, x = 400, y = 500 } end

local function state_of(w)
   local list = {}
   for id, thing in pairs(w.things) do list[#list + 1] = ("%s %d,%d"):format(id, thing.x, thing.y) end
   for id, star in pairs(w.stars) do list[#list + 1] = ("%s has %d"):format(id, star.count) end
   table.sort(list)
   return table.concat(list, "\n")
end

local function shuffled(list, random)
   local out = {}
   for i, v in ipairs(list) do out[i] = v end
   for i = #out, 2, -1 do
      local k = random(i)
      out[i], out[k] = out[k], out[i]
   end
   return out
end

describe("the world of the game", function()
   it("is the same in all windows, in whatever order events come, and some of them twice", function()
      for seed = 1, 20 do
         math.randomseed(seed)
         local events = {}
         for i = 1, 60 do
            local from, id = "r" .. math.random(4), "t" .. math.random(20)
            local kind = math.random(3)
            if kind == 1 then
               local n = tonumber(id:sub(2))
               events[i] = { kind = "plant", from = from, id = id, what = "flower", x = 100 + n * 10, y = 400 + n, age = 0, colour = 2 }
            elseif kind == 2 then events[i] = { kind = "pick", from = from, id = id }
            else events[i] = { kind = "hop", from = from, name = from, colour = 3, x = 1, y = 2, face = 1, carry = 0, stars = i } end
         end
         local states = {}
         for n = 1, 3 do
            local w = new("me" .. n)
            for _, event in ipairs(shuffled(events, math.random)) do
               local text = codec.encode(event)
               for _ = 1, math.random(2) do assert.is_true(w:apply(assert(codec.decode(text)))) end
            end
            for _ = 1, 60 do w:step(0.02) end
            states[n] = state_of(w)
         end
         assert.equal(states[1], states[2])
         assert.equal(states[1], states[3])
         local late = new "late" -- a snapshot tells all of it
         late:apply(codec.decode(codec.encode((function()
            local w = new "teller"
            for _, event in ipairs(events) do w:apply(event) end
            for _ = 1, 60 do w:step(0.02) end
            return w:snapshot()
         end)())))
         assert.equal(states[1], state_of(late))
      end
   end)

   it("has one winner where two pick at the same time", function()
      for _, order in ipairs { { "a", "b" }, { "b", "a" } } do
         local a, b = new "a", new "b"
         for _, w in ipairs { a, b } do
            w:apply { kind = "hop", from = w == a and "b" or "a", name = "x", colour = 2, x = 400, y = 500, face = 1, carry = 0, stars = 0 }
            w:apply { kind = "plant", from = "a", id = "t", what = "flower", x = 200, y = 500, age = 7, colour = 1 }
            for _, from in ipairs(order) do w:apply { kind = "pick", from = from, id = "t" } end
            for _ = 1, 30 do w:step(0.02) end
         end
         assert.equal(1, a.me.carry)
         assert.equal(0, b.me.carry)
      end
   end)

   it("takes nothing that is no event, and forgets who is silent", function()
      local w = new "me"
      for _, text in ipairs { "", "hop", "hop\tx", "plant\ta\tb\tflower\tnan\t1\t1\t1", "plant\ta\tb\tflower\t1e300\t1\t1\t1", "kill\tme",
         "snapshot", ("x"):rep(1000), "\0\t\n" } do
         local event = codec.decode(text)
         assert(not event or not w:apply(event), text)
      end
      w:apply(codec.decode "hop\tz\tZed\t1\t10\t10\t1\t0\t2")
      assert.truthy(w.rabbits.z)
      for _ = 1, 60 do w:step(0.1) end
      assert.falsy(w.rabbits.z)
      assert.truthy(w.rabbits.me)
      assert.equal(2, w:lit()) -- its stars stay
   end)
end)
