--- make_docs: writes docs/api.md from the LDoc comments, docs/configuration.md from options.h, docs/metrics.md (metrics_page),
-- docs/log.md (log_page).
-- SPDX-License-Identifier: MIT
-- `luajit tests/tools/make_docs.lua ROOT` writes; with `--check` it compares and exits with 1 when a
-- page is not what the code says, or when a comment leaves out what an option or a parameter means, or an option's default.
local root = arg[1] or "."
local checking = arg[2] == "--check"
local here = arg[0]:match "^.*/" or ""

local function read(path)
   local file = io.open(root .. "/" .. path)
   if not file then return "" end
   local text = file:read "*a"
   file:close()
   return text
end

-- ---- docs/api.md ----

local PAGES = {
   { "Workers: mr.consumer", "consumer/consumer", "worker" },
   { "Workers: mr.filter", "consumer/filter", "mr" },
   { "Publishers", "publisher/publisher", "pub" },
   { "The module `mr`", "init", "mr" }, { "Tasks: events, semaphores, channels of values", "loop/sync", "mr" },
   { "Connections", "connection/connection", "conn" },
   { "Channels: exchanges, queues, bindings", "channel/declare", "ch" }, { "Channels: the rest", "channel/channel", "ch" },
   { "Publishing", "channel/publish", "ch" }, { "Tickets", "channel/confirm", "ticket" }, { "Messages", "channel/message", "msg" },
   { "Messages: another try, the dead letters, answers", "redelivery/message", "msg" },
   { "Consumers", "channel/subscription", "consumer" }, { "Values", "base/value", "mr" }, { "Logging", "loop/log", "mr.log" },
   { "Connections: trying again, and more of kombu", "connection/kombu", "conn" },
   { "Connections: handover", "connection/handover", "conn" },
   { "Topologies as data", "topology/topology", "topology" },
   { "Topologies: queues with delays", "topology/delayed", "topology" },
   { "Topologies: plan", "topology/plan", "topology" },
   { "Topologies: apply", "topology/apply", "topology" },
   { "Topologies: their queues", "topology/maintenance", "topology" },
   { "Simple queues", "simple_queue", "simple" },
   { "Remote calls", "rpc/client", "mr.rpc" },
   { "Remote calls: the server", "rpc/server", "mr.rpc" },
   { "Retry policies", "loop/retry", "mr.retry" },
   { "Health", "health/health", "mr.health" },
   { "Metrics", "health/metrics", "mr.metrics" },
   { "The flight recorder", "loop/recorder", "mr.recorder" },
   { "Pools", "pool/pool", "pool" },
   { "Pools: size", "pool/size", "pool" },
   { "Hosts: LÖVE", "love", "love" },
   { "Hosts: libuv and Neovim", "uv", "uv" },
   { "Hosts: Tarantool", "tarantool", "tarantool" },
   { "Testing: the embedded broker", "testing", "mr.testing" },
}

local OURS = { mr = true, adapter = true, consumer = true, Worker = true, Connection = true, Channel = true, Ticket = true,
   Consumer = true, methods = true, value = true, log = true, Timer = true, testing = true, Broker = true, Pool = true,
   retry = true, Simple = true, pool = true, rpc = true, rpc_server = true, publisher = true, Publisher = true,
   topology = true, Topology = true, filter = true, Server = true, health = true, sync = true, Event = true,
   Semaphore = true, Queue = true, simple_queue = true, metrics = true, recorder = true, Counter = true, Gauge = true, Histogram = true }

-- Parts of a class that have a file of their own: their methods are the class's.
local PARTS = { declare = true, publish = true, plan = true, apply = true, delayed = true, maintenance = true, size = true,
   kombu = true, handover = true }
-- What the methods of a module are called on, where its page is not about it alone.
local CALLED_ON = { Server = "server", Timer = "timer", Broker = "broker", Event = "event", Semaphore = "semaphore", Queue = "channel",
   simple_queue = "conn", Counter = "counter", Gauge = "gauge", Histogram = "histogram" }

-- Where a module's tables of options are, if not in itself.
local TABLES_IN = { ["consumer/consumer"] = "consumer/setup", ["connection/kombu"] = "connection/ensure",
   ["pool/pool"] = "connection/ensure" }

