--- cli.session: what the tools of a shell share: the broker's URL, signals, one line at the end, exit codes.
-- SPDX-License-Identifier: MIT
-- Modules of the library are required at the first use: the man pages are made from the parsers alone.
local escaped = require "moonrabbit.cli.escaped"
local usage = require "moonrabbit.cli.usage"

local session = {}

local FAILED = 1     -- exit code
local TRIES = 0      -- a tool that cannot connect says so at once

--- Adds the options that all tools have.
-- @tparam table c the command's parser
function session.options(c)
   c:option("--url", "The broker; default: MOONRABBIT_URL, else AMQP_URL."):argname "URL"
   c:flag("--json", "Print the result as JSON.")
end

local Session = {}
Session.__index = Session

--- Writes a line that is not the result to standard error.
function Session.say(_, text)
   io.stdout:flush() -- what was printed before comes before
   io.stderr:write("moonrabbit: ", escaped(text), "\n")
end

--- Connects to a broker.
-- @tparam[opt] string url default: --url
-- @treturn[1] connection
-- @treturn[2] nil, error
function Session:connect(url)
   local conn, err = self.mr.try_connect { url = url or self.url, name = "moonrabbit " .. self.command, recover = false,
      transport_options = { max_retries = TRIES } }
   if not conn then return nil, err end
   self.connections[#self.connections + 1] = conn
   local ok
   ok, err = conn:connect()
   if not ok then return nil, err end
   return conn
end

--- Opens a channel on a connection of its own.
-- @tparam[opt] string url default: --url
-- @tparam[opt] boolean confirms puts it into confirm mode
-- @treturn[1] channel
-- @treturn[2] nil, error
function Session:channel(url, confirms)
   local conn, err = self:connect(url)
   if not conn then return nil, err end
   local ch
   ch, err = conn:channel()
   if not ch then return nil, err end
   if confirms then
      local ok
      ok, err = ch:confirm_select()
      if not ok then return nil, err end
   end
   return ch
end

--- From here on a signal only sets `interrupted`: the tool ends what it has begun.
-- @tparam[opt] function wake called then, for a tool that waits
function Session:begin(wake)
   self.is_working, self.wake = true, wake
end

local function watch_signals(self)
   local signals = require "moonrabbit.cli.signals"
   signals.each({ signals.CHLD }, function(number)
      if number == signals.CHLD and self.on_child then self.on_child() end
      if number ~= signals.INT and number ~= signals.TERM and number ~= signals.QUIT then return end
      if not self.is_working then signals.process().end_now(128 + number) end
      self.interrupted = signals.name(number)
      if self.wake then self.wake() end
   end)
end

--- An error for a tool's report: a text of what the command line has wrong.
function session.misuse(text) return nil, { usage = text } end

--- The error as one line.
-- @tparam table|string err
-- @treturn string
function session.words(err)
   if type(err) ~= "table" then return tostring(err) end
   local code = err.code and (" (%d)"):format(err.code) or ""
   local hint = err.hint and err.hint ~= "" and "; hint: " .. err.hint or ""
   return ("%s%s: %s%s"):format(err.kind or "error", code, err.text or "", hint)
end

local function report(self, result, err, is_json)
   if result and (result.line or result.fields) then
      local text = is_json and require("moonrabbit.cli.json_text")(require("moonrabbit.base.json").encode(result.fields))
         or result.line
      io.stdout:write(is_json and text or escaped(text), "\n")
   end
   if not err and self.interrupted then err = "interrupted by " .. self.interrupted end
   if not err then return result.code or 0 end
   if type(err) == "table" and err.usage then
      usage.say(escaped(err.usage), self.command)
      return usage.CODE
   end
   self:say(session.words(err))
   return FAILED
end

-- Acks are on their way in front of the close, so they are at the broker when it has answered.
local function close(self)
   if not require("moonrabbit.loop.stop").is_asked() then
      for _, conn in ipairs(self.connections) do
         if conn.is_open then conn:close() else conn:release() end
      end
   end
   require("moonrabbit.loop.loop").close(1)
   io.stdout:flush()
end

--- Runs a tool.
-- @tparam table options of the parser
-- @tparam function fn fn(self): returns a result (line: what it did; fields: the same for --json; code), and perhaps an error
-- beside it or instead of it
-- @tparam[opt] boolean is_offline it needs no broker
-- @treturn number exit code: 0 done, 1 failed, 2 wrong usage
function session.run(options, fn, is_offline)
   local mr, home = require "moonrabbit", require "moonrabbit.connection.default"
   mr.log.configure "off"
   home.set_url(require("moonrabbit.cli.arguments").url(options))
   local self = setmetatable({ mr = mr, command = options.command, url = home.url(), connections = {} }, Session)
   if not self.url and not is_offline then
      usage.say("no broker is named: give --url, or set AMQP_URL", options.command)
      return usage.CODE
   end
   watch_signals(self)
   local ok, result, err = xpcall(function() return fn(self) end, function(e) return require("moonrabbit.base.errors").trace(e, 2) end)
   local code
   if ok then
      code = report(self, result, err, options.json)
   else
      self:say(result)
      code = FAILED
   end
   close(self)
   return code
end

--- A number of an option.
-- @tparam string name "--rate"
-- @tparam ?string text nil: it is not given
-- @tparam number least
-- @tparam[opt] boolean is_whole
-- @treturn[1] number, or nil: it is not given
-- @treturn[2] nil, table the error for the report
function session.number(name, text, least, is_whole)
   if text == nil then return nil end
   local n = tonumber(text)
   if n and n >= least and n < math.huge and (not is_whole or n == math.floor(n)) then return n end
   return session.misuse(('%s takes a %snumber from %g on, not "%s"'):format(name, is_whole and "whole " or "", least, text))
end

--- "1 message", "2 messages".
function session.count(n, word) return ("%d %s%s"):format(n, word, n == 1 and "" or "s") end

--- The usual end of a line: how long it took, and the rate of what took over a second.
function session.pace(count, seconds)
   if seconds < 1 then return ("in %.1f s"):format(seconds) end
   return ("in %.1f s (%.0f/s)"):format(seconds, count / seconds)
end

return session
