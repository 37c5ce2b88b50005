--- nginx_module: examples/hosts/nginx, built against the private nginx, and that nginx with it.
-- SPDX-License-Identifier: MIT
local broker = require "broker"
local embedded = require "embedded"
local nginx = require "nginx"
local process = require "process"

local module = {}

local ROOT = debug.getinfo(1, "S").source:match "^@(.*)/tests/support/nginx_module%.lua$"
local LIBRARIES = assert(os.getenv "MOONRABBIT_LIBRARY"):match "^(.*)/"

local path
--- Builds what has changed since the last time, and returns the module's path.
function module.path()
   if path then return path end
   local out, code = broker.shell(("NGINX_SRC=%s/usr/share/nginx/src MOONRABBIT_LIB=%s sh %s/examples/hosts/nginx/build.sh"):format(
      nginx.home(), LIBRARIES, ROOT), 300)
   assert(code == 0 and not out:find "warning", out)
   path = out:match "([^\n]+)\n$"
   return path
end

local function options_of(opts)
   local all = { modules = { module.path() }, environment = { LD_LIBRARY_PATH = nginx.home() .. "/libraries:" .. LIBRARIES } }
   for key, value in pairs(opts) do all[key] = value end
   return all
end

local started = {}

--- nginx with the module.
-- @tparam string url of moonrabbit_url
-- @tparam string server lines of the configuration
-- @tparam[opt] table opts as of nginx.start
function module.start(url, server, opts)
   opts = options_of(opts or {})
   opts.http = ("moonrabbit_url %s heartbeat=20;"):format(url)
   opts.server = server .. "\n      location / { return 200 page; }"
   local n = nginx.start(opts)
   started[#started + 1] = n
   return n
end

--- nginx.test with the module: what it says, its exit code.
function module.test(opts) return nginx.test(options_of(opts)) end

--- Ends each nginx, which must have had no crash and left nothing open, and what else a test has opened.
function module.end_all()
   local logs = {}
   for _, n in ipairs(started) do
      if not n.is_stopped then
         local is_done, code, log = pcall(n.stop, n)
         logs[#logs + 1] = is_done and code == 0 and log or "it did not end well: exited on signal"
      end
   end
   started = {}
   nginx.end_all()
   process.end_all()
   embedded.close_all()
   broker.none_left()
   for _, log in ipairs(logs) do
      for _, bad in ipairs { "exited on signal", "open socket", "[alert]", "[emerg]" } do
         assert(not log:find(bad, 1, true), log)
      end
   end
end

return module
