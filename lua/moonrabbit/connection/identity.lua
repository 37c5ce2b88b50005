--- identity: the login of connections. Connections of one identity share a renewed secret.
-- SPDX-License-Identifier: MIT
-- A connection, its clones and the connection for its copies have one identity, unless a clone overrides the login; so do
-- the connections of a pool.
local C = require("moonrabbit.base.ffi").C
local each = require "moonrabbit.base.each"
local task = require "moonrabbit.loop.task"

local identity = {}

local LOGIN = { "url", "hostname", "port", "userid", "password", "auth" }

-- A pool has its own identity for its whole life.
local of_pools = setmetatable({}, { __mode = "k" })

local function new() return { secret = false, members = setmetatable({}, { __mode = "k" }) } end

--- Gives a new handle the secret of its connection's identity.
function identity.again(self)
   local secret = self.identity.secret
   if secret then C.mr_connection_password(self.handle, secret, #secret) end
end

local function join(self, shared)
   self.identity = shared
   shared.members[self] = true
   identity.again(self)
end

--- Gives a connection its own identity.
function identity.begin(self) join(self, new()) end

--- Gives a connection the identity of its pool.
function identity.of_pool(self, pool)
   of_pools[pool] = of_pools[pool] or new()
   join(self, of_pools[pool])
end

--- Gives a clone its identity, according to its overrides.
function identity.of_clone(self, original, overrides)
   for _, name in ipairs(LOGIN) do
      if overrides and overrides[name] ~= nil then return end
   end
   join(self, original.identity)
end

-- A connection that was refused with the old secret then tries at once; the answer is not awaited.
local function tell_next_connect(member, secret)
   if member.state == "open" then
      C.mr_connection_password(member.handle, secret, #secret)
   else
      C.mr_connection_update_secret(member.handle, task.token(), secret, #secret, 0)
   end
end

--- Sets the secret for the next connect of each connection of this identity.
function identity.renew(self, secret)
   local shared = self.identity
   shared.secret = secret
   for member in each(shared.members) do
      if not member.released and member ~= self then tell_next_connect(member, secret) end
   end
end

return identity
