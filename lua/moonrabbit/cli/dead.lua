--- cli.dead: `moonrabbit dead`: looks at dead letters, sends them back, drops them.
-- SPDX-License-Identifier: MIT
local dead_letter = require "moonrabbit.cli.lazy" "moonrabbit.cli.dead_letter"
local session = require "moonrabbit.cli.session"

local dead = {}

local SUFFIX = ".dead"
local WIDTH = 60 -- of an error in a table

--- Adds the command to the parser.
function dead.describe(p)
   local c = p:command("dead", "Look at the dead letters of a queue, send them back, or drop them.", [[
Examples:
   moonrabbit dead orders list --group
   moonrabbit dead orders redrive --match 'error=*timeout*' --rate 100

QUEUE is the consumer's queue; its dead letters are in QUEUE.dead, or in --from. list shows a line for
each, show all of each, redrive publishes each to the queue that it came from, drop deletes them.
Those that stay return to their places, marked as redelivered; a quorum queue counts each look as a
delivery of each, also towards its x-delivery-limit.

redrive publishes with confirm before it acks, so it may be killed at any moment: none is lost, and
those under way (up to 256) may be sent back twice. It takes what is there at the start, and
resets the attempts. --match takes a field (reason, error, attempts, queue, message_id and any other
property, routing_key, exchange, body, or a header) and a pattern with * and ?; several must all match.]])
   c:argument("queue", "The consumer's queue.")
   c:argument("action", "list, show, redrive or drop; default: list."):args("?"):choices { "list", "show", "redrive", "drop" }
   c:option("--from", "The queue of the dead letters; default: QUEUE.dead."):argname "QUEUE"
   c:option("--limit", "At most so many messages."):argname "N"
   c:option("--match", "Only those with this; may be repeated."):argname "FIELD=PATTERN":count "*"
   c:flag("--group", "list: a line for each error (kind and first line).")
   c:option("--to", "redrive: send all to this queue."):argname "QUEUE"
   c:option("--rate", "redrive: at most so many messages a second."):argname "N"
   c:flag("--dry-run", "redrive, drop: say what would be done.")
   c:flag("--all", "drop: without --match or --limit, all of them.")
   session.options(c)
end

