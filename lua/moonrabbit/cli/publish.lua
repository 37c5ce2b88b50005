--- cli.publish: `moonrabbit publish`: publishes messages, each confirmed.
-- SPDX-License-Identifier: MIT
local message_options = require "moonrabbit.cli.message_options"
local session = require "moonrabbit.cli.session"

local publish = {}

--- Adds the command to the parser.
function publish.describe(p)
   local c = p:command("publish", "Publish messages; each is confirmed by the broker.", [[
Examples:
   moonrabbit publish orders '{"id":7}' -p content_type=application/json -H tries:int=3
   moonrabbit publish orders < one-message-a-line.txt

The body is the argument, the file, or else each line of standard input is a message. ]] .. message_options.HELP .. [[


Without --exchange, KEY is the name of a queue. A message that no queue gets is a failure, unless --optional.]])
   c:argument("key", "The queue, or the routing key of --exchange.")
   c:argument("body", "The body."):args "?"
   c:option("--exchange", "Publish to this exchange."):argname "NAME"
   c:option("--file", "Take the body from a file; -: all of standard input."):argname "FILE"
   c:option("--count", "Publish the body this often."):argname "N"
   c:option("--rate", "At most so many messages a second."):argname "N"
   c:flag("--optional", "A message that no queue gets is not a failure.")
   message_options.describe(c)
   session.options(c)
end

local function read_file(path)
   local file, why = io.stdin, nil
   if path ~= "-" then file, why = io.open(path, "rb") end
   if not file then return nil, why end
   local text
   text, why = file:read "*a"
   if path ~= "-" then file:close() end
   return text, why
end

-- A function that gives one body after the other, and how many there will be, if that is known.
local function bodies(options, count)
   local body = options.body
   if options.file then
      if body then return session.misuse "BODY and --file exclude each other" end
      local text, why = read_file(options.file)
      if not text then return nil, why end
      body = text
   end
   if not body then
      if count then return session.misuse "--count needs a BODY or --file" end
      return (require("moonrabbit.cli.lines").read(0))
   end
   local left = count or 1
   return function()
      left = left - 1
      return left >= 0 and body or nil
   end, count or 1
end

local function run(self, options)
   local count, rate, wrong
   count, wrong = session.number("--count", options.count, 1, true)
   if not wrong then rate, wrong = session.number("--rate", options.rate, 0.001) end
   if wrong then return nil, wrong end
   local raw, why = message_options.encode(options)
   if not raw then return session.misuse(why) end
   local next_body, total = bodies(options, count)
   if not next_body then return nil, total end
   local ch, err = self:channel(nil, true)
   if not ch then return nil, err end
   local out = require("moonrabbit.cli.confirming").new(self, ch, options.optional, rate)
   local bar = require("moonrabbit.cli.progress").new(self.mr.now, total)
   self:begin()
   local body
   repeat
      body, err = next_body(function() return self.interrupted end)
      local ok = body and out:publish(options.exchange or "", options.key, body, raw)
      bar.show(out.done)
   until not ok or self.interrupted
   bar.clear()
   local _, failure = out:finish()
   local seconds = self.mr.now() - out.began
   local where = options.exchange and ("exchange %s with key %s"):format(options.exchange, options.key) or options.key
   return { line = ("published %s to %s %s"):format(session.count(out.done, "message"), where, session.pace(out.done, seconds)),
      fields = { published = out.done, exchange = options.exchange or "", routing_key = options.key, seconds = seconds } },
      failure or err
end

--- Runs the command.
-- @treturn number exit code
function publish.main(options)
   return session.run(options, function(self) return run(self, options) end)
end

return publish
