--- kombu: methods of a connection that users of kombu know.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local C = require("moonrabbit.base.ffi").C
local connection = require "moonrabbit.connection.connection"
local each = require "moonrabbit.base.each"
local ensure = require "moonrabbit.connection.ensure"
local errors = require "moonrabbit.base.errors"
local identity = require "moonrabbit.connection.identity"
local loop = require "moonrabbit.loop.loop"
local options = require "moonrabbit.base.options"
local task = require "moonrabbit.loop.task"
local wait = require "moonrabbit.loop.wait"

local Connection, getters = connection.methods, connection.getters
local PATIENCE = 5 -- seconds for a password's function if no connect_timeout is set
local text_box = ffi.new "char[1024]"

--- Kinds of errors that end a connection.
getters.connection_errors = function()
   return { "connection_refused", "dns_failed", "connect_timeout", "tls_failed", "protocol_mismatch",
      "authentication_failed", "vhost_access_refused", "connection_forced", "frame_error", "command_invalid",
      "channel_error", "unexpected_frame", "resource_error", "not_allowed", "not_implemented", "internal_error",
      "stream_lost", "heartbeat_timeout", "blocked_timeout", "connection_limit_reached", "closed" }
end
--- Kinds of errors that end a channel.
getters.channel_errors = function()
   return { "access_refused", "not_found", "resource_locked", "precondition_failed", "content_too_large", "no_route",
      "channel_limit_reached", "closed" }
end

--- Returns itself, so that a connection can be used in place of a lease of a pool.
function Connection:acquire() return self end

local function without_password(ssl_options)
   local shown = {}
   for k, v in each(ssl_options) do
      if k ~= "password" then shown[k] = v end
   end
   return shown
end

--- The settings, without passwords.
-- @treturn table the given options, url (redacted), its parts (hostname, port, userid, virtual_host, ssl), transport, host
-- and state
function Connection:info()
   local info = {}
   for k, v in each(self.options) do
      if k ~= "password" and k ~= "url" and k ~= "on_event" then info[k] = v end
   end
   if type(info.ssl_options) == "table" then info.ssl_options = without_password(info.ssl_options) end
   if not self.released then
      C.mr_connection_url(self.handle, text_box, 1024)
      info.url = ffi.string(text_box)
      local scheme, user, hostname, port, vhost = info.url:match "^(%a+)://(.*)@%[?([^@]-)%]?:(%d+)/(.*)$"
      info.ssl, info.userid, info.hostname, info.port = scheme == "amqps", user, hostname, tonumber(port)
      info.virtual_host = info.virtual_host or vhost ~= "" and vhost or "/"
      info.transport = self.transport
   end
   info.host, info.state = self.host, self.state
   return info
end

--- Runs fn(connection) and always closes the connection.
-- @tparam function fn called with the connection
-- @return the results of fn; an error that it raised is raised again
function Connection:with(fn)
   options.argument(1, "fn", fn, "function")
   local function closing(ok, ...)
      self:close()
      if not ok then error((...), 0) end
      return ...
   end
   return closing(pcall(fn, self))
end

--- A connection with the same options, except the overrides.
-- @tparam[opt] table overrides options of mr.connect that replace those of this connection
-- @treturn connection not connected yet
function Connection:clone(overrides)
   local all = {}
   for k, v in each(self.options) do all[k] = v end
   for k, v in each(overrides or {}) do all[k] = v end
   local conn = connection.new(all)
   identity.of_clone(conn, self, overrides)
   return conn
end

--- A channel for general use: opened at the first call, and again after it was closed.
-- @treturn[1] channel
-- @treturn[2] nil, error
function Connection:default_channel()
   local ch = self.own_channel
   if ch and ch.handle then return ch end
   local err
   ch, err = self:channel()
   self.own_channel = ch
   return ch, err
end

--- Waits for one event of any kind (a delivery, an answer, a loss) and dispatches only this event.
-- @tparam[opt] table opts timeout (seconds; default: none, it waits until there is one)
-- @treturn[1] true
-- @treturn[2] nil, error of kind timeout
function Connection:drain_events(opts)
   opts = options.check(opts, { timeout = "number" })
   options.seconds("timeout", opts.timeout)
   if self.released then return nil, errors.new("closed", "connection", "the connection was released") end
   if wait.event(opts.timeout) then return true end
   return nil, errors.new("timeout", "connection", "no event came in time")
end

