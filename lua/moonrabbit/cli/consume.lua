--- cli.consume: `moonrabbit consume`: prints messages as they come, or gives each to a command.
-- SPDX-License-Identifier: MIT
local session = require "moonrabbit.cli.session"

local consume = {}

local GIVE_UP = 65 -- EX_DATAERR of sysexits.h
local DRAIN = 30   -- seconds for running commands at a stop

--- Adds the command to the parser.
function consume.describe(p)
   local c = p:command("consume", "Consume a queue: print its messages, or run a command for each.", [[
Examples:
   moonrabbit consume orders --body
   moonrabbit consume orders --exec 'jq .id >> ids.txt' --attempts 5

--exec gives the body to the command's standard input (with --json: the message as one line of JSON);
MOONRABBIT_QUEUE, MOONRABBIT_ROUTING_KEY, MOONRABBIT_MESSAGE_ID and MOONRABBIT_ATTEMPT are in its
environment. Its exit code decides: 0: the message is acked; 65: it is a dead letter; any other, or a
signal: it is retried after a pause, from 0.5 s to a minute, and a dead letter after --attempts.
Without --exec a message is acked when it is printed. Ctrl-C: what has begun is ended.]])
   c:argument("queue", "The queue; it must exist.")
   c:option("--exec", "Run this for each message."):argname "COMMAND"
   c:option("--attempts", "How often a message is tried, with --exec.", "8"):argname "N"
   c:option("--concurrency", "How many commands run at a time.", "1"):argname "N"
   c:option("--count", "End after so many messages."):argname "N"
   c:option("--idle", "End when no message has come for so many seconds."):argname "SECONDS"
   c:flag("--body", "Print the bodies as they are (a terminal gets no control characters), each with an end of line, and nothing else.")
   session.options(c)
end

local function environment(msg, queue)
   local function plain(text) return text and (text:gsub("%z.*", "")) or false end
   return { MOONRABBIT_QUEUE = plain(queue), MOONRABBIT_ROUTING_KEY = plain(msg.routing_key),
      MOONRABBIT_MESSAGE_ID = plain(msg.message_id), MOONRABBIT_ATTEMPT = tostring(msg.attempt) }
end

-- What the handler of mr.consumer returns for a command's end.
local function verdict(how, why)
   if not how then return nil, why end
   if how.code == 0 then return true end
   if how.code == GIVE_UP then return "dead_letter", ("the command exited with %d"):format(GIVE_UP) end
   return nil, how.code and ("the command exited with %d"):format(how.code) or ("the command was ended by signal %d"):format(how.signal)
end

local function run_command(options, msg)
   local input = msg.body
   if options.json then
      input = require("moonrabbit.cli.message_json").line(msg) .. "\n"
   end
   return verdict(require("moonrabbit.cli.exec").run(options.exec, input, environment(msg, options.queue)))
end

-- Counts messages, and ends the work when there are enough of them, or none have come.
local function counting(self, count, idle, handle)
   local state = { begun = 0, ended = 0, failed = 0, dead = 0, last = self.mr.now(), over = self.mr.event() }
   local function check()
      if count and state.ended >= count then state.over:set() end
   end
   function state.handler(msg)
      if count and state.begun >= count or self.interrupted then return "requeue" end
      state.begun, state.last = state.begun + 1, self.mr.now()
      local word, why = handle(msg)
      state.ended, state.last = state.ended + 1, self.mr.now()
      if word == nil then state.failed = state.failed + 1 elseif word == "dead_letter" then state.dead = state.dead + 1 end
      check()
      return word, why
   end
   if idle then
      self.mr.every(math.min(idle, 0.5), function()
         if state.begun == state.ended and self.mr.now() - state.last >= idle then state.over:set() end
      end)
   end
   return state
end

local function numbers(options)
   local n = {}
   for _, one in ipairs { { "attempts", 1, true }, { "concurrency", 1, true }, { "count", 1, true }, { "idle", 0.001 } } do
      local v, wrong = session.number("--" .. one[1], options[one[1]], one[2], one[3])
      if wrong then return nil, wrong end
      n[one[1]] = v
   end
   if n.concurrency > 1000 then return session.misuse "--concurrency takes at most 1000" end
   return n
end

local function start(self, options, n, state)
   local mr = self.mr
   local conn, err = self:connect()
   if not conn then return nil, err end
   local ch, there
   ch, err = conn:channel()
   if not ch then return nil, err end
   there, err = ch:queue_declare { queue = options.queue, passive = true } -- mr.consumer would wait for it
   if not there then return nil, err end
   ch:close()
   local at_once = options.exec and n.concurrency or 1
   return mr.consumer { queue = options.queue, connection = conn, declare = false, prefetch = math.min(at_once, n.count or at_once),
      concurrency = at_once, dead_letter = options.exec ~= nil, handler = state.handler,
      retry = options.exec and mr.retry.exponential { first = 0.5, max = 60, attempts = n.attempts } or mr.retry.never }
end

local function run(self, options)
   local n, wrong = numbers(options)
   if not n then return nil, wrong end
   local trouble
   local state
   state = counting(self, n.count, n.idle, function(msg)
      if options.exec then return run_command(options, msg) end
      local ok, why = require("moonrabbit.cli.looking").write(msg, options)
      if ok then return true end
      trouble = why
      state.over:set()
      return "requeue"
   end)
   if options.exec then
      local exec = require "moonrabbit.cli.exec"
      exec.prepare()
      self.on_child = exec.on_child
   end
   local worker, err = start(self, options, n, state)
   if not worker then return nil, err end
   self:begin(function() state.over:set() end)
   while not state.over:wait(0.5) and worker.state ~= "failed" and worker.connection.state ~= "closed" do
      if not worker.connection.is_open then break end
   end
   err = trouble or worker.err or not worker.connection.is_open and worker.connection.last_error or nil
   require("moonrabbit.program.shutdown").run(DRAIN)
   self:say(("consumed %s of %s%s"):format(session.count(state.ended, "message"), options.queue,
      options.exec and (": %d failed, %d given up by the command"):format(state.failed, state.dead) or ""))
   return {}, err
end

--- Runs the command.
-- @treturn number exit code
function consume.main(options)
   return session.run(options, function(self) return run(self, options) end)
end

return consume
