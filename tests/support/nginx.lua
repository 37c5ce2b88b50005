--- nginx: Debian's nginx (nginx.sh fetches it) with a configuration and a folder of its own, on a port of the loopback interface.
-- SPDX-License-Identifier: MIT
--
--    local n = nginx.start { modules = nginx.LUA, workers = 2, http = "...", server = "location / { ... }",
--       files = { ["consumers.lua"] = "..." }, main = "env AMQP_URL;", environment = { AMQP_URL = broker.tcp_url } }
--    local status, body, headers = n:ask("/orders", "POST", "an order")
--    n:reload()
--    local code, log = n:stop()
--
-- In http, server and main %DIR% is the folder, where the files are, too.
local broker = require "broker"
local http = require "http"
local peer = require "peer"
local process = require "process"

local nginx = {}

local ROOT = debug.getinfo(1, "S").source:match "^@(.*)/tests/support/nginx%.lua$"
local LOG_SHOWN = 4000 -- bytes of the log of one that a failed test has left
local PATIENCE = 30 -- seconds for a start, a reload, a stop

--- The modules that ngx_lua needs.
nginx.LUA = { "ndk_http_module", "ngx_http_lua_module" }

local Nginx = {}
Nginx.__index = Nginx
local started = {}

local function write(path, text)
   local file = assert(io.open(path, "w"))
   file:write(text)
   file:close()
end

local function read(path)
   local file = io.open(path)
   if not file then return "" end
   local text = file:read "*a"
   file:close()
   return text
end

local function output(command)
   local pipe = assert(io.popen(command))
   local text = pipe:read "*a"
   pipe:close()
   return (text:gsub("%s+$", ""))
end

local home
--- The folder into which nginx.sh has unpacked it; it is fetched if it is not there.
function nginx.home()
   if home then return home end
   local out = broker.shell("sh " .. ROOT .. "/tests/support/nginx.sh", 300)
   home = out:match "([^\n]+)\n$"
   assert(home and io.open(home .. "/usr/sbin/nginx"), out):close()
   return home
end

-- The part of the configuration that each one has: nothing is written but into its folder.
local CONFIG = [[
%USER%
daemon off;
worker_processes %WORKERS%;
pid %DIR%/pid;
lock_file %DIR%/lock;
error_log %DIR%/error.log %LEVEL%;
%MODULES%
%MAIN%
events { worker_connections 512; }
http {
   access_log off;
   client_body_temp_path %DIR%/body;
   proxy_temp_path %DIR%/proxy;
   fastcgi_temp_path %DIR%/fastcgi;
   uwsgi_temp_path %DIR%/uwsgi;
   scgi_temp_path %DIR%/scgi;
   %LUA%
   %HTTP%
   server {
      listen 127.0.0.1:%PORT%%BACKLOG%;
      %SERVER%
   }
}
]]

-- Debian's ngx_lua finds its own modules; those of this repository come before.
local function lua_path()
   return ('lua_package_path "%s/lua/?.lua;%s/lua/?/init.lua;%%DIR%%/?.lua;%s/usr/share/lua/5.1/?.lua;;";'):format(ROOT, ROOT, home)
end

local function configuration(self, opts)
   local modules, has_lua = {}, false
   for i, name in ipairs(opts.modules or {}) do
      local path = name:find "/" and name or ("%s/usr/lib/nginx/modules/%s.so"):format(home, name)
      modules[i] = ("load_module %s;"):format(path)
      has_lua = has_lua or name == "ngx_http_lua_module"
   end
   local main = { opts.main or "", "env MOONRABBIT_LIBRARY;", "env TMPDIR=%DIR%;" }
   local text, values = CONFIG, { USER = output "id -u" == "0" and "user root;" or "", WORKERS = opts.workers or 1,
      LEVEL = opts.level or "info", MODULES = table.concat(modules, "\n"), MAIN = table.concat(main, "\n"),
      LUA = has_lua and lua_path() or "", HTTP = opts.http or "", SERVER = opts.server or "", PORT = self.port,
      BACKLOG = opts.reuseport and " reuseport" or "" }
   for _ = 1, 2 do -- the caller's parts have %DIR%, too
      values.DIR = self.dir
      text = text:gsub("%%(%u+)%%", values)
   end
   return text
end

local function command_of(self)
   return ("%s/usr/sbin/nginx -e %s/error.log -p %s/ -c %s/nginx.conf"):format(home, self.dir, self.dir, self.dir)
end

