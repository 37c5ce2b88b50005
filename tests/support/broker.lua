--- broker: what contract specs need of the private RabbitMQ and of time.
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"

local broker = {}

local function env(name)
   return os.getenv(name) or error(name .. " is not set: run the contract tests by tests/run.sh", 2)
end

broker.url = env "MR_RABBITMQ_URL"
broker.port = tonumber(env "MR_RABBITMQ_PORT")
broker.command = env "MOONRABBIT_COMMAND"

--- What marks the connections of this process at the broker.
broker.mark = ("spec-%d-"):format(os.time()) .. tostring({}):sub(8)

local opened, scripts = {}, {}

--- Connects, with more options than the URL; closed by broker.close_all.
function broker.connect(options)
   local all = { url = broker.url }
   for k, v in pairs(options or {}) do all[k] = v end
   local client_properties = { spec = broker.mark }
   for k, v in pairs(all.client_properties or {}) do client_properties[k] = v end
   all.client_properties = client_properties
   local conn = mr.connect(all)
   opened[#opened + 1] = conn
   return conn
end

--- A channel on a connection of its own.
function broker.channel(options)
   return assert(broker.connect(options):channel())
end

--- Closes what broker.connect opened and removes the scripts.
function broker.close_all()
   for _, conn in ipairs(opened) do conn:release() end
   for _, path in ipairs(scripts) do os.remove(path) end
   opened, scripts = {}, {}
end

local count = 0
--- A name that no other test uses.
function broker.name(what)
   count = count + 1
   return ("%s-%d-%d"):format(what, os.time(), count) .. tostring({}):sub(8)
end

--- Pumps until condition() holds; fails after `seconds`.
function broker.eventually(what, condition, seconds)
   local deadline = mr.now() + (seconds or 10)
   local value = condition()
   while not value do
      if mr.now() > deadline then error("in vain waited for: " .. what, 2) end
      mr.sleep(0.005)
      value = condition()
   end
   return value
end

--- Runs a shell command without stopping the loop. Returns its output and exit code.
function broker.shell(command)
   local file = os.tmpname()
   -- timeout needs one program, so the command becomes the argument of a shell.
   command = ("timeout 40 sh -c '%s'"):format(command:gsub("'", "'\\''"))
   os.execute(("{ (%s) >%s 2>&1; echo \"exit $?\" >%s.new; mv %s.new %s.done; } &"):format(command, file, file, file, file))
   local out = broker.eventually(command, function()
      local done = io.open(file .. ".done")
      if not done then return nil end
      local line = done:read "*l"
      done:close()
      return line
   end, 60)
   local f = assert(io.open(file))
   local text = f:read "*a"
   f:close()
   os.remove(file)
   os.remove(file .. ".done")
   return text, tonumber(out:match "exit (%d+)")
end

--- rabbitmqctl of the private broker.
function broker.ctl(arguments)
   return broker.shell(("sh %s ctl %s %s"):format(env "MR_RABBITMQ_SH", env "MR_RABBITMQ_DIR", arguments))
end

--- Takes the next message of a queue, waiting until there is one; settled unless `options` says otherwise.
function broker.take(ch, queue, options)
   return broker.eventually("a message of " .. queue, function()
      local msg, err = ch:get(queue, options or { no_ack = true })
      if not msg and err.kind ~= "empty" then error(tostring(err), 0) end
      return msg
   end)
end

--- Runs fn with the log off, for what is meant to go wrong.
function broker.quietly(fn)
   mr.log.configure "off"
   local ok, why = pcall(fn)
   mr.log.configure "warn"
   if not ok then error(why, 0) end
end

--- Fails when the broker still has a connection of this process. (Other processes may have theirs.)
function broker.none_left()
   broker.close_all()
   broker.eventually("no connection at the broker", function()
      return not broker.ctl("list_connections -q name client_properties"):find(broker.mark, 1, true)
   end)
end

--- A script on disk for the command; returns its path.
function broker.script(text)
   local path = os.tmpname()
   local f = assert(io.open(path, "w"))
   f:write(text)
   f:close()
   scripts[#scripts + 1] = path
   return path
end

return broker
