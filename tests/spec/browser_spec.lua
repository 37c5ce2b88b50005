--- browser: the page in a real browser: on a busy worker, on a stuck one, and during an outage.
-- With MR_SCREENSHOTS=docs/pictures it makes the pictures of docs/inspection.md, which takes some minutes.
-- Feature: the page for browsers
local base64 = require "moonrabbit.base.base64"
local broker = require "broker"
local browser = require "browser"
local cjson = require "cjson"
local mr = require "moonrabbit"
local build = require "build"
local place = require "place"
local process = require "process"
local within = require("waits").within

local LONG = 60 -- seconds: a browser on a loaded machine
local TOKEN = "a-token-for-the-page-0123456789"
local EVIL = os.getenv "MR_SCREENSHOTS" and "mails" or [[<img src=x onerror="document.title='broken in'">]] -- the name of a queue
-- TSan makes the worker too slow for a page of the second; page_spec.lua asks it all that a browser does.
local it = not build.is_tsan and it or pending

local RESUME = "[...document.querySelectorAll('#consumers button')].find(b => b.textContent === 'Resume')"

-- The first consumer ends with its first message. Lines of the log are what the environment says.
local TWO = [=[
local mr = require "moonrabbit"
local first
first = mr.consumer { queue = "first", handler = function() mr.spawn(function() first:cancel() end) end }
mr.consumer { queue = "second", handler = function() end }
for number = 1, tonumber(os.getenv "LINES" or 0) do mr.log.warn(("line %d of %s"):format(number, os.getenv "BORN")) end
]=]

local SCRIPT = ([=[
local mr = require "moonrabbit"
local out = mr.publisher { routing_key = "invoices" }
mr.consumer { queue = "invoices", prefetch = 50, dead_letter = "invoices.dead",
   retry = mr.retry.exponential { first = 2, max = 2, attempts = 2 },
   handler = function(msg)
      local number = tonumber(msg.body)
      if not number then
         local till = mr.now() + 600
         while mr.now() < till do end
      end
      if number %% 40 == 0 then error "database: connection refused" end
      if number %% 90 == 7 then return "dead_letter", "no customer 4711" end
      if number %% 8 == 0 then mr.sleep(0.4) end
   end }
mr.consumer { queue = %q, handler = function() mr.sleep(600) end }
mr.spawn(function()
   out:publish("x", { routing_key = %q })
   for number = 1, 1e9 do
      out:publish(tostring(number), { message_id = "invoice-" .. number })
      mr.sleep(number %% 300 < 150 and 0.01 or 0.02)
   end
end)
]=]):format(EVIL, EVIL)

