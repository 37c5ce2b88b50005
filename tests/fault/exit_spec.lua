--- A process that ends at any moment of connecting, of traffic and of a recovery, without a word to the library: it ends
-- with its own code and never by a signal (FIELD-H4). MR_EXITS sets how often each kind is tried.
local mr = require "moonrabbit"
local broker = require "broker"
local build = require "build"
local certificates = require "certificates"
local embedded = require "embedded"
local recovering = require "recovering"

if broker.kind ~= "memory" then return end

local EXITS = tonumber(os.getenv "MR_EXITS") or build.is_release and 15 or 5
-- What a process does not free that ends in the midst of things is no leak.
local NO_LEAKS = 'ASAN_OPTIONS="$ASAN_OPTIONS:detect_leaks=0"'
local CODE = 7
local lua = ("%s/bin/test_luajit"):format(os.getenv "MOONRABBIT_COMMAND":match "^(.*)/bin/[^/]*$")
local tree = lua:match "^(.*)/bin/"
local script = package.searchpath("exiting", package.path)

local KINDS = {
   { "a C host", tree .. "/host/host.exits", { "return", "exit", "thread", "fork", "atexit" } },
   { "LuaJIT", lua .. " " .. script, { "exit", "close", "return", "handler", "openssl", "late" } },
   { "the command", broker.command .. " run " .. script, { "exit", "close", "handler" } },
}

-- The exit codes, as a table of counts, of so many runs; while they run, meanwhile() is called now and then.
local function codes_of(command, how, url, ca, n, meanwhile)
   local words = {}
   for i = 1, n do
      -- The first 60 ms are those of connecting; each moment has its turn.
      local seconds = (i % 3 == 0 and 0.2 or 0.06) * (i * 7919 % 97) / 97
      words[i] = ("%.4f"):format(seconds)
   end
   local pipe = assert(io.popen(("for s in %s; do %s timeout -s KILL 60 %s %s %s '%s' $s >&2 </dev/null; echo $?; done"):format(
      table.concat(words, " "), NO_LEAKS, command, how, url, ca)))
   local ffi = require "ffi"
   pcall(ffi.cdef, "int fileno(void *file);")
   local fd, counts = ffi.C.fileno(pipe), {}
   for _ = 1, n do
      while not mr.wait_fd(fd, "r", 0.01) do meanwhile() end
      local code = tonumber(pipe:read "*l")
      counts[code] = (counts[code] or 0) + 1
   end
   pipe:close()
   return counts
end

describe("an exit at any moment", function()
   local certs
   setup(function() certs = certificates.make() end)
   teardown(function() certs.remove() end)
   before_each(recovering.quiet)
   after_each(recovering.clean)

   for _, kind in ipairs(KINDS) do
      local who, command, ways = unpack(kind)
      it(("of %s is no crash, and keeps its code (FIELD-H4)"):format(who), function()
         local tls = embedded.broker { listen = "127.0.0.1:0", certfile = certs.path "good", keyfile = certs.key "good" }
         local plain = embedded.broker { listen = "127.0.0.1:0" }
         for _, how in ipairs(ways) do
            local share = math.ceil(EXITS / #ways)
            local expected = how == "return" and who == "LuaJIT" and 0 or CODE
            local counts = codes_of(command, how, ("amqps://localhost:%d"):format(tls.port), certs.path "ca", share,
               function() tls:drop() end) -- the losses are for recoveries
            assert.same({ [expected] = share }, counts, how .. ", TLS")
            counts = codes_of(command, how, ("amqps://localhost:%d"):format(tls.port), "", share, function() end)
            assert.same({ [expected] = share }, counts, how .. ", TLS with the system's CAs, in vain")
            if EXITS >= 100 then
               counts = codes_of(command, how, ("amqp://localhost:%d"):format(plain.port), "", math.ceil(share / 4),
                  function() plain:drop() end)
               assert.same({ [expected] = math.ceil(share / 4) }, counts, how .. ", plain")
               counts = codes_of(command, how, "memory://", "", math.ceil(share / 4), function() end)
               assert.same({ [expected] = math.ceil(share / 4) }, counts, how .. ", memory")
            end
         end
      end)
   end
end)
