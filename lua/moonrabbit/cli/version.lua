--- cli.version: `moonrabbit version`.
-- SPDX-License-Identifier: MIT
local version = {}

--- Adds the command to the parser.
function version.describe(p)
   p:command("version", "Print the version of Moonrabbit and of the LuaJIT that it runs on.")
end

--- Runs the command.
-- @treturn number exit code
function version.main()
   print(("moonrabbit %s (%s)"):format(require("moonrabbit.base.ffi").version, jit.version))
   return 0
end

return version
