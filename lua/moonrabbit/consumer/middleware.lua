--- middleware: a handler of mr.consumer with its middleware and decoder.
-- SPDX-License-Identifier: MIT
local bit = require "bit"
local ffi = require "ffi"
local errors = require "moonrabbit.base.errors"
local options = require "moonrabbit.base.options"

local chain = {}

ffi.cdef 'void *mr_memmem(const void *haystack, size_t size, const void *needle, size_t needle_size) __asm__("memmem");'
local memmem, band = ffi.C.mr_memmem, bit.band
local MARK = "x-mr-attempt"
local HEADERS = 0x20 -- in the first octet of the encoded properties' flags

-- Additional slots of a message: see keep.
local WORD, WHY = "_word", "_why"

-- A retried message came through the default exchange: restores the exchange and key of its first publish.
local function restore(msg)
   local headers = msg.headers
   local exchange, key = headers["x-mr-exchange"], headers["x-mr-routing-key"]
   if headers["x-mr-queue"] ~= msg.queue and not headers["x-mr-reason"] then return end -- copied headers
   if type(exchange) == "string" then rawset(msg, "exchange", exchange) end
   if type(key) == "string" then rawset(msg, "routing_key", key) end
end

local function has_come_again(d)
   return d.properties_size > #MARK and band(d.properties[0], HEADERS) ~= 0
      and memmem(d.properties, d.properties_size, MARK, #MARK) ~= nil
end

local function decode_body(msg) return msg:decode() end

-- The handler with its decoder. A body that cannot be decoded is not retried.
local function decoding(handler, decode)
   if decode == true then decode = decode_body end
   return function(msg)
      local ok, v, err = pcall(decode, msg)
      if not ok then v, err = nil, v end
      if v == nil and err ~= nil then return "dead_letter", "the body does not decode: " .. errors.words(err) end
      return handler(msg, v)
   end
end

-- Keeps the last result that is not empty, so that a middleware that calls next(msg) and returns nothing does not turn a
-- failure into an ack. If the handler is called again, its last result counts.
local function keep(msg, is_handler, word, why)
   if word ~= nil or why ~= nil or is_handler and (rawget(msg, WORD) ~= nil or rawget(msg, WHY) ~= nil) then
      rawset(msg, WORD, word)
      rawset(msg, WHY, why)
   end
   return word, why
end

local function around(middleware, inner, is_handler)
   local function go_on(msg, ...)
      if type(msg) ~= "table" then options.blame("a middleware must call next(msg), with the message") end
      return keep(msg, is_handler, inner(msg, ...))
   end
   return function(msg) return middleware(msg, go_on) end
end

--- Makes the function that is called with each message.
-- @tparam function handler
-- @tparam table middleware list of functions(msg, next), the outermost first
-- @tparam ?boolean|function decode
-- @treturn function
function chain.build(handler, middleware, decode)
   local inner = decode and decoding(handler, decode) or handler
   if #middleware == 0 then
      return function(msg)
         if has_come_again(msg[1]) then restore(msg) end
         return inner(msg)
      end
   end
   for i = #middleware, 1, -1 do inner = around(middleware[i], inner, i == #middleware) end
   return function(msg)
      if has_come_again(msg[1]) then restore(msg) end
      local word, why = inner(msg)
      if word == nil and why == nil then return rawget(msg, WORD), rawget(msg, WHY) end
      return word, why
   end
end

--- Checks a list of middleware.
function chain.check(middleware)
   options.list("middleware", middleware)
   for i, fn in ipairs(middleware) do options.argument(i, "middleware", fn, "function") end
end

return chain
