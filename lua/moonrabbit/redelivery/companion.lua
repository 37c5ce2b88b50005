--- companion: a queue beside a worker's own, for its dead letters or for what has waited: declared, or taken as it is.
-- SPDX-License-Identifier: MIT
-- Who made it otherwise before (another type, a limit, or a user who may not declare it) meant it so.
local C = require("moonrabbit.base.ffi").C
local asking = require "moonrabbit.channel.request"

local companion = {}

-- What says that it may be there, in another shape or out of our reach.
local TAKEN = { precondition_failed = true, access_refused = true }

--- The arguments of a queue beside this one: as safe as that one is.
-- @tparam ?table arguments of the queue
-- @treturn ?table
function companion.arguments(arguments)
   return arguments and arguments["x-queue-type"] == "quorum" and { ["x-queue-type"] = "quorum" } or nil
end

--- Declares a queue on a channel of its own: a queue that is in the way closes it.
-- @tparam connection conn
-- @tparam table options of asking.ask
-- @tparam string queue
-- @treturn[1] true
-- @treturn[2] nil, error
function companion.ask(conn, options, queue)
   local ch, err = conn:channel()
   if not ch then return nil, err end
   local reply
   reply, err = asking.ask(ch, C.MR_QUEUE_DECLARE, options, queue)
   ch:close()
   return reply and true, err
end

-- A refusal answers the question: it is no error to be logged.
local function is_there(conn, queue) return companion.ask(conn, { passive = true, asking = true }, queue) end

--- Sees to it that a queue is there.
-- @tparam connection conn
-- @tparam string queue
-- @tparam table options of its declaration: durable, auto_delete, arguments
-- @treturn[1] true
-- @treturn[1] boolean was it declared? If not, there is one of another shape, or one that this user may not declare
-- @treturn[2] nil, error
function companion.declare(conn, queue, options)
   local ok, err = companion.ask(conn, { durable = options.durable, auto_delete = options.auto_delete, arguments = options.arguments,
      unrecorded = true, asking = true }, queue)
   if ok then return true, true end
   if TAKEN[err.kind] and is_there(conn, queue) then return true, false end
   return nil, err
end

--- Is a queue there? Nil: no, or that cannot be known.
function companion.is_there(conn, queue) return (is_there(conn, queue)) end

return companion
