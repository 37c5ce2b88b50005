--- cli.queues: `moonrabbit queues`: how many messages and consumers queues have.
-- SPDX-License-Identifier: MIT
local session = require "moonrabbit.cli.session"

local queues = {}

--- Adds the command to the parser.
function queues.describe(p)
   local c = p:command("queues", "Show how many messages are ready in queues, and how many consumers they have.", [[
Example: moonrabbit queues orders invoices

For each queue also those that Moonrabbit keeps for it, if they exist: its dead letters (orders.dead)
and what comes back from a retry (orders.retry-exit). AMQP cannot list queues: name them. A pattern
(orders.*) chooses among the names of --names, such as those of rabbitmqctl list_queues -q name.]])
   c:argument("queue", "A queue, or a pattern for --names."):args "*"
   c:option("--names", "Take names from a file, one a line; -: standard input."):argname "FILE"
   session.options(c)
end

local COMPANIONS = { ".dead", ".retry-exit" }

local function read_names(path)
   local file, why = io.stdin, nil
   if path ~= "-" then file, why = io.open(path) end
   if not file then return nil, why end
   local list = {}
   for line in file:lines() do
      local name = line:gsub("\r$", "")
      if name ~= "" then list[#list + 1] = name end
   end
   if path ~= "-" then file:close() end
   return list
end

local function is_pattern(name) return name:find "[*?]" ~= nil end

-- The names to ask for, each once.
local function names_of(options)
   local known = {}
   if options.names then
      local names, why = read_names(options.names)
      if not names then return nil, why end
      known = names
   end
   local list, seen = {}, {}
   local function add(name)
      if not seen[name] then list[#list + 1], seen[name] = name, true end
   end
   for _, name in ipairs(options.queue) do
      if is_pattern(name) then
         if not options.names then
            return session.misuse(("AMQP cannot list queues: the pattern %s needs --names FILE"):format(name))
         end
         local is_wanted = require "moonrabbit.base.glob"(name)
         for _, one in ipairs(known) do
            if is_wanted(one) then add(one) end
         end
      else
         add(name)
      end
   end
   if #options.queue == 0 then
      for _, one in ipairs(known) do add(one) end
      if not options.names then return session.misuse "AMQP cannot list queues: name them, or give --names FILE" end
   end
   return list, seen
end

-- What a passive declare says; nil: there is no such queue. Such an answer closes the channel.
local function look(self, conn, name)
   local ch = self.open
   if not (ch and ch.is_open) then
      local new, why = conn:channel()
      if not new then return nil, why end
      ch, self.open = new, new
   end
   local found, err = ch:queue_declare { queue = name, passive = true }
   if not found then return nil, err end
   return { queue = name, messages = found.message_count, consumers = found.consumer_count }
end

local function collect(self, conn, list, seen)
   local rows = {}
   for _, name in ipairs(list) do
      local row, err = look(self, conn, name)
      if not row and not err.code then return nil, err end
      rows[#rows + 1] = row or { queue = name, error = err.kind }
      for _, suffix in ipairs(row and COMPANIONS or {}) do
         row = not seen[name .. suffix] and look(self, conn, name .. suffix)
         if row then rows[#rows + 1] = row end
      end
   end
   return rows
end

local function run(self, options)
   local list, seen = names_of(options)
   if not list then return nil, seen end
   local conn, err = self:connect()
   if not conn then return nil, err end
   local rows
   rows, err = collect(self, conn, list, seen)
   if not rows then return nil, err end
   local cells, failed = {}, false
   for i, row in ipairs(rows) do
      cells[i] = { row.queue, row.messages, row.consumers, row.error }
      failed = failed or row.error ~= nil
   end
   if not options.json then
      io.stdout:write(table.concat(require("moonrabbit.cli.table_text")({ "QUEUE", "READY", "CONSUMERS", failed and "ERROR" or "" },
         cells), "\n"), "\n")
      return { code = failed and 1 or 0 }
   end
   return { fields = require("moonrabbit.base.value").array(rows), code = failed and 1 or 0 }
end

--- Runs the command.
-- @treturn number exit code
function queues.main(options)
   return session.run(options, function(self) return run(self, options) end)
end

return queues
