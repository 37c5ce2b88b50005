--- cli.get: `moonrabbit get`: takes messages from a queue, and prints them.
-- SPDX-License-Identifier: MIT
local looking = require "moonrabbit.cli.looking"

local get = {}

--- Adds the command to the parser.
function get.describe(p)
   looking.describe(p:command("get", "Take messages from a queue, and print them.", [[
Example: moonrabbit get orders --limit 1

Each message is acked when it is printed. (peek leaves them in the queue.)]]))
end

--- Runs the command.
-- @treturn number exit code
function get.main(options) return looking.main(options, false) end

return get
