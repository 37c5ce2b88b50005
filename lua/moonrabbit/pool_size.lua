--- pool_size: a pool that grows, shrinks and closes.
-- SPDX-License-Identifier: MIT
local errors = require "moonrabbit.errors"
local options = require "moonrabbit.options"

return function(pool, Pool, inner)
   --- Adds n connections.
   -- @tparam number n
   -- @tparam[opt] table opts connect=false: open them now
   -- @treturn[1] true
   -- @treturn[2] nil, error of kind pool_limit_exceeded (those that fitted stay), or why one cannot connect
   function Pool:grow(n, opts)
      options.argument(1, "n", n, "number")
      opts = options.check(opts, { connect = "boolean" })
      for _ = 1, n do
         if not self:_has_room() then
            return nil, errors.new("pool_limit_exceeded", "pool", ("there are %d, and %d are allowed"):format(self.total,
               self.limit))
         end
         if self.strategy == "pooled" then
            local conn, ok, err = inner.new(self), true, nil
            if opts.connect then ok, err = conn:connect() end
            if not ok then
               conn:release()
               return nil, err
            end
            table.insert(self.free, conn)
         end
      end
      self:_next()
      return true
   end

   --- Sets how many there may be. Those lent beyond it go when they are released.
   -- @tparam number n
   function Pool:resize(n)
      options.argument(1, "n", n, "number")
      options.whole("n", n, 1, 65535)
      self.limit = n
      while self.total > n and #self.free > 0 do inner.discard(self, table.remove(self.free, 1)) end
      self:_next()
   end

   --- Closes all, those lent as well. The pool can be used again.
   function Pool:close()
      local items = self.free
      self.free = {}
      for given in pairs(self.leases) do
         local item = inner.lease.item(given)
         if item then
            items[#items + 1] = item
            inner.lease.give_back(given, 2)
         end
      end
      self.leases = setmetatable({}, { __mode = "k" })
      self.lent = 0
      for _, item in ipairs(items) do inner.discard(self, item) end
      for _, conn in pairs(self.shared) do conn:release() end
      self.shared = {}
      self:_next()
      return true
   end

   return pool
end
