--- cli.copy: `moonrabbit copy`: copies the messages of a queue to another one.
-- SPDX-License-Identifier: MIT
local moving = require "moonrabbit.cli.moving"

local copy = {}

--- Adds the command to the parser.
function copy.describe(p)
   moving.describe(p:command("copy", "Copy the messages of a queue to another queue, also of another broker.", [[
Example: moonrabbit copy orders orders.old --to-url amqp://archive

The messages are held until the end, then they return to their places: marked as redelivered, and a
quorum queue counts a delivery of each, also towards its x-delivery-limit. Killed, the same happens;
the copies made so far stay. ]] .. moving.HELP))
end

--- Runs the command.
-- @treturn number exit code
function copy.main(options) return moving.main(options, true) end

return copy
