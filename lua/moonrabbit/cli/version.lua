--- cli.version: `moonrabbit version`.
-- SPDX-License-Identifier: MIT
local version = {}

function version.describe(p)
   p:command("version", "Print the version of the command and of what it runs on.")
end

function version.main()
   print(("moonrabbit %s (%s)"):format(require("moonrabbit.ffi").version, jit.version))
   return 0
end

return version
