--- cli.query: the query of a page's path.
-- SPDX-License-Identifier: MIT
local each = require "moonrabbit.base.each"

local query = {}

--- A text as a part of a path: what stands for more than itself is encoded, as it may be a stranger's.
-- @tparam string|number text
-- @treturn string
function query.encode(text)
   return (tostring(text):gsub("[^%w._~-]", function(c) return ("%%%02X"):format(c:byte()) end))
end

--- The path of a page with its query.
-- @tparam string path
-- @tparam table fields by name
-- @treturn string the path alone if there are no fields; else the fields sorted by name
function query.path(path, fields)
   local parts = {}
   for name, v in each(fields) do parts[#parts + 1] = query.encode(name) .. "=" .. query.encode(v) end
   if not parts[1] then return path end
   table.sort(parts)
   return path .. "?" .. table.concat(parts, "&")
end

return query