local function environment_of(opts)
   local list = { ("LD_LIBRARY_PATH='%s/libraries'"):format(home) }
   for key, value in pairs(opts.environment or {}) do list[#list + 1] = ("%s='%s'"):format(key, value) end
   return table.concat(list, " ")
end

--- Writes the configuration and the files, anew also for a reload.
-- @tparam table opts modules (names of Debian's, or paths), workers (1), http, server and main (lines of the configuration),
-- files (name -> text), environment (name -> value), level (of error_log: "info"), reuseport
function Nginx:configure(opts)
   self.wanted = opts.workers or 1
   for name, text in pairs(opts.files or {}) do write(self.dir .. "/" .. name, text) end
   write(self.dir .. "/nginx.conf", configuration(self, opts))
end

--- Starts it, and waits until it answers.
-- @tparam table opts as of configure
function nginx.start(opts)
   nginx.home()
   local self = setmetatable({ dir = output "mktemp -d", port = peer.closed_port() }, Nginx)
   started[#started + 1] = self
   self:configure(opts)
   self.master = process.start(command_of(self), environment_of(opts))
   self.pid = self.master.pid
   broker.eventually("nginx", function()
      assert(os.execute("kill -0 " .. self.pid .. " 2>/dev/null") == 0, "nginx has ended:\n" .. self:log() .. self.master:output())
      return self:ask("/", "HEAD") and #self:workers() == self.wanted
   end, PATIENCE)
   return self
end

--- What `nginx -t` says of a configuration, and its exit code.
function nginx.test(opts)
   nginx.home()
   local self = setmetatable({ dir = output "mktemp -d", port = peer.closed_port() }, Nginx)
   self:configure(opts)
   local out, code = broker.shell(("env %s %s -t"):format(environment_of(opts), command_of(self)))
   os.execute("rm -rf " .. self.dir)
   return out, code
end

--- Its error log.
function Nginx:log() return read(self.dir .. "/error.log") end

--- Waits until the error log has `text` (plain).
function Nginx:says(text)
   local ok, why = pcall(broker.eventually, ("%q"):format(text), function() return self:log():find(text, 1, true) end, PATIENCE)
   if not ok then error(tostring(why) .. "; the log:\n" .. self:log(), 2) end
end

--- The ids of its workers, those that are leaving as well.
function Nginx:workers()
   local list = {}
   for pid in read(("/proc/%d/task/%d/children"):format(self.pid, self.pid)):gmatch "%d+" do list[#list + 1] = tonumber(pid) end
   return list
end

--- A request: status, body, headers by small name; nil if there was no answer.
function Nginx:ask(path, method, body)
   local answer = http.raw(self.port, ("%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n%s"):format(method or "GET", path,
      body and "Content-Length: " .. #body .. "\r\n" or "", body or ""))
   local head, rest = (answer or ""):match "^(.-)\r\n\r\n(.*)$"
   if not head then return nil, answer end
   local headers = {}
   for name, value in head:gmatch "\r\n([^:\r\n]+):%s*([^\r\n]*)" do headers[name:lower()] = value end
   if headers["transfer-encoding"] == "chunked" then
      rest = rest:gsub("^%x+\r\n", ""):gsub("\r\n0\r\n\r\n$", ""):gsub("\r\n%x+\r\n", "")
   end
   return tonumber(head:match "^HTTP/1%.1 (%d+)"), rest, headers
end

--- The same of any server: nginx.ask({ port = 8080 }, "/").
nginx.ask = Nginx.ask

--- Reloads (SIGHUP), and waits until the new workers are there.
-- @treturn function waits until the old ones have ended
function Nginx:reload()
   local old = {}
   for _, pid in ipairs(self:workers()) do old[pid] = true end
   self.master:signal "HUP"
   broker.eventually("the new workers", function()
      local count = 0
      for _, pid in ipairs(self:workers()) do count = count + (old[pid] and 0 or 1) end
      return count >= self.wanted
   end, PATIENCE)
   return function(seconds)
      broker.eventually("the end of the old workers", function()
         for _, pid in ipairs(self:workers()) do
            if old[pid] then return false end
         end
         return true
      end, seconds or PATIENCE)
   end
end

--- Stops it (QUIT: requests and handlers finish), and removes its folder.
-- @tparam[opt="QUIT"] string signal
-- @treturn number exit code
-- @treturn string the error log, and what went to standard error
function Nginx:stop(signal)
   self.is_orderly = signal ~= "KILL"
   self.master:signal(signal or "QUIT")
   return self:wait()
end

--- Waits for its end; as stop.
function Nginx:wait()
   local out, code = self.master:wait()
   local log = self:log() .. out
   -- An orderly end leaves no wake socket, nor what lies beside it; the others' go with the folder.
   local left = output("find " .. self.dir .. "/moonrabbit* 2>/dev/null")
   if self.is_orderly then assert(left == "", "nginx has left " .. left) end
   os.execute("rm -rf " .. self.dir)
   self.is_stopped = true
   return code, log
end

--- Ends those that a failed test has left, workers as well, and shows the ends of their logs.
function nginx.end_all()
   for _, self in ipairs(started) do
      if not self.is_stopped then
         io.stderr:write("the log of nginx:\n", self:log():sub(-LOG_SHOWN), "\n")
         self.master:signal "STOP" -- or it would start others
         local workers = self:workers()
         self.master:signal "KILL"
         for _, pid in ipairs(workers) do os.execute("kill -KILL " .. pid .. " 2>/dev/null") end
         self:wait()
      end
   end
   started = {}
end

return nginx
