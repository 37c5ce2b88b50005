--- cluster: what cluster specs need of the three nodes that cluster.sh runs.
-- SPDX-License-Identifier: MIT
local mr = require "moonrabbit"
local shell = require "shell"
local waits = require "waits"

local cluster = { eventually = waits.eventually }

local function env(name)
   return os.getenv(name) or error(name .. " is not set: run the cluster tests by tests/run.sh cluster", 2)
end

local script, dir = env "MR_CLUSTER_SH", env "MR_CLUSTER_DIR"
cluster.ports = { tonumber(env "MR_CLUSTER_PORT_1"), tonumber(env "MR_CLUSTER_PORT_2"), tonumber(env "MR_CLUSTER_PORT_3") }

local open, hurt = {}, {} -- connections; node -> what makes it well again

--- Runs cluster.sh without stopping the loop. Raises an error with its output if it fails.
function cluster.run(command, node, arguments)
   local said, code = shell(("sh %s %s %s %s %s"):format(script, command, dir, node or "", arguments or ""))
   if code ~= 0 then error(("cluster.sh %s %s: %s"):format(command, node or "", said), 2) end
   return said
end

local CURES = { kill = "revive", freeze = "revive", part = "heal", drain = "undrain" }

--- Does one of these to a node: kill, freeze, part, drain. It is undone by cluster.cure, at the latest by close_all.
function cluster.hurt(how, node)
   hurt[node] = CURES[how]
   cluster.run(how, node)
end

--- Undoes what was done to a node, and waits until all nodes run together.
function cluster.cure(node)
   local cure = hurt[node]
   if not cure then return end
   cluster.run(cure, node)
   hurt[node] = nil
   cluster.eventually("three nodes", function()
      local ok, said = pcall(cluster.run, "ctl", node == 1 and 2 or 1, "eval 'length(rabbit_mnesia:cluster_nodes(running)).'")
      return ok and said:match "^3"
   end, 60)
end

--- Options of a connection that goes to these nodes, in this order; heartbeats of 2 s.
function cluster.options(nodes, more)
   local hosts = {}
   for i, n in ipairs(nodes or { 1, 2, 3 }) do hosts[i] = "127.0.0.1:" .. cluster.ports[n] end
   local o = { url = "amqp://guest:guest@" .. table.concat(hosts, ",") .. "/%2f", heartbeat = 2, connect_timeout = 3, hosts = "in_order",
      transport_options = { interval_start = 0, interval_step = 0.2, interval_max = 1 } }
   for k, v in pairs(more or {}) do o[k] = v end
   return o
end

--- Such a connection, closed by close_all.
function cluster.connect(nodes, more)
   local conn = mr.connect(cluster.options(nodes, more))
   open[#open + 1] = conn
   return conn
end

--- The node that a connection is at.
function cluster.node_of(conn)
   local port = tonumber(conn.host:match ":(%d+)$")
   for n, p in ipairs(cluster.ports) do if p == port then return n end end
end

local count = 0

--- A name that no other test has.
function cluster.name(what)
   count = count + 1
   return ("%s-%d-%d"):format(what, os.time(), count)
end

--- Closes the connections and makes all nodes well.
function cluster.close_all()
   for _, conn in ipairs(open) do conn:release() end
   open = {}
   for node in pairs(hurt) do cluster.cure(node) end
end

return cluster
