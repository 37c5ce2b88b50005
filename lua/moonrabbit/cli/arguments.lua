--- cli.arguments: the command line of `run`: separates its options from the script's, reads the environment.
-- SPDX-License-Identifier: MIT
local each = require "moonrabbit.base.each"
local read_address = require "moonrabbit.base.address"
local arguments = {}

local FLAGS = { ["-h"] = true, ["--help"] = true, ["--watch"] = true, ["--no-console"] = true,
   ["--console-read-only"] = true, ["--http-page"] = true }
local CHOICES = {
   log_level = { error = true, warn = true, info = true, debug = true },
   log_format = { logfmt = true, json = true },
   queue_type = { classic = true, quorum = true, stream = true },
}
local DEFAULTS = { drain = "30", log_level = "info", log_format = "logfmt" }
local MOST_WORKERS, MOST_EVENTS = 1024, 2 ^ 20

--- Splits the arguments of `run`: the command's end with the script's name, all further arguments and options are the
-- script's. Each of the command's options except flags takes one value.
-- @tparam table args without the command's name
-- @treturn table the command's
-- @treturn table the script's
function arguments.split(args)
   local i = 1
   while args[i] and args[i]:sub(1, 1) == "-" and args[i] ~= "-" do
      if args[i] == "--" then
         i = i + 1
         break
      end
      local takes_next = not args[i]:find("=", 1, true) and not FLAGS[args[i]]
      i = i + (takes_next and 2 or 1)
   end
   local ours, rest = {}, {}
   for n, a in ipairs(args) do table.insert(n <= i and ours or rest, a) end
   return ours, rest
end

-- An option's value and its source.
local function value_of(options, name)
   if options[name] then return options[name], "--" .. name:gsub("_", "-") end
   local variable = "MOONRABBIT_" .. name:upper()
   local value = os.getenv(variable)
   if value and value ~= "" then return value, variable end
   return DEFAULTS[name], "--" .. name:gsub("_", "-")
end

local function number(options, name, least, most, what)
   local text, from = value_of(options, name)
   if not text then return nil end
   local n = tonumber(text)
   if n and n >= least and n <= most and (name == "drain" or n == math.floor(n)) then return n end
   return nil, ('%s takes %s, not "%s"'):format(from, what, text)
end

--- An option of which only some words are possible: log_level, log_format or queue_type.
-- @treturn[1] string, or false: it is not given and has no default
-- @treturn[2] nil, string what is wrong
function arguments.choice(options, name)
   local text, from = value_of(options, name)
   if not text then return false end -- an option without a default
   if CHOICES[name][text] then return text end
   local list = {}
   for known in each(CHOICES[name]) do list[#list + 1] = known end
   table.sort(list)
   return nil, ('%s must be one of %s, not "%s"'):format(from, table.concat(list, ", "), text)
end

-- KEY=VALUE, which may be repeated; then the script's own arguments.
local function settings(options)
   local args = { [0] = options.script }
   for _, pair in ipairs(options.set or {}) do
      local key, value = pair:match "^([^=]+)=(.*)$"
      if not key then return nil, ('--set takes KEY=VALUE, not "%s"'):format(pair) end
      if tonumber(key) then return nil, ('--set %s: a key must not be a number'):format(pair) end
      args[key] = value
   end
   for i, a in ipairs(options.arguments or {}) do args[i] = a end
   return args
end

--- The URL of the command line or of MOONRABBIT_URL; nil: AMQP_URL counts, as for mr.connect().
-- @treturn ?string
function arguments.url(options) return (value_of(options, "url")) end

-- Whether the page for browsers is served there without --http-page; also true for what is no address: that is refused later.
local function is_local(where)
   local address = where:sub(1, 1) ~= "/" and read_address(where) or "localhost"
   return address:find "^127%." or address:lower() == "localhost" or address:find "^[0:]*:0*1$"
end

-- The page for browsers, and the token of those who may change things by it.
local function page_of(options, all)
   all.http_page = options.http_page
   local path, from = value_of(options, "http_admin")
   local name = path and from or options.http_page and "--http-page"
   if not name then return true end
   if not all.http then return nil, name .. " does not go without --http" end
   if not path then return true end
   if not all.http_page and not is_local(all.http) then
      return nil, ("%s does not go with --http %s without --http-page: the page is not served there"):format(from, all.http)
   end
   local why
   all.http_token, why = require("moonrabbit.cli.token_file").read(path)
   return all.http_token and true, why and from .. ": " .. why
end

--- The settings of `run`: the command line, completed from the environment.
-- @tparam table options of the parser
-- @treturn[1] table script, arguments, args (mr.args), url, drain, workers (nil: no supervisor), http, http_page,
-- http_token, watch, log_level, log_format, queue_type
-- @treturn[2] nil, string what is wrong
function arguments.complete(options)
   local all = { script = options.script, arguments = options.arguments or {}, url = arguments.url(options),
      watch = options.watch or false, http = (value_of(options, "http")), console = (value_of(options, "console")),
      no_console = options.no_console, recorder_dir = (value_of(options, "recorder_dir")), console_read_only = options.console_read_only }
   local why
   all.drain, why = number(options, "drain", 0, 1e6, "a number of seconds")
   if not all.drain then return nil, why end
   all.recorder, why = number(options, "recorder", 0, MOST_EVENTS, "a whole number from 0 to " .. MOST_EVENTS)
   if why then return nil, why end
   all.workers, why = number(options, "workers", 1, MOST_WORKERS, "a whole number from 1 to " .. MOST_WORKERS)
   if why then return nil, why end
   if all.script == "-" and (all.workers or all.watch) then
      return nil, ("%s does not go with a script from standard input, which can be read once only: give it in a file"):format(
         all.workers and "--workers" or "--watch")
   end
   for name in each(CHOICES) do
      all[name], why = arguments.choice(options, name)
      if all[name] == nil then return nil, why end
   end
   if all.console and all.console:sub(1, 1) ~= "/" then return nil, ('--console takes an absolute path, not "%s"'):format(all.console) end
   local ok
   ok, why = page_of(options, all)
   if not ok then return nil, why end
   all.args, why = settings(options)
   if not all.args then return nil, why end
   return all
end

return arguments
