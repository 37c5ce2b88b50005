--- The tools of a shell: publish, get, peek, consume, purge, queues, copy, move, export, import, bench.
-- Covers: lua/moonrabbit/cli/bench.lua by bench
-- Covers: lua/moonrabbit/cli/confirming.lua by publish
-- Covers: lua/moonrabbit/cli/consume.lua by consume
-- Covers: lua/moonrabbit/cli/copy.lua by copy
-- Covers: lua/moonrabbit/cli/disk.lua by file
-- Covers: lua/moonrabbit/cli/exec.lua by code
-- Covers: lua/moonrabbit/cli/export.lua by export
-- Covers: lua/moonrabbit/cli/get.lua by get
-- Covers: lua/moonrabbit/cli/import.lua by import
-- Covers: lua/moonrabbit/cli/lines.lua by text
-- Covers: lua/moonrabbit/cli/looking.lua by redelivered
-- Covers: lua/moonrabbit/cli/move.lua by move
-- Covers: lua/moonrabbit/cli/moving.lua by to
-- Covers: lua/moonrabbit/cli/peek.lua by peek
-- Covers: lua/moonrabbit/cli/publish.lua by publish
-- Covers: lua/moonrabbit/cli/purge.lua by purge
-- Covers: lua/moonrabbit/cli/queues.lua by queues
-- Covers: lua/moonrabbit/cli/session.lua by interrupted
-- Covers: lua/moonrabbit/cli/transfer.lua by get
local broker = require "broker"
local cjson = require "cjson"
local mr = require "moonrabbit"
local build = require "build"
local pane = require "pane"
local place = require "place"
local process = require "process"

local ch
local queues = {}