-- "a=1 (x), b (default: 2; y, z)" -> its parts, split at commas and semicolons outside of brackets and quotes.
local function split_list(text)
   local parts, depth, from, quoted = {}, 0, 1, false
   for at = 1, #text + 1 do
      local c = text:sub(at, at)
      if c == '"' then quoted = not quoted end
      if not quoted and c:find "[%(%[{]" then depth = depth + 1 end
      if not quoted and c:find "[%)%]}]" then depth = depth - 1 end
      if at > #text or depth == 0 and not quoted and c:find "[,;]" then
         parts[#parts + 1] = text:sub(from, at - 1):match "^%s*(.-)%s*$"
         from = at + 1
      end
   end
   return parts
end

-- One option of such a list: name, default, meaning; nil when the text is not of that form.
local function option_of(part)
   local name, rest = part:match "^([%a_][%w_]*)(.*)$"
   if not name then return nil end
   local default = rest:match '^=("[^"]*")' or rest:match "^=([^%s]+)"
   if default then rest = rest:sub(#default + 2) end
   local meaning = rest == "" and "" or rest:match "^%s*%((.*)%)$"
   if not meaning then return nil end
   if not default then
      default = meaning:match "^default: ([^;]+)" or meaning:match "; default: ([^;]+)"
      meaning = meaning:gsub(";? ?default: [^;]+", "", 1):gsub("^; ", "")
   end
   return name, default, meaning
end

-- The type that a module's tables of options ask for: name = "a|b", name = { a = true, b = true }, or a default that is a
-- number.
local function type_in(source, name)
   local names, of = "%f[%w_]" .. name .. " = ", {}
   local kind = source:match(names .. '"([%a|]+)"')
   for one in (source:match(names .. "(%b{})") or ""):gmatch "(%l+) = true" do of[#of + 1] = one end
   if kind or of[1] then return kind or table.concat(of, "|") end
   if source:find("[{,] ?" .. name .. " = %d") then return "number" end
   return name == "timeout" and source:find('require "moonrabbit.channel.request"', 1, true) and "number" -- whose spec() adds it
end

local lacking = {}                 -- what the comments leave out
local where                        -- the function whose comment is read
local function lacks(format, ...) lacking[#lacking + 1] = where .. ": " .. format:format(...) end

local AT_LEAST = 3                 -- options that make a table; fewer are one line

-- The cell of a default: the word required, or none, or a value.
local function default_cell(default)
   if default == "required" or default:find "^none" or default:find "^no limit" then return default end
   return "`" .. default .. "`"
end

-- A parameter's options, one line each, with the types that validate them; nil when it has no such list.
local function option_table(source, name, text)
   local rows, faults = {}, {}
   for _, part in ipairs(split_list(text)) do
      local option, default, meaning = option_of(part)
      local kind = option and type_in(source, option)
      if not kind then return nil end
      if meaning:find "^required" then default, meaning = "required", meaning:gsub("^required;? ?", "") end
      if not default then faults[#faults + 1] = ("the option %s has no default"):format(option) end
      if meaning == "" then faults[#faults + 1] = ("the option %s has no meaning"):format(option) end
      rows[#rows + 1] = ("| `%s` | %s | %s | %s |"):format(option, (kind:gsub("|", " or ")), default_cell(default or ""),
         (meaning:gsub("|", "\\|")))
   end
   for _, what in ipairs(faults) do lacks("%s", what) end -- now that all of it is known to be a list
   if #rows < AT_LEAST then return nil end
   return ("Options of `%s`:\n\n| option | type | default | meaning |\n| --- | --- | --- | --- |\n%s"):format(name,
      table.concat(rows, "\n"))
end

-- One tag of LDoc as a line of Markdown.
local function tag_line(source, tag, rest)
   local kind, name, text
   if tag:find "^tparam" then
      kind, name, text = rest:match "^(%S+)%s+(%S+)%s*(.*)$"
      local options = kind and kind:find "table" and option_table(source, name, text)
      if options then return nil, options end
      if not name or text == "" then lacks("the parameter %s has no meaning", name or "?") end
      local default = tag:match "opt=([^%]]*)"
      local optional = tag:find("opt", 1, true)
      return ("- `%s` (%s%s) %s"):format(name or "?", kind or "?",
         default and ", default " .. default or optional and ", optional" or "", text or "")
   end
   if tag:find "^treturn" then return "- returns " .. rest end
   return "- " .. rest
end

local function render(source, comment)
   local lines, tags = {}, {}
   for line in comment:gmatch "[^\n]+" do
      line = line:gsub("^%-%-%-?%s?", "")
      local tag, rest = line:match "^@([%w%[%]=%.%-]+)%s*(.*)$"
      if tag then tags[#tags + 1] = { tag, rest }
      elseif #tags > 0 then tags[#tags][2] = tags[#tags][2] .. " " .. line
      else lines[#lines + 1] = line end
   end
   local text, points, tables = table.concat(lines, " "):gsub("%s*@treturn%s*", " Returns "), {}, {}
   for _, tag in ipairs(tags) do
      local point, options = tag_line(source, tag[1], tag[2])
      table.insert(point and points or tables, point or options)
   end
   if #points > 0 then text = text .. "\n\n" .. table.concat(points, "\n") end
   if #tables > 0 then text = text .. "\n\n" .. table.concat(tables, "\n\n") end
   return text
end

-- What of a module of values is the module's own business, and no function of `mr`.
local init = read "lua/moonrabbit/init.lua"
local function is_of_mr(owner, name) return init:find(("%%f[%%w_]%s = %s%%.%s%%f[^%%w_]"):format(name, owner, name)) ~= nil end

local function signature(object, head)
   local owner, sep, name, args = head:match "^function ([%w_]+)([.:])([%w_]+)(%b())"
   if owner == "delayed" and name == "delayed" then return "mr.topology.delayed" .. args end
   if PARTS[owner or ""] and sep == ":" then return object .. ":" .. name .. args end
   if not owner or not OURS[owner] or name:find "^_" then return nil end
   if (owner == "value" or owner == "sync") and not is_of_mr(owner, name) then return nil end
   if owner == "mr" or owner == "value" or owner == "sync" then return "mr." .. name .. args end
   if owner == "log" then return "mr.log." .. name .. args end
   if (owner == "pool" or owner == "consumer") and name == "new" then return ("mr.%s(opts)"):format(owner) end
   if CALLED_ON[owner] then return CALLED_ON[owner] .. ":" .. name .. args end
   if owner == "publisher" and name == "new" then return "mr.publisher(opts)" end
   if owner == "filter" then return "mr.filter" .. args end
   if owner == "topology" and name == "new" then return "mr.topology(data)" end
   if owner == "topology" and object == "topology" then return "mr.topology." .. name .. args end
   return object .. sep .. name .. args
end

-- Comments and the functions right below them, line by line: a pattern cannot say "right below".
local function section(title, module, object)
   local out, comment = { "## " .. title .. "\n" }, nil
   local source = read("lua/moonrabbit/" .. module .. ".lua")
   local tables = source .. read("lua/moonrabbit/" .. (TABLES_IN[module] or "") .. ".lua")
   for line in (source .. "\n"):gmatch "([^\n]*)\n" do
      if line:find "^%-%-%-%s" then comment = line
      elseif comment and line:find "^%-%-" and not line:find "^%-%- %-%-" then comment = comment .. "\n" .. line
      else
         local sig = comment and signature(object, line)
         where = sig and ("lua/moonrabbit/%s.lua, %s"):format(module, sig)
         if sig then out[#out + 1] = ("### `%s`\n\n%s\n"):format(sig, render(tables, comment)) end
         comment = nil
      end
   end
   return out[2] and table.concat(out, "\n") or nil
end

local function api()
   local out = { [[
# The Lua library

Made from the comments in `lua/moonrabbit/` by `tests/tools/make_docs.lua`; the tests compare.

`local mr = require "moonrabbit"`. Options are one table; unknown names are errors that name the nearest valid
one. Times are seconds. What fails at run time returns `nil, err`; misuse raises an error at the caller. Everything
that waits suspends only the calling task; in the main chunk it pumps until it is done. Where nothing can wait, in a
function that C calls (a comparator of `table.sort`, a callback of `string.gsub`, a module that a task requires, a `__gc`),
it raises an error before it does anything; [the guide](guide.md#tasks) says more.

An `err` is a table: `kind`, `code` (AMQP's reply code or nil), `text`, `scope`, `recoverable`, `hint`, `errno`;
`tostring(err)` is one good line. In a handler, timer or task everything may be called
but `mr.run` and `mr.poll`.

`mr.version` is the library's version, `mr.null` the null of AMQP and of JSON, `mr.log.is_debug` whether lines of level debug are
written. `mr.args` is what `moonrabbit run --set KEY=VALUE` set, as strings, with the script's own arguments from 1 on; the command
is in [worker](worker.md).

Properties of a message, both ways: `content_type`, `content_encoding`, `headers`, `delivery_mode`, `priority`,
`correlation_id`, `reply_to`, `expiration`, `message_id`, `timestamp`, `type`, `user_id`, `app_id`, `cluster_id`.
Fields of a message: `body`, `headers`, `properties`, `routing_key`, `exchange`, `consumer_tag`, `delivery_tag`,
`redelivered`, `delivery_count`, `message_count`, `is_live`, `attempt`, `queue`, `channel`, `reply_code`, `reply_text`, and each
property by its name (`msg.message_id`); reading another name is an error. Fields of a connection: `state`, `is_open`, `is_closed`,
`is_blocked`, `host`, `epoch`, `last_error`, `server_properties`, `transport`. Fields of a channel: `is_open`, `id`.
]] }
   for _, page in ipairs(PAGES) do out[#out + 1] = section(page[1], page[2], page[3]) end
   return table.concat(out, "\n")
end

-- ---- docs/configuration.md ----

local function unquote(text) return (text:gsub('"%s*"', ""):gsub('^"', ""):gsub('"$', "")) end

local function configuration()
   local out = { [[
# Connection options

Generated by `tests/tools/make_docs.lua` from the table in `runtime/config/options.h`, which also validates the options.

`mr.connect` takes a URL or a table of options. The table overrides the URL. The query of a URL accepts the same names
(`amqp://host/?heartbeat=30`), and `connection_timeout` as another name of `connect_timeout`. `ssl_options.x` is
`ssl_options = { x = ... }` in Lua. The connection's events are passed to `on_event = function(ev) end`: `ev.type` is
connecting, connected, blocked, unblocked, lost (`recovering`: recovery follows), retrying (`attempt`, `delay`), recovered
(`entities`, `failed`, `renamed`, `gap`), gave_up, closed, channel_closed or consumer_cancelled.

`retry` (Lua only) is a policy, such as `mr.retry.exponential{}`, instead of transport_options or connection_attempts.
`password` may be a function: it is called before each connect. `republish` (Lua only) is a number of bytes: up to this
size, the connection keeps unconfirmed publishes and sends them again after it has recovered.

`amqp://host`, `amqp://host/` and `amqp://host/%2f` all mean the virtual host `/`. `memory://` is the broker inside the
process ([embedded-broker](embedded-broker.md)); `redis://` is a Redis, `sentinel://` one that Sentinels watch ([redis](redis.md)).
If none of url, hostname, port, userid, password and virtual_host is given, the URL is AMQP_URL, or `memory://` if AMQP_URL is not set.

| option | type | default | range | meaning |
| --- | --- | --- | --- | --- |]] }
   local header = read("runtime/config/options.h"):match "#define MR_OPTIONS%(X%)(.-)\n\n"
   for entry in header:gsub("\\\n", " "):gsub("%s+", " "):gmatch "X(%b())" do
      local name, kind, least, most, rest = entry:match '^%([%w_]+, "([^"]+)", (%w+), ([%d%.]+), ([%d%.]+), (.*)%)$'
      local default, text = rest:match '^("[^"]*"), (.*)$'
      local range = kind == "NUMBER" and ("%s to %s"):format(least, (most:gsub("%.0$", ""))) or ""
      out[#out + 1] = ("| `%s` | %s | %s | %s | %s |"):format(name, kind:lower(), unquote(default), range, unquote(text))
   end
   return table.concat(out, "\n") .. "\n"
end

-- Sections whose options must be a table: a list that no longer parses would become a line of prose unseen.
local function without_table(text)
   for title in pairs { ["Workers: mr.consumer"] = true, Publishers = true, ["Channels: exchanges, queues, bindings"] = true,
      ["Channels: the rest"] = true, Pools = true } do
      local _, from = text:find("\n## " .. title .. "\n", 1, true)
      local part = from and text:sub(from, (text:find("\n## ", from, true) or 0) - 1) or ""
      if not part:find("\n| option | type | default | meaning |\n| --- | --- | --- | --- |\n| `", 1, true) then
         lacking[#lacking + 1] = ("docs/api.md, %s: no table of options"):format(title)
      end
   end
end

local api_page = api()
without_table(api_page)
local log_page = dofile(here .. "log_page.lua")(dofile(here .. "log_messages.lua")(root), dofile(here .. "log_catalogue.lua"),
   function(what) lacking[#lacking + 1] = what end)
for _, what in ipairs(lacking) do print(what) end
local wrong = #lacking
for path, text in pairs { ["docs/api.md"] = api_page, ["docs/configuration.md"] = configuration(),
   ["docs/log.md"] = log_page,
   ["docs/metrics.md"] = dofile(here .. "metrics_page.lua")(read) } do
   if not checking then
      local file = assert(io.open(root .. "/" .. path, "w"))
      file:write(text)
      file:close()
   elseif read(path) ~= text then
      wrong = wrong + 1
      print(path .. " is not what the code says: run luajit tests/tools/make_docs.lua .")
   end
end
if checking and wrong == 0 then print "docs: as the code says" end
os.exit(wrong == 0 and 0 or 1)
