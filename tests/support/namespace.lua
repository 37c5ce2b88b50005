--- namespace: a network of a test's own: a namespace, a pair of virtual interfaces into it, and their end.
-- SPDX-License-Identifier: MIT
-- Its addresses are of 198.18.0.0/15, which is for tests of networks (RFC 2544). It needs root.
local namespace = {}

local function run(command)
   local file = os.tmpname()
   local code = os.execute(("timeout 10 sh -c '%s' >%s 2>&1 </dev/null"):format(command, file))
   local f = assert(io.open(file))
   local text = f:read "*a"
   f:close()
   os.remove(file)
   return code == 0 or code == true, text
end

local Namespace = {}
Namespace.__index = Namespace

-- A run that was killed leaves its own behind: the name says whose it was.
local function sweep()
   local pipe = assert(io.popen "ip netns list 2>/dev/null")
   for line in pipe:lines() do
      local id = line:match "^mr%-test%-(%d+)"
      local owner = id and io.open(("/proc/%s/stat"):format(id))
      if owner then owner:close()
      elseif id then setmetatable({ name = "mr-test-" .. id, link = ("mr%sa"):format(id) }, Namespace):remove() end
   end
   pipe:close()
end

--- Makes one: `near` is our address, `far` the one within.
-- @treturn[1] table
-- @treturn[2] nil, string why not: no root, no `ip`
function namespace.make()
   local pipe = assert(io.popen "echo $PPID")
   local id = tonumber(pipe:read "*a")
   pipe:close()
   sweep()
   local net = id % 16384
   local self = setmetatable({ name = "mr-test-" .. id, link = ("mr%da"):format(id), peer = ("mr%db"):format(id) }, Namespace)
   self.near = ("198.18.%d.%d"):format(math.floor(net / 64), net % 64 * 4 + 1)
   self.far = ("198.18.%d.%d"):format(math.floor(net / 64), net % 64 * 4 + 2)
   for _, command in ipairs {
      "ip netns add %{name}", "ip link add %{link} type veth peer name %{peer} netns %{name}",
      "ip addr add %{near}/30 dev %{link}", "ip link set %{link} up", "ip -n %{name} addr add %{far}/30 dev %{peer}",
      "ip -n %{name} link set %{peer} up", "ip -n %{name} link set lo up",
   } do
      local ok, text = run((command:gsub("%%{(%w+)}", self)))
      if not ok then
         self:remove()
         return nil, text
      end
   end
   return self
end

--- A shell command that runs another one within.
function Namespace:inside(command) return ("ip netns exec %s %s"):format(self.name, command) end

--- The cable: in (true) or out (false).
function Namespace:plug(is_in)
   assert(run(("ip link set %s %s"):format(self.link, is_in and "up" or "down")))
end

--- Ends the processes within, and all of it.
function Namespace:remove()
   run(("ip netns pids %s | xargs -r kill -9"):format(self.name))
   run("ip link delete " .. self.link)
   run("ip netns delete " .. self.name)
end

return namespace
