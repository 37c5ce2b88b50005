--- cli.broker: `moonrabbit broker`: the embedded broker for clients of any language.
-- SPDX-License-Identifier: MIT
local arguments = require "moonrabbit.cli.arguments"
local redact = require "moonrabbit.base.redact"
local usage = require "moonrabbit.cli.usage"

local broker = {}

local FAILED = 1       -- exit code
local STOP_SECONDS = 5 -- for clients to answer connection.close

--- Adds the command to the parser.
function broker.describe(p)
   local c = p:command("broker", "Serve the embedded broker on TCP: for development and tests. Production is RabbitMQ.", [[
All it holds is lost when it ends; with --store, Redis holds it, and shares it with kombu and Celery.

The user is guest with the password guest, on loopback only; on another address a user of your own is
needed: --user NAME, with the password in the environment variable MOONRABBIT_BROKER_PASSWORD.

SIGINT or SIGTERM closes every connection (320, CONNECTION_FORCED) and ends.]])
   c:option("--listen", "Where to listen; a port alone: on the loopback interface; port 0: any.", "127.0.0.1:5672"):argname "ADDR:PORT"
   c:option("--tls-cert", "Serve TLS with this certificate chain (PEM)."):argname "FILE"
   c:option("--tls-key", "Its key (PEM); default: in the certificate's file."):argname "FILE"
   c:option("--store", "Keep the messages in this Redis (redis://..., sentinel://...); default: MOONRABBIT_STORE, else here."):argname "URL"
   c:option("--user", "Add a user; its password is MOONRABBIT_BROKER_PASSWORD."):argname "NAME"
   c:option("--vhost", "Add a virtual host; may be repeated."):argname "NAME":count "*"
   c:option("--memory-limit", "MiB of messages above which publishers are blocked; 0: never.", "2048"):argname "MIB"
   c:option("--log-level", "The least level to log: error, warn, info or debug; default: info."):argname "LEVEL"
   c:option("--log-format", "How to log: logfmt or json; default: logfmt."):argname "FORMAT"
end

local function check(options)
   local limit = tonumber(options.memory_limit)
   if not limit or limit < 0 then return nil, "--memory-limit must be a number of MiB, not negative" end
   if options.tls_key and not options.tls_cert then return nil, "--tls-key needs --tls-cert" end
   local store = options.store or os.getenv "MOONRABBIT_STORE"
   if store and not (store:find "^redis" or store:find "^sentinel:") then
      return nil, ('--store must be a URL of Redis, such as redis://localhost:6379/0, not "%s"'):format(redact(store))
   end
   if store and options.vhost[1] then return nil, "--vhost and --store: a Redis has one virtual host, /" end
   local password = os.getenv "MOONRABBIT_BROKER_PASSWORD"
   if options.user and not password then
      return nil, "--user needs its password in the environment variable MOONRABBIT_BROKER_PASSWORD"
   end
   local level, format, why
   level, why = arguments.choice(options, "log_level")
   if not level then return nil, why end
   format, why = arguments.choice(options, "log_format")
   if not format then return nil, why end
   return { limit = limit * 2 ^ 20, store = store, users = options.user and { [options.user] = password }, level = level, format = format }
end

local function url_of(options, handle)
   local address = handle.address:find(":", 1, true) and "[" .. handle.address .. "]" or handle.address
   local scheme = options.tls_cert and "amqps" or "amqp"
   local user = options.user and options.user .. ":..." or "guest:guest"
   return ("%s://%s@%s:%d"):format(scheme, user, address, handle.port)
end

local function serve(handle)
   local loop, mr = require "moonrabbit.loop.loop", require "moonrabbit"
   loop.holds = loop.holds + 1
   require("moonrabbit.program.shutdown").until_idle()
   handle:unlisten() -- otherwise a closed client could reconnect at once, and be waited for
   handle:close_connections(320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'")
   local deadline = mr.now() + STOP_SECONDS
   while #handle:report().connections > 0 and mr.now() < deadline do loop.pump(0.01) end
end

--- Runs the command.
-- @treturn number exit code
function broker.main(options)
   local wanted, why = check(options)
   if not wanted then
      usage.say(why, "broker")
      return usage.CODE
   end
   local mr = require "moonrabbit"
   mr.log.configure(wanted.level, wanted.format)
   local handle, err = mr.testing.broker { name = not wanted.store and "broker" or nil, store = wanted.store,
      listen = options.listen, certfile = options.tls_cert,
      keyfile = options.tls_key, users = wanted.users or nil, vhosts = options.vhost }
   if not handle then
      mr.log.error("broker not started", { listen = options.listen, kind = err.kind, error = err.text,
         hint = err.kind ~= "tls_failed" and err.hint or nil }) -- that hint is for clients
      return FAILED
   end
   handle:memory_limit(wanted.limit)
   require("moonrabbit.cli.signals").watch(mr)
   print(("Serving AMQP 0-9-1 at %s; Ctrl-C stops it%s"):format(url_of(options, handle), wanted.store
      and (", and the messages stay in %s."):format(handle.name) or " and forgets all messages."))
   io.stdout:flush()
   mr.log.info("serving clients", { store = wanted.store and handle.name, address = handle.address, port = handle.port,
      tls = options.tls_cert ~= nil })
   require("moonrabbit.cli.notify").begin(function()
      return true, ("serving clients at %s, port %d"):format(handle.address, handle.port)
   end)
   require("moonrabbit.cli.clients").watch(handle)
   serve(handle)
   mr.log.info("stopped", { code = 0 })
   handle:close()
   require("moonrabbit.loop.loop").close(1)
   return 0
end

return broker
