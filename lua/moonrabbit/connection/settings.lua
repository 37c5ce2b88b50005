--- settings: a connection's options, passed to C by name.
-- SPDX-License-Identifier: MIT
-- C knows the names and types and reports mistakes; Lua handles `on_event`, `republish` and passwords that are functions.
local ffi = require "ffi"
local C = require("moonrabbit.base.ffi").C
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"
local merged = require "moonrabbit.base.merged"
local options = require "moonrabbit.base.options"
local value = require "moonrabbit.base.value"

local settings = {}

ffi.cdef 'int mr_settings_pid(void) __asm__("getpid");'
local NAME_MAX = 100 -- bytes of the script's name

local error_box = ffi.new "mr_error"
local OURS = { on_event = "function", republish = "number", retry = "function" }
local GROUPS = { ssl_options = true, transport_options = true, recover = true }

local function set(o, name, v)
   local kind = type(v)
   if kind == "string" then return C.mr_options_string(o, name, v, #v, error_box) end
   if kind == "number" then return C.mr_options_number(o, name, v, error_box) end
   if kind == "boolean" then return C.mr_options_boolean(o, name, v, error_box) end
   if kind ~= "table" then options.blame(('option "%s" cannot be a %s'):format(name, kind)) end
   local t = value.encode(v)
   local status = C.mr_options_table(o, name, t, error_box)
   if status ~= 0 then C.mr_table_free(t) end
   return status
end

local function set_all(o, given, prefix)
   for name, v in each(given) do
      local status = 0
      if GROUPS[name] and prefix == "" and type(v) == "table" then
         status = set_all(o, v, name .. ".")
      elseif (prefix ~= "" or not OURS[name]) and not (name == "password" and type(v) == "function") then
         status = set(o, prefix .. tostring(name), v)
      end
      if status ~= 0 then return status end
   end
   return 0
end

--- The suffix of connection names: "/2" for the second worker.
settings.suffix = false

--- The program's name, if it is not that of `arg`.
settings.script = false

-- "invoices" of "/srv/invoices.lua"; nil: unknown.
local function script_name()
   local args = rawget(_G, "arg")
   local path = settings.script or type(args) == "table" and type(args[0]) == "string" and args[0]
   return path and path:match "([^/]+)$":gsub("(.)%.lua$", "%1"):sub(1, NAME_MAX)
end

local function host_name()
   local file = io.open "/proc/sys/kernel/hostname"
   local name = file and file:read "*l"
   if file then file:close() end
   return name or "moonrabbit"
end

--- The default name of a connection: SCRIPT@HOST.
function settings.name()
   local script = script_name()
   return (script and script .. "@" or "") .. host_name()
end

-- Who the process is, for those who look at the broker; the program's own properties override it.
local function properties(given)
   local all = merged({ pid = ffi.C.mr_settings_pid(), script = script_name() }, type(given) == "table" and given or nil)
   return all
end

local divert -- for lint

--- From now on connections are made with what fn(options) returns instead of what the program says; nil: as it says.
function settings.divert(fn) divert = fn end

--- The C options of a table.
-- @tparam table given
-- @treturn[1] cdata `mr_options`, freed with the object
-- @treturn[2] nil, error of kind bad_option or bad_uri
function settings.make(given)
   options.check({ on_event = given.on_event, republish = given.republish, retry = given.retry }, OURS)
   if given.retry and (given.transport_options or given.connection_attempts or given.retry_delay) then
      return nil, errors.new("bad_option", "config", "options \"retry\" and \"transport_options\", \"connection_attempts\" "
         .. "or \"retry_delay\" are ways to say when to retry: choose one")
   end
   if divert then given = divert(given) end
   local o = C.mr_options_new()
   if o == nil then return nil, errors.new("no_memory", "config") end
   o = ffi.gc(o, C.mr_options_free)
   local is_wrong = set_all(o, given, "") ~= 0
   if not is_wrong and (settings.suffix or not given.name) then
      is_wrong = set(o, "name", (given.name or settings.name()) .. (settings.suffix or "")) ~= 0
   end
   is_wrong = is_wrong or set(o, "client_properties", properties(given.client_properties)) ~= 0
   if is_wrong then return nil, errors.of_c(error_box) end
   return o
end

return settings
