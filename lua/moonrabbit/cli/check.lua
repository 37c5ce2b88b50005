--- cli.check: `moonrabbit check`: can we connect and open a channel?
-- SPDX-License-Identifier: MIT
local check = {}

function check.describe(p)
   local c = p:command("check", "Connect, open a channel, close: says whether it works and, if not, what to look at.")
   c:argument("url", "Where to connect; default: AMQP_URL, else amqp://localhost."):args "?"
end

local function failed(err)
   if type(err) ~= "table" then
      print("Connection failed: " .. tostring(err):gsub("^[^ ]+:%d+: ", ""))
      return 1
   end
   local code = err.code and (" (%d)"):format(err.code) or ""
   print(("Connection failed: %s%s: %s"):format(err.kind, code, err.text))
   if err.hint ~= "" then print("Hint: " .. err.hint) end
   return 1
end

function check.main(options)
   local mr = require "moonrabbit"
   mr.log.configure("off") -- the failure is told below, once
   local ok, conn = pcall(mr.connect, options.url)
   if not ok then return failed(conn) end
   local ch, err = conn:channel()
   if not ch then return failed(err) end
   ch:close()
   local server = conn.server_properties or {}
   print(("Connection OK: %s %s at %s"):format(server.product or "AMQP broker", server.version or "", conn.host))
   conn:release()
   require("moonrabbit.loop").close(1)
   return 0
end

return check
