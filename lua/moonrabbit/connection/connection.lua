--- connection: one connection to the broker, which connects at its first use.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local C = require("moonrabbit.base.ffi").C
local apart = require "moonrabbit.connection.apart"
local channel = require "moonrabbit.channel.channel"
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"
local generation = require "moonrabbit.loop.generation"
local identity = require "moonrabbit.connection.identity"
local kombu = require "moonrabbit.connection.kombu"
local limit = require "moonrabbit.connection.limit"
local loop = require "moonrabbit.loop.loop"
local merged = require "moonrabbit.base.merged"
local options = require "moonrabbit.base.options"
local passwords = require "moonrabbit.connection.passwords"
local settings = require "moonrabbit.connection.settings"
local task = require "moonrabbit.loop.task"
local time_limit = require "moonrabbit.loop.time_limit"
local value = require "moonrabbit.base.value"
local way = require "moonrabbit.channel.way"

local connection = {}
local by_id = {}                -- the connections of this process, by number

local Connection = { __name = "moonrabbit.connection", acquire = kombu.acquire, info = kombu.info, with = kombu.with,
   default_channel = kombu.default_channel, drain_events = kombu.drain_events, update_secret = kombu.update_secret,
   ensure_connection = kombu.ensure_connection, ensure = kombu.ensure }
local getters = { connection_errors = kombu.connection_errors, channel_errors = kombu.channel_errors }
local error_box = ffi.new "mr_error"
local text_box = ffi.new "char[1024]"

connection.methods = Connection
function Connection.__index(self, key)
   local getter = getters[key]
   if getter then return getter(self) end
   return Connection[key]
end

function Connection.__tostring(self) return ("connection %s (%s)"):format(self.host, self.state) end

local STATES = { [0] = "idle", "connecting", "open", "closing", "closed", "lost", "retrying", "open", "lost" }

--- "idle" (not used yet), "connecting", "open", "closing", "closed", "lost", "retrying".
function getters.state(self) return self.released and "closed" or STATES[C.mr_connection_state(self.handle)] end
--- True if it is open.
function getters.is_open(self) return self.state == "open" end
--- True if it is not open.
function getters.is_closed(self) return self.state ~= "open" end
--- True while the broker blocks publishing.
function getters.is_blocked(self) return not self.released and C.mr_connection_is_blocked(self.handle) end
--- How often it has connected.
function getters.epoch(self) return self.released and 0 or C.mr_connection_epoch(self.handle) end
--- "hostname:port" of the host connected to, or of the first to try.
function getters.host(self)
   if self.released then return "(released)" end
   C.mr_connection_host(self.handle, text_box, 1024)
   return ffi.string(text_box)
end
--- Why it is not open: an error, or nil.
function getters.last_error(self)
   if self.released or C.mr_connection_error(self.handle, error_box) == 0 then return nil end
   return errors.of_c(error_box)
end
--- The broker's properties: product, version, capabilities...; nil before the first connect.
function getters.server_properties(self)
   local t = not self.released and C.mr_connection_server_properties(self.handle)
   return t and t ~= nil and value.decode(t) or nil
end
--- The transport: "amqp" or "memory".
function getters.transport(self) return self.host:match "^memory:" and "memory" or "amqp" end

-- ---- making ----

local function take(self, handle)
   self.handle, self.number = handle, C.mr_connection_id(handle)
   by_id[self.number] = self
   if self.options.retry then C.mr_connection_retry(handle, 0) end -- asks the program from the first loss on
end

--- Makes the Lua object of a C connection.
function connection.wrap(handle, opts)
   local self = setmetatable({ channels = {}, on_event = opts.on_event, options = opts, released = false, waiters = {} }, Connection)
   take(self, handle)
   identity.begin(self)
   return self
end

-- The options are freed at once: a thousand of them, left to the collector, are more than a MiB.
local function make(opts, runtime)
   local o, err = settings.make(opts)
   if not o then return nil, err end
   local box = ffi.new "mr_connection *[1]"
   local status = C.mr_connection_new(runtime(), o, box, error_box)
   C.mr_options_free(ffi.gc(o, nil))
   if status ~= 0 then return nil, errors.of_c(error_box) end
   return box[0]
end

--- Makes a connection; does not open it.
-- @tparam table opts
-- @treturn[1] connection
-- @treturn[2] nil, error of kind bad_option or bad_uri
function connection.try(opts)
   local handle, err = make(opts, loop.runtime)
   if not handle then return nil, err end
   return connection.wrap(handle, opts)
end

--- The same as connection.try, but wrong options raise an error that names them.
function connection.new(opts)
   local self, err = connection.try(opts)
   if not self then options.blame(tostring(err)) end
   return self
end

