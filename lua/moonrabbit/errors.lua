--- errors: the structured error that every failing call returns as its second result.
-- SPDX-License-Identifier: MIT
-- Fields: kind, code (AMQP reply code or nil), text, scope, recoverable, hint, errno (or nil).
-- tostring(err) is one good line.
local ffi = require "ffi"
local C = require("moonrabbit.ffi").C

local errors = {}

local Error = { __name = "moonrabbit.error" }
Error.__index = Error

function Error.__tostring(e)
   local code = e.code and (" (%d)"):format(e.code) or ""
   local hint = e.hint ~= "" and (" [%s]"):format(e.hint) or ""
   return ("%s%s: %s%s"):format(e.kind, code, e.text, hint)
end

local kinds, numbers = {}, {}        -- number -> name, name -> number
for n = 0, C.mr_status_count() - 1 do
   kinds[n] = ffi.string(C.mr_status_name(n))
   numbers[kinds[n]] = n
end
errors.kinds, errors.numbers = kinds, numbers

local function build(number, scope, text, code, errno)
   return setmetatable({
      kind = kinds[number], code = code ~= 0 and code or nil, text = text, scope = scope,
      recoverable = C.mr_status_recoverable(number), hint = ffi.string(C.mr_status_hint(number)),
      errno = errno ~= 0 and errno or nil,
   }, Error)
end

--- An error of a kind, with the kind's own text unless one is given.
-- @tparam string kind one of API.md's kinds
-- @tparam string scope "connection", "channel", "publish", "message", "config"
-- @tparam[opt] string text
-- @treturn table
function errors.new(kind, scope, text)
   local number = numbers[kind]
   return build(number, scope, text or ffi.string(C.mr_status_text(number)), 0, 0)
end

--- An error of a C status.
function errors.of_status(number, scope, text)
   return build(number, scope, text or ffi.string(C.mr_status_text(number)), 0, 0)
end

--- A copy of an `mr_error`; nil when it says ok.
function errors.of_c(e)
   if e.kind == 0 then return nil end
   local text = ffi.string(e.text)
   if text == "" then text = ffi.string(C.mr_status_text(e.kind)) end
   return build(e.kind, ffi.string(C.mr_scope_name(e.scope)), text, e.code, e.system)
end

--- Is this one of our errors?
function errors.is(value)
   return getmetatable(value) == Error
end

return errors
