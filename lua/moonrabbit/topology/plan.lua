--- plan: what apply would do with a topology: create, nothing, or fail, and which fields differ.
-- SPDX-License-Identifier: MIT
-- Changes nothing. A passive declare shows whether an object exists. An existing object is declared as wanted: the broker
-- accepts, or refuses and names the field that differs; neither changes the object. AMQP cannot report bindings. (If
-- somebody deletes an object between the two requests, the second one creates it.)
local home = require "moonrabbit.connection.default"
local probe = require "moonrabbit.topology.probe"

local plan = {}

local Plan = { __name = "moonrabbit.plan" }
Plan.__index = Plan

local function shown(v)
   if v == nil then return "not set" end
   return type(v) == "string" and ("%q"):format(v) or tostring(v)
end

local MOVE = ' (a queue keeps its type; docs/cluster.md, "From classic to quorum", moves its messages)'

--- "durable is false, wanted true; x-max-length is 10, wanted 20"
function plan.describe(differs)
   local parts = {}
   for i, d in ipairs(differs) do
      parts[i] = ("%s is %s, wanted %s"):format(d.field, shown(d.found), shown(d.wanted))
   end
   local text = table.concat(parts, "; ")
   return text:find("x-queue-type is", 1, true) and text .. MOVE or text
end

--- "queue invoices", "binding invoices <- orders (order.#)"
function plan.title(item)
   if item.what ~= "binding" then return item.what .. " " .. item.name end
   local b = item.entity
   return ("binding %s <- %s%s"):format(b.queue or b.destination, b.exchange or b.source,
      b.routing_key ~= "" and (" (%s)"):format(b.routing_key) or "")
end

function Plan.__tostring(self)
   local lines = {}
   for i, item in ipairs(self) do
      local why = item.differs and plan.describe(item.differs) or item.verdict == "unknown" and "AMQP does not tell" or ""
      if item.verdict == "conflict" and why == "" then why = item.err.text end
      lines[i] = ("%-8s %s%s"):format(item.verdict, plan.title(item), why ~= "" and ": " .. why or "")
   end
   return table.concat(lines, "\n")
end

-- True if only another attempt, or another connection, can answer.
local function is_answer(err) return err.scope == "channel" and err.kind ~= "closed" and err.kind ~= "timeout" end

local function look(ask, what, entity)
   local item = { what = what, name = entity[what], entity = entity }
   local ok, err = ask:declare(what, entity, { passive = true })
   if not ok then
      if not is_answer(err) then return nil, err end
      item.err = err
      item.verdict = err.kind ~= "not_found" and "conflict" or entity.passive and "missing" or "create"
      if err.kind == "resource_locked" then item.differs = { { field = "exclusive", wanted = entity.exclusive or false,
         found = "locked by another connection" } } end
      return item
   end
   item.verdict = "same"
   if entity.passive then return item end
   ok, err = ask:declare(what, entity, { unrecorded = true })
   if ok then return item end
   if not is_answer(err) then return nil, err end
   item.verdict, item.err = "conflict", err
   item.differs = ask:differences(what, entity, err)
   return item
end

--- What apply would do; prints as one line for each object. Changes nothing.
-- @tparam connection conn to the broker; opened if it is not open
-- @treturn[1] table list of {what = "exchange"|"queue"|"binding", name, entity, verdict = "create"|"same"|"conflict"|
-- "missing" (passive, and it does not exist)|"unknown" (a binding between existing objects), differs = list of {field,
-- wanted, found}, err}; its fields create, same, conflict, missing, unknown count them
-- @treturn[2] nil, error the request to the broker failed
function plan:plan(conn)
   home.check('argument 1 ("conn")', conn)
   local ask = probe.new(conn)
   local list = setmetatable({ create = 0, same = 0, conflict = 0, missing = 0, unknown = 0 }, Plan)
   local verdicts = { exchange = {}, queue = {} }
   local function add(item)
      list[#list + 1] = item
      list[item.verdict] = list[item.verdict] + 1
   end
   for _, what in ipairs { "exchange", "queue" } do
      for _, entity in ipairs(self[what .. "s"]) do
         local item, err = look(ask, what, entity)
         if not item then
            ask:close()
            return nil, err
         end
         verdicts[what][item.name] = item.verdict
         add(item)
      end
   end
   ask:close()
   for _, b in ipairs(self.bindings) do
      local from = verdicts.exchange[b.exchange or b.source]
      local to = b.queue and verdicts.queue[b.queue] or verdicts.exchange[b.destination]
      local is_new = from == "create" or to == "create"
      local lacks = from == "missing" or to == "missing"
      add { what = "binding", name = b.queue or b.destination, entity = b,
         verdict = lacks and "missing" or is_new and "create" or "unknown" }
   end
   return list
end

plan.is_answer = is_answer

return plan
