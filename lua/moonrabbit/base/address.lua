--- address: where to listen, as text: one rule for --http, --listen, mr.health.listen and mr.testing.broker.
-- SPDX-License-Identifier: MIT

--- Reads "8080", ":8080", "127.0.0.1:8080", "[::1]:8080", "localhost:0", "*:8080". A port alone is on the loopback interface,
-- "*" is all interfaces.
-- @tparam string where
-- @tparam[opt] number usual the port of an address without one; nil: it needs one
-- @treturn[1] string address
-- @treturn[1] number port; 0: any
-- @treturn[2] nil it is none of these
return function(where, usual)
   local address, port = where:match "^%[([%x:%.]+)%]:(%d+)$"
   if not address then address, port = where:match "^([^:]*):(%d+)$" end
   if not address and where:find "^%d+$" then address, port = "", where end
   if not address and usual then address, port = where:match "^%[?([^%[%]]+)%]?$", usual end
   port = address and tonumber(port)
   if not port or port > 65535 then return nil end
   if address == "" then address = "127.0.0.1" elseif address == "*" then address = "0.0.0.0" end
   return address, port
end
