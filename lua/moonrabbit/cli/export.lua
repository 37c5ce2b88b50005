--- cli.export: `moonrabbit export`: writes the messages of a queue as JSON lines.
-- SPDX-License-Identifier: MIT
local session = require "moonrabbit.cli.session"

local export = {}

--- Adds the command to the parser.
function export.describe(p)
   local c = p:command("export", "Write the messages of a queue as JSON, one a line.", [[
Examples:
   moonrabbit export orders --file orders.jsonl
   moonrabbit export orders | jq -r .properties.message_id

The messages stay in the queue (marked as redelivered; a quorum queue counts a delivery of each, also
towards its x-delivery-limit: see peek), or are acked with --remove, up to
256 at a time, when their lines are on the disk. A line has queue, exchange, routing_key, properties, and body, or body_base64
if it is no UTF-8. A header is a string, a whole number (AMQP's type l), another number (d), true or
false, null, an object or an array; any other type is {"$LETTER": value}, such as {"$T": 1700000000}.
properties_base64 is added if the properties cannot be kept so; import prefers it.]])
   c:argument("queue", "The queue.")
   c:option("--file", "Write to this file, which must not exist; default: standard output."):argname "FILE"
   c:option("--limit", "At most so many messages."):argname "N"
   c:option("--match", "Only those with this, such as type=order.*; may be repeated (see dead)."):argname "FIELD=PATTERN":count "*"
   c:flag("--remove", "Remove the messages from the queue.")
   session.options(c)
end

local function trouble(why) return "the file: " .. tostring(why) end

local function writer(file)
   local line = require("moonrabbit.cli.message_json").line
   return function(msg)
      local ok, why = file:write(line(msg), "\n")
      if ok then return true end
      return nil, trouble(why)
   end
end

-- A function that has what was written survive a crash of the machine.
local function saver(file, path)
   local disk = require "moonrabbit.cli.disk"
   local has_name = path == nil
   return function()
      local ok, why = disk.sync(file)
      if ok and not has_name then
         ok, why = disk.sync_folder(path)
         has_name = ok
      end
      if ok then return true end
      return nil, trouble(why)
   end
end

local function run(self, options)
   local bounds, wrong = require("moonrabbit.cli.moving").bounds(options)
   if not bounds then return nil, wrong end
   local ch, err = self:channel()
   if not ch then return nil, err end
   local size
   size, err = require("moonrabbit.cli.transfer").size(ch, options.queue)
   if not size then return nil, err end
   local file = io.stdout
   if options.file then file, err = require("moonrabbit.cli.disk").create(options.file) end
   if not file then return nil, err end
   local done
   done, err = require("moonrabbit.cli.transfer").each { session = self, from = ch, queue = options.queue, matches = bounds.matches,
      limit = bounds.limit, keeps = not options.remove, visit = writer(file), save = options.remove and saver(file, options.file) }
   if not done then return nil, err end
   local ok, why = file:flush()
   if ok and options.file then ok, why = file:close() end
   local line = ("exported %s of %s %s"):format(session.count(done.count, "message"), options.queue,
      session.pace(done.count, done.seconds))
   local result = { line = line, fields = { exported = done.count, queue = options.queue, file = options.file,
      seconds = done.seconds } }
   if not options.file then
      self:say(line)
      result = {}
   end
   return result, done.err or not ok and trouble(why) or nil
end

--- Runs the command.
-- @treturn number exit code
function export.main(options)
   return session.run(options, function(self) return run(self, options) end)
end

return export
