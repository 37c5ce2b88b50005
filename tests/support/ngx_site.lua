--- ngx_site: a site of nginx whose pages and script use Moonrabbit.
-- SPDX-License-Identifier: MIT
local broker = require "broker"
local nginx = require "nginx"

local site = {}

-- Its requests share a publisher and a remote procedure.
local APP = [[
local mr = require "moonrabbit"
local app = { conn = mr.connect() }
app.publisher = mr.publisher { routing_key = "%QUEUE%", connection = app.conn }
function app.call(...) return mr.rpc.call(...) end
function app.publish(body) return app.publisher:publish(body, { timeout = 20 }) end
return app
]]

local PAGES = [[
location / { content_by_lua_block { ngx.say "hello" } }
location = /publish { content_by_lua_block {
   ngx.req.read_body()
   local ok, err = require("app").publish(ngx.req.get_body_data() or ngx.var.arg_body or "")
   if not ok then ngx.status = 503 ngx.say(tostring(err)) return end
   ngx.status = 204
} }
location /health { content_by_lua_block { require("moonrabbit.ngx").health() } }
location = /metrics { content_by_lua_block { require("moonrabbit.ngx").health() } }
location = /pid { content_by_lua_block { ngx.say(ngx.worker.pid()) } }
]]

--- Starts it.
-- @tparam table opts start (options of moonrabbit.ngx.start, as text), script (text of consumers.lua), pages (more locations), queue,
-- url, workers (1), http (more lines), init (more Lua of init_worker), reuseport
function site.start(opts)
   local start = opts.start or opts.script and 'script = "consumers.lua"' or ""
   return nginx.start(site.options(opts, start))
end

--- The options of nginx.start for that.
function site.options(opts, start)
   return { modules = nginx.LUA, workers = opts.workers or 1, main = "env AMQP_URL;" .. (opts.main or ""), reuseport = opts.reuseport,
      environment = { AMQP_URL = opts.url or broker.tcp_url },
      http = ("lua_shared_dict moonrabbit 100k;\n%s\ninit_worker_by_lua_block { require('moonrabbit.ngx').start { %s } %s }"):format(
         opts.http or "", start, opts.init or ""),
      files = { ["consumers.lua"] = opts.script or "", ["app.lua"] = APP:gsub("%%QUEUE%%", opts.queue or "site") },
      server = (opts.pages or "") .. PAGES }
end

return site
