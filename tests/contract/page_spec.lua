--- page: the page for browsers, as they get it.
-- Covers: lua/moonrabbit/cli/token_file.lua by token
-- Covers: lua/moonrabbit/cli/overview.lua by workers
-- Covers: lua/moonrabbit/console/changes.lua by prefetch
-- Covers: lua/moonrabbit/console/details.lua by handlers
-- Covers: runtime/health/assets.c by page
-- Covers: runtime/health/rates.c by settled
-- Covers: runtime/health/recent.c by moves
local broker = require "broker"
local cjson = require "cjson"
local http = require "http"
local mr = require "moonrabbit"
local place = require "place"
local process = require "process"
local shell = require "shell"
local eventually = require("waits").eventually

local TOKEN = "a-token-for-the-page-0123456789"
local QUEUE, EVIL = "page_spec", '<img src=x onerror="document.title=1">'

local SCRIPT = ([=[
local mr = require "moonrabbit"
mr.consumer { queue = %q, dead_letter = "page_spec.dead", retry = mr.retry.exponential { first = 30, max = 30, attempts = 2 },
   handler = function(msg)
      if msg.body == "wait" then mr.sleep(600) end
      if msg.body == "fail" then error "the database is away" end
      if msg.body == "bury" then return "dead_letter", "no such customer" end
      if msg.body:find "^bury:" then return "dead_letter", "cannot reach " .. msg.body end
      if msg.body:find "^fail:" then error("cannot reach " .. msg.body) end
      if msg.body == "spin" then
         local till = mr.now() + 600
         while mr.now() < till do end
      end
   end }
mr.consumer { queue = %q, handler = function() end }
]=]):format(QUEUE, EVIL)

local function publish(...)
   local conn = mr.connect(broker.tcp_url)
   local ch = conn:channel()
   ch:confirm_select()
   for _, body in ipairs { ... } do assert(ch:publish("", QUEUE, body, { message_id = "id-" .. body })) end
   conn:close()
end

