--- browser: Debian's chromium without a window, asked by its DevTools protocol through two pipes.
-- SPDX-License-Identifier: MIT
-- https://chromedevtools.github.io/devtools-protocol: messages are JSON, each ends with a NUL.
local cjson = require "cjson"
local process = require "process"

local browser = {}

local Browser = {}
Browser.__index = Browser

local LIFE = 240 -- seconds after which it is ended whatever happens: then reading gives an error instead of waiting

local function read_message(file)
   local parts = {}
   while true do
      local byte = file:read(1)
      if not byte then error "the browser has ended" end
      if byte == "\0" then return cjson.decode(table.concat(parts)) end
      parts[#parts + 1] = byte
   end
end

--- Calls a method of the protocol; what it reports meanwhile goes to `events`.
function Browser:call(method, params)
   self.last = self.last + 1
   self.to:write(cjson.encode { id = self.last, method = method, params = params or cjson.decode "{}", sessionId = self.session }, "\0")
   self.to:flush()
   while true do
      local message = read_message(self.from)
      if message.id == self.last then
         if message.error then error(("%s: %s"):format(method, message.error.message)) end
         return message.result
      end
      if message.method then self.events[#self.events + 1] = message end
   end
end

--- Starts one with an empty profile.
function browser.start()
   local folder = os.tmpname()
   os.remove(folder)
   assert(os.execute(("mkdir -m 700 %s && mkfifo %s/to %s/from"):format(folder, folder, folder)) == 0)
   local self = setmetatable({ folder = folder, last = 0, events = {} }, Browser)
   self.process = process.start(("timeout -k 5 %d chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage "
      .. "--no-first-run --disable-background-networking --user-data-dir=%s/profile --remote-debugging-pipe about:blank "
      .. "3<%s/to 4>%s/from"):format(LIFE, folder, folder, folder))
   self.to = assert(io.open(folder .. "/to", "w"))
   self.from = assert(io.open(folder .. "/from"))
   return self
end

--- Opens a page in a window of that size, in the light or the dark theme.
function Browser:open(url, width, height, theme)
   self.session, self.events = nil, {}
   local target = self:call("Target.createTarget", { url = "about:blank" }).targetId
   self.session = self:call("Target.attachToTarget", { targetId = target, flatten = true }).sessionId
   for _, domain in ipairs { "Page", "Runtime", "Log" } do self:call(domain .. ".enable") end
   self:call("Emulation.setDeviceMetricsOverride", { width = width, height = height, deviceScaleFactor = 1, mobile = width < 600 })
   self:call("Emulation.setEmulatedMedia", { features = { { name = "prefers-color-scheme", value = theme or "light" } } })
   self:call("Page.navigate", { url = url })
end

--- The value of an expression of JavaScript in the page.
function Browser:value(expression)
   local answer = self:call("Runtime.evaluate", { expression = expression, returnByValue = true, awaitPromise = true })
   if answer.exceptionDetails then error(expression .. ": " .. cjson.encode(answer.exceptionDetails)) end
   return answer.result.value
end

--- Presses a key, such as "Tab".
function Browser:press(key, code)
   for _, what in ipairs { "rawKeyDown", "keyUp" } do
      self:call("Input.dispatchKeyEvent", { type = what, key = key, code = key, windowsVirtualKeyCode = code })
   end
end

--- What the console of the page has: errors, exceptions, breaches of the policy. A list of strings.
function Browser:complaints()
   self:value "1" -- what has been said before comes first
   local list = {}
   for _, event in ipairs(self.events) do
      if event.method == "Runtime.exceptionThrown" or event.method == "Log.entryAdded" or event.method == "Runtime.consoleAPICalled" then
         list[#list + 1] = cjson.encode(event.params)
      end
   end
   return list
end

--- A picture of the top of the page as PNG, base64.
function Browser:picture(width, height)
   return self:call("Page.captureScreenshot", { format = "png", captureBeyondViewport = true,
      clip = { x = 0, y = 0, width = width, height = height, scale = 1 } }).data
end

--- Ends it.
function Browser:stop()
   self.session = nil
   pcall(self.call, self, "Browser.close")
   self.to:close()
   self.from:close()
   self.process:wait()
   os.execute("rm -rf " .. self.folder)
end

return browser
