--- redis: a private Redis for the tests of one file (tests/support/redis.sh), and its command line.
-- SPDX-License-Identifier: MIT
local files = require "files"
local mr = require "moonrabbit"

local redis = {}

local script = debug.getinfo(1, "S").source:match "^@(.*)%.lua$" .. ".sh"

local function quoted(text) return "'" .. tostring(text):gsub("'", "'\\''") .. "'" end

--- What a shell command prints, and whether it was well.
function redis.shell(command)
   local pipe = assert(io.popen(command .. " 2>&1"))
   local text = pipe:read "*a"
   local ok = pipe:close()
   return text, ok
end

--- Starts one in a folder of its own; afterwards redis.env has what its env file says, such as MR_REDIS_URL.
function redis.start()
   redis.dir = redis.dir or redis.shell "mktemp -d /tmp/moonrabbit-redis.XXXXXX":gsub("%s+$", "")
   local said, ok = redis.shell(("sh %s start %s"):format(quoted(script), redis.dir))
   assert(ok, said)
   redis.env = {}
   for key, value in files.read(redis.dir .. "/env"):gmatch "export ([%w_]+)='?([^'\n]*)" do redis.env[key] = value end
end

--- Ends it; its data stay for the next start.
function redis.stop() redis.shell(("sh %s stop %s"):format(quoted(script), redis.dir)) end

--- Kills it without warning, and waits until it is dead: a start finds it serving otherwise, and starts none.
function redis.kill()
   local pid = files.read(redis.dir .. "/pid"):match "%d+"
   os.execute(("kill -9 %s; while grep -q '^State:.[^ZX]' /proc/%s/status 2>/dev/null; do sleep 0.01; done"):format(pid, pid))
end

--- Ends it, and removes its data.
function redis.clean()
   if not redis.dir then return end
   redis.stop()
   os.execute("rm -rf " .. redis.dir)
   redis.dir = nil
end

--- A private Redis for the tests of a describe, or of a file; the log is off meanwhile.
-- @tparam function setup, teardown busted's, which only a spec sees
function redis.around(setup, teardown)
   setup(function()
      mr.log.configure "off"
      redis.start()
   end)
   teardown(function()
      redis.clean()
      mr.log.configure "warn"
   end)
end

--- Runs a command in it; returns what redis-cli prints, without the last line end.
function redis.cli(...)
   local words = {}
   for i, word in ipairs { ... } do words[i] = quoted(word) end
   return (redis.shell(("timeout 60 redis-cli -s %s %s"):format(redis.env.MR_REDIS_SOCKET, table.concat(words, " "))):gsub("\n$", ""))
end

--- Runs a Python program that uses kombu, with the URL as its first argument; returns what it prints.
function redis.python(program, ...)
   local path = os.tmpname()
   files.write(path, program)
   local words = {}
   for i, word in ipairs { ... } do words[i] = quoted(word) end
   local arguments = quoted(redis.env.MR_REDIS_URL) .. " " .. table.concat(words, " ")
   local said, ok = redis.shell(("timeout 60 /usr/bin/python3 %s %s"):format(path, arguments))
   os.remove(path)
   assert(ok, said)
   return (said:gsub("\n$", ""))
end

return redis
