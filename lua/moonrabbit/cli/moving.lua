--- cli.moving: what `copy` and `move` share.
-- SPDX-License-Identifier: MIT
local session = require "moonrabbit.cli.session"

local moving = {}

--- For the help of both.
moving.HELP = [[

Only what is there at the start is taken. Body, properties and headers stay as they are, byte for
byte, but for the headers CC and BCC (they would route a copy elsewhere), x-delivery-count (of the
old queue), and a user_id that is not the connection's, which becomes the header x-mr-user-id. The
copy goes through the default exchange: its routing key is the new queue's name.]]

--- Adds the arguments and options.
function moving.describe(c)
   c:argument("from", "The queue to take from.")
   c:argument("to", "The queue to publish to; it must exist.")
   c:option("--to-url", "The broker of TO; default: the same; MOONRABBIT_TO_URL keeps a password from other users."):argname "URL"
   c:option("--limit", "At most so many messages."):argname "N"
   c:option("--match", "Only those with this, such as type=order.*; may be repeated (see dead)."):argname "FIELD=PATTERN":count "*"
   c:option("--rate", "At most so many messages a second."):argname "N"
   session.options(c)
end

--- Reads --limit, --rate and --match.
-- @treturn[1] table limit, rate, matches
-- @treturn[2] nil, table error for the report
function moving.bounds(options)
   local limit, rate, wrong
   limit, wrong = session.number("--limit", options.limit, 0, true)
   if not wrong then rate, wrong = session.number("--rate", options.rate, 0.001) end
   if wrong then return nil, wrong end
   local matches, why = require("moonrabbit.cli.matching").of(options.match)
   if why then return session.misuse(why) end
   return { limit = limit, rate = rate, matches = matches }
end

--- What a line says of messages that may be in both queues.
function moving.doubled(done)
   return done.doubled > 0 and ("; %d of them may still be in the old queue"):format(done.doubled) or ""
end

local function run(self, options, keeps)
   local bounds, wrong = moving.bounds(options)
   if not bounds then return nil, wrong end
   local to_url = options.to_url or os.getenv "MOONRABBIT_TO_URL"
   if options.from == options.to and not to_url then return session.misuse "FROM and TO are the same queue" end
   local from, err = self:channel()
   if not from then return nil, err end
   local to
   to, err = self:channel(to_url, true)
   if not to then return nil, err end
   local there
   there, err = to:queue_declare { queue = options.to, passive = true }
   if not there then return nil, err end
   local carried, message = require "moonrabbit.cli.carried", require "moonrabbit.channel.message"
   local userid = to.connection:info().userid
   local done
   done, err = require("moonrabbit.cli.transfer").run { session = self, from = from, to = to, queue = options.from, keeps = keeps,
      limit = bounds.limit, rate = bounds.rate, matches = bounds.matches,
      shape = function(msg)
         local raw, why = carried.properties(message.raw(msg), userid)
         if not raw then return nil, why end
         return "", options.to, raw
      end }
   if not done then return nil, err end
   local word = keeps and "copied" or "moved"
   return { line = ("%s %s from %s to %s %s%s"):format(word, session.count(done.count, "message"), options.from, options.to,
      session.pace(done.count, done.seconds), moving.doubled(done)),
      fields = { [word] = done.count, from = options.from, to = options.to, seconds = done.seconds, doubled = done.doubled } },
      done.err
end

--- Runs the command.
-- @tparam table options of the parser
-- @tparam boolean keeps the messages stay in FROM
-- @treturn number exit code
function moving.main(options, keeps)
   return session.run(options, function(self) return run(self, options, keeps) end)
end

return moving
