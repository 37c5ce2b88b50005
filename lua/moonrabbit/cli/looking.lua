--- cli.looking: what `get` and `peek` share: messages as text or JSON.
-- SPDX-License-Identifier: MIT
local each = require "moonrabbit.base.each"
local escaped = require "moonrabbit.cli.escaped"
local session = require "moonrabbit.cli.session"
local terminal = require "moonrabbit.cli.terminal"

local looking = {}

local OUT = 1 -- a descriptor
local LIMIT = 10
local SHOWN = 4096 -- bytes of a body, as text for people

--- Adds the arguments and options.
function looking.describe(c)
   c:argument("queue", "The queue.")
   c:option("--limit", ("At most so many messages; 0: all that are there. Default: %d."):format(LIMIT)):argname "N"
   c:option("--match", "Only those with this, such as type=order.*; may be repeated (see dead)."):argname "FIELD=PATTERN":count "*"
   c:flag("--body", "Print the bodies as they are (a terminal gets no control characters), each with an end of line, and nothing else.")
   session.options(c)
end

-- A value as it is written in JSON, which has no control characters.
local function show(v) return escaped(type(v) == "string" and v or require("moonrabbit.base.json").encode(v)) end

--- A message for people: a line for each property and header, and its body.
-- @tparam table t of message_json.table
-- @tparam string body
-- @treturn table lines
function looking.lines(t, body)
   local lines = { ("%s  (exchange %s, key %s%s, %d bytes)"):format(show(t.queue), show(t.exchange == "" and "(default)" or t.exchange),
      show(t.routing_key), t.redelivered and ", redelivered" or "", #body) }
   local function list(prefix, of)
      local names = {}
      for name in each(of) do names[#names + 1] = name end
      table.sort(names)
      for _, name in ipairs(names) do
         if name ~= "headers" or prefix ~= "  " then lines[#lines + 1] = ("%s%s: %s"):format(prefix, escaped(name), show(of[name])) end
      end
   end
   list("  ", t.properties)
   list("  header ", t.properties.headers or {})
   local cut = #body > SHOWN and (" ... (%d bytes more)"):format(#body - SHOWN) or ""
   lines[#lines + 1] = "  " .. (t.body and escaped(body:sub(1, SHOWN)) .. cut or ("(%d bytes that are no text)"):format(#body))
   return lines
end

--- Writes a message to standard output.
-- @tparam message msg
-- @tparam table options json, body
-- @treturn[1] true
-- @treturn[2] nil, string what is wrong
function looking.write(msg, options)
   local text
   if options.body then
      text = terminal.fit(OUT, msg.body)
   else
      local message_json = require "moonrabbit.cli.message_json"
      text = options.json and message_json.line(msg) or table.concat(looking.lines(message_json.table(msg), msg.body), "\n")
   end
   local ok, why = io.stdout:write(text, "\n")
   if ok then ok, why = io.stdout:flush() end
   if ok then return true end
   return nil, "standard output: " .. tostring(why)
end

local function run(self, options, keeps)
   local limit, wrong = session.number("--limit", options.limit, 0, true)
   if wrong then return nil, wrong end
   local matches, why = require("moonrabbit.cli.matching").of(options.match)
   if why then return session.misuse(why) end
   if not limit then limit = LIMIT elseif limit == 0 then limit = nil end
   local ch, err = self:channel()
   if not ch then return nil, err end
   local transfer = require "moonrabbit.cli.transfer"
   local done
   done, err = transfer.each { session = self, from = ch, queue = options.queue, matches = matches, limit = limit, keeps = keeps,
      visit = function(msg) return looking.write(msg, options) end }
   if not done then return nil, err end
   self:say(("%s %s of %s"):format(keeps and "looked at" or "took", session.count(done.count, "message"), options.queue))
   return {}, done.err
end

--- Runs the command.
-- @tparam table options of the parser
-- @tparam boolean keeps
-- @treturn number exit code
function looking.main(options, keeps)
   return session.run(options, function(self) return run(self, options, keeps) end)
end

return looking
