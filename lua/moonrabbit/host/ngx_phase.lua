--- host.ngx_phase: what may be done in which phase of ngx_lua.
-- SPDX-License-Identifier: MIT
local phase = {}

-- Where a Lua state may begin with Moonrabbit. Any other phase is one of a request.
local BEGINS = { init = true, init_worker = true, exit_worker = true, timer = true }

local CANNOT_WAIT = { init = true, init_worker = true, exit_worker = true, set = true, log = true, header_filter = true,
   body_filter = true, balancer = true }

local IN_REQUEST = "moonrabbit is loaded first in a request (%s_by_lua*). If lua_code_cache is off: each request has a Lua state "
   .. "of its own then, which would connect anew and block nginx in each wait, so switch it on. Otherwise call "
   .. 'start of moonrabbit.ngx in init_worker_by_lua_block'

--- Raises an error if the library is being loaded in a request of nginx: no worker's state has it then.
function phase.check_load()
   local ngx = rawget(_G, "ngx")
   if type(ngx) ~= "table" or not ngx.get_phase then return end
   local name = ngx.get_phase()
   if not BEGINS[name] then error(IN_REQUEST:format(name), 0) end
end

-- Functions of ngx_lua that ask for no request before they use it, and end the process (flush, socket), and those that handlers are
-- most likely to call.
local OF_REQUEST = { "say", "print", "flush", "eof", "sleep", "exec", "redirect", "get_raw_phase" }

local function guard(functions, name, shown)
   local of_request = require("resty.core.base").get_request
   local fn = functions[name]
   functions[name] = function(...)
      if not of_request() then error(shown .. ": no request found: a handler, a timer or a task of Moonrabbit belongs to none", 2) end
      return fn(...)
   end
end

--- Has functions of ngx_lua fail where there is no request.
function phase.guard()
   for _, name in ipairs(OF_REQUEST) do guard(ngx, name, "ngx." .. name) end
   guard(ngx.req, "socket", "ngx.req.socket")
end

--- Why nothing can wait in the running phase; nil: it can.
function phase.obstacle()
   local name = ngx.get_phase()
   return CANNOT_WAIT[name] and ("this would block nginx: nothing can wait in %s_by_lua*: publish by publish_async there, or wait in "
      .. "content_by_lua*, access_by_lua*, rewrite_by_lua* or a timer"):format(name) or nil
end

return phase
