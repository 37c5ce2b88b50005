--- cli: the `moonrabbit` command.
-- SPDX-License-Identifier: MIT
local argparse = require "argparse"
local docs = require "moonrabbit.cli.docs"
local run = require "moonrabbit.cli.run"
local usage = require "moonrabbit.cli.usage"

local cli = {}

local COMMANDS = { "run", "repl", "attach", "status", "top", "monitor", "check", "broker", "publish", "get", "peek", "consume",
   "purge", "queues", "copy", "move", "export", "import", "dead", "bench", "lint",
   "version" }
local EPILOG = ([[
Set the broker in the environment variable AMQP_URL, such as
amqp://user:password@host:5672/vhost: a password on the command line can be seen by every user.
Documentation: %s.]]):format(docs.path "guide.md")

-- A turn of the loop, with a handler and what that publishes, is compiled as one trace, which is longer than LuaJIT allows by
-- default: 4000 instructions, 500 constants and 500 snapshots each, and 512 KiB of machine code in all.
local function allow_long_traces()
   require("jit.opt").start("maxrecord=12000", "maxirconst=2000", "maxsnap=1500", "maxmcode=4096")
end

--- The parser of the command line.
function cli.parser()
   local p = argparse("moonrabbit", "RabbitMQ consumers in Lua, with connections that recover by themselves.", EPILOG)
   p:help_max_width(100)
   p:command_target "command"
   p:require_command(true)
   p:flag("-V --version", "Print the version and exit."):action(function()
      os.exit(require("moonrabbit.cli.version").main())
   end)
   for _, name in ipairs(COMMANDS) do
      require("moonrabbit.cli." .. name).describe(p)
   end
   p:add_help_command { description = "Show the help of a command." }
   return p
end

-- "--drain -1" is a value, not an option "-1".
local function join_negative(args)
   local out = {}
   for _, a in ipairs(args) do
      local last = out[#out]
      if last and last:find "^%-%-[%w%-]+$" and a:find "^%-%.?%d" then out[#out] = last .. "=" .. a else out[#out + 1] = a end
   end
   return out
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
      args = join_negative(args)
      table.insert(args, 1, "run")
   else
      args = join_negative(args)
   end
   local ok, options = cli.parser():pparse(args)
   if not ok then return nil, options end
   options.arguments = rest
   return options
end

local function has_command(name)
   for _, known in ipairs(COMMANDS) do
      if name == known then return true end
   end
   return false
end

--- Runs the command.
-- @tparam table argv argv[1] is the first argument
-- @treturn number exit code
function cli.main(argv)
   local options, why = cli.parse(argv)
   if not options then
      usage.say(why, has_command(argv[1]) and argv[1] or nil)
      return usage.CODE
   end
   allow_long_traces()
   return require("moonrabbit.cli." .. options.command).main(options)
end

return cli
