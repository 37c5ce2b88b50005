--- cli.repl: `moonrabbit repl`: a prompt over a runtime of its own, with a connection and a channel.
-- SPDX-License-Identifier: MIT
local usage = require "moonrabbit.cli.usage"

local repl = {}

local FAILED = 1
local NAME = "repl"
local DRAIN = 5 -- seconds that handlers at work have at the end

--- Adds the command to the parser.
function repl.describe(p)
   local c = p:command("repl", "Try Lua with a live runtime: a prompt with a connection and a channel.", [[
Example: moonrabbit repl memory://

`conn` is a connection, `ch` a channel of it. What handlers print stands above the line that is being
typed. What comes from standard input is run line by line if that is no terminal.]])
   c:argument("url", "The broker; default: MOONRABBIT_URL, AMQP_URL, else memory://, a broker in this process."):args "?"
end

-- The globals of the prompt. Returns nil and the error if there is no broker.
local function connect(mr, url)
   local conn, err = mr.try_connect { url = url, name = "moonrabbit repl", transport_options = { max_retries = 0 } }
   if not conn then return nil, err end
   local ok
   ok, err = conn:connect()
   if not ok then return nil, err end
   local ch
   ch, err = conn:channel()
   if not ch then return nil, err end
   _G.mr, _G.conn, _G.ch = mr, conn, ch
   return true
end

local function open_console(mr)
   local path, err = mr.console { name = NAME }
   return require("moonrabbit.cli.own").new(NAME, path, err and err.text)
end

--- Runs the command.
-- @treturn number exit code
function repl.main(options)
   local mr, home = require "moonrabbit", require "moonrabbit.connection.default"
   mr.log.configure "off" -- what is wrong with the broker is one line
   home.set_url(options.url or require("moonrabbit.cli.arguments").url(options))
   local url = home.url() or "memory://"
   home.set_url(url)
   local ok, err = connect(mr, url)
   if not ok then
      local is_usage = err.kind == "bad_argument" or err.kind == "bad_uri"
      local text = require "moonrabbit.cli.escaped"(err.text)
      if is_usage then usage.say(text, NAME) else io.stderr:write("moonrabbit: ", err.kind, ": ", text, "\n") end
      require("moonrabbit.loop.loop").close(1)
      return is_usage and usage.CODE or FAILED
   end
   mr.log.configure "warn"
   local code = require("moonrabbit.cli.prompt").run(open_console(mr))
   mr.log.sink(nil)
   require("moonrabbit.program.shutdown").run(DRAIN)
   require("moonrabbit.loop.loop").close(1)
   return require("moonrabbit.cli.leave").code or code
end

return repl
