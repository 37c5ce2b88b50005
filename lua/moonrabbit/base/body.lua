--- body: converts a program's value to the bytes of a body and its content type.
-- SPDX-License-Identifier: MIT
-- msg:decode() converts it back, by the content type.
local ffi = require "ffi"
local errors = require "moonrabbit.base.errors"
local json = require "moonrabbit.base.json"
local options = require "moonrabbit.base.options"

local body = {}

local JSON = "application/json"
local KINDS = { table = true, string = true, number = true, boolean = true }
local SERIALIZERS = { json = true, raw = true }

--- Checks the name of a serializer.
-- @tparam ?string name "json": all bodies are JSON; "raw": only strings, unchanged; nil: strings unchanged, tables,
-- numbers and booleans as JSON
function body.check(name)
   if name == nil or SERIALIZERS[name] then return name end
   local nearest = options.nearest(name, { "json", "raw" })
   options.blame(('unknown serializer "%s": %s'):format(name, nearest and ('did you mean "%s"?'):format(nearest)
      or "known are json, raw"))
end

local function is_integer(v) return ffi.istype("int64_t", v) or ffi.istype("uint64_t", v) end

--- True if a content type is JSON. Ignores its parameters, and upper or lower case.
-- @tparam ?string content_type
function body.is_json(content_type)
   if not content_type then return false end
   local kind = content_type:match("^%s*([^;%s]*)"):lower()
   return kind == JSON or kind == "text/json" or kind:find "%+json$" ~= nil
end

--- The bytes of a body.
-- @treturn[1] string
-- @treturn[1] ?string content type, nil for plain strings
-- @treturn[2] nil, string why the value cannot be a body
function body.encode(value, serializer)
   local kind = type(value)
   if kind == "string" and serializer ~= "json" then return value end
   if serializer == "raw" then return nil, "a raw body must be a string, not a " .. kind end
   if not KINDS[kind] and not json.is_null(value) and not is_integer(value) then return nil, "a body cannot be a " .. kind end
   local ok, text = pcall(json.encode, value)
   if ok then return text, JSON end
   return nil, "the body cannot be written as JSON: " .. tostring(text)
end

local NO_JSON_HINT = "what publishes it must write JSON as RFC 8259 has it, or name another content_type; msg.body has the bytes"

--- The value that is written as JSON.
-- @treturn[1] any
-- @treturn[2] nil, error of kind bad_argument
function body.decode(text)
   local ok, result = pcall(json.decode, text)
   if ok then return result end
   local err = errors.new("bad_argument", "message", "the body is not JSON, as its content_type says: " .. tostring(result))
   err.hint = NO_JSON_HINT
   return nil, err
end

-- What kombu and Celery write into the header `compression`; names that a program has registered are of these forms, too.
local COMPRESSED = { gzip = true, zlib = true, bzip2 = true, bzip = true, brotli = true, lzma = true, xz = true, zstd = true,
   zstandard = true }
local COMPRESSED_HINT = "publish it without compression (of Celery: task_compression, result_compression), or undo it: msg.body has the "
   .. "bytes, and mr.consumer takes a function as `decode`"

-- The name of the compression, or nil. Another program may mean something else by a header of this name.
local function compression_of(headers)
   local name = headers and headers.compression
   if type(name) ~= "string" then return nil end
   return (COMPRESSED[name:lower()] or name:find "^application/") and name or nil
end

--- The value of a message's body, by its properties.
-- @tparam table properties
-- @tparam string text the body
-- @treturn[1] any the value of JSON; else the text
-- @treturn[2] nil, error of kind bad_argument, not_implemented
function body.read(properties, text)
   local compression = compression_of(properties.headers)
   if compression then
      return nil, errors.new("not_implemented", "message", ('the body is compressed ("%s", says its header `compression`), which is not '
         .. "undone here"):format(compression), COMPRESSED_HINT)
   end
   if not body.is_json(properties.content_type) then return text end
   return body.decode(text)
end

return body