-- The result of a function within its time limit, or nil and the error. A function that never returns is abandoned.
local function answer_of(fn, seconds)
   local token = task.token()
   local ok, secret
   task.background(function()
      ok, secret = pcall(fn)
      task.wake(token, true)
   end)
   if ok == nil and not loop.wait(token, seconds) then return nil, (" within %g s"):format(seconds) end
   if ok then return secret, "" end
   return nil, ": it raised an error"
end

-- The next connect uses the result of the function. The function may release the connection.
local function ask(self, fn, name, set)
   if type(fn) ~= "function" then return true end
   if self.released then return nil, errors.new("closed", "connection", "the connection was released") end
   local secret, why = answer_of(fn, self.options.connect_timeout or PATIENCE)
   if self.released then return nil, errors.new("closed", "connection", "the connection was released") end
   if type(secret) == "string" and set(self.handle, secret, #secret) == 0 then return true end
   return nil, errors.new("bad_option", "config", ("the %s function gave no string%s"):format(name, why))
end

local function key_password(self)
   local ssl_options = self.options.ssl_options
   return type(ssl_options) == "table" and ssl_options.password or nil
end

-- True if a password is a function.
function Connection:_asks_for_passwords()
   return type(self.options.password) == "function" or type(key_password(self)) == "function"
end

-- Calls passwords that are functions before each connect.
function Connection:_renew_password()
   local ok, err = ask(self, self.options.password, "password", C.mr_connection_password)
   if ok then ok, err = ask(self, key_password(self), "ssl_options.password", C.mr_connection_key_password) end
   return ok, err
end

-- Sends the secret to the broker if the connection is open.
local function tell_secret(self, secret, timeout)
   local token = task.token()
   local status = C.mr_connection_update_secret(self.handle, token, secret, #secret, timeout or 0)
   if status ~= 0 then return errors.of_status(status, "connection") end
   return task.wait(token).err
end

--- Sets a new secret, such as a renewed token: sends it on the open connection, and uses it for later connects of this
-- connection, its clones, the connection for copies of its messages, and the other connections of its pool. A lost
-- connection uses it when it reconnects.
-- @tparam string secret the new password or token
-- @tparam[opt] table opts timeout (seconds to wait for the broker's answer; default: the option rpc_timeout)
-- @treturn[1] true the broker has accepted it, or the next connect will use it
-- @treturn[2] nil, error such as timeout, or why the broker refused it; the next connect uses it nevertheless
function Connection:update_secret(secret, opts)
   options.argument(1, "secret", secret, "string")
   opts = options.check(opts, { timeout = "number" })
   options.seconds("timeout", opts.timeout)
   if self.released then return nil, errors.new("closed", "connection", "the connection was released") end
   if secret:find("\0", 1, true) then return nil, errors.new("bad_argument", "connection", "the secret holds a NUL byte") end
   identity.renew(self, secret)
   local err = tell_secret(self, secret, opts.timeout)
   local side = self.side and self.side.connection
   if side and not side.released and side.identity == self.identity then tell_secret(side, secret, opts.timeout) end
   return not err or nil, err
end

local CONNECT = { interval_start = 2, interval_step = 2, interval_max = 30 }

--- Connects, with retries.
-- @tparam[opt] table opts errback (function(err, interval), called before each wait; default: none), max_retries (0:
-- only one try; default: no limit), interval_start=2 (seconds before the first retry), interval_step=2 (seconds added
-- before each further one), interval_max=30 (maximum seconds between two), timeout (seconds in total; default: no
-- limit)
-- @treturn[1] connection itself
-- @treturn[2] nil, error the last one
function Connection:ensure_connection(opts)
   opts = ensure.options(opts, CONNECT)
   return ensure.run(opts, function() return self:connect() end)
end

local REPEAT = { interval_start = 1, interval_step = 1, interval_max = 1 }

--- Returns a function that calls fn; if a connection or channel fails, it connects and calls fn again.
-- @tparam function fn may fail by `nil, err`; errors of other kinds, and raised ones, are passed on
-- @tparam[opt] table opts errback (function(err, interval), called before each wait; default: none), max_retries (0:
-- only one try; default: no limit), interval_start=1 (seconds before the first retry), interval_step=1 (seconds added
-- before each further one), interval_max=1 (maximum seconds between two), timeout (seconds in total; default: no
-- limit)
-- @treturn function
function Connection:ensure(fn, opts)
   options.argument(1, "fn", fn, "function")
   opts = ensure.options(opts, REPEAT)
   return function(...)
      local n, args = select("#", ...), { ... }
      return ensure.run(opts, function()
         local ok, err = self:connect()
         if not ok then return nil, err end
         return fn(unpack(args, 1, n))
      end)
   end
end

return connection
