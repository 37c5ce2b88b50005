--- docs: what the pages must have: the rows of the capability contract that are guidance.
-- Feature: the pages of docs
local files = require "files"

local function page(name) return files.read("docs/" .. name .. ".md") end

-- Each part stands on the page, in the section of that title if one is named.
local function has(name, section, ...)
   local text = page(name)
   if section then
      local _, from = text:find("\n#+ " .. section:gsub("%p", "%%%0") .. "\n")
      assert(from, ("docs/%s.md has no section %q"):format(name, section))
      text = text:sub(from, (text:find("\n## ", from, true) or 0) - 1)
   end
   for _, part in ipairs { ... } do
      assert(text:find(part, 1, true), ("docs/%s.md, %s: %q is missing"):format(name, section or "anywhere", part))
   end
end

describe("the documentation", function()
   it("says which heartbeat suits which network (B4, H6)", function()
      has("connections", "Heartbeats", "60", "firewall", "| 30,", "| 120 |")
      has("troubleshooting", "heartbeat_timeout", "`heartbeat = 30`", "Wi-Fi", "the broker's log")
   end)

   it("says how to count connections, and to see and raise the limit (G1, G2, G3, I5)", function()
      has("connections", "Monitoring", "rabbitmqctl list_connections", "rabbitmqctl environment", "connection_max = 1000",
         "rabbitmq.conf", "set_vhost_limits", "set_user_limits")
      has("connections", "Best practice", "Watch the number of connections")
   end)

   it("has what to do about too many connections: shared, fewer, a higher limit (H1, H2, H3, H4)", function()
      has("troubleshooting", "connection_limit_reached", '`strategy = "shared"`', "`max_connections`", "rabbitmqctl list_connections",
         "`connection_max` in rabbitmq.conf")
   end)

   it("has what to look at when a connection is refused, and when a declare is (H5, H7)", function()
      has("troubleshooting", "connection_refused", "rabbitmqctl status", "5672", "5671", "host or port is wrong", "firewall")
      has("troubleshooting", "vhost_access_refused", "set_permissions")
      has("troubleshooting", "precondition_failed", "inequivalent arg", "the text names the one that differs")
   end)

   it("has best practice: pools, heartbeats, retries, counting, TLS, names (I1, I2, I3, I4, I5, I6, I7)", function()
      has("connections", "Pools", "| take it for | many processes", "many tasks in one process")
      has("connections", "Best practice", "One connection for consuming and one for publishing", "Name every connection",
         "Keep heartbeats on, 60 s", "Leave recovery on", "TLS with verification", "Watch the number of connections")
   end)

   it("has rules for the sizes of pools and the prefetch (X21)", function()
      has("connections", "Pools", "worker processes times 2", "half of the tasks")
      has("performance", "What to choose", "| strategy |", "| prefetch |", "| acks |", "| heartbeat |")
   end)

   it("is complete: configuration, performance, troubleshooting, topologies, each linked (I8)", function()
      for _, name in ipairs { "configuration", "performance", "troubleshooting", "topologies" } do assert.is_true(#page(name) > 1000) end
      local readme = files.read "README.md"
      for _, name in ipairs { "connections", "configuration", "performance", "troubleshooting", "topologies" } do
         assert.truthy(readme:find(("docs/%s.md"):format(name), 1, true), "README.md does not link docs/" .. name .. ".md")
      end
      has("connections", nil, "(configuration.md)", "(troubleshooting.md)")
   end)

   it("shows in its figures what performance.md says", function()
      assert.equal(0, os.execute "luajit tests/bench/figure.lua . --check")
      assert.truthy(files.read("README.md"):find("(docs/benchmark.svg)", 1, true))
      has("performance", nil, "(pictures/cpu.svg)", "(pictures/memory.svg)")
   end)

   it("lists no function of mr that does not exist", function()
      local mr = require "moonrabbit"
      local count = 0
      for name in page("api"):gmatch "\n### `mr%.([%w_]+)%(" do
         count = count + 1
         assert.is_not_nil(mr[name], "mr." .. name)
      end
      assert.is_true(count > 20, tostring(count))
   end)

   it("has no link to a page or a section that is not there", function()
      local sections = {}
      local function anchors(name)
         if sections[name] then return sections[name] end
         local set = {}
         for title in page(name):gmatch "\n#+ ([^\n]+)" do
            set[title:lower():gsub("[^%w%s_-]", ""):gsub("%s", "-")] = true
         end
         sections[name] = set
         return set
      end
      for _, name in ipairs { "connections", "troubleshooting", "topologies", "configuration", "performance", "embedded-broker" } do
         for target, anchor in page(name):gmatch "%]%(([%w_-]+)%.md#?([^)]*)%)" do
            assert(io.open("docs/" .. target .. ".md"), ("%s links %s.md"):format(name, target)):close()
            assert(anchor == "" or anchors(target)[anchor], ("%s links %s.md#%s"):format(name, target, anchor))
         end
         for anchor in page(name):gmatch "%]%(#([^)]*)%)" do assert(anchors(name)[anchor], name .. " links #" .. anchor) end
      end
   end)
end)

describe("the catalogue of the log", function()
   local messages, write_page = dofile "tests/tools/log_messages.lua", dofile "tests/tools/log_page.lua"
   local catalogue = dofile "tests/tools/log_catalogue.lua"

   local function complaints(of)
      local list = {}
      write_page(of, catalogue, function(what) list[#list + 1] = what end)
      return list
   end

   it("has every message of the code, and no other (FIELD-W38)", function()
      local of = messages "."
      assert.same({}, complaints(of))
      assert.is_true(of.lost.fields.hint and of.lost.levels.error and of.stopped.fields.code and of.stopped.levels.info)
      assert.truthy(files.read "docs/log.md":find("| `still not connected` | warn | ", 1, true))
   end)

   it("lacks what the code, Lua or C, logs without its being there (FIELD-W38)", function()
      local root = os.tmpname()
      os.remove(root)
      os.execute(("mkdir -p %s/lua/moonrabbit %s/runtime"):format(root, root))
      local function write(path, text)
         local file = assert(io.open(root .. path, "w"))
         file:write(text)
         file:close()
      end
      write("/lua/moonrabbit/x.lua", 'mr.log.warn(a and "one (new" or "two", { queue = f(1, 2), at = "x" }) log.info(text)')
      write("/runtime/x.c", 'void f(void) { mr_log(&log, is ? MR_LOG_INFO : MR_LOG_DEBUG,\n"three "\n"is it", "#n", "1", NULL); }')
      local of = messages(root)
      os.execute("rm -r " .. root)
      assert.same({ levels = { warn = true }, fields = { queue = true, at = true } }, of["one (new"])
      assert.same({ levels = { info = true, debug = true }, fields = { n = true } }, of["three is it"])
      local list = table.concat(complaints(of), "\n")
      for _, message in ipairs { "one (new", "two", "three is it", "a message that cannot be read here: text" } do
         assert.truthy(list:find(('"%s" is not in'):format(message), 1, true), list)
      end
      assert.truthy(list:find('the code logs no "lost"', 1, true))
   end)
end)
