--- probe: requests that the broker may refuse: each refusal closes a channel, and the next request opens another.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.base.ffi").C
local asking = require "moonrabbit.channel.request"
local each = require "moonrabbit.base.each"
local merged = require "moonrabbit.base.merged"
local queue_type = require "moonrabbit.channel.queue_type"

local probe = {}

local Scratch = {}
Scratch.__index = Scratch

local OPERATIONS = { exchange = C.MR_EXCHANGE_DECLARE, queue = C.MR_QUEUE_DECLARE }

--- Makes a probe.
function probe.new(conn) return setmetatable({ connection = conn }, Scratch) end

--- The channel; a new one after a refusal.
function Scratch:open()
   local ch = self.channel
   if ch and ch.handle and ch.is_open then return ch end
   if ch then ch:close() end
   local err
   self.channel, err = self.connection:channel()
   return self.channel, err
end

--- Declares an exchange or a queue.
-- @tparam string what "exchange" or "queue"
-- @tparam table entity its fields
-- @tparam[opt] table how passive, unrecorded (it is not restored after a loss)
-- @treturn[1] table the broker's answer
-- @treturn[2] nil, error
function Scratch:declare(what, entity, how)
   local ch, err = self:open()
   if not ch then return nil, err end
   how = how or {}
   return asking.ask(ch, OPERATIONS[what], { passive = how.passive or entity.passive, unrecorded = how.unrecorded, asking = true,
      durable = entity.durable, exclusive = entity.exclusive, auto_delete = entity.auto_delete, internal = entity.internal,
      arguments = entity.arguments, timeout = how.timeout }, entity[what], entity.type)
end

--- Calls a method of the channel.
function Scratch:call(method, opts)
   local ch, err = self:open()
   if not ch then return nil, err end
   return ch[method](ch, opts)
end

function Scratch:close()
   if self.channel then self.channel:close() end
   self.channel = nil
end

-- ---- differences ----

local FLAGS = { durable = true, auto_delete = true, exclusive = true, internal = true }

-- The broker's form of a value: none, 'text', or the value 'text' of type 'kind'.
local function value_of(text, like)
   if text == "none" then return nil end
   local value, kind = text:match "^the value '(.*)' of type '([^']*)'$"
   value = value or text:match "^'(.*)'$" or text
   if kind == "bool" or type(like) == "boolean" then return value == "true" end
   if kind and kind ~= "longstr" and tonumber(value) or type(like) == "number" then return tonumber(value) or value end
   return value
end

-- The field that a refusal names: its name, the existing value, and whether that could be parsed.
local function field_of(entity, err)
   if err.kind == "resource_locked" then return "exclusive", not entity.exclusive end
   local name, found = err.text:match "inequivalent arg '([^']*)' .-: received .* but current is (.*)$"
   if not name then return nil end
   local like = entity.arguments and entity.arguments[name]
   if FLAGS[name] then like = false elseif name == "type" then like = "" end
   return name, value_of(found, like)
end

-- Arguments that the type that is there does not have: the broker does not compare them, and the queue is without them.
local function strip(list, seen, kind, arguments)
   for name, wanted in each(queue_type.strip(kind, arguments)) do
      if not seen[name] then list[#list + 1] = { field = name, wanted = wanted } end
      seen[name] = true
   end
end

-- The fields of the method first, then the arguments by name, because brokers name them in any order.
local function before(a, b)
   local x, y = FLAGS[a.field] or a.field == "type", FLAGS[b.field] or b.field == "type"
   if x ~= y then return x and true or false end
   return a.field < b.field
end

--- Every field in which what is there differs from what is wanted. The broker names one at a time; each is then
-- asked for as it is there, until the broker agrees. Nothing is changed by it.
-- @tparam string what
-- @tparam table wanted
-- @tparam table err the first refusal
-- @treturn table list of {field, wanted, found}
function Scratch:differences(what, wanted, err)
   local list, seen = {}, {}
   local entity = merged(wanted)
   entity.arguments = merged(wanted.arguments)
   while err do
      local field, found = field_of(entity, err)
      if not field or seen[field] then break end -- the error does not name another field
      seen[field] = true
      if field == "x-queue-type" then
         found = found or "classic"
         strip(list, seen, found, entity.arguments)
      end
      local place = (FLAGS[field] or field == "type") and entity or entity.arguments
      local value = place[field]
      if FLAGS[field] then value = value or false end
      list[#list + 1] = { field = field, wanted = value, found = found }
      place[field] = found
      local _
      _, err = self:declare(what, entity, { unrecorded = true })
   end
   table.sort(list, before)
   return list
end

return probe
