--- pool: connections, or channels of one connection, for many to use in turn.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.ffi").C
local connection = require "moonrabbit.connection"
local ensure = require "moonrabbit.ensure"
local errors = require "moonrabbit.errors"
local lease = require "moonrabbit.lease"
local log = require "moonrabbit.log"
local loop = require "moonrabbit.loop"
local options = require "moonrabbit.options"
local task = require "moonrabbit.task"

local pool = {}

local Pool = { __name = "moonrabbit.pool" }
local getters = {}
function Pool.__index(self, key)
   local getter = getters[key]
   if getter then return getter(self) end
   return Pool[key]
end
function Pool.__tostring(self) return ("pool %s: %d of %d in use"):format(self.strategy, self.active, self.limit) end

--- How many are lent; how many there are, lent or not; how many wait to be lent.
function getters.active(self) return self.lent end
function getters.total(self) return self.lent + #self.free end
function getters.idle(self) return #self.free end

local OURS = { strategy = "string", max_connections = "number", max_channels = "number", preconnect = "number",
   ensure = "boolean" }

local function split(opts)
   local ours, theirs = {}, {}
   for k, v in pairs(opts) do
      if OURS[k] then ours[k] = v else theirs[k] = v end
   end
   return ours, theirs
end

-- ---- items ----

local function new_connection(self) return connection.new(self.settings, 3) end

-- The one connection for publishing, or for consuming, of a shared pool.
local function shared_connection(self, purpose)
   self.shared[purpose] = self.shared[purpose] or new_connection(self)
   return self.shared[purpose]
end

local function make(self, purpose)
   if self.strategy == "pooled" then return new_connection(self) end
   return shared_connection(self, purpose):channel()
end

local function discard(self, item)
   if self.strategy == "pooled" then item:release() else item:close() end
end

local function is_usable(self, item)
   if self.strategy == "pooled" then return not item.released end
   return item.handle ~= nil
end

local function take_free(self, purpose)
   for i, item in ipairs(self.free) do
      if self.strategy == "pooled" or self.purposes[item] == purpose then return table.remove(self.free, i) end
   end
end

-- ---- making ----

