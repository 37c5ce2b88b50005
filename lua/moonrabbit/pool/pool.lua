--- pool: lends connections, or channels of two connections, to one borrower at a time.
-- SPDX-License-Identifier: MIT
-- The C pool (mr_pool) manages loans and the waiting line. This module has the leases and the error texts.
local ffi = require "ffi"
local C = require("moonrabbit.base.ffi").C
local each = require "moonrabbit.base.each"
local ensure = require "moonrabbit.connection.ensure"
local generation = require "moonrabbit.loop.generation"
local home = require "moonrabbit.connection.default"
local items = require "moonrabbit.pool.items"
local lease = require "moonrabbit.pool.lease"
local log = require "moonrabbit.loop.log"
local options = require "moonrabbit.base.options"
local size = require "moonrabbit.pool.size"
local task = require "moonrabbit.loop.task"
local time_limit = require "moonrabbit.loop.time_limit"

local pool = {}

local Pool = { __name = "moonrabbit.pool", grow = size.grow, resize = size.resize, close = size.close }
local getters = {}
function Pool.__index(self, key)
   local getter = getters[key]
   if getter then return getter(self) end
   return Pool[key]
end
function Pool.__tostring(self) return ("pool %s: %d of %d in use"):format(self.strategy, self.active, self.limit) end

local counts = ffi.new "mr_pool_counts"
local PURPOSES = { publish = C.MR_POOL_PUBLISH, consume = C.MR_POOL_CONSUME }

local function count(self)
   if self.handle then C.mr_pool_count(self.handle, counts) else ffi.fill(counts, ffi.sizeof(counts)) end
   return counts
end

--- Counts: lent items; all items, lent or not; idle items; waiting tasks.
function getters.active(self) return count(self).active end
function getters.total(self) return count(self).active + counts.idle end
function getters.idle(self) return count(self).idle end
function getters.waiting(self) return count(self).waiting end

local OURS = { strategy = "string", max_connections = "number", max_channels = "number", preconnect = "number",
   ensure = "boolean" }

local function split(opts)
   local ours, theirs = {}, {}
   for k, v in each(opts) do
      if OURS[k] then ours[k] = v else theirs[k] = v end
   end
   return ours, theirs
end

-- ---- giving back ----

local function end_lease(self, given, is_broken)
   local token = self.tokens[given]
   if not token and lease.is(given) and lease.item(given) then options.blame "this was acquired from another pool" end
   local thing = lease.give_back(given)
   self.tokens[given] = nil
   if items.give_back(self, thing, token, is_broken) then items.discard(self, thing) end
end

-- ---- making ----

