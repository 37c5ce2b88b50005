--- companion: a queue for a worker's dead letters or delayed messages: declared, or used unchanged if it exists.
-- SPDX-License-Identifier: MIT
-- If it exists with other arguments (another type, a limit), or the user may not declare it, that is assumed to be intended.
local C = require("moonrabbit.base.ffi").C
local asking = require "moonrabbit.channel.request"
local queue_type = require "moonrabbit.channel.queue_type"

local companion = {}

-- Errors which mean that it may exist, with other arguments or without permission for us.
local TAKEN = { precondition_failed = true, access_refused = true }

--- The arguments of a queue's companions: they have its type; those of a stream, the default type of the process.
-- @tparam ?table arguments of the queue
-- @tparam ?string wanted another type
-- @treturn ?table
function companion.arguments(arguments, wanted)
   local kind, default = wanted or queue_type.of(arguments), queue_type.default()
   if kind == "stream" then kind = default end
   if kind ~= "quorum" then kind = "classic" end
   -- Without a default, a declaration that names no type is that of earlier versions.
   if kind == "classic" and not default and not (arguments and arguments["x-queue-type"]) and not wanted then return nil end
   return { ["x-queue-type"] = kind }
end

--- Declares a queue on a separate channel, because a conflict closes the channel.
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

-- A refusal is a normal answer, not an error for the log.
local function is_there(conn, queue) return companion.ask(conn, { passive = true, asking = true }, queue) end

--- Makes sure that a queue exists.
-- @tparam connection conn
-- @tparam string queue
-- @tparam table options of its declaration: durable, auto_delete, arguments
-- @treturn[1] true
-- @treturn[1] boolean true if it was declared; false: it has other arguments, or this user may not declare it
-- @treturn[2] nil, error
function companion.declare(conn, queue, options)
   local ok, err = companion.ask(conn, { durable = options.durable, auto_delete = options.auto_delete, arguments = options.arguments,
      unrecorded = true, asking = true }, queue)
   if ok then return true, true end
   if TAKEN[err.kind] and is_there(conn, queue) then return true, false end
   return nil, err
end

--- Does a queue exist?
-- @treturn[1] true
-- @treturn[2] nil, error; see companion.is_gone
function companion.is_there(conn, queue)
   local ok, err = is_there(conn, queue)
   return ok, err
end

--- True if is_there has found that there is no such queue. (With its node down, or no answer, that is unknown.)
function companion.is_gone(err) return err ~= nil and err.kind == "not_found" and not err.recoverable end

return companion
