--- stamps: headers that brokers or this library add to a message, and that are not part of its content.
-- SPDX-License-Identifier: MIT
local merged = require "moonrabbit.base.merged"

local stamps = {}

--- Headers of brokers, as keys.
stamps.of_brokers = { ["x-death"] = true, ["x-delivery-count"] = true, ["x-acquired-count"] = true }
for _, which in ipairs { "first", "last" } do
   for _, what in ipairs { "exchange", "queue", "reason" } do
      stamps.of_brokers[("x-%s-death-%s"):format(which, what)] = true
   end
end

--- Those, and what the first publisher meant for the first journey only.
stamps.all = merged(stamps.of_brokers, { CC = true, BCC = true })
-- Said anew by each copy; with x-mr-reason, a message would begin anew for ever.
for _, what in ipairs { "attempt", "first-failure", "queue", "exchange", "routing-key", "user-id", "error", "reason",
   "traceback" } do stamps.all["x-mr-" .. what] = true end

return stamps
