--- lease: a loan of a pool: works like its connection or channel until it is released.
-- SPDX-License-Identifier: MIT
local errors = require "moonrabbit.base.errors"

local lease = {}

local items = setmetatable({}, { __mode = "k" })    -- lease -> { item, released (where), pool, watch }
local Lease = { __name = "moonrabbit.lease" }

local function item_of(self)
   local state = items[self]
   return state.item or errors.blame(("this %s was released at %s: acquire another"):format(state.what, state.released))
end

function Lease.__index(self, key)
   local item = item_of(self)
   if key == "release" then return items[self].release end
   local v = item[key]
   if type(v) ~= "function" then return v end
   return function(first, ...)
      if first ~= self then return v(first, ...) end
      return v(item_of(self), ...)
   end
end

function Lease.__newindex(self, key, v) item_of(self)[key] = v end

function Lease.__tostring(self)
   local state = items[self]
   return state.item and tostring(state.item) or ("%s, released at %s"):format(state.what, state.released)
end

--- Makes the lease of an item. If the lease is garbage-collected before its release, on_leak(item) is called, which must not
-- wait.
-- @tparam string what "connection" or "channel"
-- @tparam function release the lease's method `release`
function lease.new(item, what, release, on_leak)
   local self = setmetatable({}, Lease)
   local state = { item = item, what = what, release = release }
   items[self] = state
   -- A table has no finalizer in LuaJIT; a proxy has.
   local watch = newproxy(true)
   getmetatable(watch).__gc = function()
      if state.item then on_leak(state.item) end
   end
   rawset(self, watch, true) -- lives as long as the lease
   return self
end

--- Ends a lease and returns the item. A second call raises an error that names the first.
function lease.give_back(self)
   local state = items[self]
   if not state then errors.blame "this was not acquired from a pool" end
   if not state.item then errors.blame(("this %s was released already, at %s"):format(state.what, state.released)) end
   local item = state.item
   state.item, state.released = nil, errors.place() or "the library"
   return item
end

--- True if the value is a lease.
function lease.is(value) return getmetatable(value) == Lease end
--- The item of a lease that is still held, or nil.
function lease.item(self)
   local state = items[self]
   return state and state.item
end

return lease
