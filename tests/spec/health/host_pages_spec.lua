--- host_pages: pages that the program serves.
local cjson = require "cjson"
local host_pages = require "moonrabbit.health.host_pages"
local http = require "http"
local loop = require "moonrabbit.loop.loop"
local mr = require "moonrabbit"
local task = require "moonrabbit.loop.task"
local eventually = require("waits").eventually

describe("a page of the program's", function()
   local port

   -- Status and body.
   local function get(path)
      local status, body = http.ask(port, path)
      return { status, body }
   end

   -- The server knows of a page when it has answered a request that came after it.
   local function serve(path, fn)
      host_pages.serve(path, fn)
      http.ask(port, "/metrics")
   end

   before_each(function()
      loop.close(1)
      mr.log.configure "off"
      port = assert(mr.health.listen "0")
   end)
   after_each(function()
      loop.close(1)
      mr.log.configure "error"
   end)

   it("is served beside the built-in ones, or in the place of one; its function may wait", function()
      serve("/jobs", function(query)
         mr.sleep(0.02)
         return 200, "text/plain", ("%s %s %s"):format(query.limit, query.verbose, query.no)
      end)
      serve("/live", function() return 503, "application/json", "{}" end)
      local status, body, headers = http.ask(port, "/jobs?limit=a%20b&verbose")
      assert.same({ 200, "a b  nil", "text/plain", "8", "no-store" }, { status, body, headers["content-type"],
         headers["content-length"], headers["cache-control"] })
      assert.same({ 503, "{}" }, get "/live")
      assert.equal(503, (http.ask(port, "/ready")))
      status, body = http.ask(port, "/none")
      assert.same({ 404, { "/health", "/ready", "/live", "/metrics", "/", "/status", "/details", "/jobs" } },
         { status, cjson.decode(body).pages })
      status, body, headers = http.ask(port, "/jobs", "HEAD")
      assert.same({ 200, "", "11" }, { status, body, headers["content-length"] })
      assert.equal(405, (http.ask(port, "/jobs", "POST")))
   end)

   it("of JSON is UTF-8, whatever bytes the names in it have", function()
      serve("/names", function() return host_pages.json(200, { ["q\255"] = "gr\195\188n\195" }) end)
      assert.same({ 200, '{"q\239\191\189":"gr\195\188n\239\191\189"}\n' }, get "/names")
   end)

   it("says nothing of the time in its state of a connection that never left the one that it was made in", function()
      local conn = mr.connect { url = "memory://", name = "idle" }
      local page
      eventually("the connection", function()
         page = cjson.decode(get("/status")[2])
         return page.connections[1]
      end)
      assert.same({ "idle" }, { page.connections[1].name })
      assert.is_nil(page.connections[1].since)
      assert.truthy(require("moonrabbit.cli.status_text").lines(page, "x")[1])
      conn:release()
   end)

   it("is beside the page for browsers, unless that is not wanted", function()
      assert.equal(200, (http.ask(port, "/status")))
      assert.equal(200, (http.ask(port, "/details")))
      assert(mr.health.close())
      assert.has_error(function() mr.health.listen("0", { admin = "" }) end, 'option "admin" takes 1 to 511 bytes')
      port = assert(mr.health.listen("0", { page = false }))
      for _, path in ipairs { "/", "/page.js", "/status", "/details" } do assert.equal(404, (http.ask(port, path))) end
      assert.equal(503, (http.ask(port, "/health"))) -- there is no connection
   end)

   it("keeps the token of the server that runs when another one is refused", function()
      assert(mr.health.close())
      port = assert(mr.health.listen("0", { admin = "the right token" }))
      local request = "POST /status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer the right token\r\nContent-Length: 0\r\n\r\n"
      assert.equal("not_allowed", select(2, mr.health.listen("127.0.0.1:0", { page = false })).kind)
      assert.truthy(http.raw(port, request):find "^HTTP/1%.1 405") -- that page takes GET: the token is right
      assert.equal(200, (http.ask(port, "/status")))
   end)

   it("is not shown through a proxy, which gets no change done either", function()
      assert(mr.health.close())
      port = assert(mr.health.listen("0", { admin = "the right token" }))
      for _, sign in ipairs { "X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.1", "via: 1.1 proxy" } do
         local function ask(first)
            local right = "Authorization: Bearer the right token"
            return http.raw(port, ("%s HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n%s\r\n\r\n"):format(first, right, sign))
         end
         for _, path in ipairs { "/", "/status", "/details" } do assert.truthy(ask("GET " .. path):find "^HTTP/1%.1 404") end
         assert.truthy(ask "GET /live":find "^HTTP/1%.1 200")
         local refused = ask "POST /control"
         assert.truthy(refused:find "^HTTP/1%.1 403", refused)
         assert.truthy(refused:find("--http-page", 1, true), refused)
      end
      local answer = http.raw(port, "GET /status HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n") -- as nginx asks
      assert.truthy(answer:find "^HTTP/1%.%d 404", answer)
   end)

   it("comes at once, not with the server's next look at its clients", function()
      serve("/jobs", function() return 200, "text/plain", "1" end)
      local began = mr.now()
      for _ = 1, 20 do assert.equal(200, (http.ask(port, "/jobs"))) end
      assert.is_true(mr.now() - began < 10) -- each took up to a second
   end)

   it("goes to many clients at once, each its own", function()
      serve("/jobs", function(query)
         mr.sleep(0.02)
         return 200, "text/plain", query.n
      end)
      local answers, count = {}, 0
      for n = 1, 40 do
         task.spawn(function()
            answers[n] = select(2, http.ask(port, "/jobs?n=" .. n))
            count = count + 1
         end)
      end
      eventually("all answers", function() return count == 40 end)
      for n = 1, 40 do assert.equal(tostring(n), answers[n]) end
   end)

   it("may be large, and waits for no body of the request", function()
      local large = ("x"):rep(2 ^ 20)
      serve("/large", function() return 200, "text/plain", large end)
      local _, body = http.ask(port, "/large")
      assert.is_true(body == large)
      serve("/small", function() return 200, "text/plain", "small" end)
      local answer = http.raw(port, "GET /small HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n")
      assert.equal("small", answer:match "\r\n\r\n(.*)$")
   end)

   it("that fails is a 500, and others go on", function()
      serve("/broken", function() error "it broke" end)
      serve("/odd", function() return 200 end)
      serve("/worse", function() return 200, "text/plain\r\nX: y", "" end)
      for _, path in ipairs { "/broken", "/odd", "/worse" } do
         assert.same({ 500, '{"error":"the page failed"}' }, get(path))
      end
      assert.equal(200, (http.ask(port, "/live")))
   end)

   it("that does not come is a 503 after 5 s, and what comes later is dropped", function()
      local go_on, is_late = false, false
      serve("/never", function()
         while not go_on do mr.sleep(0.01) end
         is_late = true
         return 200, "text/plain", "late"
      end)
      local began = mr.now()
      assert.same({ 503, '{"error":"the program did not answer within 5 s"}' }, get "/never")
      assert.is_true(mr.now() - began >= 4)
      go_on = true
      eventually("the late answer", function() return is_late end)
      assert.equal(200, (http.ask(port, "/live")))
   end)

   it("is asked for by 64 at once, also when these have gone: the next is told to come again", function()
      local go_on, count = false, 0
      serve("/slow", function()
         count = count + 1
         while not go_on do mr.sleep(0.01) end
         return 200, "text/plain", "slow"
      end)
      for n = 1, 64 do
         local client = http.connect(port)
         client:send "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"
         eventually("request " .. n, function() return count == n end)
         client:close()
      end
      assert.same({ 503, '{"error":"busy"}' }, get "/slow")
      go_on = true
      eventually("an end", function() return get("/slow")[1] == 200 end)
   end)

   it("whose path can be none is an error", function()
      for _, path in ipairs { "", "status", "/" .. ("x"):rep(255) } do
         assert.has_error(function() host_pages.serve(path, print) end, ("no page can have the path %q"):format(path))
      end
   end)

   it("costs nobody a place: of many that wait for it the oldest go when new clients come", function()
      serve("/never", function() mr.sleep(1e6) end)
      local waiting = {}
      for n = 1, 100 do
         waiting[n] = http.connect(port)
         waiting[n]:send "GET /never HTTP/1.1\r\nHost: x\r\n\r\n"
         mr.sleep(0)
      end
      assert.equal(200, (http.ask(port, "/live")))
      assert.equal("", waiting[1]:read(10))
      for _, client in ipairs(waiting) do client:close() end
      assert.equal(200, (http.ask(port, "/live")))
   end)

   it("does not hold the end of the server, nor that of the runtime", function()
      local count = 0
      serve("/never", function()
         count = count + 1
         mr.sleep(1e6)
      end)
      local client = http.connect(port)
      client:send "GET /never HTTP/1.1\r\nHost: x\r\n\r\n"
      eventually("the request", function() return count == 1 end)
      assert(mr.health.close())
      assert.equal("", client:read(10))
      client:close()
      port = assert(mr.health.listen "0")
      client = http.connect(port)
      client:send "GET /never HTTP/1.1\r\nHost: x\r\n\r\n"
      eventually("the other one", function() return count == 2 end)
      loop.close(1)
      client:close()
   end)
end)
