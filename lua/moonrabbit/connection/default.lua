--- default: the default URL, and the shared default connection of a program.
-- SPDX-License-Identifier: MIT
local connection = require "moonrabbit.connection.connection"
local log = require "moonrabbit.loop.log"
local loop = require "moonrabbit.loop.loop"
local merged = require "moonrabbit.base.merged"
local misspelt = require "moonrabbit.connection.misspelt"
local errors = require "moonrabbit.base.errors"

local home = {}

local PLACES = { "url", "hostname", "port", "userid", "password", "virtual_host" }

local default_url
local shared -- the connection of objects that were given none
local has_warned = false

-- An empty variable counts as not set.
local function filled(url) return url and url:find "%S" and url or nil end

--- Sets the default URL; it overrides AMQP_URL.
-- @tparam ?string url
function home.set_url(url) default_url = filled(url) end

-- No URL is given: logs that once per runtime, because it may be a mistake.
local function warn()
   if has_warned then return end
   has_warned = true
   local others = table.concat(misspelt(), ", ")
   log.warn("no broker is named: taking memory://, a broker in this process alone that forgets everything at its end", {
      hint = "set AMQP_URL, such as amqp://user:password@host:5672/vhost; to memory:// if that is what you want",
      not_read = others ~= "" and others or nil })
end

--- The URL of mr.connect() without one; nil: none is set, and memory:// is taken.
-- @treturn ?string
function home.url() return default_url or filled(os.getenv "AMQP_URL") end

local function place()
   local url = home.url()
   if not url then warn() end
   return url or "memory://"
end

--- The options of mr.connect, with the default URL if they name no broker.
function home.settings(where)
   if where == nil then return { url = place() } end
   if type(where) == "string" then return { url = where } end
   if type(where) ~= "table" then errors.blame("mr.connect takes a URL or a table of options") end
   for _, name in ipairs(PLACES) do
      if where[name] ~= nil then return where end
   end
   return merged({ url = place() }, where)
end

--- The given connection, or the program's default connection, which consumers, publishers and remote calls without a
-- connection share.
-- @tparam ?connection given
-- @treturn connection
function home.connection(given)
   if given then return given end
   loop.begin()
   if not shared or shared.released or connection.by_number(shared.number) ~= shared then
      shared = connection.new(home.settings())
   end
   return shared
end

--- True if the value is a connection. (For the checks of options.)
function home.is_connection(value) return type(value) == "table" and getmetatable(value) == connection.methods end

--- Checks an argument or an option that must be a connection.
-- @tparam string what 'argument 1 ("conn")', 'option "connection"'
function home.check(what, value)
   if home.is_connection(value) then return value end
   errors.blame(what .. " must be a connection, as of mr.connect")
end

loop.on_close(function() has_warned = false end)

return home
