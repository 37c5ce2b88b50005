-- health: a program's own health checks beside the built-in ones, and a callback for changes.
-- Run it with: moonrabbit run examples/health.lua
-- To query it over HTTP: moonrabbit run --http 8080 examples/health.lua serve, then curl localhost:8080/health?verbose
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local serves = ... == "serve"                    -- then it runs until Ctrl-C

local database = "up"                            -- a real check queries one and waits in the loop (mr.wait_fd)
mr.health.check("database", function()
   if database == "up" then return true end
   return false, "it does not answer"            -- the detail on the page
end, { every = 0.1, timeout = 1 })

local function show(report)
   local names = {}
   for name in pairs(report.checks) do names[#names + 1] = name end
   table.sort(names)
   for _, name in ipairs(names) do print(("   %s: %s"):format(name, report.checks[name].status)) end
end

-- A program starts unhealthy: it is not connected yet. Here the database fails once, and comes back.
local has_been_down = false
mr.health.on_change(function(old, new, report)
   print(("%s -> %s%s"):format(old, new, report.error and ": " .. report.error or ""))
   show(report)
   if serves then return end
   if new == "unhealthy" then
      database, has_been_down = "up", true
   elseif has_been_down then
      mr.stop()                                  -- only so that the example ends
   else
      database = "down"
   end
end)

mr.consumer { queue = "example.health", handler = function() end }
