--- cli.dot: the commands of a prompt: lines that begin with a dot.
-- SPDX-License-Identifier: MIT
-- A command gets a target (cli/remote.lua: another process; cli/own.lua: this one) and its arguments, and returns text, or
-- nil and what is wrong. dot.add adds one.
local each = require "moonrabbit.base.each"
local options = require "moonrabbit.base.options"

local dot = {}

dot.QUIT = {} -- what a command returns that ends the prompt

local commands, order = {}, {}

--- Adds a command.
-- @tparam string name without the dot
-- @tparam string arguments such as "CONSUMER N"; those in brackets may be left out; "" for none
-- @tparam string help one line
-- @tparam function fn fn(target, arguments...) -> text or dot.QUIT, or nil and what is wrong
function dot.add(name, arguments, help, fn)
   if not commands[name] then order[#order + 1] = name end
   local least, most = 0, 0
   for word in arguments:gmatch "%S+" do
      most = most + 1
      if word:sub(1, 1) ~= "[" then least = least + 1 end
   end
   commands[name] = { name = name, arguments = arguments, help = help, fn = fn, least = least, most = most }
end

--- Splits a line.
-- @tparam string line
-- @treturn[1] string the command's name
-- @treturn[1] table its arguments; one with spaces stands in double quotes
-- @treturn[2] nil: the line is no command
function dot.parse(line)
   local name, rest = line:match "^%s*%.([%a_][%w_-]*)(.*)$"
   if not name or rest ~= "" and not rest:find "^%s" then
      if line:find "^%s*%.%s*$" then return "", {} end
      return nil
   end
   local arguments = {}
   for quoted, plain in (rest:gsub('"([^"]*)"', function(inner) return "\1" .. inner:gsub("%s", "\2") end)):gmatch "(\1?)(%S+)" do
      arguments[#arguments + 1] = quoted ~= "" and plain:gsub("\2", " ") or plain
   end
   return name, arguments
end

--- The names of the commands that begin so.
-- @tparam string prefix with its dot
-- @treturn table sorted
function dot.words(prefix)
   local list = {}
   for name in each(commands) do
      if ("." .. name):sub(1, #prefix) == prefix then list[#list + 1] = "." .. name end
   end
   table.sort(list)
   return list
end

--- True if a command takes such an argument.
-- @tparam string name
-- @tparam string argument such as "CONSUMER"
function dot.takes(name, argument)
   local command = commands[name]
   return command ~= nil and command.arguments:find(argument, 1, true) ~= nil
end

local function unknown(name)
   local names = {}
   for i, known in ipairs(order) do names[i] = known end
   local nearest = options.nearest(name, names)
   return ("no command .%s: %s"):format(name, nearest and ("did you mean .%s?"):format(nearest) or ".help lists them")
end

--- Runs a command.
-- @tparam table target
-- @tparam string name
-- @tparam table arguments
-- @treturn[1] string|table text, or dot.QUIT
-- @treturn[2] nil, string what is wrong
function dot.run(target, name, arguments)
   local command = commands[name]
   if not command then return nil, unknown(name) end
   if #arguments < command.least or #arguments > command.most then
      return nil, ((("usage: .%s %s"):format(name, command.arguments)):gsub("%s+$", ""))
   end
   return command.fn(target, unpack(arguments))
end

local function help()
   local rows = {}
   for i, name in ipairs(order) do
      local command = commands[name]
      rows[i] = { "." .. name .. (command.arguments ~= "" and " " .. command.arguments or ""), command.help }
   end
   local lines = require "moonrabbit.cli.table_text"({ "COMMAND", "" }, rows)
   lines[#lines + 1] = "Any other line is Lua. Tab completes, Ctrl-C gives up, Ctrl-D leaves."
   return table.concat(lines, "\n")
end

-- A command that is an action of console/control.lua.
local function action(name, arguments, help_text, fields_of)
   dot.add(name, arguments, help_text, function(target, ...) return target:control(name, fields_of and fields_of(...) or {}) end)
end

-- A command that shows a part of the page /status.
local function view(name, help_text)
   dot.add(name, "", help_text, function(target)
      local page, why = target:status()
      if not page then return nil, why end
      return table.concat(require("moonrabbit.cli.dot_views")[name](page, target.name), "\n")
   end)
end

local function of_consumer(consumer, number) return { consumer = consumer, number = number } end

dot.add("help", "", "list the commands", help)
view("status", "what the process is at")
view("connections", "its connections, with their channels")
view("consumers", "its consumers")
view("queues", "its queues: rates, durations of handlers, retries, dead letters")
dot.add("handlers", "", "the handlers at work: their messages, how long, where they wait", function(target)
   local views = require "moonrabbit.cli.dot_views"
   local list, why, page = target:handlers()
   if not list and not page then return nil, why end
   return table.concat(list and views.handlers(list) or views.handlers_of_status(page), "\n")
end)
dot.add("recorder", "[FILTER]", "the last events of the flight recorder; several words of a filter stand in double quotes",
   function(target, filter)
      local page, why = target:recorder(filter or "")
      if not page then return nil, why end
      return table.concat(require("moonrabbit.cli.recorder_text").lines(page), "\n")
   end)
view("pools", "its pools: what is lent, who waits")
action("log", "LEVEL", "log from this level on: error, warn, info, debug, off", function(level) return { level = level } end)
action("pause", "CONSUMER", "have a consumer take no more messages: its name, tag or queue", of_consumer)
action("resume", "CONSUMER", "have it go on", of_consumer)
action("cancel", "CONSUMER", "end it for good; a program that has nothing else to do ends, too", of_consumer)
action("prefetch", "CONSUMER N", "set its prefetch; it begins anew at the broker", of_consumer)
action("concurrency", "CONSUMER N", "set how many of its handlers run at the same time", of_consumer)
action("reconnect", "", "try now what waits for its next try to connect")
action("quiet", "[off]", "have the process take no more messages; off: have it go on",
   function(off) return off and { off = off } or {} end)
action("reload", "", "load the script anew, as SIGHUP does")
action("drain", "", "let handlers finish, and end the process, as SIGTERM does")
dot.add("quit", "", "leave the prompt", function() return dot.QUIT end)

return dot
