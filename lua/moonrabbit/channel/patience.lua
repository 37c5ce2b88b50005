--- patience: doing again what must be done before a message can be acked, while the message is held.
-- SPDX-License-Identifier: MIT
-- A message is never given back because something of ours could not be done: each round through its queue would count
-- against it, and a quorum queue with a delivery limit drops it in the end.
local C = require("moonrabbit.base.ffi").C
local loop = require "moonrabbit.loop.loop"
local stop = require "moonrabbit.loop.stop"

local patience = {}

local FIRST, MOST = 0.5, 15 -- seconds between tries
local LOOK = 0.25           -- seconds after which it is looked whether there is still a point in it

--- Waits, as long as the message is ours and the program goes on.
-- @tparam message msg
-- @tparam number seconds
function patience.nap(msg, seconds)
   local deadline = C.mr_now() + seconds
   while msg.is_live and not stop.is_asked() do
      local left = deadline - C.mr_now()
      if left <= 0 then return end
      loop.sleep(math.min(left, LOOK))
   end
end

--- Does the program stop?
function patience.is_over() return stop.is_asked() end

--- Does something until it is done.
-- @tparam message msg
-- @tparam function fn returns true, or nil and an error; one with is_final says that it will never be done
-- @tparam function tell(err, pause) is told of each failure but the last
-- @treturn[1] true
-- @treturn[2] nil, error it will never be done
-- @treturn[3] nil the message is not ours any more, or the program stops: it comes again by itself
function patience.until_done(msg, fn, tell)
   local pause = FIRST
   while true do
      local ok, err = fn()
      if ok then return true end
      if not msg.is_live then return nil end
      if err.is_final then return nil, err end
      if stop.is_asked() then return nil end
      tell(err, pause)
      patience.nap(msg, pause)
      pause = math.min(pause * 2, MOST)
   end
end

return patience
