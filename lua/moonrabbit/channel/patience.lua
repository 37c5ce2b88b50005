--- patience: repeats an operation that must succeed before a message can be acked, while the message is held.
-- SPDX-License-Identifier: MIT
-- A message is never requeued because an operation of the library failed: each round through its queue would count, and a
-- quorum queue with a delivery limit would finally drop it.
local C = require("moonrabbit.base.ffi").C
local loop = require "moonrabbit.loop.loop"
local stop = require "moonrabbit.loop.stop"

local patience = {}

local FIRST, MOST = 0.5, 15 -- seconds between tries
local LOOK = 0.25           -- seconds between checks that a try still makes sense

--- Waits while the message is unsettled and the program does not stop.
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

--- True if the program is stopping.
function patience.is_over() return stop.is_asked() end

--- Repeats an operation until it succeeds.
-- @tparam message msg
-- @tparam function fn returns true, or nil and an error; is_final in the error means that it can never succeed
-- @tparam function tell(err, pause) is called for each failure except the last
-- @treturn[1] true
-- @treturn[2] nil, error it can never succeed
-- @treturn[3] nil the message was taken back, or the program stops: the broker delivers it again
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
