--- cli.check: `moonrabbit check`: tries to connect and to open a channel.
-- SPDX-License-Identifier: MIT
local check = {}

local OUT, ERR = 1, 2

--- Adds the command to the parser.
function check.describe(p)
   local c = p:command("check", "Connect, open a channel, close: says whether that works and, if not, what to look at.")
   c:argument("url", "Where to connect; default, as of run: MOONRABBIT_URL, else AMQP_URL, else memory://."):args "?"
end

--- The lines that report a failure.
-- @tparam table err
-- @treturn string
function check.failure(err)
   local code = err.code and (" (%d)"):format(err.code) or ""
   local hint = err.hint ~= "" and "\nHint: " .. err.hint or ""
   return ("Connection failed: %s%s: %s%s"):format(err.kind, code, err.text, hint)
end

local DAY = 86400
local SOON = 30 -- days before the end of the broker's certificate: a warning

local function days_of(n) return ("%d day%s"):format(n, n == 1 and "" or "s") end

local function product(conn)
   local server = conn.server_properties or {}
   -- An embedded broker has RabbitMQ's name for clients that depend on it; the output shows the real product.
   local embedded = server.moonrabbit and (" (embedded: Moonrabbit %s)"):format(server.moonrabbit) or ""
   return ("%s %s%s"):format(server.product or "a broker", server.version or "", embedded)
end

--- The lines that report success.
-- @tparam string what the broker
-- @tparam table info of conn:info
-- @tparam number seconds it took
-- @treturn string
-- @treturn ?string a warning
function check.success(what, info, seconds)
   local agreed, parts = info.agreed, {}
   if info.userid and info.userid ~= "" then parts[1] = "user " .. info.userid end
   parts[#parts + 1] = "virtual host " .. (info.virtual_host or "/")
   local left = agreed.certificate_end and math.floor((agreed.certificate_end - os.time()) / DAY)
   if agreed.tls then
      parts[#parts + 1] = agreed.tls .. (left and ", certificate valid for " .. days_of(left) or "")
   elseif info.transport == "amqp" then
      parts[#parts + 1] = "no TLS"
   end
   parts[#parts + 1] = agreed.heartbeat > 0 and ("heartbeat %d s"):format(agreed.heartbeat) or "no heartbeat"
   parts[#parts + 1] = ("%.0f ms"):format(seconds * 1000)
   return ("Connection OK: %s at %s\n%s"):format(what, info.host, table.concat(parts, ", ")),
      left and left < SOON and ("The broker's certificate ends in %s."):format(days_of(left)) or nil
end

-- The connection is opened, and a channel: what to say, and a warning; or nil and an error.
local function try(mr)
   local began = mr.now()
   local conn, err = mr.try_connect()
   if not conn then return nil, err end
   local ch
   ch, err = conn:channel()
   if not ch then return nil, err end
   local told, warning = check.success(product(conn), conn:info(), mr.now() - began)
   conn:close()
   return told, warning
end

--- Runs the command.
-- @treturn number exit code: 0 it works, 1 it does not
function check.main(options)
   local mr, home = require "moonrabbit", require "moonrabbit.connection.default"
   mr.log.configure("off") -- the failure is reported here, only once
   home.set_url(require("moonrabbit.cli.arguments").url(options))
   local told, why = try(mr)
   local terminal = require "moonrabbit.cli.terminal" -- what a broker says of itself may be anything
   if told then
      print(terminal.fit(OUT, told))
      if why then io.stderr:write("Warning: ", terminal.fit(ERR, why), "\n") end
      if not home.url() then
         io.stderr:write("Warning: no broker is named (an argument, MOONRABBIT_URL, AMQP_URL): this is memory://, a broker within ",
            "this process.\n")
      end
   else
      io.stderr:write(terminal.fit(ERR, check.failure(why)), "\n")
   end
   require("moonrabbit.loop.loop").close(1)
   return told and 0 or 1
end

return check
