--- cli.http, cli.sockets and cli.pages: the supervisor's pages.
local http = require "moonrabbit.cli.http"
local pages = require "moonrabbit.cli.pages"
local sockets = require "moonrabbit.cli.sockets"

require "moonrabbit"

describe("the supervisor's HTTP", function()
   local fd, path

   setup(function()
      path = os.tmpname()
      os.remove(path)
      fd = assert(sockets.listen(path))
      http.serve(fd, function(name)
         if name == "/ok" then return 200, "text/plain", "fine" end
         if name == "/broken" then error "it broke" end
         return 404, "text/plain"
      end)
   end)
   teardown(function()
      require("moonrabbit.loop.loop").close(1)
      sockets.close(fd)
      os.remove(path)
   end)

   -- What it answers to a text.
   local function answer(text)
      local peer = assert(sockets.connect(path))
      assert(sockets.write(peer, text, 1))
      local all = ""
      repeat
         local piece = sockets.read(peer, 2) or ""
         all = all .. piece
      until piece == ""
      sockets.close(peer)
      return all
   end

   it("gives a page, and its head alone", function()
      assert.same({ 200, "fine" }, { http.get(path, "/ok", 1) })
      local all = answer "GET /ok?x=1 HTTP/1.0\r\n\r\n"
      assert.truthy(all:find "^HTTP/1.1 200 OK\r\nContent%-Type: text/plain\r\nContent%-Length: 4\r\n")
      assert.truthy(answer "HEAD /ok HTTP/1.1\r\nHost: x\r\n\r\n":find "Content%-Length: 4\r\n.*\r\n\r\n$")
   end)

   it("refuses what is no request, and goes on", function()
      for text, line in pairs {
         ["GET /nowhere HTTP/1.1\r\n\r\n"] = "404 Not Found", ["POST /ok HTTP/1.1\r\n\r\n"] = "405 Method Not Allowed",
         ["GET ok HTTP/1.1\r\n\r\n"] = "400 Bad Request", ["\0\1\2\r\n\r\n"] = "400 Bad Request",
         ["GET /ok HTTP/2.0\r\n\r\n"] = "400 Bad Request",
         ["GET /ok HTTP/1.1\r\nX: " .. ("x"):rep(9000) .. "\r\n\r\n"] = "431 Request Header Fields Too Large",
      } do
         assert.equal("HTTP/1.1 " .. line, answer(text):match "^[^\r]*")
      end
      assert.same({ 200, "fine" }, { http.get(path, "/ok", 1) })
   end)

   it("listens on a path that is its user's alone, whatever the umask (FIELD-R22)", function()
      local ffi = require "ffi"
      ffi.cdef "unsigned umask(unsigned mask);"
      for _, mask in ipairs { 0, 18 } do
         local file = os.tmpname()
         os.remove(file)
         local before = ffi.C.umask(mask)
         local listening = assert(sockets.listen(file))
         assert.equal(mask, ffi.C.umask(before))
         local pipe = assert(io.popen("stat -c %a " .. file))
         local mode = pipe:read "*l"
         pipe:close()
         sockets.close(listening)
         os.remove(file)
         assert.equal("600", mode)
      end
   end)

   it("says what is wrong with an address, or a port in use", function()
      assert.same({ nil, '"x:y" is not ADDRESS:PORT, such as 127.0.0.1:8080' }, { sockets.listen "x:y" })
      assert.is_nil(sockets.listen "127.0.0.1:70000")
      local first, port = assert(sockets.listen "127.0.0.1:0")
      local _, why = sockets.listen("127.0.0.1:" .. port)
      assert.equal(("cannot listen on 127.0.0.1:%d: Address already in use"):format(port), why)
      sockets.close(first)
      local v6 = sockets.listen "[::1]:0"
      if v6 then sockets.close(v6) end
      assert.truthy(select(2, http.get("/nowhere/at/all", "/ok", 1)):find "No such file")
      assert.is_nil(sockets.connect(("/x"):rep(60)))
   end)
end)

describe("the metrics of several workers", function()
   it("stand together by family, each with its worker's number", function()
      local families, order = pages.merge {
         '# HELP a What.\n# TYPE a counter\na 1\n# HELP h Time.\n# TYPE h histogram\nh_bucket{le="+Inf",x="}"} 2\nh_sum 0.5\n',
         '# HELP a What.\n# TYPE a counter\na 3\n# HELP h Time.\n# TYPE h histogram\nh_bucket{le="+Inf",x="}"} 4\nh_sum 1\n',
      }
      assert.same({ "a", "h" }, order)
      assert.same({ heads = { HELP = "# HELP a What.", TYPE = "# TYPE a counter" },
         lines = { 'a{worker="1"} 1', 'a{worker="2"} 3' } }, families.a)
      assert.same({ 'h_bucket{worker="1",le="+Inf",x="}"} 2', 'h_sum{worker="1"} 0.5',
         'h_bucket{worker="2",le="+Inf",x="}"} 4', 'h_sum{worker="2"} 1' }, families.h.lines)
   end)
end)
