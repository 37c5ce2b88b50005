--- descriptors: what this process has open. Asked without a child: the pipe to that would be among them, or not.
-- SPDX-License-Identifier: MIT
local lfs = require "lfs"

local descriptors = {}

local FOLDER = "/proc/self/fd"

--- What is open, by its number: {[number] = "pipe" or a path}.
function descriptors.open()
   local list = {}
   for name in lfs.dir(FOLDER) do
      local target = lfs.symlinkattributes(FOLDER .. "/" .. name, "target")
      local is_this_look = target and target:find "^/proc/%d+/fd$"
      if target and not is_this_look and tonumber(name) then list[tonumber(name)] = target:gsub(":%[%d+%]$", "") end
   end
   return list
end

--- How many are open.
function descriptors.count()
   local n = 0
   for _ in pairs(descriptors.open()) do n = n + 1 end
   return n
end

return descriptors