local function queue_of(options)
   return options.from or options.queue:sub(-#SUFFIX) == SUFFIX and options.queue or options.queue .. SUFFIX
end

-- The consumer's queue, if the dead letters' own one was named.
local function home_of(options)
   return options.queue:sub(-#SUFFIX) == SUFFIX and options.queue:sub(1, -#SUFFIX - 1) or options.queue
end

local function cut(text, width) return #text > width and text:sub(1, width - 3) .. "..." or text end

-- ---- list, show ----

local function row_of(msg, now)
   local letter = dead_letter.of(msg)
   return { message_id = msg.message_id, queue = letter.queue, reason = letter.reason, error = letter.error,
      attempts = letter.attempts, age = letter.since and math.max(now - letter.since, 0) or nil,
      fingerprint = dead_letter.fingerprint(letter) }
end

local function list_text(rows)
   local cells = {}
   for i, row in ipairs(rows) do
      cells[i] = { row.message_id or "", row.attempts or "", dead_letter.age(row.age), cut(row.fingerprint, WIDTH),
         row.error and cut(tostring(row.reason or ""), WIDTH) or "" }
   end
   return require "moonrabbit.cli.table_text"({ "MESSAGE ID", "ATTEMPTS", "AGE", "ERROR", "REASON" }, cells)
end

--- Puts dead letters with the same error together.
-- @tparam table rows
-- @treturn table list of {error, count, oldest, newest, message_id}, most frequent first
function dead.groups(rows)
   local by_error, list = {}, {}
   for _, row in ipairs(rows) do
      local group = by_error[row.fingerprint]
      if not group then
         group = { error = row.fingerprint, count = 0 }
         by_error[row.fingerprint], list[#list + 1] = group, group
      end
      group.count = group.count + 1
      if row.age then
         group.oldest, group.newest = math.max(group.oldest or 0, row.age), math.min(group.newest or math.huge, row.age)
      end
      group.message_id = group.message_id or row.message_id
   end
   table.sort(list, function(a, b) return a.count > b.count or a.count == b.count and a.error < b.error end)
   return list
end

local function groups_text(groups)
   local cells = {}
   for i, group in ipairs(groups) do
      cells[i] = { group.count, dead_letter.age(group.oldest), dead_letter.age(group.newest), cut(group.error, WIDTH),
         group.message_id or "" }
   end
   return require "moonrabbit.cli.table_text"({ "COUNT", "OLDEST", "NEWEST", "ERROR", "EXAMPLE" }, cells)
end

local function look(self, options, job)
   local rows, now = {}, os.time()
   job.keeps = true
   function job.visit(msg)
      if options.action == "show" then return require("moonrabbit.cli.looking").write(msg, options) end
      rows[#rows + 1] = row_of(msg, now)
      return true
   end
   local done, err = require("moonrabbit.cli.transfer").each(job)
   if not done then return nil, err end
   if options.action ~= "show" then
      local groups = options.group and dead.groups(rows)
      local array = require("moonrabbit.base.value").array
      if options.json then return { fields = array(groups or rows) }, done.err end
      if #rows > 0 then io.stdout:write(table.concat(groups and groups_text(groups) or list_text(rows), "\n"), "\n") end
   end
   self:say(("%s in %s"):format(session.count(done.count, "dead letter"), job.queue))
   return {}, done.err
end

-- ---- redrive, drop ----

-- Where a dead letter goes, and its properties. The attempt is 0, so that the consumer counts from 1 again, and knows that the
-- headers of the first exchange and key are its own.
local function redriven(options, userid)
   local carried, message = require "moonrabbit.cli.carried", require "moonrabbit.channel.message"
   local value = require "moonrabbit.base.value"
   return function(msg)
      local letter = dead_letter.of(msg)
      local queue = options.to or letter.queue or home_of(options)
      local headers = msg.properties.headers and msg.properties.headers["x-mr-attempt"] and { ["x-mr-attempt"] = value.int(0),
         ["x-mr-queue"] = queue } or nil
      local raw, err = carried.properties(message.raw(msg), userid, headers, dead_letter.TOLD)
      if not raw then return nil, err end
      return "", queue, raw
   end
end

local function dry_run(self, options, job, word)
   job.keeps = true
   function job.visit() return true end
   local done, err = require("moonrabbit.cli.transfer").each(job)
   if not done then return nil, err end
   return { line = ("would have %s %s of %s"):format(word, session.count(done.count, "message"), job.queue),
      fields = { [word] = 0, would = done.count, queue = job.queue, dry_run = options.dry_run and self ~= nil } }, done.err
end

local function redrive(self, options, job)
   local to, err = self:channel(nil, true)
   if not to then return nil, err end
   job.to, job.shape = to, redriven(options, to.connection:info().userid)
   local done
   done, err = require("moonrabbit.cli.transfer").run(job)
   if not done then return nil, err end
   return { line = ("sent %s of %s back%s %s%s"):format(session.count(done.count, "message"), job.queue, options.to and " to " ..
      options.to or "", session.pace(done.count, done.seconds), require("moonrabbit.cli.moving").doubled(done)),
      fields = { redriven = done.count, queue = job.queue, looked_at = done.taken, seconds = done.seconds, doubled = done.doubled } },
      done.err
end

local function drop(_, options, job)
   if not (options.all or job.matches or job.limit) then
      return session.misuse "drop needs --match, --limit, or --all for all of them"
   end
   function job.visit() return true end
   local done, err = require("moonrabbit.cli.transfer").each(job)
   if not done then return nil, err end
   return { line = ("dropped %s of %s"):format(session.count(done.count, "message"), job.queue),
      fields = { dropped = done.count, queue = job.queue } }, done.err
end

local WORDS = { redrive = "redriven", drop = "dropped" }

local function run(self, options)
   local bounds, wrong = require("moonrabbit.cli.moving").bounds(options)
   if not bounds then return nil, wrong end
   local action = options.action or "list"
   local job = { session = self, queue = queue_of(options), limit = bounds.limit, rate = bounds.rate, matches = bounds.matches }
   local err
   job.from, err = self:channel()
   if not job.from then return nil, err end
   if action == "list" or action == "show" then return look(self, options, job) end
   if options.dry_run then return dry_run(self, options, job, WORDS[action]) end
   return (action == "redrive" and redrive or drop)(self, options, job)
end

--- Runs the command.
-- @treturn number exit code
function dead.main(options)
   return session.run(options, function(self) return run(self, options) end)
end

return dead
