--- job: one publish of mr.publisher: body, properties, destination and deadline.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local C = require("moonrabbit.base.ffi").C
local body_of = require "moonrabbit.base.body"
local cascade = require "moonrabbit.delay.cascade"
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"
local merged = require "moonrabbit.base.merged"
local options = require "moonrabbit.base.options"
local properties = require "moonrabbit.base.properties"

local job = {}

local OURS = { exchange = "string", routing_key = "string", timeout = "number", delay = "number" }

-- The properties of one message: those of every message, its own, and what its body says of itself.
local function with_usual(self, props, kind)
   if not props and not kind then return self.usual end
   local all = merged(self.usual)
   for name, v in each(props or {}) do
      if not OURS[name] then
         all[name] = v
      elseif type(v) ~= OURS[name] then
         options.blame(('option "%s" must be a %s, not a %s'):format(name, OURS[name], type(v)))
      end
   end
   if all.content_type == nil then all.content_type = kind end
   return all
end

-- Where a message goes, delayed or not.
local function address(self, props, all)
   local exchange, key = props and props.exchange or self.exchange, props and props.routing_key or self.routing_key
   if not key then options.blame('a "routing_key" is missing: give it to the publisher or to the publish') end
   if not props or not props.delay then return exchange, key, all end
   if all.expiration ~= nil then options.blame '"delay" and "expiration": the message would leave its delay too early' end
   local topology = self.options.topology
   if topology and exchange == "" and topology.delays[key] then
      local through, err = topology:delay(key, props.delay)
      if not through then return nil, err end
      all.expiration = through.expiration
      return "", through.queue, all
   end
   local plan, err = cascade.plan(exchange, key, props.delay)
   if err then return nil, err end
   if not plan then return exchange, key, all end
   all.headers, all.mandatory = cascade.headers(plan, all.headers), true
   return cascade.ENTRY, key, all, plan
end

--- Makes the job of one publish: publisher, exchange, routing_key, body, props (as bytes: encoded, if there are headers), attempt,
-- deadline, plan (of its delay).
-- @treturn[1] table
-- @treturn[2] nil, error; misuse raises an error
function job.new(self, body, props)
   local text, kind = body_of.encode(body, self.options.serializer)
   if not text then options.blame(kind) end
   if props ~= nil and type(props) ~= "table" then
      options.blame(('argument 2 ("props") must be a table, not a %s'):format(type(props)))
   end
   local all_props = with_usual(self, props, kind)
   options.seconds("timeout", props and props.timeout)
   local exchange, key, with, plan = address(self, props, all_props)
   if not exchange then return nil, key end
   local encoded
   if with ~= self.usual then
      local buffer, size = properties.encode(with)
      encoded = with.headers and ffi.string(buffer, size) -- the program may use the table for another message meanwhile
   end
   if #exchange > 255 or #key > 255 then
      return nil, errors.new("bad_argument", "publish", "an exchange or a routing key is longer than 255 bytes")
   end
   local timeout = props and props.timeout or self.timeout
   return { publisher = self, exchange = exchange, routing_key = key, plan = plan, body = text, props = with, encoded = encoded,
      attempt = 0, deadline = timeout > 0 and timeout < math.huge and C.mr_now() + timeout or nil }
end

return job
