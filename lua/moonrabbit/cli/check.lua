--- cli.check: `moonrabbit check`: tries to connect and to open a channel.
-- SPDX-License-Identifier: MIT
local check = {}

--- Adds the command to the parser.
function check.describe(p)
   local c = p:command("check", "Connect, open a channel, close: says whether that works and, if not, what to look at.")
   c:argument("url", "Where to connect; default: AMQP_URL, else amqp://localhost."):args "?"
end

--- The lines that report a failure.
-- @tparam table err
-- @treturn string
function check.failure(err)
   local code = err.code and (" (%d)"):format(err.code) or ""
   local hint = err.hint ~= "" and "\nHint: " .. err.hint or ""
   return ("Connection failed: %s%s: %s%s"):format(err.kind, code, err.text, hint)
end

local function try(mr, url)
   local conn, err = mr.try_connect(url)
   if not conn then return nil, err end
   local ch
   ch, err = conn:channel()
   if not ch then return nil, err end
   local server = conn.server_properties or {}
   -- An embedded broker has RabbitMQ's name for clients that depend on it; the output shows the real product.
   local embedded = server.moonrabbit and (" (embedded: Moonrabbit %s)"):format(server.moonrabbit) or ""
   local told = ("Connection OK: %s %s%s at %s"):format(server.product or "a broker", server.version or "", embedded, conn.host)
   conn:close()
   return told
end

--- Runs the command.
-- @treturn number exit code: 0 it works, 1 it does not
function check.main(options)
   local mr = require "moonrabbit"
   mr.log.configure("off") -- the failure is reported here, only once
   local told, err = try(mr, options.url or os.getenv "AMQP_URL" or "amqp://localhost")
   print(told or check.failure(err))
   require("moonrabbit.loop.loop").close(1)
   return told and 0 or 1
end

return check
