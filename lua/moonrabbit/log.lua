--- log: lines on standard error, as the runtime writes its own.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.ffi").C
local loop = require "moonrabbit.loop"
local value = require "moonrabbit.value"

local log = {}

local LEVELS = { off = -1, error = C.MR_LOG_ERROR, warn = C.MR_LOG_WARN, info = C.MR_LOG_INFO, debug = C.MR_LOG_DEBUG }
local FORMATS = { logfmt = C.MR_LOG_LOGFMT, json = C.MR_LOG_JSON }
local level, format = "warn", "logfmt"

local function write(number, text, fields)
   if type(text) ~= "string" then error("a log text must be a string", 3) end
   local encoded
   if fields then
      local plain = {}
      for k, v in pairs(fields) do plain[tostring(k)] = tostring(v) end
      encoded = value.encode(plain, 3)
   end
   C.mr_log_write(loop.runtime(), number, text, #text, encoded)
   if encoded then C.mr_table_free(encoded) end
end

--- One function for each level: log.error, log.warn, log.info, log.debug (text [, fields]).
for name, number in pairs(LEVELS) do
   if name ~= "off" then log[name] = function(text, fields) write(number, text, fields) end end
end

--- Sets the least level ("off", "error", "warn", "info", "debug") and the format ("logfmt", "json"); nil
-- leaves one as it is.
function log.configure(new_level, new_format)
   level, format = new_level or level, new_format or format
   if not LEVELS[level] then error(('unknown log level "%s": error, warn, info or debug'):format(tostring(level)), 2) end
   if not FORMATS[format] then error(('unknown log format "%s": logfmt or json'):format(tostring(format)), 2) end
   C.mr_runtime_log(loop.runtime(), LEVELS[level], FORMATS[format])
end

return log
