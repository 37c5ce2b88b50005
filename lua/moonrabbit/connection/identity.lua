--- identity: as whom connections log in. Those of one identity share a secret that was renewed.
-- SPDX-License-Identifier: MIT
-- A connection, its clones and the connection for its copies are of one identity, unless a clone was told to log in
-- otherwise; so are the connections of a pool.
local C = require("moonrabbit.base.ffi").C
local each = require "moonrabbit.base.each"
local task = require "moonrabbit.loop.task"

local identity = {}

local LOGIN = { "url", "hostname", "port", "userid", "password", "auth" }

-- A pool's is its own for the life of the pool.
local of_pools = setmetatable({}, { __mode = "k" })

local function new() return { secret = false, members = setmetatable({}, { __mode = "k" }) } end

local function join(self, shared)
   self.identity = shared
   shared.members[self] = true
   if shared.secret then C.mr_connection_password(self.handle, shared.secret, #shared.secret) end
end

--- A connection of its own.
function identity.begin(self) join(self, new()) end

--- A connection of a pool.
function identity.of_pool(self, pool)
   of_pools[pool] = of_pools[pool] or new()
   join(self, of_pools[pool])
end

--- A clone, made with these overrides.
function identity.of_clone(self, original, overrides)
   for _, name in ipairs(LOGIN) do
      if overrides and overrides[name] ~= nil then return end
   end
   join(self, original.identity)
end

-- One that was refused with the old secret then tries at once; nobody waits for the answer.
local function tell_next_connect(member, secret)
   if member.state == "open" then
      C.mr_connection_password(member.handle, secret, #secret)
   else
      C.mr_connection_update_secret(member.handle, task.token(), secret, #secret, 0)
   end
end

--- What the next connect of each connection of this identity says.
function identity.renew(self, secret)
   local shared = self.identity
   shared.secret = secret
   for member in each(shared.members) do
      if not member.released and member ~= self then tell_next_connect(member, secret) end
   end
end

return identity