describe("the page in a browser", function()
   local folder, script, two, token_file, seen, worker, own

   -- A broker of the test's own, which it may end.
   local function start_broker(port)
      own = process.start(("%s broker --listen 127.0.0.1:%d"):format(broker.command, port or 0))
      own:says "Serving"
      return tonumber(own:output():match ":(%d+);")
   end

   -- The page of a script at that broker; opts: script, port (of the page), env.
   local function start(port, opts)
      opts = opts or {}
      worker = process.start(("%s run --no-console --drain 0 --http 127.0.0.1:%d --http-admin %s %s"):format(broker.command, opts.port or 0,
         token_file, opts.script or script), ("AMQP_URL=amqp://guest:guest@127.0.0.1:%d/ %s"):format(port, opts.env or ""))
      worker:says("msg=consuming", 2)
      return ("http://127.0.0.1:%s/"):format(worker:output():match 'msg="health pages" address=%S+ port=(%d+)')
   end

   local function text() return seen:value "document.body ? document.body.innerText : ''" end

   -- Waits until the page says all of these.
   local function says(...)
      for _, words in ipairs { ... } do
         within(("%q on the page"):format(words), LONG, function()
            mr.sleep(0.1) -- the browser has its own work to do
            return text():find(words, 1, true)
         end)
      end
   end

   -- For the pictures, where it is not the page that is waited for.
   local function fill_charts()
      if os.getenv "MR_SCREENSHOTS" then mr.sleep(tonumber(os.getenv "MR_SCREENSHOTS_SECONDS") or 120) end
   end

   local function has_picture(name)
      local where = os.getenv "MR_SCREENSHOTS"
      if not where then return end
      local file = assert(io.open(("%s/page-%s.png"):format(where, name), "wb"))
      file:write(base64.decode(seen:picture(1000, 1180)))
      file:close()
   end

   setup(function()
      folder = place.make { ["shop.lua"] = SCRIPT, ["two.lua"] = TWO, token = TOKEN }
      script, two, token_file = folder .. "/shop.lua", folder .. "/two.lua", folder .. "/token"
   end)
   teardown(function() place.remove(folder) end)
   before_each(function() seen = browser.start() end)
   after_each(function()
      seen:stop()
      process.end_all()
   end)

   it("shows a busy worker, in text only, without a word on the console", function()
      seen:open(start(start_broker()), 1000, 900)
      says("healthy", "invoices", "consuming", EVIL, "handler_failed", "database: connection refused", "no customer 4711", "invoice-40",
         "Retries waiting", "shop.lua:", "level=warn")
      fill_charts()
      assert.equal(0, seen:value "document.querySelectorAll('img, [onerror], [style]').length")
      assert.is_nil(seen:value("document.title"):find "broken in")
      within("the curves", LONG, function() return seen:value "document.querySelector('#charts .curve[d*=L]') !== null" end)
      local before = seen:value "document.querySelector('#consumers td:nth-child(4)').textContent"
      within("new numbers", LONG, function()
         return seen:value "document.querySelector('#consumers td:nth-child(4)').textContent" ~= before
      end)
      assert.same({}, seen:complaints())
      has_picture "busy"
   end)

   it("shows a stuck one: since when, where, and all that the I/O thread knows", function()
      local port = start_broker()
      seen:open(start(port), 1000, 900)
      says("invoice-8", "no customer 4711")
      fill_charts()
      local conn = mr.connect(("amqp://guest:guest@127.0.0.1:%d/"):format(port))
      local ch = conn:channel()
      ch:confirm_select()
      assert(ch:publish("", "invoices", "spin"))
      conn:close()
      says("The script is busy since", "shop.lua:5", "what only the script knows is as it was before")
      within("older details", LONG, function() return text():find "as of %d+%.0 s ago: the script is busy" end)
      within("its age", LONG, function() return tonumber(text():match "for (%d+%.%d) s%)" or 0) > 6 end)
      assert.truthy(text():find("no customer 4711", 1, true))
      within("the watchdog's word", LONG, function() return seen:value "document.querySelector('#notices pre') !== null" end)
      seen:open(seen:value "location.href", 1000, 900) -- opened only now
      says("The script is busy since", "busy", "not known", "invoices", "open")
      assert.same({}, seen:complaints())
      has_picture "stuck"
   end)

   it("shows an outage, and its end, with the history of the connection's losses", function()
      local port = start_broker()
      seen:open(start(port), 1000, 900)
      says("healthy", "open")
      fill_charts()
      own:signal "KILL"
      own:wait()
      says("unhealthy", "waiting", "away", "1 loss")
      seen:value "document.querySelector('#connections details').open = true"
      says("lost: ")
      has_picture "outage"
      start_broker(port)
      says("healthy", "consuming")
      within("the state", LONG, function() return not text():find("unhealthy", 1, true) end)
      assert.is_true(seen:value "document.querySelector('#connections details').open") -- what one has opened stays open
      says("opened")
      assert.same({}, seen:complaints())
   end)

   it("forgets what one process has counted and logged when another comes in its place", function()
      local port = start_broker()
      local at = start(port, { script = two, env = "LINES=40 BORN=yesterday" })
      seen:open(at, 1000, 900)
      says("healthy", "line 40 of yesterday")
      worker:signal "KILL"
      worker:wait()
      says "gone"
      start(port, { script = two, port = tonumber(at:match ":(%d+)/"), env = "LINES=2 BORN=today" })
      says("healthy", "line 1 of today", "line 2 of today")
      assert.is_nil(text():find "of yesterday")
   end)

   it("says when the program gives no answer any more", function()
      seen:open(start(start_broker()), 1000, 900)
      says "healthy"
      worker:signal "KILL"
      worker:wait()
      says("The program gives no answer.", "no answer since", "gone")
   end)

   it("fits a phone of 320 pixels, where only tables may be moved sideways", function()
      seen:open(start(start_broker()), 320, 640)
      says("healthy", "invoice-8")
      assert.is_true(seen:value "document.documentElement.scrollWidth <= 320")
      assert.is_true(seen:value "parseFloat(getComputedStyle(document.body).fontSize) >= 14")
   end)

   it("is reached by the keyboard alone, and shows where one is", function()
      seen:open(start(start_broker()), 1000, 900)
      says("healthy", "invoice-8")
      local reached, last = {}, nil
      for _ = 1, 30 do
         seen:press("Tab", 9)
         local at = cjson.decode(seen:value [[(() => {
            const e = document.activeElement, s = getComputedStyle(e);
            return JSON.stringify({ name: e.getAttribute('aria-label') || e.textContent.slice(0, 40), tag: e.tagName,
               outline: e === document.body ? 'none' : s.outlineStyle + ' ' + s.outlineWidth });
         })()]])
         if at.tag == "BODY" then break end
         assert.equal("solid 3px", at.outline, at.name)
         reached[at.name], last = true, at.name
      end
      for _, name in ipairs { "To the content", "Changes", "Consumers", "Connections", "Log", "/status", "/metrics" } do
         assert.is_true(reached[name], name .. " is not reached; the last was " .. tostring(last))
      end
      assert.equal(0, seen:value "document.querySelectorAll('[tabindex]:not([tabindex=\"0\"]):not(main)').length")
   end)

   local function use(token)
      seen:value(([[document.querySelector('#changes details').open = true;
         document.getElementById('token').value = '%s'; document.querySelector('#token-form button').click()]]):format(token))
      within("the button", LONG, function() return seen:value "document.querySelector('#consumers button') !== null" end)
   end

   -- How many consumers the page's last answer of /status has.
   local function becomes(count)
      within(("%d consumers"):format(count), LONG, function() return seen:value "known.status.consumers.length" == count end)
   end

   it("lets one with the token pause a consumer, and have it go on", function()
      seen:open(start(start_broker()), 1000, 900)
      says("healthy", "Changes")
      use "wrong-token-0123456789"
      seen:value "document.querySelector('#consumers button').click()"
      says "Not done: a change needs the right token"
      use(TOKEN)
      seen:value "document.querySelector('#consumers button').click()"
      says "paused: "
      becomes(1) -- it is cancelled at the broker
      within("the other button", LONG, function() return seen:value(RESUME .. " !== undefined") end)
      assert.is_true(seen:value(RESUME .. ".closest('tr') === document.querySelector('#consumers tbody tr')")) -- where it was
      seen:value(RESUME .. ".click()")
      says "consuming again: "
      becomes(2)
      within("the state", LONG, function() return seen:value(RESUME .. " === undefined") end)
      assert.is_nil(seen:value("document.documentElement.outerHTML"):find(TOKEN, 1, true))
   end)

   it("keeps what one types at its consumer when others go", function()
      local port = start_broker()
      seen:open(start(port, { script = two }), 1000, 900)
      says("healthy", "first", "second")
      use(TOKEN)
      seen:value "[...document.querySelectorAll('#consumers input')][1].focus()"
      seen:value "document.activeElement.value = '33'"
      local conn = mr.connect(("amqp://guest:guest@127.0.0.1:%d/"):format(port))
      assert(conn:channel():publish("", "first", "go"))
      becomes(1)
      conn:close()
      seen:value "draw()"
      assert.equal("33", seen:value "document.activeElement.value")
      assert.truthy(seen:value("document.activeElement.getAttribute('aria-label')"):find("prefetch of second", 1, true))
   end)

   for _, theme in ipairs { "light", "dark" } do
      it(("has a contrast of 4.5 at least in its %s theme"):format(theme), function()
         seen:open(start(start_broker()), 1000, 900, theme)
         says("healthy", "invoice-8")
         local function colour(name)
            local text_ = seen:value(([[(() => { const e = document.createElement('i'); document.body.append(e);
               e.style.color = 'var(--%s)'; const c = getComputedStyle(e).color; e.remove(); return c; })()]]):format(name))
            local sum, weights = 0, { 0.2126, 0.7152, 0.0722 }
            local i = 0
            for part in text_:gmatch "%d+" do
               i = i + 1
               local c = tonumber(part) / 255
               sum = sum + weights[i] * (c <= 0.03928 and c / 12.92 or ((c + 0.055) / 1.055) ^ 2.4)
            end
            assert.equal(3, i, text_)
            return sum
         end
         for _, ground in ipairs { "ground", "surface" } do
            for _, ink in ipairs { "text", "muted", "accent", "good", "warn", "bad", "first", "second", "third" } do
               local a, b = colour(ground), colour(ink)
               local contrast = (math.max(a, b) + 0.05) / (math.min(a, b) + 0.05)
               assert.is_true(contrast >= 4.5, ("%s on %s: %.2f"):format(ink, ground, contrast))
            end
         end
         assert.equal(theme == "dark", colour "ground" < 0.1)
      end)
   end
end)
