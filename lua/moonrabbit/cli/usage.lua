--- cli.usage: says what is wrong with a command line, and where its help is.
-- SPDX-License-Identifier: MIT
local usage = {}

--- The exit code.
usage.CODE = 2

--- Writes to standard error.
-- @tparam string why
-- @tparam ?string command nil: none was recognised
function usage.say(why, command)
   io.stderr:write("moonrabbit: ", why, "\nTry: moonrabbit ", command and command .. " " or "", "--help\n")
end

return usage
