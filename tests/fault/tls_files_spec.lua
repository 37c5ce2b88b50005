--- Files of TLS: keys that are encrypted (FIELD-R5), contexts that are shared until their files change (FIELD-R4).
-- Covers: runtime/net/tls_context.c by decrypt
local mr = require "moonrabbit"
local broker = require "broker"
local build = require "build"
local certificates = require "certificates"
local embedded = require "embedded"
local recovering = require "recovering"
local tls_peer = require "tls_peer"
local peer = require "peer"

if broker.kind ~= "memory" then return end

local SECRET = "kEy s3cret"
local certs

-- The key of "client", encrypted in each form that there is.
local FORMS = { "pkcs8", "traditional" }
local function encrypt()
   local commands = {
      pkcs8 = "openssl pkcs8 -topk8 -v2 aes-256-cbc -in %s -out %s -passout 'pass:%s'",
      traditional = "openssl ec -aes256 -in %s -out %s -passout 'pass:%s'",
   }
   for form, command in pairs(commands) do
      local code = os.execute((command .. " 2>/dev/null"):format(certs.key "client", certs.key(form), SECRET))
      assert(code == 0 or code == true)
   end
   local file = assert(io.open(certs.key "traditional"))
   assert(file:read "*a":find("Proc-Type: 4,ENCRYPTED", 1, true))
   file:close()
end

setup(function()
   certs = certificates.make()
   encrypt()
end)
teardown(function() certs.remove() end)

-- A broker that requires a certificate of ca.
local function demanding()
   return tls_peer.start({ certfile = certs.path "good", keyfile = certs.key "good", client_ca = certs.path "ca" }, function(s)
      if s:handshake() then s:drain() end
   end)
end

local function options(served, form, password)
   return { url = ("amqps://localhost:%d"):format(served.port), recover = false, close_timeout = 0.1, connect_timeout = 5,
      ssl_options = { ca_certs = certs.path "ca", certfile = certs.path "client", keyfile = certs.key(form), password = password } }
end

local function clean()
   recovering.clean()
   peer.stop_all()
end

