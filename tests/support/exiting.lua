--- exiting: a script that ends in the midst of things: exits.c in Lua. tests/fault/exit_spec.lua runs it, by
-- `moonrabbit run` and by LuaJIT alone.
-- SPDX-License-Identifier: MIT
-- Arguments: HOW ("exit"; "close": the Lua state, too; "handler": within one; "return"; "openssl": the host had
-- OpenSSL before us, "late": it has it after us), URL, CA file or "", seconds.
local ffi = require "ffi"
local how, url, ca, seconds = ...
local CODE = 7

ffi.cdef "int OPENSSL_init_ssl(uint64_t options, const void *settings);"
local function use_openssl() assert(ffi.load "ssl".OPENSSL_init_ssl(0, nil) == 1) end

if how == "openssl" then use_openssl() end
local mr = require "moonrabbit"

mr.log.configure "off"
local function leave() os.exit(CODE, how == "close") end

local until_then = mr.now() + tonumber(seconds)
for i = 1, 2 do
   local conn = mr.connect { url = url, ssl_options = ca ~= "" and { ca_certs = ca } or nil }
   mr.spawn(function()
      local ch = conn:channel()
      local q = ch and ch:queue_declare { exclusive = true }
      if not q then return end
      ch:consume(q.queue, function()
         if how == "handler" and i == 2 and mr.now() > until_then then leave() end
      end)
      while ch:publish("", q.queue, "x") or mr.now() < until_then + 1 do mr.sleep(0.001) end
   end)
end
if how == "return" then return end
if how == "late" then use_openssl() end
mr.sleep(math.max(0, until_then - mr.now() + (how == "handler" and 0.3 or 0)))
leave()
