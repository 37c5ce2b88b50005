--- init: how command lines are understood, and what is said of wrong ones.
-- Covers: lua/moonrabbit/cli/arguments.lua by complete
-- Covers: lua/moonrabbit/cli/check.lua by failure
-- Covers: lua/moonrabbit/cli/docs.lua by docs
-- Covers: lua/moonrabbit/cli/usage.lua by command
-- SPDX-License-Identifier: MIT
local arguments = require "moonrabbit.cli.arguments"
local check = require "moonrabbit.cli.check"
local cli = require "moonrabbit.cli"
local errors = require "moonrabbit.base.errors"
local run = require "moonrabbit.cli.run"

describe("the command line", function()
   it("of run ends with the script, whatever follows is the script's", function()
      local options = cli.parse { "run", "--url", "amqp://h", "--drain=5", "script.lua", "--url", "x", "-v", "--", "a" }
      assert.same({ "run", "amqp://h", "5", "script.lua" }, { options.command, options.url, options.drain, options.script })
      assert.same({ "--url", "x", "-v", "--", "a" }, options.arguments)
   end)

   it("of run has defaults", function()
      local options = assert(arguments.complete(cli.parse { "run", "script.lua" }))
      assert.same({ script = "script.lua", arguments = {}, args = { [0] = "script.lua" }, watch = false,
         drain = 30, log_level = "info", log_format = "logfmt", queue_type = false }, options)
   end)

   it("of run sets what the script finds in mr.args, beside the script's own arguments", function()
      local options = cli.parse { "run", "--set", "queue=a=b", "--set=limit=", "script.lua", "--set", "x=1" }
      assert.same({ [0] = "script.lua", "--set", "x=1", queue = "a=b", limit = "" }, arguments.complete(options).args)
   end)

   it("of run takes a script after -- and one called -", function()
      assert.same({ { "--", "-odd.lua" }, { "a" } }, { run.split { "--", "-odd.lua", "a" } })
      assert.equal("-odd.lua", cli.parse({ "run", "--", "-odd.lua", "a" }).script)
      assert.same({ { "-" }, { "a" } }, { run.split { "-", "a" } })
   end)

   it("of run splits what is not complete, too", function()
      assert.same({ {}, {} }, { run.split {} })
      assert.same({ { "--url" }, {} }, { run.split { "--url" } })
      assert.same({ { "--help", "x" }, { "y" } }, { run.split { "--help", "x", "y" } })
   end)

   it("of check takes a URL or none", function()
      assert.equal("amqp://h", cli.parse({ "check", "amqp://h" }).url)
      assert.is_nil(cli.parse({ "check" }).url)
   end)

   it("is refused with a reason when it is wrong", function()
      for _, case in ipairs {
         { { "run" }, "missing argument 'script'" }, { { "rnu", "x" }, "unknown command 'rnu'" },
         { { "run", "--logformat", "json", "x" }, "unknown option '--logformat'" },
         { {}, "a command is required" },
         { { "check", "a", "b" }, "too many arguments" }, { { "version", "x" }, "too many arguments" },
      } do
         local options, why = cli.parse(case[1])
         assert.is_nil(options)
         assert.is_truthy(why:find(case[2], 1, true), why)
      end
   end)

   it("of run is refused with a reason when a value makes no sense", function()
      for _, case in ipairs {
         { { "--log-level", "loud" }, '--log-level must be one of debug, error, info, warn, not "loud"' },
         { { "--queue-type", "quorun" }, '--queue-type must be one of classic, quorum, stream, not "quorun"' },
         { { "--log-format", "xml" }, '--log-format must be one of json, logfmt, not "xml"' },
         { { "--drain", "soon" }, '--drain takes a number of seconds, not "soon"' },
         { { "--drain=-1" }, "--drain takes" },
         { { "--drain", "-1" }, '--drain takes a number of seconds, not "-1"' }, { { "--drain", "nan" }, "--drain takes" },
         { { "--workers", "0" }, '--workers takes a whole number from 1 to 1024, not "0"' },
         { { "--workers", "2.5" }, "--workers takes" },
         { { "--set", "x" }, '--set takes KEY=VALUE, not "x"' }, { { "--set", "=x" }, "--set takes KEY=VALUE" },
         { { "--set", "1=x" }, "must not be a number" },
      } do
         local args = { "run", unpack(case[1]) }
         table.insert(args, "x.lua")
         local options, why = arguments.complete(assert(cli.parse(args)))
         assert.is_nil(options)
         assert.is_truthy(why:find(case[2], 1, true), why)
      end
   end)

   it("points to pages of docs/ that are there (FIELD-W38)", function()
      local docs = require "moonrabbit.cli.docs"
      for _, name in ipairs { "guide.md", "worker.md" } do assert(io.open(docs.path(name))):close() end
      assert.truthy(cli.parser():get_help():find(docs.path "guide.md", 1, true))
      assert.equal("docs/none.md", docs.path "none.md")
   end)

   it("has help for everything", function()
      local help = cli.parser():get_help()
      for _, word in ipairs { "run", "check", "version", "AMQP_URL" } do assert.is_truthy(help:find(word, 1, true)) end
   end)
end)

describe("moonrabbit check", function()
   it("tells of a failure with its kind, code, text and hint", function()
      local err = errors.new("authentication_failed", "connection", "ACCESS_REFUSED - Login was refused")
      err.code = 403
      assert.equal("Connection failed: authentication_failed (403): ACCESS_REFUSED - Login was refused\nHint: " .. err.hint,
         check.failure(err))
      err.hint = ""
      assert.is_nil(check.failure(err):find("Hint", 1, true))
   end)

   it("warns when the broker's certificate ends soon", function()
      local function says(days)
         return check.success("X 1", { host = "h:1", userid = "u", virtual_host = "v", transport = "amqp",
            agreed = { heartbeat = 0, tls = "TLSv1.2", certificate_end = os.time() + days * 86400 + 60 } }, 0.0123)
      end
      local told, warning = says(1)
      assert.equal("Connection OK: X 1 at h:1\nuser u, virtual host v, TLSv1.2, certificate valid for 1 day, no heartbeat, 12 ms", told)
      assert.equal("The broker's certificate ends in 1 day.", warning)
      assert.is_nil(select(2, says(30)))
   end)
end)
