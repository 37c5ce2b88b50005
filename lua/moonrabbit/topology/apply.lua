--- apply: declares a topology: exchanges, then queues, then bindings; may be repeated with the same result.
-- SPDX-License-Identifier: MIT
local C = require("moonrabbit.base.ffi").C
local errors = require "moonrabbit.base.errors"
local home = require "moonrabbit.connection.default"
local loop = require "moonrabbit.loop.loop"
local options = require "moonrabbit.base.options"
local plan = require "moonrabbit.topology.plan"
local probe = require "moonrabbit.topology.probe"
local retry = require "moonrabbit.loop.retry"

local apply = {}

local SPEC = { retry = "function", on_conflict = "string" }

-- Repeats the request until the broker has answered, or the policy stops.
local function insist(policy, ask)
   local attempt, began = 0, C.mr_now()
   while true do
      local ok, err = ask()
      if ok or plan.is_answer(err) then return ok, err end
      attempt = attempt + 1
      local verdict = retry.decide(policy, { scope = "topology", attempt = attempt, err = err, elapsed = C.mr_now() - began },
         retry.never)
      if verdict == "stop" then return nil, err, true end
      loop.sleep(verdict)
   end
end

local function is_conflict(err) return err.kind == "precondition_failed" or err.kind == "resource_locked" end

-- Declares one exchange or queue. If it exists with other arguments, it is kept or a failure, according to on_conflict.
local function declare(report, ask, what, entity, opts)
   local item = { what = what, name = entity[what], entity = entity }
   local ok, err, is_over = insist(opts.retry, function() return ask:declare(what, entity) end)
   if is_over then return nil, err end
   if ok then
      table.insert(report.declared, item)
      return true
   end
   item.err = err
   if is_conflict(err) then
      item.differs = ask:differences(what, entity, err)
      if item.differs[1] then err.text = ("%s: %s"):format(err.text, plan.describe(item.differs)) end
   end
   local keeps = is_conflict(err) and err.kind ~= "resource_locked" and opts.on_conflict == "keep"
   table.insert(keeps and report.kept or report.failed, item)
   if not keeps then report.lacks[what][item.name] = true end
   return true
end

local function bind(report, ask, b, opts)
   local item = { what = "binding", name = b.queue or b.destination, entity = b }
   local lacks = report.lacks
   if lacks.exchange[b.exchange or b.source] or b.queue and lacks.queue[b.queue] or lacks.exchange[b.destination or false] then
      table.insert(report.skipped, item)
      return true
   end
   local ok, err, is_over = insist(opts.retry, function()
      return ask:call(b.queue and "queue_bind" or "exchange_bind", b)
   end)
   if is_over then return nil, err end
   item.err = err
   table.insert(ok and report.declared or report.failed, item)
   return true
end

local function run(self, report, ask, opts)
   for _, what in ipairs { "exchange", "queue" } do
      for _, entity in ipairs(self[what .. "s"]) do
         local ok, err = declare(report, ask, what, entity, opts)
         if not ok then return nil, err end
      end
   end
   for _, b in ipairs(self.bindings) do
      local ok, err = bind(report, ask, b, opts)
      if not ok then return nil, err end
   end
   return true
end

-- The first failure, with lists of the others.
local function failure(report)
   local first = report.failed[1]
   local err = errors.new(first.err.kind, first.err.scope, ("%s: %s"):format(plan.title(first), first.err.text))
   if #report.failed > 1 then err.text = ("%s (and %d more failed)"):format(err.text, #report.failed - 1) end
   err.code, err.differs, err.failed, err.skipped, err.declared = first.err.code, first.differs, report.failed, report.skipped,
      report.declared
   return err
end

--- Declares the whole topology: exchanges, queues, bindings. Objects that exist with the same arguments do not change. After
-- a failure the other objects are still declared, except bindings of failed objects. The connection restores the topology
-- after a loss.
-- @tparam connection conn to the broker; opened if it is not open
-- @tparam[opt] table opts retry (a policy, scope "topology", called when the connection fails; default: no retries),
-- on_conflict="error" ("keep": objects that exist with other arguments stay, and are in report.kept)
-- @treturn[1] table report: declared and kept, lists of {what, name, entity, differs}
-- @treturn[2] nil, error of the first failure; err.differs: its fields ({field, wanted, found}); err.failed, err.skipped,
-- err.declared: lists
function apply:apply(conn, opts)
   home.check('argument 1 ("conn")', conn)
   opts = options.check(opts, SPEC)
   if opts.on_conflict and opts.on_conflict ~= "error" and opts.on_conflict ~= "keep" then
      options.blame('option "on_conflict" must be "error" or "keep"')
   end
   local report = { declared = {}, kept = {}, failed = {}, skipped = {}, lacks = { exchange = {}, queue = {} } }
   local ask = probe.new(conn)
   local ok, err = run(self, report, ask, opts)
   ask:close()
   if not ok then return nil, err end
   if report.failed[1] then return nil, failure(report) end
   return { declared = report.declared, kept = report.kept }
end

return apply
