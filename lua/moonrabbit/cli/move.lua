--- cli.move: `moonrabbit move`: moves the messages of a queue to another one.
-- SPDX-License-Identifier: MIT
local moving = require "moonrabbit.cli.moving"

local move = {}

--- Adds the command to the parser.
function move.describe(p)
   moving.describe(p:command("move", "Move the messages of a queue to another queue, also of another broker.", [[
Example: moonrabbit move orders orders.old --to-url amqp://archive

Each message is acked when the broker has confirmed its copy: killed at any moment, none is lost, and
those under way (up to 256) may be in both queues. ]] .. moving.HELP))
end

--- Runs the command.
-- @treturn number exit code
function move.main(options) return moving.main(options, false) end

return move