describe("an encrypted key file", function()
   before_each(recovering.quiet)
   after_each(clean)

   it("is decrypted by ssl_options.password, a string or a function, or of the URL (FIELD-R5)", function()
      local served = demanding()
      for _, form in ipairs(FORMS) do
         local asked = 0
         assert(broker.connect(options(served, form, SECRET)):connect())
         assert(broker.connect(options(served, form, function()
            asked = asked + 1
            return SECRET
         end)):connect())
         assert.equal(1, asked)
         local o = options(served, form)
         o.ssl_options.password = nil
         o.url = o.url .. "?ssl_options.password=" .. SECRET:gsub(" ", "%%20")
         local conn = broker.connect(o)
         assert(conn:connect())
         local clone = conn:clone()
         assert(clone:connect())
         clone:release()
      end
   end)

   it("without a password fails the connect and says what to do, for a program with a terminal, too (FIELD-R5)", function()
      local served = demanding()
      for _, form in ipairs(FORMS) do
         local ok, err = broker.connect(options(served, form)):connect()
         assert.is_nil(ok)
         assert.equal("tls_failed", err.kind)
         assert.truthy(err.text:find("is encrypted: set ssl_options.password", 1, true), err.text)
         assert.truthy(err.text:find(certs.key(form), 1, true), err.text)
         assert.truthy(err.hint:find("ssl_options.password", 1, true), err.hint)
         local command = ("%s check 'amqps://localhost:%d?ssl_options.certfile=%s&ssl_options.keyfile=%s'"):format(broker.command,
            served.port, certs.path "client", certs.key(form))
         local out, code = broker.shell(("timeout -s KILL 20 script -qec \"%s\" /dev/null </dev/null"):format(command))
         assert.equal(1, code, out)
         assert.truthy(out:find("is encrypted", 1, true), out)
         assert.falsy(out:find("PEM pass phrase", 1, true), out)
      end
      assert.equal(0, served.refused)
   end)

   it("with a wrong password, or a function that gives none, has a text of its own (FIELD-R5)", function()
      local served = demanding()
      for _, form in ipairs(FORMS) do
         for _, wrong in ipairs { "wrong", "", ("x"):rep(5000) } do
            local ok, err = broker.connect(options(served, form, wrong)):connect()
            assert.is_nil(ok)
            assert.same({ "tls_failed", "config" }, { err.kind, err.scope })
            assert.truthy(err.text:find("the password does not decrypt the key file", 1, true), err.text)
         end
         local ok, err = broker.connect(options(served, form, function() return nil end)):connect()
         assert.is_nil(ok)
         assert.same({ "bad_option", "the ssl_options.password function gave no string" }, { err.kind, err.text })
      end
   end)

   it("is decrypted for each connection of a pool, and after each loss (FIELD-R5)", function()
      local b = embedded.broker { listen = "127.0.0.1:0", certfile = certs.path "good", keyfile = certs.key "good" }
      local asked = 0
      local o = options(b, "pkcs8", function()
         asked = asked + 1
         return SECRET
      end)
      o.recover, o.transport_options = nil, recovering.at_once
      local record, seen = recovering.recorder()
      o.on_event = record
      local conn = broker.connect(o)
      assert(conn:connect())
      recovering.through(seen, function() b:drop() end)
      assert.is_true(asked >= 2)
      o.on_event, o.transport_options, o.close_timeout = nil, nil, nil
      for _, strategy in ipairs { "pooled", "shared" } do
         o.strategy = strategy
         local pool = assert(mr.pool(o))
         assert(pool:with(function() return true end))
         assert(pool:close())
      end
   end)

   it("keeps its password to itself (FIELD-R5)", function()
      local served = demanding()
      local o = options(served, "pkcs8", SECRET)
      local conn = broker.connect(o)
      assert(conn:connect())
      local function find(value, depth)
         if type(value) == "string" then return value:find(SECRET, 1, true) ~= nil end
         if type(value) ~= "table" or depth > 4 then return false end
         for k, v in pairs(value) do
            if find(k, depth + 1) or find(v, depth + 1) then return true end
         end
         return false
      end
      local info = conn:info()
      assert.is_false(find(info, 0))
      assert.equal(certs.key "pkcs8", info.ssl_options.keyfile)
      assert.equal(SECRET, o.ssl_options.password) -- the program's own table is not touched
      assert.is_false(find(tostring(conn), 0))
      local url = ("amqps://localhost:%d?ssl_options.password=%s"):format(served.port, "s3cret")
      assert.falsy(mr.redact(url):find("s3cret", 1, true))
      assert.falsy(broker.connect { url = url }:info().url:find("s3cret", 1, true))
      local look = "sh -c '%s check \"%s\" & sleep 0.2; tr \"\\0\" \" \" </proc/$!/cmdline; wait'"
      local out = broker.shell(look:format(broker.command, url))
      assert.falsy(out:find("s3cret", 1, true), out)
   end)

   it("of `moonrabbit broker` is refused at once, without a prompt (FIELD-R5)", function()
      for _, form in ipairs(FORMS) do
         local command = ("%s broker --listen 127.0.0.1:0 --tls-cert %s --tls-key %s"):format(broker.command, certs.path "client",
            certs.key(form))
         local out, code = broker.shell(("timeout -s KILL 20 script -qec \"%s\" /dev/null </dev/null"):format(command))
         assert.equal(1, code, out)
         assert.truthy(out:find("is encrypted", 1, true), out)
         assert.falsy(out:find("pass phrase", 1, true), out)
         assert.falsy(out:find("ssl_options", 1, true), out)
      end
   end)
end)

