--- cli.carried: the properties with which a message goes on to another queue: the bytes that it came with, but for what would
-- send it elsewhere or be refused.
-- SPDX-License-Identifier: MIT
local each = require "moonrabbit.base.each"
local merged = require "moonrabbit.base.merged"
local message_json = require "moonrabbit.cli.message_json"
local properties = require "moonrabbit.base.properties"

local carried = {}

-- CC and BCC would route it to further queues; the counts are of the queue that it leaves.
local LEFT_OUT = { CC = true, BCC = true, ["x-delivery-count"] = true, ["x-acquired-count"] = true }

--- The encoded properties for the next queue. A broker refuses a user_id that is not the connection's: it becomes the header
-- x-mr-user-id.
-- @tparam string raw encoded properties
-- @tparam ?string userid of the connection that publishes
-- @tparam[opt] table headers to add
-- @tparam[opt] table without names -> true of more headers to leave out
-- @treturn[1] string
-- @treturn[2] nil, error
function carried.properties(raw, userid, headers, without)
   local user = message_json.properties(raw).user_id
   local is_foreign = user and user ~= userid
   headers = merged(headers or {}, is_foreign and { ["x-mr-user-id"] = user } or {})
   local names = merged(LEFT_OUT, without or {})
   for name in each(headers) do names[name] = nil end
   return properties.splice(raw, { headers = next(headers) and headers or nil }, is_foreign and { user_id = true } or {}, names)
end

return carried
