--- log: log lines on standard error, in the format of the runtime's own lines.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local C = require("moonrabbit.base.ffi").C
local each = require "moonrabbit.base.each"
local loop = require "moonrabbit.loop.loop"
local errors = require "moonrabbit.base.errors"
local options = require "moonrabbit.base.options"
local sink = require "moonrabbit.loop.sink"
local task = require "moonrabbit.loop.task"
local show = require "moonrabbit.base.show"
local value = require "moonrabbit.base.value"

local log = {}

local LEVELS = { off = -1, error = C.MR_LOG_ERROR, warn = C.MR_LOG_WARN, info = C.MR_LOG_INFO, debug = C.MR_LOG_DEBUG }
local FORMATS = { logfmt = C.MR_LOG_LOGFMT, json = C.MR_LOG_JSON }
local level, format = "warn", "logfmt"
local worker = 0
local MOST_OF_NAME = 120 -- bytes of a field's name
local is_set = false

local function tell()
   C.mr_runtime_log(loop.runtime(), LEVELS[level], FORMATS[format])
   if worker > 0 then C.mr_runtime_worker(loop.runtime(), worker) end
end

--- True if lines of level debug are written; check it before writing very many.
log.is_debug = false

-- Numbers and booleans keep their types, for JSON. Anything else is text; a table shows its fields.
local function plain(v)
   local kind = type(v)
   if kind == "number" or kind == "boolean" or kind == "string" or ffi.istype("int64_t", v) then return v end
   if ffi.istype("uint64_t", v) then return (tostring(v):gsub("ULL$", "")) end
   return (show(v, true))
end

-- Sorted by name, except that a long traceback comes last.
local function encode(fields)
   local list = {}
   for name, v in each(fields) do list[#list + 1] = { show(name, true):sub(1, MOST_OF_NAME), plain(v) } end
   table.sort(list, function(a, b)
      if (a[1] == "error") ~= (b[1] == "error") then return b[1] == "error" end
      return a[1] < b[1]
   end)
   return value.encode_list(list)
end

-- What a script gives as fields: an error object is its parts, and what is no table is one field.
local function fields_of(given)
   if errors.is(given) then
      return { kind = given.kind, code = given.code, hint = given.hint ~= "" and given.hint or nil, error = given.text }
   end
   return type(given) == "table" and given or { value = given }
end

local function write(number, text, fields)
   if type(text) ~= "string" then text = show(text, true) end
   local encoded = fields ~= nil and encode(fields_of(fields)) or nil
   if sink.is_inside() then number = number + C.MR_LOG_STDERR end
   C.mr_log_write(loop.witness(), number, text, #text, encoded)
   if encoded then C.mr_table_free(encoded) end
end

--- Writes an error, with fields. If standard error accepts nothing, an error or a warning waits at most 200 ms, once; later lines
-- are dropped and counted.
-- @tparam string text what happened: the same for each time
-- @tparam[opt] table fields by name; numbers and booleans keep their types in JSON
function log.error(text, fields) write(C.MR_LOG_ERROR, text, fields) end

--- Writes a warning.
-- @tparam string text what happened
-- @tparam[opt] table fields as of log.error
function log.warn(text, fields) write(C.MR_LOG_WARN, text, fields) end

--- Writes a line of level info.
-- @tparam string text what happened
-- @tparam[opt] table fields as of log.error
function log.info(text, fields) write(C.MR_LOG_INFO, text, fields) end

--- Writes a line of level debug.
-- @tparam string text what happened
-- @tparam[opt] table fields as of log.error
function log.debug(text, fields) write(C.MR_LOG_DEBUG, text, fields) end

--- The present level.
-- @treturn string
function log.level() return level end

--- Sets the level ("off", "error", "warn", "info", "debug") and the format ("logfmt", "json"); nil does not change a
-- setting.
function log.configure(new_level, new_format)
   new_level, new_format = new_level or level, new_format or format
   if not LEVELS[new_level] then
      errors.blame(('unknown log level "%s": off, error, warn, info or debug'):format(tostring(new_level)))
   end
   if not FORMATS[new_format] then errors.blame(('unknown log format "%s": logfmt or json'):format(tostring(new_format))) end
   level, format = new_level, new_format
   log.is_debug = level == "debug"
   is_set = true
   tell()
end

local function sink_failed(why)
   log.error("the log's sink has failed: lines go to standard error", { error = why })
end

local function sink_was_slow(n) log.warn("log lines were dropped", { lines = n }) end

--- Passes each line to a function instead of writing it to standard error: those of the script, and those of the library. It is
-- called by the loop in a task of its own, one line at a time, in the order in which they were logged, and may wait. Nobody waits for
-- it: beyond some 500 lines of the I/O thread and as many of the script, or 1000 that wait for a function that waits, lines are
-- dropped, counted, and reported by a line. If it fails, the line goes to standard error; so does what is logged within it, and
-- what is left when the runtime closes and could not be passed on.
-- @tparam ?function fn called with the level ("error", "warn", "info", "debug") and the line, without a line end, in the format of
-- log.configure; nil: standard error again
function log.sink(fn)
   if fn ~= nil then options.argument(1, "fn", fn, "function") end
   sink.set(fn, sink_failed, sink_was_slow)
end

-- Configures a new runtime like the previous one.
function log.again()
   if is_set then tell() end
   sink.again()
end

-- The worker number in each line.
function log.set_worker(number)
   worker = number
   log.configure()
end

task.set_report(function(where, why) log.error(where .. " failed", { error = why }) end)

return log