-- Checks the options now, not at the first acquire.
local function check_settings(self)
   local ok, err = items.pool(self)
   if ok then return end
   local names = {}
   for name in each(OURS) do names[#names + 1] = name end
   for name in each(self.settings) do
      local nearest = err.text:find('"' .. name .. '"', 1, true) and options.nearest(name, names)
      if nearest then options.blame(('unknown option "%s": did you mean "%s"?'):format(name, nearest)) end
   end
   options.blame(tostring(err))
end

--- Makes a pool. Connections connect at their first use. `opts` is a URL, or a table of options of mr.connect and these.
-- @tparam string|table opts strategy="pooled" (lends connections, each to one borrower at a time; or "shared": lends channels
-- of two connections, one to consume, one to publish), max_connections=10 (of a pooled pool), max_channels=100 (of a
-- shared pool), preconnect=0 (connections to open now), ensure=false (true: preconnecting retries until it succeeds)
-- @treturn[1] pool
-- @treturn[2] nil, error of preconnecting
function pool.new(opts)
   if type(opts) == "string" then opts = { url = opts } end
   options.argument(1, "opts", opts or {}, "table")
   local ours, theirs = split(opts or {})
   options.check(ours, OURS)
   local strategy = ours.strategy or "pooled"
   if strategy ~= "pooled" and strategy ~= "shared" then options.blame 'option "strategy" must be "pooled" or "shared"' end
   options.whole("max_connections", ours.max_connections, 1, 65535)
   options.whole("max_channels", ours.max_channels, 1, 65535)
   options.whole("preconnect", ours.preconnect, 0, 65535)
   theirs = home.settings(theirs)
   local most = strategy == "pooled" and (ours.max_connections or 10) or (ours.max_channels or 100)
   local self = setmetatable({ strategy = strategy, settings = theirs, limit = most, handle = false, items = {},
      shared = {}, numbers = setmetatable({}, { __mode = "k" }), tokens = setmetatable({}, { __mode = "k" }) }, Pool)
   check_settings(self)
   function self.take_back(given) -- the release of a lease
      end_lease(self, given)
      return true
   end
   local ok, err = size.preconnect(self, ours.preconnect or 0, ours.ensure)
   if not ok then
      self:close()
      return nil, err
   end
   return generation.keep(self, Pool.close)
end

-- ---- lending ----

--- Lends a connection ("pooled") or a channel ("shared"); first come, first served.
-- @tparam[opt] table opts block=true (false: do not wait until one is free), timeout (seconds; 0: as block = false;
-- default: no limit), purpose="publish" (or "consume": selects the connection of a shared pool)
-- @treturn[1] connection or channel; release it afterwards
-- @treturn[2] nil, error of kind pool_exhausted, timeout, closed, or why it cannot be opened
function Pool:acquire(opts)
   opts = options.check(opts, { block = "boolean", timeout = "number", purpose = "string" })
   options.seconds("timeout", opts.timeout)
   local purpose = PURPOSES[opts.purpose or "publish"]
   if not purpose then options.blame 'option "purpose" must be "publish" or "consume"' end
   time_limit.heed()
   local timeout = time_limit.within(opts.block == false and 0 or opts.timeout or -1)
   local thing, token = time_limit.apart(items.borrow, self, purpose, timeout)
   if not thing then
      time_limit.heed()
      return nil, token
   end
   local lender = self.handle
   local given = lease.new(thing, self.strategy == "pooled" and "connection" or "channel", self.take_back, function(leaked)
      if self.handle ~= lender then return end -- the pool has ended, and maybe its runtime: this must not make a new one
      log.warn("a pool's item was collected without a release: it goes back", { pool = self.strategy })
      if items.give_back(self, leaked, token) then task.later(function() items.discard(self, leaked) end) end
   end)
   self.tokens[given] = token
   return given
end

--- Returns an item of acquire; it must not be used afterwards. `item:release()` is the same; `item.pool` is the pool of an
-- item.
function Pool:release(item) end_lease(self, item) end

--- Returns a broken item: it is closed, and a new one replaces it.
function Pool:replace(item) end_lease(self, item, true) end

--- Calls fn with a channel, and always returns the item to the pool.
-- @tparam function fn called with the channel
-- @tparam[opt] table opts as of acquire
-- @return the results of fn; nil, error if there is no channel
function Pool:with(fn, opts)
   options.argument(1, "fn", fn, "function")
   local given, err = self:acquire(opts)
   if not given then return nil, err end
   local ch = given
   if self.strategy == "pooled" then ch, err = lease.item(given):default_channel() end
   if not ch then
      self:release(given)
      return nil, err
   end
   local function finish(ok, ...)
      self:release(given)
      if not ok then error((...), 0) end
      return ...
   end
   return finish(pcall(fn, ch))
end

--- Returns a function that calls fn(channel, ...) with a channel of the pool, and retries when a connection or channel
-- fails.
-- @tparam function fn called with the channel and the function's own arguments; may fail by `nil, err`
-- @tparam[opt] table opts errback (function(err, interval), called before each wait; default: none), max_retries (0:
-- only one try; default: no limit), interval_start=2 (seconds before the first retry), interval_step=2 (seconds added
-- before each further one), interval_max=30 (maximum seconds between two), timeout (seconds in total; default: no
-- limit)
-- @treturn function
function Pool:ensure(fn, opts)
   options.argument(1, "fn", fn, "function")
   opts = ensure.options(opts, { interval_start = 2, interval_step = 2, interval_max = 30 })
   return function(...)
      local n, args = select("#", ...), { ... }
      return ensure.run(opts, function()
         return self:with(function(ch) return fn(ch, unpack(args, 1, n)) end)
      end)
   end
end

return pool