-- Wrong options are the caller's mistake, now and not at the first acquire.
local function check_settings(settings, level)
   local conn, err = connection.try(settings, level)
   if conn then return conn:release() end
   local names = {}
   for name in pairs(OURS) do names[#names + 1] = name end
   for name in pairs(settings) do
      local nearest = err.text:find('"' .. name .. '"', 1, true) and options.nearest(name, names)
      if nearest then error(('unknown option "%s": did you mean "%s"?'):format(name, nearest), level) end
   end
   error(tostring(err), level)
end

--- A pool. Connections are made when they are first used.
-- @tparam string|table opts a URL, or options of mr.connect and: strategy "pooled" (many connections, each
-- lent to one at a time; default) or "shared" (one connection for consuming, one for publishing; channels
-- are lent), max_connections=10, max_channels=100, preconnect=0 (connections opened at once), ensure=false
-- (preconnecting tries until it works)
-- @treturn[1] pool
-- @treturn[2] nil, error of preconnecting
function pool.new(opts)
   if type(opts) == "string" then opts = { url = opts } end
   options.argument(1, "opts", opts or {}, "table")
   local ours, theirs = split(opts or {})
   options.check(ours, OURS)
   local strategy = ours.strategy or "pooled"
   if strategy ~= "pooled" and strategy ~= "shared" then error('option "strategy" must be "pooled" or "shared"', 2) end
   options.whole("max_connections", ours.max_connections, 1, 65535)
   options.whole("max_channels", ours.max_channels, 1, 65535)
   options.whole("preconnect", ours.preconnect, 0, 65535)
   if next(theirs) == nil then theirs.url = os.getenv "AMQP_URL" or "memory://" end
   local limit = strategy == "pooled" and (ours.max_connections or 10) or (ours.max_channels or 100)
   local self = setmetatable({ strategy = strategy, settings = theirs, limit = limit, free = {}, lent = 0, waiters = {},
      shared = {}, purposes = setmetatable({}, { __mode = "k" }), leases = setmetatable({}, { __mode = "k" }) }, Pool)
   check_settings(theirs, 3)
   local ok, err = self:_preconnect(ours.preconnect or 0, ours.ensure)
   if not ok then
      self:close()
      return nil, err
   end
   return require("moonrabbit.edition").keep(self, Pool.close)
end

function Pool:_preconnect(count, insist)
   for _ = 1, math.min(count, self.limit) do
      local conn = self.strategy == "pooled" and new_connection(self) or shared_connection(self, "publish")
      local ok, err = (insist and conn.ensure_connection or conn.connect)(conn)
      if not ok then
         conn:release()
         return nil, err
      end
      if self.strategy == "pooled" then table.insert(self.free, conn) end
   end
   return true
end

-- ---- lending ----

local function lend(self, item, purpose)
   self.lent = self.lent + 1
   self.purposes[item] = purpose
   local given = lease.new(item, self.strategy == "pooled" and "connection" or "channel", function(leaked)
      log.warn("a pool's item was collected without a release: it goes back", { pool = self.strategy })
      self:_back(leaked)
   end)
   self.leases[given] = item
   return given
end

local function wait_turn(self, timeout)
   local token = task.token()
   table.insert(self.waiters, token)
   if loop.wait(token, timeout) then return true end
   for i, other in ipairs(self.waiters) do
      if other == token then table.remove(self.waiters, i) break end
   end
   return nil, errors.new("timeout", "pool", ("none of %d was released in time"):format(self.limit))
end

--- Lends a connection ("pooled") or a channel ("shared"); first come, first served.
-- @tparam[opt] table opts block=true, timeout (seconds; 0: as block = false), purpose "publish" (default) or
-- "consume": which of the two connections a shared pool takes
-- @treturn[1] connection or channel, to be released
-- @treturn[2] nil, error of kind pool_exhausted, timeout, or why it cannot be opened
function Pool:acquire(opts)
   opts = options.check(opts, { block = "boolean", timeout = "number", purpose = "string" })
   options.seconds("timeout", opts.timeout)
   local purpose = opts.purpose or "publish"
   if purpose ~= "publish" and purpose ~= "consume" then error('option "purpose" must be "publish" or "consume"', 2) end
   local deadline, is_first = opts.timeout and C.mr_now() + opts.timeout, true
   while self.lent >= self.limit or is_first and #self.waiters > 0 do
      if opts.block == false or opts.timeout == 0 then
         return nil, errors.new("pool_exhausted", "pool", ("all %d are in use"):format(self.limit))
      end
      local ok, err = wait_turn(self, deadline and math.max(deadline - C.mr_now(), 0))
      if not ok then return nil, err end
      is_first = false
   end
   local item = take_free(self, purpose)
   if item then return lend(self, item, purpose) end
   if not self:_has_room() then discard(self, table.remove(self.free, 1)) end -- of the other purpose
   self.lent = self.lent + 1 -- its place is taken while it is opened
   local err
   item, err = make(self, purpose)
   self.lent = self.lent - 1
   if item then return lend(self, item, purpose) end
   self:_next()
   return nil, err
end

-- The next in line may try.
function Pool:_next()
   while self.waiters[1] and self.lent < self.limit do
      if task.wake(table.remove(self.waiters, 1), true) then return end
   end
end

function Pool:_back(item)
   self.lent = self.lent - 1
   if is_usable(self, item) and self:_has_room() then table.insert(self.free, item) else discard(self, item) end
   self:_next()
end

function Pool:_has_room() return self.lent + #self.free < self.limit end

--- Gives back what acquire lent; it must not be used afterwards.
function Pool:release(item)
   local inner = lease.give_back(item, 2)
   self.leases[item] = nil
   self:_back(inner)
end

--- Gives back one that is broken: it is closed, and a fresh one takes its place.
function Pool:replace(item)
   local inner = lease.give_back(item, 2)
   self.leases[item] = nil
   self.lent = self.lent - 1
   discard(self, inner)
   self:_next()
end

--- Calls fn with a channel, and gives back what it took, whatever happens.
-- @tparam function fn
-- @return what fn returns; nil, error when there is no channel
function Pool:with(fn, opts)
   options.argument(1, "fn", fn, "function")
   local item, err = self:acquire(opts)
   if not item then return nil, err end
   local ch = item
   if self.strategy == "pooled" then ch, err = lease.item(item):default_channel() end
   if not ch then
      self:release(item)
      return nil, err
   end
   local function finish(ok, ...)
      self:release(item)
      if not ok then error((...), 0) end
      return ...
   end
   return finish(pcall(fn, ch))
end

--- A function that calls fn(channel, ...) with a channel of the pool, again while connections or channels
-- fail.
-- @tparam function fn
-- @tparam[opt] table opts errback, max_retries, interval_start=2, interval_step=2, interval_max=30, timeout
-- @treturn function
function Pool:ensure(fn, opts)
   options.argument(1, "fn", fn, "function")
   opts = ensure.options(opts, { interval_start = 2, interval_step = 2, interval_max = 30 }, 2)
   return function(...)
      local n, args = select("#", ...), { ... }
      return ensure.run(opts, function()
         return self:with(function(ch) return fn(ch, unpack(args, 1, n)) end)
      end)
   end
end

return require "moonrabbit.pool_size" (pool, Pool, { new = new_connection, discard = discard, lease = lease })
