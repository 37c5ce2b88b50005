--- stamps: headers that brokers or this library add to a message, and that are not part of its content.
-- SPDX-License-Identifier: MIT
local each = require "moonrabbit.base.each"

local stamps = {}

--- Headers of brokers, as keys.
stamps.of_brokers = { ["x-death"] = true, ["x-delivery-count"] = true, ["x-acquired-count"] = true }
for _, which in ipairs { "first", "last" } do
   for _, what in ipairs { "exchange", "queue", "reason" } do
      stamps.of_brokers[("x-%s-death-%s"):format(which, what)] = true
   end
end

--- These, and headers that the publisher meant only for the first routing.
stamps.all = { CC = true, BCC = true }
for name in each(stamps.of_brokers) do stamps.all[name] = true end
-- Each copy writes these again; a copy with an old x-mr-reason would count as a first attempt each time.
for _, what in ipairs { "attempt", "first-failure", "queue", "exchange", "routing-key", "user-id", "error", "reason",
   "traceback" } do stamps.all["x-mr-" .. what] = true end

return stamps
