--- cli.purge: `moonrabbit purge`: deletes the messages of a queue.
-- SPDX-License-Identifier: MIT
local session = require "moonrabbit.cli.session"

local purge = {}

--- Adds the command to the parser.
function purge.describe(p)
   local c = p:command("purge", "Delete all messages of a queue that are ready.", [[
Example: moonrabbit purge orders.dead

Messages that a consumer holds unacked stay.]])
   c:argument("queue", "The queue.")
   session.options(c)
end

local function run(self, options)
   local ch, err = self:channel()
   if not ch then return nil, err end
   local there, count
   there, err = ch:queue_declare { queue = options.queue, passive = true } -- Redis looks for it only then
   if not there then return nil, err end
   count, err = ch:queue_purge { queue = options.queue }
   if not count then return nil, err end
   return { line = ("deleted %s of %s"):format(session.count(count, "message"), options.queue),
      fields = { queue = options.queue, deleted = count } }
end

--- Runs the command.
-- @treturn number exit code
function purge.main(options)
   return session.run(options, function(self) return run(self, options) end)
end

return purge
