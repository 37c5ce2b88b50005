--- cli: the `moonrabbit` command.
-- SPDX-License-Identifier: MIT
local argparse = require "argparse"
local run = require "moonrabbit.cli.run"

local cli = {}

local COMMANDS = { "run", "check", "broker", "version" }
local WRONG_USAGE = 2 -- exit code

local EPILOG = [[
Set the broker in the environment variable AMQP_URL, such as
amqp://user:password@host:5672/vhost: a password on the command line can be seen by every user.
Documentation: docs/api.md.]]

--- The parser of the command line.
function cli.parser()
   local p = argparse("moonrabbit", "RabbitMQ consumers in Lua, with connections that recover by themselves.", EPILOG)
   p:help_max_width(100)
   p:command_target "command"
   p:require_command(true)
   p:flag("--version", "Print the version and exit."):action(function()
      os.exit(require("moonrabbit.cli.version").main())
   end)
   for _, name in ipairs(COMMANDS) do
      require("moonrabbit.cli." .. name).describe(p)
   end
   return p
end

--- Parses a command line.
-- @tparam table argv
-- @treturn[1] table options, among them `command`
-- @treturn[2] nil, string what is wrong
function cli.parse(argv)
   local args, rest = {}, nil
   for i = 1, #argv do args[i] = argv[i] end
   if args[1] == "run" then
      table.remove(args, 1)
      args, rest = run.split(args)
      table.insert(args, 1, "run")
   end
   local ok, options = cli.parser():pparse(args)
   if not ok then return nil, options end
   options.arguments = rest
   return options
end

--- Runs the command.
-- @tparam table argv argv[1] is the first argument
-- @treturn number exit code
function cli.main(argv)
   local options, why = cli.parse(argv)
   if not options then
      io.stderr:write("moonrabbit: ", why, "\nTry: moonrabbit --help\n")
      return WRONG_USAGE
   end
   return require("moonrabbit.cli." .. options.command).main(options)
end

return cli
