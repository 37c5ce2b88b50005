--- items: the Lua objects of a C pool's connections and channels; closes and frees them.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local C = require("moonrabbit.base.ffi").C
local channel = require "moonrabbit.channel.channel"
local connection = require "moonrabbit.connection.connection"
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"
local identity = require "moonrabbit.connection.identity"
local loop = require "moonrabbit.loop.loop"
local passwords = require "moonrabbit.connection.passwords"
local settings = require "moonrabbit.connection.settings"
local task = require "moonrabbit.loop.task"

local item = {}

local error_box, item_box = ffi.new "mr_error", ffi.new "uint32_t[1]"
local STRATEGIES = { pooled = C.MR_POOLED, shared = C.MR_SHARED }
local all = setmetatable({}, { __mode = "k" }) -- pools with a handle

--- The C pool; a new one after the runtime was closed.
-- @treturn[1] cdata `mr_pool`
-- @treturn[2] nil, error of kind bad_option or bad_uri
function item.pool(self)
   if self.handle then return self.handle end
   local o, err = settings.make(self.settings)
   if not o then return nil, err end
   local box = ffi.new "mr_pool *[1]"
   if C.mr_pool_new(loop.runtime(), o, STRATEGIES[self.strategy], self.limit, box, error_box) ~= 0 then
      return nil, errors.of_c(error_box)
   end
   ffi.gc(o, nil) -- the pool owns it now
   self.handle = box[0]
   all[self] = true
   return self.handle
end

loop.on_close(function()
   for self in each(all) do self.handle, self.items, self.shared = false, {}, {} end
end)

local function wrap_connection(self, handle)
   C.mr_connection_keep(handle)
   local conn = connection.wrap(handle, self.settings)
   conn.pool = self
   identity.of_pool(conn, self)
   return conn
end

--- The one connection for publishing, or for consuming, of a shared pool.
-- @treturn[1] connection
-- @treturn[2] nil, error
function item.carrier(self, purpose)
   local conn = self.shared[purpose]
   if conn and not conn.released then return conn end
   local box = ffi.new "mr_connection *[1]"
   if C.mr_pool_shared(self.handle, purpose, box, error_box) ~= 0 then return nil, errors.of_c(error_box) end
   self.shared[purpose] = wrap_connection(self, box[0])
   return self.shared[purpose]
end

-- It may have ended since it was opened, or its connection was handed over (nil, nil: acquire another one).
local function wrap_channel(self, handle, purpose)
   local conn = self.shared[purpose]
   if not conn or C.mr_channel_connection(handle) ~= conn.handle then return nil end
   if C.mr_channel_is_open(handle) or C.mr_channel_is_suspended(handle) then
      C.mr_channel_keep(handle)
      return channel.wrap(conn, handle)
   end
   C.mr_channel_error(handle, error_box)
   return nil, errors.of_c(error_box)
end

local function wrap(self, number, purpose)
   if self.strategy == "shared" then
      local handle = C.mr_pool_channel(self.handle, number)
      if handle == nil then return nil end
      return wrap_channel(self, handle, purpose)
   end
   local handle = C.mr_pool_connection(self.handle, number)
   return handle ~= nil and wrap_connection(self, handle) or nil
end

--- Closes and frees what the pool has forgotten. Waits.
function item.discard(self, thing)
   if self.strategy == "pooled" then thing:release() else thing:close() end
end

--- The same for all items that the C pool does not need any more.
function item.sweep(self)
   local gone = {}
   for number, thing in each(self.items) do
      if not C.mr_pool_has(self.handle, number) then gone[number] = thing end
   end
   for number, thing in each(gone) do
      self.items[number] = nil
      item.discard(self, thing)
   end
end

--- The object of a loan.
-- @treturn[1] connection or channel
-- @treturn[2] nil, error: it has ended already; nil, nil: acquire another one
function item.lent(self, token, purpose)
   local number = C.mr_pool_item(self.handle, token)
   if number == 0 then return nil, errors.new("closed", "pool", "the pool was closed") end
   local thing = self.items[number]
   if thing then return thing end
   local err
   thing, err = wrap(self, number, purpose)
   if not thing then
      C.mr_pool_replace(self.handle, token)
      return nil, err
   end
   self.items[number], self.numbers[thing] = thing, number
   item.sweep(self) -- it may have replaced another
   return thing
end

--- Why the pool lends nothing, in words of this pool: nil, error.
function item.refused(self, err)
   if err.kind == "pool_exhausted" then
      return nil, errors.new("pool_exhausted", "pool", ("all %d are in use"):format(self.limit))
   elseif err.kind == "pool_limit_exceeded" then
      return nil, errors.new("pool_limit_exceeded", "pool",
         ("there are %d, and %d are allowed"):format(self.total, self.limit))
   elseif err.kind == "timeout" and err.scope == "pool" then
      return nil, errors.new("timeout", "pool", ("none of %d was released in time"):format(self.limit),
         "release what is acquired, wait longer, or raise the limit")
   end
   return nil, err
end

--- Takes a connection or channel from the pool. Waits.
-- @treturn[1] connection or channel
-- @treturn[1] number the token it is lent under
-- @treturn[2] nil, error
function item.borrow(self, purpose, timeout)
   local handle, err = item.pool(self)
   if not handle then return nil, err end
   if self.strategy == "shared" then
      local conn, ok
      conn, err = item.carrier(self, purpose)
      ok = conn
      if conn and not conn.is_open then ok, err = passwords.renew(conn) end
      if not ok then return nil, err end
   end
   local token = task.token()
   local status = C.mr_pool_acquire(handle, token, purpose, timeout, item_box)
   if status ~= 0 then return item.refused(self, errors.of_status(status, "channel")) end
   local thing = self.items[item_box[0]]
   if thing then return thing, token end
   if item_box[0] == 0 then
      local reply = task.wait(token)
      if reply.err then return item.refused(self, reply.err) end
   end
   thing, err = item.lent(self, token, purpose)
   if thing then return thing, token end
   if err then return nil, err end
   return item.borrow(self, purpose, timeout)
end

--- Gives back what was lent under a token; it does not wait.
-- @treturn boolean has the pool forgotten it? Then it is to be discarded
function item.give_back(self, thing, token, is_broken)
   if not self.handle then return false end -- the runtime was closed meanwhile
   if is_broken then C.mr_pool_replace(self.handle, token) else C.mr_pool_release(self.handle, token) end
   local number = self.numbers[thing]
   if C.mr_pool_has(self.handle, number) then return false end
   self.items[number] = nil
   return true
end

return item
