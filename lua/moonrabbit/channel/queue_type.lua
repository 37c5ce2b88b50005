--- queue_type: the type of a queue: the option `queue_type`, what each type supports, and the default of the process.
-- SPDX-License-Identifier: MIT
-- A declaration that its type does not support is an error when it is made, because RabbitMQ's refusal (406) comes later and
-- closes the channel. The lists are those of RabbitMQ 3.10; arguments that are not in them are left to the broker.
local each = require "moonrabbit.base.each"
local merged = require "moonrabbit.base.merged"
local options = require "moonrabbit.base.options"

local queue_type = {}

local ARGUMENT = "x-queue-type"
local TYPES = { "classic", "quorum", "stream" }

local function set_of(text)
   local set = {}
   for name in text:gmatch "%S+" do set["x-" .. name] = true end
   return set
end

-- The arguments that a type has, of all that any type has.
local ALL = "queue-type max-length-bytes "
local COMMON = ALL .. "message-ttl expires max-length overflow single-active-consumer dead-letter-exchange dead-letter-routing-key "
local KNOWN = {
   classic = set_of(COMMON .. "max-priority queue-mode queue-version queue-master-locator"),
   quorum = set_of(COMMON .. "delivery-limit dead-letter-strategy max-in-memory-length max-in-memory-bytes queue-leader-locator "
      .. "quorum-initial-group-size"),
   stream = set_of(ALL .. "max-age stream-max-segment-size-bytes initial-cluster-size queue-leader-locator"),
}

local default

--- Checks an option that is a type.
function queue_type.check(name, value)
   if KNOWN[value] then return value end
   local nearest = type(value) == "string" and options.nearest(value, { unpack(TYPES) })
   options.blame(('option "%s" must be "classic", "quorum" or "stream", not %s%s'):format(name,
      type(value) == "string" and ("%q"):format(value) or "a " .. type(value), nearest and (': did you mean "%s"?'):format(nearest) or ""))
end

-- The types that have an argument.
local function who_has(argument)
   local names = {}
   for _, kind in ipairs(TYPES) do
      if KNOWN[kind][argument] then names[#names + 1] = kind end
   end
   return table.concat(names, " and ")
end

-- Raises an error for what a quorum queue or stream cannot be, and for arguments of other types.
local function check_declaration(kind, declaration, arguments)
   local where = ('queue "%s"'):format(declaration.queue or "")
   local function refuse(what) options.blame(('%s: a %s %s'):format(where, kind == "stream" and kind or kind .. " queue", what)) end
   for argument in each(arguments) do
      if not KNOWN[kind][argument] and who_has(argument) ~= "" then
         refuse(('has no argument "%s": only %s has'):format(argument, who_has(argument)))
      end
   end
   if kind == "classic" then return end
   for _, flag in ipairs { "exclusive", "auto_delete" } do
      if declaration[flag] then refuse(('cannot be %s: leave out "%s", or declare a classic queue'):format(flag, flag)) end
   end
   if declaration.durable == false then refuse "is always durable: leave out durable = false, or declare a classic queue" end
   if declaration.queue == nil or declaration.queue == "" then refuse "needs a name: the broker names classic queues only" end
end

--- The type of a queue by the arguments of its declaration.
-- @tparam ?table arguments
-- @treturn string "classic", "quorum", "stream", or a type that is not known here
function queue_type.of(arguments) return arguments and arguments[ARGUMENT] or "classic" end

--- True if the default type applies to a declaration: a queue of its own name that outlives its connection.
local function is_for_default(declaration)
   return declaration.durable and declaration.queue and declaration.queue ~= "" and not declaration.exclusive
      and not declaration.auto_delete and not declaration.passive
end

--- Puts a declaration's type into its arguments: its option `queue_type`, else the default of the process.
-- @tparam table declaration as of queue_declare, with durable already filled in
-- @treturn table the declaration itself, or a copy of it without `queue_type`; contradictions raise an error
function queue_type.put(declaration)
   local given, arguments = declaration.queue_type, declaration.arguments
   local kind = arguments and arguments[ARGUMENT]
   if given ~= nil then
      queue_type.check("queue_type", given)
      if kind ~= nil and kind ~= given then
         options.blame(('queue "%s" has the queue_type "%s" and the argument "%s" = %q: say it once'):format(declaration.queue or "", given,
            ARGUMENT, tostring(kind)))
      end
   end
   kind = given or kind or is_for_default(declaration) and default
   if not kind or declaration.passive then
      if given == nil then return declaration end
      declaration = merged(declaration)
      declaration.queue_type = nil
      return declaration
   end
   if KNOWN[kind] then check_declaration(kind, declaration, arguments or {}) end
   declaration = merged(declaration)
   declaration.queue_type, declaration.arguments = nil, merged(arguments, { [ARGUMENT] = kind })
   if kind == "quorum" or kind == "stream" then declaration.durable = true end
   return declaration
end

--- Takes the arguments out that a type does not have.
-- @tparam string kind
-- @tparam table arguments changed
-- @treturn table what was taken out: name -> value
function queue_type.strip(kind, arguments)
   local out = {}
   for argument, v in each(arguments) do
      if KNOWN[kind] and not KNOWN[kind][argument] and who_has(argument) ~= "" then out[argument] = v end
   end
   for argument in each(out) do arguments[argument] = nil end
   return out
end

--- The arguments of a quorum queue that gives no dead letter away before its target has confirmed it.
-- @tparam table arguments with a dead letter exchange
-- @treturn table
function queue_type.at_least_once(arguments)
   return merged(arguments, { [ARGUMENT] = "quorum", ["x-dead-letter-strategy"] = "at-least-once", ["x-overflow"] = "reject-publish" })
end

--- True if an error is a broker's that does not know an argument of the type, because it is older than RabbitMQ 3.10.
function queue_type.is_too_old(err) return err.kind == "precondition_failed" and err.text:find("invalid arg '", 1, true) ~= nil end

--- The default type of the process; nil: none.
function queue_type.default() return default end

--- Sets defaults of the process.
-- @tparam table opts queue_type as of mr.defaults
function queue_type.defaults(opts)
   local kind = options.check(opts, { queue_type = "string|boolean" }).queue_type
   if kind == nil then return end
   default = kind and queue_type.check("queue_type", kind) or nil
end

return queue_type
