--- cli.import: `moonrabbit import`: publishes messages from JSON lines.
-- SPDX-License-Identifier: MIT
local session = require "moonrabbit.cli.session"

local import = {}

--- Adds the command to the parser.
function import.describe(p)
   local c = p:command("import", "Publish messages from JSON lines, as export writes them.", [[
Example: moonrabbit import --file orders.jsonl --to orders

Each message is confirmed. Without --to it goes to the queue that its line names, or with --exchanges
to its exchange with its routing key. The first line that is wrong ends it: those before it are
published, and its number is said (--skip goes on from there). If the broker refuses a line or no queue gets it, up to
255 lines after it may be published: --skip with the lines before it publishes those again. Headers that would route a message
elsewhere (CC, BCC) or count deliveries are left out; a user_id that is not the connection's becomes the
header x-mr-user-id.]])
   c:option("--file", "Read this file; default: standard input."):argname "FILE"
   c:option("--to", "Publish all to this queue."):argname "QUEUE"
   c:flag("--exchanges", "Publish each to its exchange.")
   c:option("--skip", "Leave out so many lines at the start."):argname "N"
   c:option("--rate", "At most so many messages a second."):argname "N"
   session.options(c)
end

local function lines_of(options)
   if not options.file then return require("moonrabbit.cli.lines").read(0) end
   local file, why = io.open(options.file, "rb")
   if not file then return nil, why end
   return function() return file:read "*l" end
end

local function target(options, message)
   if options.exchanges then
      if not message.exchange or not message.routing_key then return nil, "exchange or routing_key is missing" end
      return message.exchange, message.routing_key
   end
   local queue = options.to or message.queue
   if not queue then return nil, "queue is missing: name one by --to" end
   return "", queue
end

-- Publishes a line; nil and what is wrong with it, or with the publish.
local function publish(out, options, line, userid, number)
   local message, why = require("moonrabbit.cli.message_json").read(line)
   if not message then return nil, why end
   local exchange, key = target(options, message)
   if not exchange then return nil, key end
   local raw, err = require("moonrabbit.cli.carried").properties(message.raw, userid)
   if not raw then return nil, err.text end
   if not out:publish(exchange, key, message.body, raw, nil, number) then return nil end
   return true
end

local function run(self, options)
   if options.to and options.exchanges then return session.misuse "--to and --exchanges exclude each other" end
   local rate, skip, wrong
   rate, wrong = session.number("--rate", options.rate, 0.001)
   if not wrong then skip, wrong = session.number("--skip", options.skip, 0, true) end
   if wrong then return nil, wrong end
   local next_line, err = lines_of(options)
   if not next_line then return nil, err end
   local ch
   ch, err = self:channel(nil, true)
   if not ch then return nil, err end
   local out = require("moonrabbit.cli.confirming").new(self, ch, false, rate)
   local bar, userid, number, failure = require("moonrabbit.cli.progress").new(self.mr.now), ch.connection:info().userid, 0, nil
   self:begin()
   while not self.interrupted do
      local line, why = next_line(function() return self.interrupted end)
      failure = why
      if not line then break end
      number = number + 1
      if number > (skip or 0) and line:find "%S" then
         local ok
         ok, why = publish(out, options, line, userid, number)
         if not ok then
            failure = why and ("line %d: %s"):format(number, why)
            break
         end
         bar.show(out.done)
      end
   end
   bar.clear()
   local _, lost = out:finish()
   if lost and out.failed then
      lost = ("line %d: %s; later lines may be published: --skip %d publishes it and all after it (again)"):format(out.failed,
         session.words(lost), out.failed - 1)
   end
   local seconds = self.mr.now() - out.began
   return { line = ("imported %s %s"):format(session.count(out.done, "message"), session.pace(out.done, seconds)),
      fields = { imported = out.done, lines = number, seconds = seconds } }, lost or failure
end

--- Runs the command.
-- @treturn number exit code
function import.main(options)
   return session.run(options, function(self) return run(self, options) end)
end

return import
