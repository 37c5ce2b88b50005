--- testing: the embedded broker for tests: inspect it, inject faults, advance the clock.
-- SPDX-License-Identifier: MIT
local ffi = require "ffi"
local C = require("moonrabbit.base.ffi").C
local each = require "moonrabbit.base.each"
local errors = require "moonrabbit.base.errors"
local loop = require "moonrabbit.loop.loop"
local options = require "moonrabbit.base.options"
local redact = require "moonrabbit.base.redact"
local read_address = require "moonrabbit.base.address"
local task = require "moonrabbit.loop.task"
local value = require "moonrabbit.base.value"

local testing = {}

local Broker = { __name = "moonrabbit.testing.broker" }
Broker.__index = Broker

local error_box = ffi.new "mr_error"
local names = 0
local USUAL_PORT = 5672

local function handle_of(self)
   return self.handle or options.blame("the broker's handle was closed")
end

--- A handle to the embedded broker `memory://NAME` of this process; starts the broker if it does not run. The broker runs
-- while it has a handle or a connection.
-- @tparam[opt] table opts name (of the broker; default: a unique one), store (a redis:// URL: the messages are kept there, see
-- docs/redis.md; default: in this process), listen ("ADDRESS:PORT", port 0: any;
-- default: none, it is reached only by memory://), certfile (PEM; then it listens with TLS; default: none), keyfile (PEM;
-- default: in certfile), users ({name = password}, in addition to guest; default: none), vhosts (list of names, in addition
-- to "/"; default: none)
-- @treturn[1] broker with url, and port if it listens
-- @treturn[2] nil, error
function testing.broker(opts)
   opts = options.check(opts, { name = "string", store = "string", listen = "string", certfile = "string", keyfile = "string",
      users = "table", vhosts = "table" })
   if opts.name and opts.store then options.blame '"name" and "store": a broker with a store is known by its URL' end
   names = names + 1
   local name = opts.name or ("testing-%d-%s"):format(names, tostring(opts):sub(8))
   local box = ffi.new "mr_server *[1]"
   if C.mr_server_open(box, opts.store or name, error_box) ~= 0 then return nil, errors.of_c(error_box) end
   local self = setmetatable({ handle = ffi.gc(box[0], C.mr_server_close), name = opts.store and redact(opts.store) or name,
      url = opts.store or "memory://" .. name }, Broker)
   for user, password in each(opts.users or {}) do self:add_user(user, password) end
   for _, vhost in ipairs(options.list("vhosts", opts.vhosts)) do self:add_vhost(vhost) end
   if not opts.listen then return self end
   local port, err = self:listen(opts.listen, { certfile = opts.certfile, keyfile = opts.keyfile })
   if port then return self end
   self:close()
   return nil, err
end

--- Also serves TCP.
-- @tparam string where "ADDRESS:PORT", an address literal or localhost; a port alone is on the loopback interface, an address
-- alone has port 5672; port 0: any
-- @tparam[opt] table opts certfile and keyfile (PEM): serve TLS
-- @treturn[1] number the port, also `broker.port`
-- @treturn[2] nil, error: connection_refused (the port is in use), bad_argument, tls_failed
function Broker:listen(where, opts)
   opts = options.check(opts, { certfile = "string", keyfile = "string" })
   options.argument(1, "where", where, "string")
   local address, port = read_address(where, USUAL_PORT)
   if not address then
      return nil, errors.new("bad_argument", "config", ('"%s" is not ADDRESS:PORT, such as 127.0.0.1:5672'):format(where))
   end
   local box = ffi.new "uint16_t[1]"
   if C.mr_server_listen(handle_of(self), address, port, opts.certfile, opts.keyfile, box, error_box) ~= 0 then
      return nil, errors.of_c(error_box)
   end
   self.port, self.address = box[0], address
   return self.port
end

--- Adds a user, or changes its password. At first there is only guest.
function Broker:add_user(name, password)
   options.argument(1, "name", name, "string")
   options.argument(2, "password", password, "string")
   assert(C.mr_server_add_user(handle_of(self), name, password) == 0, "out of memory")
end

--- Adds a virtual host. At first there is only "/".
function Broker:add_vhost(name)
   options.argument(1, "name", name, "string")
   assert(C.mr_server_add_vhost(handle_of(self), name) == 0, "out of memory")
end

--- A snapshot of the broker.
-- @treturn table memory (bytes of messages), blocked, connections ({user, vhost, state, channels, timeout,
-- client_properties}), queues ({name, vhost, messages_ready, messages_unacknowledged, consumers, durable,
-- exclusive, auto_delete}), exchanges ({name, vhost, type, bindings})
function Broker:report()
   local t = C.mr_server_report(handle_of(self))
   if t == nil then options.blame("out of memory") end
   local report = value.decode(t)
   C.mr_table_free(t)
   return report