-- Resident KiB of this process.
local function resident()
   for line in io.lines "/proc/self/status" do
      local n = line:match "^VmRSS:%s+(%d+)"
      if n then return tonumber(n) end
   end
end

describe("many TLS connections", function()
   before_each(recovering.quiet)
   after_each(clean)

   -- The broker is another process: its half of each connection does not count.
   it("read their files once, and each costs little (FIELD-R4)", function()
      local process = require "process"
      finally(function()
         process.end_all()
         clean()
      end)
      local MANY = build.is_release and 800 or 50
      local served = process.start(("%s broker --listen 127.0.0.1:0 --tls-cert %s --tls-key %s"):format(broker.command,
         certs.path "good", certs.key "good"))
      served:says "Serving AMQP"
      local port = tonumber(served:output():match ":(%d+);")
      local function open(n)
         local list, left = {}, n
         for i = 1, n do
            list[i] = broker.connect { url = ("amqps://localhost:%d"):format(port), connect_timeout = 180, socket_timeout = 180,
               ssl_options = { ca_certs = certs.path "ca" } }
            mr.spawn(function()
               assert(list[i]:connect())
               left = left - 1
            end)
         end
         broker.eventually("all", function() return left == 0 end, 180)
         return list
      end
      open(20)
      collectgarbage()
      local before = resident()
      local list = open(MANY)
      collectgarbage()
      local each = (resident() - before) / MANY
      assert.equal(MANY, #list)
      if build.is_release then assert.is_true(each < 32, ("%.1f KiB each"):format(each)) end
   end)
end)

describe("a TLS context", function()
   before_each(recovering.quiet)
   after_each(clean)

   local function count_reads(fn)
      -- The kernel's own count of reads, which grows by a file's when it is read anew.
      local function bytes()
         for line in io.lines "/proc/self/io" do
            local n = line:match "^rchar: (%d+)"
            if n then return tonumber(n) end
         end
      end
      local before = bytes()
      fn()
      return bytes() - before
   end

   it("is made anew when a file of it changes, also in place, and by a later connection only (FIELD-R4)", function()
      local b = embedded.broker { listen = "127.0.0.1:0", certfile = certs.path "foreign", keyfile = certs.key "foreign" }
      local function connect()
         local conn = broker.connect { url = ("amqps://localhost:%d"):format(b.port), recover = false,
            ssl_options = { ca_certs = certs.path "changing" } }
         return conn:connect()
      end
      certs.copy("client", "changing") -- a certificate and a key
      assert.equal("tls_failed", select(2, connect()).kind)
      local file, source = assert(io.open(certs.path "changing", "w")), assert(io.open(certs.path "other_ca"))
      file:write(source:read "*a")
      file:close()
      source:close()
      assert(connect())
      os.remove(certs.path "changing")
      local ok, err = connect()
      assert.is_nil(ok)
      assert.truthy(err.text:find("cannot use the file", 1, true), err.text)
      os.execute(("ln -s %s %s"):format(certs.path "other_ca", certs.path "changing"))
      assert(connect())
   end)

   it("that trusts the system's CAs reads them once for all connections (FIELD-R4)", function()
      local b = embedded.broker { listen = "127.0.0.1:0", certfile = certs.path "good", keyfile = certs.key "good" }
      local function try()
         local conn = broker.connect { url = ("amqps://localhost:%d"):format(b.port), recover = false }
         assert.equal("tls_failed", select(2, conn:connect()).kind)
         conn:release()
      end
      try()
      assert.is_true(count_reads(function() for _ = 1, 10 do try() end end) < 100000)
   end)

   it("without verification reads no CAs (FIELD-R4)", function()
      local b = embedded.broker { listen = "127.0.0.1:0", certfile = certs.path "good", keyfile = certs.key "good" }
      local conn = broker.connect { url = ("amqps://localhost:%d"):format(b.port),
         ssl_options = { verify = false, ca_certs = "/nowhere.pem" } }
      assert(conn:connect())
   end)
end)