--- A connection with the same options, but for those given.
-- @tparam[opt] table overrides options of mr.connect, instead of those that this one has
-- @treturn connection not connected yet
function Connection:clone(overrides)
   local conn = connection.new(merged(self.options, overrides))
   identity.of_clone(conn, self, overrides)
   return conn
end

-- ---- open and close ----

local function gone(self, err) return nil, err or self.gone end

--- Connects now, within `connect_timeout`; returns at once if it is connected.
-- @treturn[1] connection itself
-- @treturn[2] nil, error: connection_refused, dns_failed, connect_timeout, authentication_failed...
function Connection:connect()
   if self.released then return gone(self) end
   if self.is_open then return self end
   time_limit.heed()
   local ok, why = passwords.renew(self)
   if not ok then return nil, why end
   local token = task.token()
   local status = C.mr_connection_open(self.handle, token)
   if status ~= 0 then return nil, errors.of_status(status, "connection") end
   local reply = task.wait(token)
   if reply.err or self.released then return gone(self, reply.err) end
   return self
end

-- What is said of one that is gone: it is closed, unless it is the parent's, in a forked child.
local function has_closed(self)
   if self.gone.kind ~= "forked" then return true end
   return gone(self)
end

--- Closes cleanly, or by force if the broker does not answer in time. The connection can connect again.
-- @tparam[opt] table opts timeout (seconds; default: the option close_timeout)
-- @treturn[1] true
-- @treturn[2] nil, error
function Connection:close(opts)
   opts = options.check(opts, { timeout = "number" })
   options.seconds("timeout", opts.timeout)
   loop.begin()
   if self.released then return has_closed(self) end
   local token = task.token()
   local status = C.mr_connection_close(self.handle, token, opts.timeout or 0)
   if status ~= 0 then return nil, errors.of_status(status, "connection") end
   local reply = task.wait(token)
   if self.side and self.side.own then self.side.own:close(opts) end -- of retries: see side
   apart.each(self, function(own) own:close(opts) end)
   return not reply.err or nil, reply.err
end

-- Removes all references to the handle.
local function forget(self, err)
   err = err or errors.new("closed", "connection", "the connection was released")
   for _, ch in each(self.channels) do channel.gone(ch, err) end
   way.wake(self)
   by_id[self.number] = nil
   self.released, self.gone = true, err
end

--- Closes and frees the connection; it must not be used afterwards.
-- @treturn[1] true
-- @treturn[2] nil, error of the close; the connection is freed nevertheless
function Connection:release()
   task.check()
   if self.released then return has_closed(self) end
   if self.side and self.side.own then self.side.own:release() end -- see side
   apart.each(self, function(own) own:release() end)
   local ok, err = self:close()
   if self.released then return true end -- by another task, meanwhile
   forget(self)
   C.mr_connection_free(self.handle)
   return ok, err
end

--- Opens a channel, and the connection first when it is not open.
-- @treturn[1] channel
-- @treturn[2] nil, error
function Connection:channel(opts)
   options.check(opts, {})
   local ok, err = self:connect()
   if not ok then return nil, err end
   if self.released then return gone(self) end -- by another task, meanwhile
   ok, err = limit.check(self)
   if not ok then return nil, err end
   local box = ffi.new "mr_channel *[1]"
   local token = task.token()
   local status = C.mr_channel_open(self.handle, token, box)
   if status ~= 0 then -- closed: lost again since it was open
      return nil, status == errors.numbers.closed and self.last_error or errors.of_status(status, "channel")
   end
   local ch = channel.wrap(self, box[0])
   ch.is_opening = true
   local reply = task.wait(token)
   ch.is_opening = nil
   if not reply.err then return generation.note("channels", ch) end
   channel.gone(ch, reply.err)
   return nil, reply.err
end

--- The handle of another connection becomes this one's; the other is no more.
function connection.take_handle(self, other)
   by_id[self.number], by_id[other.number] = nil, self
   self.handle, self.number = other.handle, other.number
   other.released, other.channels = true, {}
   other.gone = errors.new("closed", "connection", "the connection was released")
end

--- The connection with this number.
function connection.by_number(number) return by_id[number] end

--- Every connection that is not released.
function connection.each(fn)
   local list = {}
   for _, self in each(by_id) do list[#list + 1] = self end
   for _, self in ipairs(list) do fn(self) end
end

local unused = {} -- those that a fork found idle: they are nobody's yet

-- Makes the handle of one that was not used before the fork.
local function make_again(self)
   local handle, err = make(self.options, loop.current)
   if not handle then return forget(self, err) end
   take(self, handle)
   identity.again(self)
end

loop.on_close(function(err)
   connection.each(function(self)
      if not err or self.pool or self.state ~= "idle" then return forget(self, err) end
      by_id[self.number] = nil
      unused[#unused + 1] = self
   end)
   channel.lose_books()
end)

loop.on_open(function()
   local list = unused
   unused = {}
   for _, self in ipairs(list) do make_again(self) end
end)

return connection
