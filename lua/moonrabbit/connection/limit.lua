--- limit: the broker's limit of a user's channels, once it is known: to exceed it costs the whole connection.
-- SPDX-License-Identifier: MIT
-- RabbitMQ answers the channel beyond a user's max-channels by closing the connection (530). So the number that was open then is kept
-- as the limit of this connection for a while; channels beyond it are refused here, and the connection stays. If the connection was
-- lost while its channels were restored, the runtime restores fewer at its next try: then these are the limit.
local C = require("moonrabbit.base.ffi").C
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"
local log = require "moonrabbit.loop.log"

local limit = {}

local FIRST, MOST = 60, 3600 -- seconds for which it is kept, doubled each time it is met again afterwards

local HINT = "the user may open no more channels: close some, spread them over users, or raise the limit (rabbitmqctl "
   .. "set_user_limits USER '{\"max-channels\": N}')"

local function count(conn, is_counted)
   local n = 0
   for _, ch in each(conn.channels) do
      if is_counted(ch) then n = n + 1 end
   end
   return n
end

local function was_open(ch) return not ch.is_opening end
local function is_opening(ch) return ch.is_opening end
local function any() return true end

--- The connection was lost: was it for this limit? To be called before its channels learn of it.
-- @tparam connection conn
-- @tparam ?table err
function limit.lost(conn, err)
   if not err or err.kind ~= "channel_limit_reached" then return end
   local known = conn.channel_limit
   local seconds = known and known.seconds or FIRST
   if known and C.mr_now() >= known.till then seconds = math.min(seconds * 2, MOST) end -- not for what this time costs, too
   local most = count(conn, is_opening) > 0 and count(conn, was_open) or nil -- nil: to restore them was too much
   conn.channel_limit = { most = most, seconds = seconds, till = C.mr_now() + seconds, text = err.text }
   log.warn("the user's channels are at their limit: no further one is opened for a while", { connection = conn.host,
      channels = most, delay = seconds, hint = HINT })
end

--- May another channel be opened?
-- @treturn[1] true
-- @treturn[2] nil, error of kind channel_limit_reached
function limit.check(conn)
   local known = conn.channel_limit
   if not known or C.mr_now() >= known.till then return true end
   known.most = known.most or count(conn, was_open) -- those that could be restored
   if count(conn, any) < known.most then return true end
   return nil, errors.new("channel_limit_reached", "channel", known.text, HINT)
end

return limit
