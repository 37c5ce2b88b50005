--- sentinels: a Redis, its replica and three Sentinels for the tests of one file (tests/support/sentinels.sh).
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local files = require "files"
local waits = require "waits"

local sentinels = {}
local dead = {} -- the names of those that were killed

local script = debug.getinfo(1, "S").source:match "^@(.*)%.lua$" .. ".sh"

local function output(command)
   local pipe = assert(io.popen(command .. " 2>&1"))
   local text = pipe:read "*a"
   local ok = pipe:close()
   return text, ok
end

local function run(command, name)
   local said, ok = output(("sh '%s' %s %s %s"):format(script, command, sentinels.dir, name or ""))
   assert(ok, said)
end

--- Starts all five in a folder of their own; how "tls": they speak nothing else, and sentinels.ca is the file of their CA.
function sentinels.start(how)
   sentinels.dir = output "mktemp -d /tmp/moonrabbit-sentinels.XXXXXX":gsub("%s+$", "")
   local ok, why = pcall(run, "start", how)
   if not ok then
      sentinels.clean()
      error(why, 2)
   end
   sentinels.port, sentinels.ca = {}, how and sentinels.dir .. "/tls/ca.pem"
   for key, value in files.read(sentinels.dir .. "/env"):gmatch "export MR_SENTINEL_([%w_]+)=(%d+)" do
      sentinels.port[key:lower():gsub("^port_", "sentinel"):gsub("_", "")] = tonumber(value)
   end
end

--- Ends all, and removes their data.
function sentinels.clean()
   if not sentinels.dir then return end
   output(("sh '%s' stop %s"):format(script, sentinels.dir))
   os.execute("rm -rf " .. sentinels.dir)
   sentinels.dir, dead = nil, {}
end

--- Kills one of server1, server2, sentinel1, sentinel2, sentinel3 without warning.
function sentinels.kill(name)
   dead[name] = true
   run("kill", name)
end

--- Starts a killed one again, and waits until it serves.
function sentinels.revive(name)
   dead[name] = nil
   run("revive", name)
end

--- Runs a command in one of them; returns what redis-cli prints, without the last line end.
function sentinels.cli(name, ...)
   local words = {}
   for i, word in ipairs { ... } do words[i] = ("'%s'"):format(word) end
   local tls = sentinels.ca and "--tls --cacert " .. sentinels.ca or ""
   return (output(("REDISCLI_AUTH=%s timeout 60 redis-cli -h 127.0.0.1 -p %d %s %s"):format(name:find "^server" and "hop" or "skip",
      sentinels.port[name], tls, table.concat(words, " "))):gsub("\n$", ""))
end

--- The server that a Sentinel takes for the master, and the other one.
function sentinels.master(sentinel)
   local port = tonumber(sentinels.cli(sentinel or "sentinel3", "sentinel", "get-master-addr-by-name", "rabbits"):match "\n(%d+)$")
   if port == sentinels.port.server1 then return "server1", "server2" end
   return "server2", "server1"
end

-- All three know the same master, and its replica as one.
local function is_settled()
   local master, replica = sentinels.master()
   for i = 1, 3 do
      local name = "sentinel" .. i
      local of_master = sentinels.cli(name, "sentinel", "master", "rabbits"):gsub("\n", " ")
      local of_replica = sentinels.cli(name, "sentinel", "replicas", "rabbits"):gsub("\n", " ")
      local agrees = sentinels.master(name) == master and of_master:find(" flags master ", 1, true) and
         of_master:find(" num-other-sentinels 2 ", 1, true) and of_replica:find(" flags slave ", 1, true) and
         of_replica:find(" master-link-status ok ", 1, true)
      if not agrees then return false end
   end
   return sentinels.cli(master, "role"):find "^master" and
      sentinels.cli(replica, "info", "replication"):find("master_link_status:up", 1, true)
end

--- Starts what was killed, and waits until the other server is a replica in step with the master, as all three Sentinels know.
function sentinels.settle()
   for name in pairs(dead) do sentinels.revive(name) end
   waits.eventually("a master with a replica", function()
      if is_settled() then return true end
      mr.sleep(0.2) -- between two looks: each is a dozen of processes
   end, 120)
end

--- `sentinel://` with the password of the servers, and those of these Sentinels (default: all).
function sentinels.url(names, more)
   local hosts = {}
   for i, name in ipairs(names or { "sentinel1", "sentinel2", "sentinel3" }) do hosts[i] = "127.0.0.1:" .. sentinels.port[name] end
   return ("sentinel://:hop@%s/0?service_name=rabbits&sentinel_password=skip%s"):format(table.concat(hosts, ","), more or "")
end

return sentinels
