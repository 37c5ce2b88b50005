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

-- What stands behind the script's name is the script's, even if it looks like an option of ours.
local function split(argv)
   local ours, theirs = {}, {}
   local takes_value, script = false, false
   for i, word in ipairs(argv) do
      if script then
         theirs[#theirs + 1] = word
      else
         ours[#ours + 1] = word
         local is_option = word:sub(1, 1) == "-"
         script = argv[1] == "run" and i > 1 and not is_option and not takes_value
         takes_value = is_option and not word:find "=" and word ~= "-h" and word ~= "--help"
      end
   end
   return ours, theirs
end

--- Runs the command. @tparam table argv argv[1] is the first argument @treturn number exit code
function cli.main(argv)
   local ours, theirs = split(argv)
   local options = parser():parse(ours)
   if options.command == "run" then options.arguments = theirs end
   return require("moonrabbit.cli." .. options.command).main(options)
end

return cli
