--- apart: gives a consumer that ends its connection again and again a connection of its own.
-- SPDX-License-Identifier: MIT
-- RabbitMQ answers basic.consume by closing the whole connection (541) if, for example, a quorum queue has no majority. On a
-- connection of its own such a consumer costs nobody else anything; and it tries rarely.
local each = require "moonrabbit.base.each"
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"
local task = require "moonrabbit.loop.task"

local apart = {}

local COSTS = 2            -- connections in a row
local FIRST, MOST = 5, 60  -- seconds between tries, doubled each time
local FORCED = 320         -- the broker, or an operator, closes the connection for reasons of its own

local Apart = { __name = "moonrabbit.apart" }
Apart.__index = Apart

--- For one consumer.
-- @tparam connection home the connection that it shares with others
-- @tparam string queue for the log
-- @treturn apart field connection: the one to use now
function apart.new(home, queue)
   return setmetatable({ home = home, connection = home, queue = queue, costs = 0 }, Apart)
end

-- True if the broker has closed the connection for an error, and not an operator. A user's limit of channels is met on any
-- connection.
local function has_cost(err)
   return err.scope == "connection" and err.code and err.code ~= 0 and err.code ~= FORCED and err.kind ~= "channel_limit_reached"
end

local function release(home, own)
   home.aparts[own] = nil
   own:release()
end

local function drop(self)
   local own = self.connection
   if own == self.home then return end
   self.connection = self.home
   task.background(function() release(self.home, own) end)
end

--- Calls fn(own) for each connection of its own that a consumer of this connection has; fn may wait.
function apart.each(home, fn)
   local list = {}
   for own in each(home.aparts or {}) do list[#list + 1] = own end
   for _, own in ipairs(list) do fn(own) end
end

--- A try has failed, or the consumer has ended with this error.
-- @tparam table err
-- @tparam[opt] boolean is_sure it is known that this consumer, and no other, has cost connections
function Apart:note(err, is_sure)
   if self.connection ~= self.home and err.kind == "connection_limit_reached" then return drop(self) end
   if not has_cost(err) then return end
   self.costs = self.costs + (is_sure and COSTS or 1)
   if self.costs < COSTS or self.connection ~= self.home or self.home.released then return end
   self.connection = self.home:clone { on_event = function() end }
   self.home.aparts = self.home.aparts or {} -- it is closed with the shared one
   self.home.aparts[self.connection] = true
   log.warn("this consumer ends its connection again and again: it has one of its own now", { queue = self.queue,
      kind = err.kind, error = err.text, hint = "a quorum queue without a majority of its nodes does this" })
end

--- The seconds until the next try, for the number that the policy says.
function Apart:pause(word)
   if self.costs < COSTS then return word end
   return math.max(word, math.min(FIRST * 2 ^ (self.costs - COSTS), MOST))
end

--- It consumes.
function Apart:worked() self.costs = 0 end

--- It has ended: its own connection is released when no channel is left.
function Apart:finish()
   local own = self.connection
   if own == self.home then return end
   task.background(function()
      while not own.released and next(own.channels) do loop.sleep(0.05) end
      release(self.home, own)
   end)
end

return apart
