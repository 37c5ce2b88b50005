--- changes: what the page for browsers may change: those with the token send it as POST /control.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.base.ffi").C
local control = require "moonrabbit.console.control"
local host_pages = require "moonrabbit.health.host_pages"

local changes = {}

--- The actions of the console that the page has.
changes.ALLOWED = { pause = true, resume = true, prefetch = true, log = true }

changes.REFUSAL = "the page can pause, resume, prefetch and log"

local function on_control(query)
   local name = tostring(query["do"])
   if not changes.ALLOWED[name] then return host_pages.json(400, { error = changes.REFUSAL }) end
   local text, why = control.run(name, { consumer = query.consumer, number = query.number, level = query.level })
   if not text then return host_pages.json(400, { error = why }) end
   return host_pages.json(200, { text = text })
end

--- Offers the page.
function changes.offer() host_pages.offer("/control", C.MR_PAGE_ADMINS, on_control) end

return changes