-- A durable queue; deleted after the test.
local function queue(arguments)
   local name = broker.name "tools"
   assert(ch:queue_declare { queue = name, durable = true, arguments = arguments })
   queues[#queues + 1] = name
   return name
end

-- Runs the command: its output (both), its exit code.
local function run(arguments, input, environment)
   return broker.shell(("%s AMQP_URL='%s' %s %s %s"):format(environment or "", broker.tcp_url, broker.command, arguments,
      input or "</dev/null"))
end

local function ok(arguments, input, environment)
   local out, code = run(arguments, input, environment)
   assert.equal(0, code, out)
   return out
end

local function count(name, wanted)
   broker.eventually(("%d messages in %s"):format(wanted, name), function() return broker.count(ch, name) == wanted end)
end

local function put(name, bodies, props)
   for _, body in ipairs(bodies) do assert(ch:publish("", name, body, props)) end
end

-- The bodies of a queue, which is empty then.
local function bodies(name)
   local list = {}
   while true do
      local msg = ch:get(name, { no_ack = true })
      if not msg then return list end
      list[#list + 1] = msg.body
   end
end

local function tidy()
   process.end_all()
   for _, name in ipairs(queues) do
      for _, suffix in ipairs { "", ".dead", ".retry-exit" } do ch:queue_delete { queue = name .. suffix } end
   end
   queues = {}
   broker.close_all()
end

describe("the tools", function()
   before_each(function()
      ch = broker.channel()
      assert(ch:confirm_select())
   end)
   after_each(tidy)

   it("publish an argument, with properties and typed headers", function()
      local q = queue()
      local out = ok(("publish %s hello -p content_type=text/plain -p priority=3 -H n:int=5 -H s=x"):format(q))
      assert.is_truthy(out:find("published 1 message to " .. q, 1, true), out)
      local msg = broker.take(ch, q)
      assert.same({ "hello", "text/plain", 3, 2, 5, "x" }, { msg.body, msg.content_type, msg.priority, msg.delivery_mode,
         msg.headers.n, msg.headers.s })
   end)

   it("publish each line, a file, a body several times, at a rate", function()
      local q = queue()
      ok("publish " .. q, [[<<'END'
one

three
END]])
      assert.same({ "one", "", "three" }, bodies(q))
      local path = broker.script "all\nof it\n"
      ok(("publish %s --file %s"):format(q, path))
      ok(("publish %s --file -"):format(q), "<" .. path)
      assert.same({ "all\nof it\n", "all\nof it\n" }, bodies(q))
      local began = mr.now()
      local answer = cjson.decode(ok(("publish %s x --count 5 --rate 10 --json"):format(q)))
      assert.same({ 5, q, "" }, { answer.published, answer.routing_key, answer.exchange })
      assert.is_true(mr.now() - began >= 0.4)
      assert.equal(5, #bodies(q))
   end)

   it("publish to an exchange, and say that no queue got it", function()
      local q = queue()
      assert(ch:queue_bind { queue = q, exchange = "amq.topic", routing_key = "a.*" })
      ok "publish a.b hello --exchange amq.topic"
      assert.same({ "hello" }, bodies(q))
      local out, code = run "publish nobody hello --exchange amq.topic"
      assert.equal(1, code, out)
      assert.is_truthy(out:find("returned (312)", 1, true), out)
      ok "publish nobody hello --exchange amq.topic --optional"
   end)

   it("get takes messages, peek leaves them in their order", function()
      local q = queue()
      put(q, { "1", "2", "3" }, { message_id = "m" })
      local out = ok(("peek %s --limit 2"):format(q))
      assert.is_truthy(out:find("looked at 2 messages", 1, true) and out:find("message_id: m", 1, true), out)
      count(q, 3)
      local lines = {}
      for line in ok(("peek %s --json 2>/dev/null"):format(q)):gmatch "[^\n]+" do lines[#lines + 1] = cjson.decode(line) end
      assert.equal(3, #lines)
      assert.same({ q, "", q, "1", true }, { lines[1].queue, lines[1].exchange, lines[1].routing_key, lines[1].body,
         lines[1].redelivered })
      assert.is_false(lines[3].redelivered)
      count(q, 3)
      assert.equal("1\n", ok(("get %s --limit 1 --body 2>/dev/null"):format(q)))
      assert.same({ "2", "3" }, bodies(q))
   end)

   it("get and peek choose by --match, and what stays keeps its place", function()
      local q = queue()
      put(q, { "a1", "b1", "a2" })
      assert.equal("b1\n", ok(("get %s --match body=b* --body 2>/dev/null"):format(q)))
      count(q, 2)
      assert.same({ "a1", "a2" }, bodies(q))
   end)

   it("gives a terminal none of a body's control characters, whichever tool shows it", function()
      for _, tool in ipairs { "get %s --body", "consume %s --body --count 1" } do
         local q = queue()
         assert(ch:publish("", q, "a\27[31mb\tc\nd\7"))
         count(q, 1)
         local terminal = pane.start(broker.command .. " " .. tool:format(q), ("AMQP_URL='%s'"):format(broker.tcp_url))
         local shown = terminal:has "d\\x07"
         assert.truthy(shown:find("a\\x1b[31mb", 1, true), shown)
         assert.equal(0, terminal:exit_code())
         pane.end_all()
      end
   end)

   it("never write control characters raw for people", function()
      local q = queue()
      put(q, { "\27[31mred\7\194\155" }, { message_id = "\27]0;x\7", headers = { ["\27[2J"] = "\27" } })
      for _, arguments in ipairs { "peek " .. q, "peek --json " .. q, "dead --from " .. q .. " x", "dead --from " .. q .. " x show",
         "dead --from " .. q .. " x list --group --json" } do
         local out = ok(arguments)
         assert.is_nil(out:find "[%z\1-\9\11-\31\127]", arguments)
         assert.is_nil(out:find("\194\155", 1, true), arguments)
      end
      local out, code = run("purge '\27[31m'")
      assert.equal(1, code)
      assert.is_nil(out:find("\27", 1, true))
   end)

   it("purge, and show queues with their companions", function()
      local q = queue()
      assert(ch:queue_declare { queue = q .. ".dead", durable = true })
      put(q, { "1", "2" })
      local rows = cjson.decode(ok(("queues %s --json"):format(q)))
      assert.same({ { queue = q, messages = 2, consumers = 0 }, { queue = q .. ".dead", messages = 0, consumers = 0 } }, rows)
      assert.equal(2, cjson.decode(ok(("purge %s --json"):format(q))).deleted)
      local out, code = run(("queues %s nowhere"):format(q))
      assert.equal(1, code)
      assert.is_truthy(out:find(q:gsub("%-", "%%-") .. " +0 +0\n") and out:find "nowhere +not_found", out)
      assert.is_truthy(ok(("queues 'tools*' --names -"):format(), ("<<'END'\nother\n%s\nEND"):format(q)):find(q, 1, true))
   end)

   it("move and copy keep every byte of the properties, in order", function()
      local a, b, c = queue(), queue(), queue()
      put(a, { "1", "2", "3" }, { headers = { n = mr.int(5), at = mr.timestamp(7), d = mr.decimal(5, 1) }, message_id = "m",
         expiration = "3600000", user_id = "guest" })
      local raw = require("moonrabbit.channel.message").raw
      local first = assert(ch:get(a))
      local before = raw(first)
      first:nack()
      assert.equal(3, cjson.decode(ok(("copy %s %s --json"):format(a, b))).copied)
      count(a, 3)
      assert.equal(2, cjson.decode(ok(("move %s %s --limit 2 --json"):format(b, c))).moved)
      count(b, 1)
      assert.equal(before, raw(assert(ch:get(c, { no_ack = true }))))
      assert.same({ "2" }, bodies(c))
      assert.same({ "1", "2", "3" }, bodies(a))
   end)

   it("move to another broker", function()
      local a = queue()
      local other = assert(mr.testing.broker { name = "tools", listen = "127.0.0.1:0" })
      local there = assert(broker.connect { url = other.url }:channel())
      assert(there:queue_declare { queue = "target", durable = true })
      put(a, { "1", "2" })
      ok(("move %s target"):format(a), nil, ("MOONRABBIT_TO_URL=amqp://guest:guest@127.0.0.1:%d/"):format(other.port))
      assert.equal(2, broker.count(there, "target"))
      count(a, 0)
      broker.close_all()
      other:close()
      ch = broker.channel()
   end)

   it("move loses nothing where the target refuses", function()
      local a, b = queue(), queue { ["x-max-length"] = 1, ["x-overflow"] = "reject-publish" }
      put(a, { "1", "2", "3" })
      local out, code = run(("move %s %s"):format(a, b))
      assert.equal(1, code, out)
      assert.is_truthy(out:find("nacked", 1, true), out)
      local left = bodies(b)
      for _, body in ipairs(bodies(a)) do left[#left + 1] = body end
      table.sort(left)
      assert.same({ "1", "2", "3" }, left)
      out, code = run(("move %s nowhere"):format(a))
      assert.equal(1, code, out)
      assert.is_truthy(out:find("not_found", 1, true), out)
   end)

   broker.it_inside(it, "move ends with its connection, says why, and has lost nothing", function()
      local a, b = queue(), queue()
      for i = 1, 6000 do assert(ch:publish_async("", a, tostring(i))) end
      assert(ch:wait_for_confirms(30))
      local running = process.start(("%s move %s %s --rate 300"):format(broker.command, a, b), ("AMQP_URL='%s'"):format(broker.tcp_url))
      broker.eventually("the first messages", function() return broker.count(ch, b) > 10 end)
      broker.quietly(function()
         broker.close_connections "maintenance"
         local out, code = running:wait()
         assert.equal(1, code, out)
         assert.is_truthy(out:find("connection_forced (320)", 1, true) or out:find("stale", 1, true), out)
         assert.is_truthy(out:find "moved %d+ messages", out)
         ch = broker.channel()
      end)
      local seen, kept = {}, 0
      for _, name in ipairs { a, b } do
         for _, body in ipairs(bodies(name)) do
            if not seen[body] then seen[body], kept = true, kept + 1 end
         end
      end
      assert.equal(6000, kept)
   end)

   it("move ends by a signal with what is under way", function()
      local a, b = queue(), queue()
      for i = 1, 1000 do assert(ch:publish_async("", a, tostring(i))) end
      assert(ch:wait_for_confirms(30))
      local running = process.start(("%s move %s %s --rate 500"):format(broker.command, a, b), ("AMQP_URL='%s'"):format(broker.tcp_url))
      broker.eventually("the first messages", function() return broker.count(ch, b) > 10 end)
      local out, code = running:stop()
      assert.equal(1, code, out)
      assert.is_truthy(out:find("interrupted by SIGTERM", 1, true), out)
      local moved = tonumber(out:match "moved (%d+) messages")
      assert.equal(moved, broker.count(ch, b))
      count(a, 1000 - moved)
   end)

   it("show a bar on a terminal", function()
      local q = queue()
      local out, code = broker.shell(("AMQP_URL='%s' script -qec '%s publish %s x --count 1500 --rate 1000' /dev/null"):format(
         broker.tcp_url, broker.command, q))
      assert.equal(0, code, out)
      assert.is_truthy(out:find("%[#+%-+%] %d+/1500  %d+/s  0:0%d left"), out)
      assert.is_truthy(out:find("\27[Kpublished 1500 messages", 1, true), out)
   end)

   it("export and import keep messages as they are", function()
      local a, b = queue(), queue()
      put(a, { "text", "\255\0" }, { headers = { n = 5, at = mr.timestamp(7), x = mr.bytes "\0", e = mr.array {} } })
      local path = broker.name "/tmp/tools-export"
      ok(("export %s --file %s"):format(a, path))
      count(a, 2)
      local out, code = run(("export %s --file %s"):format(a, path))
      assert.equal(1, code, "an existing file is kept")
      assert.is_truthy(out:find("exists", 1, true), out)
      assert.equal("600\n", (broker.shell("stat -c %a " .. path)))
      ok(("import --file %s --to %s"):format(path, b))
      ok "import" -- of nothing
      local raw = require("moonrabbit.channel.message").raw
      local json = require("moonrabbit.cli.message_json")
      for _ = 1, 2 do
         local one, other = assert(ch:get(a, { no_ack = true })), assert(ch:get(b, { no_ack = true }))
         assert.equal(one.body, other.body)
         assert.is_true(json.is_same(json.properties(raw(one)), json.properties(raw(other))))
      end
      out, code = run("import --to " .. b, [[<<'END'
{"body":"good"}
{"body":7}
END]])
      assert.equal(1, code)
      assert.is_truthy(out:find("imported 1 message", 1, true) and out:find("line 2: body must be a string", 1, true), out)
      assert.same({ "good" }, bodies(b))
      out, code = run("import", ([[<<'END'
{"body":"1","queue":"%s"}
{"body":"2","queue":"%s.none"}
{"body":"3","queue":"%s"}
END]]):format(b, b, b))
      assert.equal(1, code)
      assert.is_truthy(out:find("line 2: returned", 1, true) and out:find("later lines may be published: --skip 1 ", 1, true), out)
      os.remove(path)
   end)

   -- The sanitizers must be loaded first.
   local preloading = build.is_sanitized and pending or it

   preloading("export --remove acks what is on the disk, and nothing else", function()
      local q = queue()
      put(q, { "1", "2", "3" })
      local folder = place.make { ["sync.c"] = [[
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
int fsync(int fd)
{
   FILE *f = fopen(getenv("SYNC_LOG"), "a");
   char line[64];
   snprintf(line, sizeof line, "/proc/self/fd/%d", fd);
   char *path = realpath(line, NULL);
   fprintf(f, "%s\n", path);
   fclose(f);
   free(path);
   errno = EIO;
   return getenv("SYNC_FAILS") ? -1 : 0;
}
]] }
      finally(function() place.remove(folder) end)
      assert.equal("", (broker.shell(("cc -shared -fPIC %s/sync.c -o %s/sync.so"):format(folder, folder))))
      local with = ("LD_PRELOAD=%s/sync.so SYNC_LOG=%s/log "):format(folder, folder)
      local out, code = run(("export %s --remove --file %s/a"):format(q, folder), nil, with .. "SYNC_FAILS=1")
      assert.equal(1, code)
      assert.is_truthy(out:find("exported 0 messages", 1, true) and out:find("the file: Input/output error", 1, true), out)
      count(q, 3)
      out, code = run(("export %s --remove"):format(q), "> /dev/full")
      assert.is_truthy(code == 1 and out:find("No space left on device", 1, true), out)
      count(q, 3)
      os.remove(folder .. "/log")
      ok(("export %s --remove --file %s/b"):format(q, folder), nil, with)
      count(q, 0)
      local log = broker.shell(("cat %s/log; rm %s/log"):format(folder, folder))
      assert.equal(("%s/b\n%s\n"):format(folder, folder), log)
      put(q, { "4" })
      assert.is_truthy(ok(("export %s --remove 2>&1 | cat"):format(q), "", with):find '"body":"4"')
      count(q, 0)
   end)

   it("consume prints, and acks what it has printed", function()
      local q = queue()
      put(q, { "1", "2", "3" })
      assert.equal("1\n2\n", ok(("consume %s --body --count 2 2>/dev/null"):format(q)))
      count(q, 1)
      assert.equal("3\n", ok(("consume %s --body --idle 0.3 2>/dev/null"):format(q)))
      count(q, 0)
   end)

   it("publish ends by one signal, also while the broker takes no publishes, or at a slow rate", function()
      local q = queue()
      local function start(options)
         return process.start(("%s publish %s x --count 100000000 %s"):format(broker.command, q, options),
            ("AMQP_URL='%s'"):format(broker.tcp_url))
      end
      local running = start "--rate 0.01"
      count(q, 1)
      local began = mr.now()
      local out, code = running:stop()
      assert.equal(1, code, out)
      assert.is_truthy(out:find("interrupted by SIGTERM", 1, true), out)
      broker.block(true)
      running = start ""
      mr.sleep(1)
      out, code = running:stop()
      broker.block(false)
      assert.equal(1, code, out)
      assert.is_true(mr.now() - began < 30) -- it took a minute, and for ever with --rate
   end)

   it("consume ends by a signal, and gives back what it has not begun", function()
      local q = queue()
      local running = process.start(("%s consume %s --exec 'cat; sleep 0.5; echo .'"):format(broker.command, q):gsub("'", [['\'']]),
         ("AMQP_URL='%s'"):format(broker.tcp_url))
      put(q, { "one", "two" })
      running:says "one"
      local out, code = running:stop()
      assert.equal(1, code, out)
      assert.is_truthy(out:find("interrupted by SIGTERM", 1, true) and out:find(".", 1, true), out)
      count(q, 1)
      assert.same({ "two" }, bodies(q))
   end)

   it("consume --exec acks, retries and gives up by the exit code", function()
      local q = queue()
      put(q, { "good", "bad", "never", "big" .. ("x"):rep(200000) })
      local log = os.tmpname()
      local command = ([[
         b=$(head -c 5)
         echo "$b $MOONRABBIT_ATTEMPT" >>%s
         case $b in good|bigxx) exit 0;; bad) exit 65;; esac
         kill -9 $$]]):format(log)
      local path = broker.script(command)
      local out = ok(("consume %s --exec 'exec sh %s' --attempts 2 --count 5"):format(q, path))
      assert.is_truthy(out:find("consumed 5 messages", 1, true) and out:find("2 failed, 1 given up", 1, true), out)
      local seen = {}
      for line in io.lines(log) do seen[line] = true end
      assert.same({ ["good 1"] = true, ["bad 1"] = true, ["never 1"] = true, ["never 2"] = true, ["bigxx 1"] = true }, seen)
      count(q .. ".dead", 2)
      local reasons = {}
      for _ = 1, 2 do
         local msg = assert(ch:get(q .. ".dead", { no_ack = true }))
         reasons[msg.body] = msg.headers["x-mr-reason"] .. "; " .. tostring(msg.headers["x-mr-error"])
      end
      assert.is_truthy(reasons.bad:find("the command exited with 65", 1, true))
      assert.is_truthy(reasons.never:find("ended by signal 9", 1, true), reasons.never)
      os.remove(log)
   end)

   it("bench measures, and leaves no queue", function()
      local answer = cjson.decode(ok "bench --seconds 0.3 --rate 500 --json")
      assert.is_true(answer.published > 50 and answer.consumed == answer.published)
      assert.is_true(answer.confirm.p50 > 0 and answer.delivery.p99 >= answer.delivery.p50)
      assert.is_truthy(ok("bench --seconds 0.2"):find "published %d+ messages of 100 bytes at %d+/s, consumed %d+ at %d+/s")
   end)

   it("exit with 2 for wrong usage, and say it in one line", function()
      for arguments, why in pairs { ["publish"] = "missing argument 'key'", ["publish q x --rate fast"] = "--rate takes a number",
         ["publish q x -H a:colour=x"] = "colour", ["peek q --limit -1"] = "--limit", ["move q q"] = "the same queue",
         ["queues"] = "AMQP cannot list queues", ["get q --match x"] = "FIELD=PATTERN", ["bench --size 3"] = "--size",
         ["import --to a --exchanges"] = "exclude each other", ["consume q --attempts 0"] = "--attempts",
         ["dead q drop"] = "--all", ["dead q bury"] = "must be one of" } do
         local out, code = run(arguments)
         assert.equal(2, code, arguments .. ": " .. out)
         assert.is_truthy(out:find(why, 1, true), out)
      end
      local out, code = broker.shell(("env -u AMQP_URL -u MOONRABBIT_URL %s purge q"):format(broker.command))
      assert.equal(2, code)
      assert.is_truthy(out:find("no broker is named", 1, true), out)
   end)

   it("say at once that there is no broker, without the password", function()
      local out, code = broker.shell(("%s purge q --url amqp://guest:sEcReT@127.0.0.1:1/"):format(broker.command))
      assert.equal(1, code)
      assert.is_truthy(out:find("connection_refused", 1, true), out)
      assert.is_nil(out:find("sEcReT", 1, true))
   end)

   it("have an example in the help of each", function()
      for _, name in ipairs { "publish", "get", "peek", "consume", "purge", "queues", "copy", "move", "export", "import", "dead",
         "bench" } do
         local out = ok(name .. " -h")
         assert.is_truthy(out:find("Examples?:%s+moonrabbit " .. name .. " "), out)
         assert.is_truthy(out:find("--url", 1, true) and out:find("--json", 1, true), out)
      end
   end)
end)
