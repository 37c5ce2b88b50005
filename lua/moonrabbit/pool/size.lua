--- size: grows, shrinks and closes a pool.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.base.ffi").C
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"
local item = require "moonrabbit.pool.items"
local lease = require "moonrabbit.pool.lease"
local options = require "moonrabbit.base.options"
local task = require "moonrabbit.loop.task"

local size = {}

-- One connection more, open.
local function open_one(self, insist)
   local conn, token = item.borrow(self, C.MR_POOL_FRESH, 0)
   if not conn then return nil, token end
   local ok, err = (insist and conn.ensure_connection or conn.connect)(conn)
   if item.give_back(self, conn, token, not ok) then item.discard(self, conn) end
   return ok, err
end

--- Opens n connections, or the one for publishing of a shared pool; with `insist` it tries until that works.
function size.preconnect(self, n, insist)
   if n > 0 and self.strategy == "shared" then
      local conn = item.carrier(self, C.MR_POOL_PUBLISH)
      return (insist and conn.ensure_connection or conn.connect)(conn)
   end
   for _ = 1, math.min(n, self.limit) do
      local ok, err = open_one(self, insist)
      if not ok then return nil, err end
   end
   return true
end

--- Adds n connections.
-- @tparam number n 0 to 65535
-- @tparam[opt] table opts connect=false (true: open them now; a "shared" pool opens its channels when they are lent)
-- @treturn[1] true
-- @treturn[2] nil, error of kind pool_limit_exceeded (those that fitted stay), or why one cannot connect
function size:grow(n, opts)
   options.argument(1, "n", n, "number")
   options.whole("n", n, 0, 65535)
   opts = options.check(opts, { connect = "boolean" })
   local handle, err = item.pool(self)
   if not handle then return nil, err end
   if opts.connect and self.strategy == "pooled" then
      for _ = 1, n do
         local ok
         ok, err = open_one(self)
         if not ok then return nil, err end
      end
      return true
   end
   local status = C.mr_pool_grow(handle, n)
   if status == 0 then return true end
   return item.refused(self, errors.of_status(status, "pool"))
end

--- Sets how many there may be. Those lent beyond it go when they are released.
-- @tparam number n 1 to 65535
function size:resize(n)
   options.argument(1, "n", n, "number")
   options.whole("n", n, 1, 65535)
   self.limit = n
   if not self.handle then return end
   C.mr_pool_resize(self.handle, n)
   item.sweep(self)
end

--- Closes all, those lent as well; who waits for one gets an error of kind closed. The pool can be used
-- again.
function size:close()
   if not self.handle then return true end
   task.check()
   local things, carriers = self.items, self.shared
   C.mr_pool_close(self.handle, 0)
   self.items, self.shared = {}, {}
   for given in each(self.tokens) do
      if lease.item(given) then lease.give_back(given) end
      self.tokens[given] = nil
   end
   for _, thing in each(things) do item.discard(self, thing) end
   for _, conn in each(carriers) do conn:release() end
   return true
end

return size
