--- Names with several addresses, some of which swallow all that is sent to them (FIELD-R14).
local ffi = require "ffi"
local broker = require "broker"
local embedded = require "embedded"
local mr = require "moonrabbit"
local recovering = require "recovering"

if broker.kind ~= "memory" then return end

ffi.cdef [[
struct swallow_address { uint16_t family; uint16_t port; uint32_t host; char zero[8]; };
int socket(int domain, int type, int protocol);
int bind(int fd, const void *address, unsigned size);
int connect(int fd, const void *address, unsigned size);
int listen(int fd, int backlog);
int close(int fd);
]]
local C = ffi.C
local INET, STREAM_NONBLOCK = 2, 0x801

local open = {}

local function swapped(n) return bit.bor(bit.lshift(bit.band(n, 255), 8), bit.rshift(n, 8)) end

-- 127.0.0.`last`: its queue is full, so that nobody who connects is answered.
local function swallow(last, port)
   local address = ffi.new("struct swallow_address", INET, swapped(port), 0x0000007f + bit.lshift(last, 24))
   for i = 1, 3 do
      open[#open + 1] = C.socket(INET, STREAM_NONBLOCK, 0)
      local any, size = ffi.cast("const void *", address), ffi.sizeof(address)
      if i == 1 then assert(C.bind(open[#open], any, size) == 0 and C.listen(open[#open], 0) == 0)
      else C.connect(open[#open], any, size) end
   end
end

local function clean()
   for _, fd in ipairs(open) do C.close(fd) end
   open = {}
   recovering.clean()
end

-- May we have a hosts file of our own?
local can_mount = os.execute "unshare -m true 2>/dev/null"
can_mount = can_mount == 0 or can_mount == true

local function it_mounted(title, fn)
   if can_mount then it(title, fn) else pending(title .. " (no mount namespace)") end
end

-- Runs a script that knows the name "many.test" by these last bytes of addresses.
local function run(bytes, text)
   local file = os.tmpname()
   local f = assert(io.open(file, "w"))
   for _, byte in ipairs(bytes) do f:write(("127.0.0.%d many.test\n"):format(byte)) end
   f:close()
   local out, code = broker.shell(("unshare -m sh -c 'mount --bind %s /etc/hosts && exec %s run --log-level error %s'"):format(
      file, broker.command, broker.script(text)))
   os.remove(file)
   return out, code
end

describe("a name with several addresses", function()
   before_each(recovering.quiet)
   after_each(clean)

   it_mounted("whose first ones swallow packets costs little, and the one that worked is tried first then (FIELD-R14)", function()
      local b = embedded.broker { listen = "127.0.0.4:0" }
      swallow(2, b.port)
      swallow(3, b.port)
      local out, code = run({ 2, 3, 4 }, ([[
         local mr = require "moonrabbit"
         local conn = mr.connect { url = "amqp://many.test:%d", connect_timeout = 60, socket_timeout = 30 }
         local function timed()
            local began = mr.now()
            assert(conn:connect())
            print("took", mr.now() - began)
            conn:close()
         end
         timed()
         timed()
      ]]):format(b.port))
      assert.equal(0, code, out)
      local first, second = out:match "took\t(%S+).-took\t(%S+)"
      first, second = tonumber(first), tonumber(second)
      assert.is_true(first > 0.45 and first < 8, out)   -- two delays of 250 ms
      assert.is_true(second < first / 2, out)
   end)

   it_mounted("none of which answers: all are named (FIELD-R14)", function()
      swallow(2, 45671)
      swallow(3, 45671)
      local out, code = run({ 2, 3, 5 }, [[
         local mr = require "moonrabbit"
         for _, limits in ipairs { { 1, 10 }, { 20, 0.5 } } do
            local conn = mr.connect { url = "amqp://many.test:45671", recover = false, connect_timeout = limits[1],
               socket_timeout = limits[2] }
            local ok, err = conn:connect()
            print(ok, err.kind, err.text)
         end
      ]])
      assert.equal(0, code, out)
      local lines = 0
      for line in out:gmatch "nil\t[^\n]+" do
         lines = lines + 1
         assert.truthy(line:find("connect_timeout", 1, true), line)
         assert.truthy(line:find("tried 3", 1, true), line)
         for _, part in ipairs { "127.0.0.2:45671) connect_timeout", "127.0.0.3:45671) connect_timeout",
            "127.0.0.5:45671) connection_refused" } do assert.truthy(line:find(part, 1, true), line) end
      end
      assert.equal(2, lines, out)
   end)

   it_mounted("goes on to the next when AMQP fails on the one that was first (FIELD-R14)", function()
      local b = embedded.broker { listen = "127.0.0.4:0" }
      local out, code = run({ 2, 4 }, ([[
         local mr = require "moonrabbit"
         local mute = assert(mr.testing.broker { listen = "127.0.0.2:%d" })
         mute:cut_after(0)
         local conn = mr.connect { url = "amqp://many.test:%d", recover = false }
         assert(conn:connect())
         print("through", conn.is_open)
      ]]):format(b.port, b.port))
      assert.equal(0, code, out)
      assert.truthy(out:find("through\ttrue", 1, true), out)
   end)

   it("of which localhost has two is reached by either (FIELD-R14)", function()
      local b, err = mr.testing.broker { listen = "[::1]:0" }
      if not b then return pending("no IPv6 here: " .. tostring(err)) end
      embedded.keep(b)
      swallow(1, b.port)
      local began = mr.now()
      assert(broker.connect { url = ("amqp://localhost:%d"):format(b.port), connect_timeout = 60, socket_timeout = 30 }:connect())
      assert.is_true(mr.now() - began < 8)
   end)
end)
