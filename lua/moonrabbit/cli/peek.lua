--- cli.peek: `moonrabbit peek`: prints messages of a queue, and leaves them there.
-- SPDX-License-Identifier: MIT
local looking = require "moonrabbit.cli.looking"

local peek = {}

--- Adds the command to the parser.
function peek.describe(p)
   looking.describe(p:command("peek", "Print the first messages of a queue, and leave them there.", [[
Example: moonrabbit peek orders --limit 3 --json

The messages are held until the end, then they return to their places. What changes: they are marked
as redelivered, a quorum queue counts a delivery of each (x-delivery-count, and towards its
x-delivery-limit), and may put them behind others that wait. Consumers do not get them meanwhile.]]))
end

--- Runs the command.
-- @treturn number exit code
function peek.main(options) return looking.main(options, true) end

return peek
