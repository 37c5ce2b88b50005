--- cli.dead_letter: what a dead letter says of itself: by Moonrabbit's headers, or by those of RabbitMQ (x-death).
-- SPDX-License-Identifier: MIT
local dead_letters = require "moonrabbit.redelivery.dead_letters"
local value = require "moonrabbit.base.value"

local dead_letter = {}

--- The headers that redrive takes away: they tell of the failures.
dead_letter.TOLD = { ["x-mr-first-failure"] = true, ["x-mr-error"] = true, ["x-mr-reason"] = true, ["x-mr-traceback"] = true,
   ["x-death"] = true }
for _, which in ipairs { "first", "last" } do
   for _, what in ipairs { "exchange", "queue", "reason" } do
      dead_letter.TOLD[("x-%s-death-%s"):format(which, what)] = true
   end
end

local function text_of(v) return type(v) == "string" and v or nil end

local function seconds_of(v) return tonumber(value.type_of(v) and v.value or v) end

--- Where it came from, why, and since when.
-- @tparam message msg
-- @treturn table queue, reason, error, attempts, since (seconds since 1970), traceback; each may be nil
function dead_letter.of(msg)
   local headers = msg.properties.headers or {}
   local death = type(headers["x-death"]) == "table" and headers["x-death"][1]
   if type(death) ~= "table" then death = {} end
   local failed = seconds_of(headers["x-mr-first-failure"])
   return { queue = text_of(headers["x-mr-queue"]) or text_of(death.queue), reason = headers["x-mr-reason"] or death.reason,
      error = headers["x-mr-error"], attempts = seconds_of(headers["x-mr-attempt"]) or seconds_of(death.count),
      since = failed and failed / 1000 or seconds_of(death.time) or seconds_of(msg.properties.timestamp),
      traceback = headers["x-mr-traceback"] }
end

--- The fingerprint of its error: kind and first line.
-- @tparam table letter of dead_letter.of
-- @treturn string
function dead_letter.fingerprint(letter)
   return dead_letters.fingerprint(tostring(letter.error or letter.reason or "(no reason)"))
end

--- A duration as people say it: "3 s", "5 min", "2 h", "4 d".
-- @tparam ?number seconds
-- @treturn string
function dead_letter.age(seconds)
   if not seconds then return "" end
   seconds = math.max(seconds, 0)
   if seconds < 120 then return ("%.0f s"):format(seconds) end
   if seconds < 7200 then return ("%.0f min"):format(seconds / 60) end
   if seconds < 172800 then return ("%.0f h"):format(seconds / 3600) end
   return ("%.0f d"):format(seconds / 86400)
end

return dead_letter
