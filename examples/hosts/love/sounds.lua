--- sounds: a few short notes, made by code; silent where there is no sound.
-- SPDX-License-Identifier: MIT
local sounds = { is_on = true }

local RATE = 22050
local sources = {}

-- Notes that fade, one after the other.
local function notes(list, length, volume)
   local count = math.floor(RATE * length)
   local data = love.sound.newSoundData(#list * count + RATE * 0.2, RATE, 16, 1)
   for n, pitch in ipairs(list) do
      for i = 0, math.min(count * 3, data:getSampleCount() - (n - 1) * count) - 1 do
         local t = i / RATE
         local at = (n - 1) * count + i
         local value = math.sin(2 * math.pi * pitch * t) * math.exp(-t * 14) * math.min(t * 200, 1) * volume
         data:setSample(at, math.max(-1, math.min(1, data:getSample(at) + value)))
      end
   end
   return love.audio.newSource(data)
end

--- Makes the sounds.
function sounds.load()
   if not love.audio then return end
   sources.plant = notes({ 220, 165 }, 0.05, 0.30)
   sources.pick = notes({ 523, 784 }, 0.06, 0.25)
   sources.star = notes({ 784, 988, 1175, 1568 }, 0.07, 0.20)
   sources.come = notes({ 392, 523, 659 }, 0.09, 0.20)
   sources.go = notes({ 392, 330, 262 }, 0.10, 0.20)
   sources.meteor = notes({ 1568, 1319, 1047, 784, 523, 392, 262 }, 0.05, 0.15)
   sources.parcel, sources.flower = sources.come, sources.plant
end

--- Plays what belongs to an event of the world.
function sounds.on(what)
   local source = sounds.is_on and sources[what]
   if source then
      source:stop()
      source:play()
   end
end

return sounds
