--- topology: exchanges, queues and bindings as data: checked when it is defined, then planned and applied.
-- SPDX-License-Identifier: MIT
local apply = require "moonrabbit.topology.apply"
local delayed = require "moonrabbit.topology.delayed"
local each = require "moonrabbit.base.each"
local maintenance = require "moonrabbit.topology.maintenance"
local merged = require "moonrabbit.base.merged"
local options = require "moonrabbit.base.options"
local plan = require "moonrabbit.topology.plan"
local queue_type = require "moonrabbit.channel.queue_type"

local topology = { delayed = delayed.delayed }

local Topology = { __name = "moonrabbit.topology", plan = plan.plan, apply = apply.apply, delay = delayed.delay,
   counts = maintenance.counts, message_counts = maintenance.message_counts, purge = maintenance.purge,
   delete = maintenance.delete, join = maintenance.join }
Topology.__index = Topology

function Topology.__tostring(t)
   return ("topology of %d exchanges, %d queues, %d bindings"):format(#t.exchanges, #t.queues, #t.bindings)
end

local SPEC = { exchanges = "table", queues = "table", bindings = "table", delays = "table" }
local EXCHANGE = { exchange = "string", type = "string", durable = "boolean", auto_delete = "boolean", internal = "boolean",
   passive = "boolean", arguments = "table", alternate_exchange = "string" }
local QUEUE = { queue = "string", durable = "boolean", auto_delete = "boolean", exclusive = "boolean", passive = "boolean",
   arguments = "table", max_priority = "number", message_ttl = "number", expires = "number", max_length = "number",
   max_length_bytes = "number", overflow = "string", dead_letter_exchange = "string", dead_letter_routing_key = "string",
   single_active_consumer = "boolean", queue_type = "string", delivery_limit = "number", max_age = "number|string",
   stream_max_segment_size_bytes = "number", initial_cluster_size = "number" }
local BINDING = { queue = "string", exchange = "string", destination = "string", source = "string", routing_key = "string",
   arguments = "table" }
local DELAY = { queue = "string", max = "number" }
local NAMES = { -- names of arguments that may be written without "x-"
   exchange = { alternate_exchange = "alternate-exchange" },
   queue = {},
}
for name in each(QUEUE) do
   if name:find "_" and name ~= "auto_delete" and name ~= "queue_type" then NAMES.queue[name] = "x-" .. name:gsub("_", "-") end
end
NAMES.queue.overflow, NAMES.queue.expires = "x-overflow", "x-expires"
local MILLISECONDS = { message_ttl = true, expires = true } -- the options are in seconds

-- An option as its argument; the age of a stream's messages has a unit.
local function argument_of(name, v)
   if MILLISECONDS[name] then return math.floor(v * 1000 + 0.5) end
   if name == "max_age" and type(v) == "number" then return ("%.0fs"):format(math.ceil(v)) end
   return v
end

-- One exchange or queue for its declare: its arguments under AMQP's names, durable unless it says otherwise.
local function entity(what, given, spec)
   options.check(given, spec, { what })
   local out, arguments = { durable = true }, merged(given.arguments)
   for name, v in each(given) do
      local argument = NAMES[what][name]
      if argument then
         if arguments[argument] ~= nil then
            options.blame(('%s "%s" has "%s" and the argument "%s": say it once'):format(what, given[what], name, argument))
         end
         arguments[argument] = argument_of(name, v)
      elseif name ~= "arguments" then
         out[name] = v
      end
   end
   out.arguments = next(arguments) and arguments or nil
   if what == "queue" then return queue_type.put(out) end
   out.type = out.type or "direct"
   return out
end

-- A list of tables or names, or a table by name, as a list; in the given order, or sorted by name.
local function list_of(what, given, spec)
   local list, by_name, names = {}, {}, {}
   for name in each(given or {}) do
      if type(name) == "string" then names[#names + 1] = name end
   end
   table.sort(names)
   local function add(entry, key)
      if type(entry) == "string" and not key then entry = { [what] = entry } end
      if type(entry) ~= "table" then
         local hint = key and spec[key] and (': one %s alone is written { { %s = "name" } }'):format(what, what) or ""
         options.blame(('%s "%s" must be a table, not a %s%s'):format(what, tostring(key), type(entry), hint))
      end
      if key then entry = merged({ [what] = key }, entry) end
      entry = entity(what, entry, spec)
      if by_name[entry[what]] then options.blame(('%s "%s" is there twice'):format(what, entry[what])) end
      by_name[entry[what]] = entry
      list[#list + 1] = entry
   end
   for _, entry in ipairs(given or {}) do add(entry) end
   for _, name in ipairs(names) do add(given[name], name) end
   return list, by_name
end

local function refer(known, what, name, where)
   if known[name] or what == "exchange" and (name == "" or name:find "^amq%.") then return end
   local names = {}
   for other in each(known) do names[#names + 1] = other end
   local nearest = options.nearest(name, names)
   options.blame(('%s: there is no %s "%s" here%s; one that somebody else declares is passive = true'):format(where, what, name,
      nearest and (': did you mean "%s"?'):format(nearest) or ""))
end

local function check_binding(b, exchanges, queues)
   options.check(b, BINDING)
   local is_queue, is_exchange = b.queue and b.exchange, b.destination and b.source
   if not (is_queue or is_exchange) or is_queue and (b.destination or b.source) or is_exchange and b.exchange then
      options.blame("a binding has queue and exchange, or destination and source")
   end
   local where = ('binding of "%s"'):format(b.queue or b.destination)
   if is_queue then refer(queues, "queue", b.queue, where)
   else refer(exchanges, "exchange", b.destination, where) end
   refer(exchanges, "exchange", b.exchange or b.source, where)
   if (b.exchange or b.source) == "" then options.blame(where .. ": the default exchange has no bindings") end
   return { queue = b.queue, exchange = b.exchange, destination = b.destination, source = b.source,
      routing_key = b.routing_key or "", arguments = b.arguments }
end

-- Checks that objects to which arguments refer are in the topology, too.
local function check_arguments(self, exchanges, queues)
   for _, x in ipairs(self.exchanges) do
      local other = x.arguments and x.arguments["alternate-exchange"]
      if other then refer(exchanges, "exchange", other, ('exchange "%s"'):format(x.exchange)) end
   end
   for _, q in ipairs(self.queues) do
      local a, where = q.arguments or {}, ('dead letters of queue "%s"'):format(q.queue)
      local exchange, key = a["x-dead-letter-exchange"], a["x-dead-letter-routing-key"]
      if exchange then refer(exchanges, "exchange", exchange, where) end
      if exchange == "" and key then refer(queues, "queue", key, where) end
   end
end

--- Defines a topology; declares nothing yet. Called as `mr.topology{...}`.
-- @tparam table data exchanges, queues, bindings, and delays (see mr.topology.delayed). Exchanges and queues are lists
-- of tables with AMQP's names (as of exchange_declare and queue_declare), or of names, or tables by name; durable
-- unless they say otherwise; passive: another program declares it. Arguments may be written as fields: of a queue
-- max_priority, message_ttl and expires (seconds), max_length, max_length_bytes, overflow, dead_letter_exchange,
-- dead_letter_routing_key, single_active_consumer, queue_type, delivery_limit, max_age (of a stream: seconds, or a string such as
-- "7D"), stream_max_segment_size_bytes, initial_cluster_size; of an exchange alternate_exchange.
-- Bindings are {queue, exchange, routing_key, arguments} or {destination, source, routing_key, arguments}
-- @treturn topology methods plan, apply, names, counts, message_counts, purge, delete, join, delay; mistakes raise an error
function topology.new(data)
   options.check(data, SPEC)
   local self = setmetatable({ bindings = {}, delays = {} }, Topology)
   local exchanges, queues
   self.exchanges, exchanges = list_of("exchange", data.exchanges, EXCHANGE)
   self.queues, queues = list_of("queue", data.queues, QUEUE)
   for i, b in ipairs(options.list_of("bindings", data.bindings, BINDING)) do
      if type(b) ~= "table" then options.blame(("binding %d must be a table, not a %s"):format(i, type(b))) end
      self.bindings[i] = check_binding(b, exchanges, queues)
   end
   for name, d in each(data.delays or {}) do
      refer(queues, "queue", name, "delays")
      options.check(d, DELAY, { "queue" })
      refer(queues, "queue", d.queue, "delays")
      self.delays[name] = d
   end
   check_arguments(self, exchanges, queues)
   return self
end

--- The names of the objects that it declares.
-- @treturn table {exchanges = list, queues = list}, without the passive ones
function Topology:names()
   local out = { exchanges = {}, queues = {} }
   for _, x in ipairs(self.exchanges) do
      if not x.passive then table.insert(out.exchanges, x.exchange) end
   end
   for _, q in ipairs(self.queues) do
      if not q.passive then table.insert(out.queues, q.queue) end
   end
   return out
end

--- Checks the option "topology".
function topology.check(value)
   if getmetatable(value) ~= Topology then options.blame('option "topology" must be one of mr.topology') end
end

return setmetatable(topology, { __call = function(_, data) return topology.new(data) end })
