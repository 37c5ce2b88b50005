--- kombu: methods of a connection that users of kombu know.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local C = require("moonrabbit.base.ffi").C
local apart = require "moonrabbit.connection.apart"
local ensure = require "moonrabbit.connection.ensure"
local errors = require "moonrabbit.base.errors"
local identity = require "moonrabbit.connection.identity"
local merged = require "moonrabbit.base.merged"
local options = require "moonrabbit.base.options"
local task = require "moonrabbit.loop.task"
local wait = require "moonrabbit.loop.wait"

local kombu = {}

local text_box = ffi.new "char[1024]"
local facts_box = ffi.new "mr_facts"

--- Kinds of errors that end a connection.
function kombu.connection_errors()
   return { "connection_refused", "dns_failed", "connect_timeout", "tls_failed", "protocol_mismatch",
      "authentication_failed", "vhost_access_refused", "connection_forced", "frame_error", "command_invalid",
      "channel_error", "unexpected_frame", "resource_error", "not_allowed", "not_implemented", "internal_error",
      "stream_lost", "heartbeat_timeout", "blocked_timeout", "connection_limit_reached", "closed" }
end
--- Kinds of errors that end a channel.
function kombu.channel_errors()
   return { "access_refused", "not_found", "resource_locked", "precondition_failed", "content_too_large", "no_route",
      "channel_limit_reached", "closed" }
end

--- Itself: so that a connection can stand where a pool's is expected.
function kombu:acquire() return self end

-- What the last handshake agreed on.
local function agreed(self)
   C.mr_connection_facts(self.handle, facts_box)
   local tls, ending = ffi.string(facts_box.tls), facts_box.certificate_end
   local all = { heartbeat = facts_box.heartbeat, channel_max = facts_box.channel_max, frame_max = facts_box.frame_max }
   if tls == "" then return all end
   all.tls, all.tls_resumed, all.certificate_end = tls, facts_box.tls_resumed, ending > 0 and ending or nil
   return all
end

--- The settings, without passwords.
-- @treturn table the options given, url (as it may be shown), its parts (hostname, port, userid, virtual_host, ssl),
-- transport, host and state; once it was open, `agreed`: heartbeat (seconds; 0: none), channel_max, frame_max, tls (such
-- as "TLSv1.3"; nil: without TLS), tls_resumed (its handshake has resumed the session of the connection that was lost),
-- certificate_end (until when the broker's certificate is valid, as os.time)
function kombu:info()
   local info = merged(self.options)
   info.password, info.url, info.on_event = nil, nil, nil
   if type(info.ssl_options) == "table" then
      info.ssl_options = merged(info.ssl_options)
      info.ssl_options.password = nil
   end
   if not self.released then
      C.mr_connection_url(self.handle, text_box, 1024)
      info.url = ffi.string(text_box)
      local scheme, user, hostname, port, vhost = info.url:match "^(%a+)://(.*)@%[?([^@]-)%]?:(%d+)/(.*)$"
      info.ssl, info.userid, info.hostname, info.port = scheme == "amqps", user, hostname, tonumber(port)
      info.virtual_host = info.virtual_host or vhost ~= "" and vhost or "/"
      info.transport = self.transport
   end
   info.host, info.state = self.host, self.state
   if self.epoch > 0 then info.agreed = agreed(self) end
   return info
end

--- Runs fn(connection) and always closes the connection.
-- @tparam function fn called with the connection
-- @return what fn returned; an error that it raised goes on
function kombu:with(fn)
   options.argument(1, "fn", fn, "function")
   local function closing(ok, ...)
      self:close()
      if not ok then error((...), 0) end
      return ...
   end
   return closing(pcall(fn, self))
end

--- A channel for whatever needs one: opened at the first call, and again when it was closed.
-- @treturn[1] channel
-- @treturn[2] nil, error
function kombu:default_channel()
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
function kombu:drain_events(opts)
   opts = options.check(opts, { timeout = "number" })
   options.seconds("timeout", opts.timeout)
   if self.released then return nil, self.gone end
   if wait.event(opts.timeout) then return true end
   return nil, errors.new("timeout", "connection", "no event came in time", "nothing was there to handle")
end

-- Tells the broker, if the connection is open.
local function tell_secret(self, secret, timeout)
   local token = task.token()
   local status = C.mr_connection_update_secret(self.handle, token, secret, #secret, timeout or 0)
   if status ~= 0 then return errors.of_status(status, "connection") end
   return task.wait(token).err
end

--- Sets a new secret, such as a renewed token: sends it on the open connection, and uses it for later connects of this
-- connection, its clones, the connections for copies of its messages and of consumers with one of their own, and the other
-- connections of its pool. A lost connection uses it when it reconnects.
-- @tparam string secret the new password or token
-- @tparam[opt] table opts timeout (seconds to wait for the broker's answer; default: the option rpc_timeout)
-- @treturn[1] true the broker has taken it, or the next connect will say it
-- @treturn[2] nil, error such as timeout, or why the broker refused it; the next connect says it all the same
function kombu:update_secret(secret, opts)
   options.argument(1, "secret", secret, "string")
   opts = options.check(opts, { timeout = "number" })
   options.seconds("timeout", opts.timeout)
   if self.released then return nil, self.gone end
   if secret:find("\0", 1, true) then return nil, errors.new("bad_argument", "connection", "the secret holds a NUL byte") end
   identity.renew(self, secret)
   local err = tell_secret(self, secret, opts.timeout)
   local function tell(own)
      if own and not own.released and own.identity == self.identity then tell_secret(own, secret, opts.timeout) end
      if own and own.side then tell(own.side.own) end
   end
   tell(self.side and self.side.own)
   apart.each(self, tell)
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
function kombu:ensure_connection(opts)
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
function kombu:ensure(fn, opts)
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

return kombu
