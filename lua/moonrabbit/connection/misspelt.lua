--- misspelt: finds environment variables that look like a misspelt AMQP_URL.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local options = require "moonrabbit.base.options"

ffi.cdef 'extern char **mr_environ __asm__("environ");'

local WANTED = "AMQP_URL"
-- The names that other programs use, without underscores.
local KNOWN = { AMQPURI = true, AMQPADDRESS = true, AMQPADDR = true, AMQPHOST = true, RABBITMQURL = true, RABBITMQURI = true,
   RABBITMQHOST = true, RABBITURL = true, RABBITMQADDRESS = true, CLOUDAMQPURL = true, BROKERURL = true,
   CELERYBROKERURL = true, MOONRABBITURL = true, MOONRABBITAMQPURL = true }
local NEAR = 2 -- the maximum number of letters that differ

local function is_meant(name, value)
   if name == WANTED or not value:find "%S" then return false end
   if value:lower():find "^%s*amqps?://" or value:lower():find "^%s*memory://" then return true end
   if value:find("://", 1, true) then return false end -- a URL of another protocol
   local upper = name:upper()
   return KNOWN[upper:gsub("_", "")] or options.distance(upper, WANTED) <= NEAR
end

--- Their names, in order; not their values, which may contain a password.
-- @treturn table
return function()
   local names, at = {}, 0
   while ffi.C.mr_environ ~= nil and ffi.C.mr_environ[at] ~= nil do
      local name, value = ffi.string(ffi.C.mr_environ[at]):match "^([^=]*)=(.*)$"
      if name and is_meant(name, value) then names[#names + 1] = name end
      at = at + 1
   end
   table.sort(names)
   return names
end