describe("the page", function()
   local folder, script, token_file

   setup(function()
      folder = place.make { ["shop.lua"] = SCRIPT, token = TOKEN .. "\n" }
      script, token_file = folder .. "/shop.lua", folder .. "/token"
   end)
   teardown(function() place.remove(folder) end)
   after_each(function()
      process.end_all()
      local conn = mr.connect(broker.tcp_url)
      for _, queue in ipairs { QUEUE, EVIL, "page_spec.dead", "page_spec.retry-exit", "page_spec.retry.30000" } do
         conn:channel():queue_delete { queue = queue }
      end
      conn:close()
   end)

   local function start(options)
      local p = process.run("--log-level info --no-console --drain 0 " .. options, script)
      p:says("msg=consuming", 2)
      p.port = tonumber(p:output():match 'msg="health pages" address=%S+ port=(%d+)')
      return p
   end
   local function post(p, path, headers)
      local answer = http.raw(p.port, ("POST %s HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: 0\r\n\r\n"):format(path, headers or ""))
      return tonumber(answer:match "^HTTP/1%.1 (%d+)"), answer:match "\r\n\r\n(.*)$", answer
   end
   local function ask(p, path)
      local status, body = http.ask(p.port, path)
      assert.equal(200, status, body)
      return cjson.decode(body)
   end

   describe("by HTTP", function()
      it("is its own files and nothing else, which no other site can show, read or post to", function()
         local p = start "--http 127.0.0.1:0"
         for path, kind in pairs { ["/"] = "text/html; charset=utf-8", ["/page.js"] = "text/javascript; charset=utf-8",
            ["/page.css"] = "text/css; charset=utf-8", ["/page.svg"] = "image/svg+xml", ["/status"] = "application/json",
            ["/details"] = "application/json" } do
            local status, body, headers = http.ask(p.port, path)
            assert.same({ 200, kind, "no-store", "nosniff", "DENY", "no-referrer", "same-origin" }, { status, headers["content-type"],
               headers["cache-control"], headers["x-content-type-options"], headers["x-frame-options"], headers["referrer-policy"],
               headers["cross-origin-resource-policy"] })
            local policy = headers["content-security-policy"]
            assert.truthy(policy:find("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'", 1, true))
            assert.truthy(policy:find("frame-ancestors 'none'", 1, true))
            assert.is_nil(policy:find "unsafe")
            if path ~= "/page.svg" then assert.is_nil(body:find "https?://[^w]") end -- but for the name space of SVG
            assert.equal(405, (post(p, path)))
         end
         assert.equal(404, (http.ask(p.port, "/page")))
         assert.equal(404, (http.ask(p.port, "/control")))
         local answer = http.raw(p.port, "GET /status HTTP/1.1\r\nHost: evil.example\r\n\r\n")
         assert.truthy(answer:find "^HTTP/1%.1 404")
         assert.truthy(answer:find("--http-page", 1, true))
         p:stop()
      end)

      it("has the last seconds, moves and lines, the handlers at work, retries that wait, and dead letters", function()
         local p = start "--http 127.0.0.1:0"
         publish("wait", "fail", "bury", "fine")
         local details
         eventually("the outcome", function()
            details = ask(p, "/details")
            return #details.handlers == 1 and #details.retries == 1 and #details.dead_letters == 1
         end)
         local handler, retry, dead = details.handlers[1], details.retries[1], details.dead_letters[1]
         assert.same({ QUEUE, "id-wait" }, { handler.queue, handler.message_id })
         assert.truthy(handler.at:find "shop%.lua:4$")
         assert.same({ QUEUE, 1, true }, { retry.queue, retry.count, retry.next > 0 and retry.next <= 40 })
         assert.same({ QUEUE, "no such customer", 1, "id-bury" }, { dead.queue, dead.error, dead.count, dead.examples[1].message_id })
         local status
         eventually("a second", function()
            status = ask(p, "/status?recent&rates&log")
            local sum = 0
            for _, n in ipairs(status.rates.settled) do sum = sum + n end
            return sum >= 3
         end)
         assert.equal("opened", status.moves[1].what)
         assert.equal(#status.rates.delivered, status.rates.count)
         assert.truthy(table.concat(status.log.lines, "\n"):find("the database is away", 1, true))
         local rest = ask(p, ("/status?log=%d&rates=%d"):format(status.log.last, status.rates.count))
         assert.is_true(#rest.log.lines < #status.log.lines and #rest.rates.settled <= rest.rates.count - status.rates.count)
         local plain = ask(p, "/status")
         assert.same({}, { plain.moves, plain.rates, plain.log })
         p:stop()
      end)

      it("has no passwords of URLs: of errors, reasons, ids and lines of the log", function()
         local p = start "--http 127.0.0.1:0"
         publish("bury:amqp://u:hunter2@dead/", "fail:amqp://u:hunter2@retry/")
         local details, status
         eventually("the outcome", function()
            details, status = select(2, http.ask(p.port, "/details")), select(2, http.ask(p.port, "/status?recent&rates&log"))
            return details:find("u:***@dead", 1, true) and status:find("u:***@retry", 1, true)
         end)
         assert.is_nil((details .. status):find "hunter2")
         p:stop()
      end)

      it("is not served to other machines, unless asked for", function()
         local p = start "--http '*:0'"
         for _, path in ipairs { "/", "/page.js", "/status", "/details" } do assert.equal(404, (http.ask(p.port, path))) end
         assert.is_nil((select(2, http.ask(p.port, "/none"))):find("status", 1, true))
         p:stop()
         p = start "--http '*:0' --http-page"
         local answer = http.raw(p.port, "GET /status HTTP/1.1\r\nHost: shop.example\r\n\r\n")
         assert.truthy(answer:find "^HTTP/1%.1 200")
         p:stop()
      end)

      it("changes what it may, for those with the token only", function()
         local p = start("--http 127.0.0.1:0 --http-admin " .. token_file)
         local right = ("Authorization: Bearer %s\r\n"):format(TOKEN)
         assert.is_true(ask(p, "/status").changes)
         for _, headers in ipairs { "", "Authorization: Bearer wrong\r\n", "Authorization: Bearer " .. TOKEN .. "x\r\n",
            "Authorization: Basic " .. TOKEN .. "\r\n" } do
            local status, body, whole = post(p, "/control?do=pause&consumer=" .. QUEUE, headers)
            assert.same({ 401, '{"error":"a change needs the right token"}' }, { status, body })
            assert.truthy(whole:find "WWW%-Authenticate: Bearer")
         end
         assert.equal(405, (http.ask(p.port, "/control?do=pause&consumer=" .. QUEUE)))
         assert.equal(405, (post(p, "/status", right)))
         assert.equal(405, (http.ask(p.port, "/control", "OPTIONS")))
         local status, body = post(p, "/control?do=pause&consumer=" .. QUEUE, right)
         assert.equal(200, status, body)
         eventually("the pause", function()
            for _, c in ipairs(ask(p, "/details").consumers) do
               if c.queue == QUEUE then return c.is_paused end
            end
         end)
         assert.equal(200, (post(p, "/control?do=resume&consumer=" .. QUEUE, right)))
         assert.equal(200, (post(p, "/control?do=prefetch&number=7&consumer=" .. QUEUE, right)))
         assert.equal(200, (post(p, "/control?do=log&level=debug", right)))
         p:says('msg="changed by page" action=log', 1)
         status, body = post(p, "/control?do=stop", right)
         assert.same({ 400, '{"error":"the page can pause, resume, prefetch and log"}\n' }, { status, body })
         assert.equal(400, (post(p, "/control?do=pause&consumer=none", right)))
         p:stop()
         assert.is_nil(p:output():find(TOKEN, 1, true))
      end)
   end)

   it("is about all workers at their supervisor, and changes one of them or all", function()
      local p = process.start(("%s run --log-level info --drain 0 --workers 2 --console %s/c --http 127.0.0.1:0 --http-admin %s %s"):format(
         broker.command, folder, token_file, script), "AMQP_URL=" .. broker.tcp_url)
      p:says("msg=consuming", 4)
      p.port = tonumber(p:output():match 'msg="health pages" address=127%.0%.0%.1 port=(%d+)')
      publish("bury", "bury", "fine")
      local status, details, count
      eventually("both workers' outcome", function()
         status, details, count = ask(p, "/status?recent&rates&log"), ask(p, "/details"), 0
         for _, part in ipairs(details.workers) do
            for _, group in ipairs(part.page and part.page.dead_letters or {}) do count = count + group.count end
         end
         return count == 2 and status.messages.settled >= 3
      end)
      assert.same({ true, 2, 4 }, { status.changes, #status.workers, #status.consumers })
      for _, part in ipairs(status.workers) do
         assert.truthy(part.page.rates.count and part.page.log.last > 0 and part.page.moves[1].what == "opened")
      end
      local right = ("Authorization: Bearer %s\r\n"):format(TOKEN)
      assert.equal(401, (post(p, "/control?do=pause&consumer=" .. QUEUE)))
      local code, body = post(p, "/control?do=pause&worker=2&consumer=" .. QUEUE, right)
      assert.equal(200, code, body)
      assert.truthy(body:find "worker 2: paused" and not body:find "worker 1")
      assert.truthy(select(2, post(p, "/control?do=resume&consumer=" .. QUEUE, right)):find "worker 1: .*worker 2: ")
      assert.equal(400, (post(p, "/control?do=stop", right)))
      for _, number in ipairs { "", "abc", "1.5", "-1", "9" } do
         assert.equal(400, (post(p, ("/control?do=pause&worker=%s&consumer=%s"):format(number, QUEUE), right)), number)
      end
      code, body = post(p, "/control?do=log", right)
      assert.same({ 400, true }, { code, body:find "worker 1: which level%? .*worker 2: which level%? " ~= nil }, body)
      p:stop()
   end)

   it("passes on to workers what it knows, and no word that hides in the name of another", function()
      local p = process.start(("%s run --log-level info --drain 0 --workers 2 --console %s/c --http 127.0.0.1:0 --http-admin %s %s"):format(
         broker.command, folder, token_file, script), "AMQP_URL=" .. broker.tcp_url)
      p:says("msg=consuming", 4)
      p.port = tonumber(p:output():match 'msg="health pages" address=127%.0%.0%.1 port=(%d+)')
      local right = ("Authorization: Bearer %s\r\n"):format(TOKEN)
      local code, body = post(p, "/control?do=pause&x%26do%3Ddrain%26y=1&consumer=" .. QUEUE, right)
      assert.same({ 200, true, nil }, { code, body:find "worker 1: paused.*worker 2: paused" ~= nil, body:find "stopping" })
      for _, name in ipairs { "x%26recent", "x%20HTTP%2F1.1%0D%0AX-Odd%3A%20y" } do
         local status = ask(p, "/status?" .. name)
         for _, part in ipairs(status.workers) do assert.same({ true, nil }, { part.page ~= nil, part.page and part.page.moves }) end
      end
      p:stop()
   end)

   it("asks for a token file that is its owner's alone, and has a token", function()
      local function refused(options)
         local out, code = shell(("%s run %s %s 2>&1"):format(broker.command, options, script))
         assert.equal(2, code, out)
         local why, rest = out:match "^moonrabbit: ([^\n]+)\n(.*)$"
         assert.equal("Try: moonrabbit run --help\n", rest)
         return why
      end
      local with = "--http 127.0.0.1:0 --http-admin " .. folder
      os.execute(("cp %s %s/open; chmod 640 %s/open; mkfifo -m 600 %s/pipe; echo short >%s/short; chmod 600 %s/short"):format(token_file,
         folder, folder, folder, folder, folder))
      assert.truthy(refused(with .. "/open"):find("must be readable by its owner only (mode 0600, not 0640)", 1, true))
      assert.truthy(refused(with .. "/short"):find("must have one token of 16 to 511", 1, true))
      assert.truthy(refused(with .. "/none"):find("No such file", 1, true))
      assert.truthy(refused(with .. "/pipe"):find("is not a file", 1, true))
      assert.truthy(refused("--http-admin " .. token_file):find("--http-admin does not go without --http", 1, true))
      assert.truthy(refused("--http-page"):find("--http-page does not go without --http", 1, true))
      assert.equal(("--http-admin does not go with --http '*:0' without --http-page: the page is not served there"):gsub("'", ""),
         refused("--http '*:0' --http-admin " .. token_file))
   end)
end)
