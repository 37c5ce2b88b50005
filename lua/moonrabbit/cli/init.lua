--- cli: the `moonrabbit` command.
-- SPDX-License-Identifier: MIT
local argparse = require "argparse"

local cli = {}

local function parser()
   local p = argparse("moonrabbit", "RabbitMQ consumers in Lua; the connection is looked after for them.")
   p:help_max_width(100)
   p:command_target "command"
   p:require_command(true)
   for _, name in ipairs { "run", "check", "version" } do
      require("moonrabbit.cli." .. name).describe(p)
   end
   p:epilog "Documentation: docs/api.md. A URL with a password is best given in AMQP_URL, not on the command line."
   return p
end

--- Runs the command. @tparam table argv argv[1] is the first argument @treturn number exit code
function cli.main(argv)
   local args = {}
   for i = 1, #argv do args[i] = argv[i] end
   local options = parser():parse(args)
   return require("moonrabbit.cli." .. options.command).main(options)
end

return cli