end

--- The entry of a queue in report(), or nil.
function Broker:queue(name, vhost)
   for _, q in ipairs(self:report().queues) do
      if q.name == name and q.vhost == (vhost or "/") then return q end
   end
end

local function fault(self, what, number, text)
   C.mr_server_fault(handle_of(self), what, number, text)
end

local function flag(on) return on == false and 0 or 1 end

--- Delays every byte to clients by some seconds; 0: no delay.
function Broker:delay(seconds)
   options.seconds("seconds", seconds)
   fault(self, C.MR_FAULT_DELAY, math.ceil(seconds * 1000))
end
--- Cuts every connection without a close.
function Broker:drop() fault(self, C.MR_FAULT_DROP, 0) end
--- Cuts each client off after this many further bytes to it; nil: never.
function Broker:cut_after(bytes) fault(self, C.MR_FAULT_CUT_AFTER, bytes or -1) end
--- Stops reading and writing, like a host without a network; false: resumes.
function Broker:silent(on) fault(self, C.MR_FAULT_SILENT, flag(on)) end
--- Refuses every login; false: accepts them again.
function Broker:refuse_logins(on) fault(self, C.MR_FAULT_REFUSE_LOGINS, flag(on)) end
--- Blocks publishers (connection.blocked); false: unblocks them.
function Broker:block(on) fault(self, C.MR_FAULT_BLOCK, flag(on)) end
--- Stops deliveries to consumers; false: resumes.
function Broker:pause_deliveries(on) fault(self, C.MR_FAULT_PAUSE_DELIVERIES, flag(on)) end
--- Blocks publishers while messages use more than this many bytes; 0: never.
function Broker:memory_limit(bytes) fault(self, C.MR_FAULT_WATERMARK, bytes) end

--- Sends connection.close to all.
-- @tparam[opt=320] number code the reply code
-- @tparam[opt] string text the reply text
function Broker:close_connections(code, text)
   fault(self, C.MR_FAULT_CLOSE, code or 320, text or "CONNECTION_FORCED - broker forced connection closure")
end

--- Closes its ports; existing connections stay. It can listen again.
function Broker:unlisten() fault(self, C.MR_FAULT_UNLISTEN, 0) end

--- Makes the next declare of an exchange or a queue fail.
-- @tparam number code 404, 405, 406...
-- @tparam[opt] string text the reply text
function Broker:fail_next_declare(code, text)
   options.argument(1, "code", code, "number")
   fault(self, C.MR_FAULT_FAIL_DECLARE, code, text or "as a test asked for")
end

--- Releases the handle. The broker ends with its last connection.
function Broker:close()
   local handle = self.handle
   if not handle then return end
   self.handle = nil
   C.mr_server_close(ffi.gc(handle, nil))
end

local ROUNDS = 200 -- that wait for the end of an exchange: one that never ends must not hang a test

-- Runs what is due in all threads, and tells how much the brokers have read and written before.
local function advance(seconds)
   local token = task.token()
   assert(C.mr_clock_advance(loop.runtime(), token, seconds) == 0)
   task.wait(token)
   loop.sleep(0) -- runs what is due on this thread, too
   return C.mr_clock_traffic(loop.runtime())
end

-- Waits until clients and brokers of this process have nothing left to say to each other. What a handler sends is written by the
-- next advance only, and seen by a broker at the one after it: so the traffic must stay the same twice.
local function settle(before)
   local same = 0
   for _ = 1, ROUNDS do
      local traffic = advance(0)
      same = traffic == before and same + 1 or 0
      if same == 2 then return end
      before = traffic
   end
end

--- Advances the clock of the whole process: deadlines, heartbeats, back-off and times to live of clients and embedded
-- brokers. It advances in steps, so that everything that becomes due happens in order; a step ends when they have said
-- all that they have to say to each other, so that a slow machine makes nothing late. The time that this takes counts.
-- @tparam number seconds to advance
-- @tparam[opt=1] number step seconds of one step
function testing.advance(seconds, step)
   options.seconds("seconds", seconds)
   step = step or 1
   local ends = C.mr_now() + seconds
   settle()
   while C.mr_now() < ends do settle(advance(math.min(step, ends - C.mr_now()))) end
end

--- Lengthens the times by which a program with quick answers runs the I/O loop itself: for tools and machines on which a
-- system call takes very long.
-- @tparam integer factor 1 to 10000
function testing.lead_patience(factor)
   options.argument(1, "factor", factor, "number")
   local st = C.mr_lead_patience(loop.runtime(), factor)
   assert(st == 0, "lead_patience: the factor is 1 to 10000")
end

return testing
