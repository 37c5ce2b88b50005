--- The tests of the contract that redis:// leaves out: each for a reason that docs/redis.md tells.
-- Feature: tests of the contract on Redis
-- SPDX-License-Identifier: MIT
local differences = require "redis_differences"
local files = require "files"

-- The points of the lists of docs/redis.md, each as one line.
local function points()
   local list, is_open = {}, false
   for line in files.read "docs/redis.md":gmatch "[^\n]+" do
      if line:find "^%- " then
         list[#list + 1], is_open = line:sub(3), true
      elseif is_open and line:find "^  " then
         list[#list] = list[#list] .. line:gsub("^ +", " ")
      else
         is_open = false
      end
   end
   return list
end

-- The reasons that a spec gives.
local function given(text, into)
   for call in text:gmatch "broker%.unless_redis(%b())" do
      for reason in call:match "^[^\n]*":gmatch '"([^"]*)"' do into[reason] = true end
   end
   for reason in text:gmatch 'and "([^"\n]+)"\n' do into[reason] = true end -- chosen before the call
end

describe("each reason for which a test of the contract is left out on Redis", function()
   it("is a point of docs/redis.md", function()
      local all = points()
      assert.is_true(#all > 20)
      for reason, text in pairs(differences) do
         local found = 0
         for _, point in ipairs(all) do found = found + (point:find(text, 1, true) and 1 or 0) end
         assert.same({ reason, 1 }, { reason, found })
      end
   end)

   it("is given by a test", function()
      local used = {}
      local pipe = assert(io.popen "ls tests/contract/*_spec.lua")
      for path in pipe:lines() do given(files.read(path), used) end
      pipe:close()
      for reason in pairs(differences) do assert.is_true(used[reason], reason) end
   end)
end)
