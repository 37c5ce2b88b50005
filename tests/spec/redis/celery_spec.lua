--- celery: tasks between Lua and a real Celery worker, through one Redis.
-- Feature: tasks of Celery
-- SPDX-License-Identifier: MIT
local build = require "build"
local files = require "files"
local mr = require "moonrabbit"
local process = require "process"
local redis = require "redis"
local waits = require "waits"

if build.is_tsan then return end -- ASan has it all; what runs in two threads is in redis_spec and trouble_spec

local eventually = waits.eventually
local folder, conn, ch

local TASKS = [[
import os
from celery import Celery
app = Celery('tasks', broker=os.environ['BROKER'])

@app.task(bind=True, max_retries=3)
def add(self, x, y):
    if self.request.retries < 1 and x < 0:
        raise self.retry(countdown=0)
    with open(os.environ['OUT'], 'a') as out:
        out.write('%d %d\n' % (x + y, self.request.retries))
]]

-- What add.delay(x, y) publishes.
local function delay(x, y, eta)
   local id = ("%08x-0000-4000-8000-%012x"):format(x % 2 ^ 31, y)
   local body = ('[[%d, %d], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'):format(x, y)
   assert(ch:publish("", "celery", body, { content_type = "application/json", content_encoding = "utf-8", correlation_id = id,
      delivery_mode = 2, headers = { lang = "py", task = "tasks.add", id = id, root_id = id, retries = 0, eta = eta } }))
end

local function results()
   local ok, text = pcall(files.read, folder .. "/out")
   return ok and text or ""
end

describe("Celery on the same Redis", function()
   setup(function()
      mr.log.configure "off"
      redis.start()
      folder = redis.dir .. "/celery"
      os.execute("mkdir " .. folder)
      files.write(folder .. "/tasks.py", TASKS)
      process.start(("env BROKER=%s OUT=%s/out /usr/bin/python3 -m celery --workdir %s -A tasks worker --pool solo -l warning")
         :format(redis.env.MR_REDIS_URL, folder, folder))
      conn = assert(mr.connect(redis.env.MR_REDIS_URL))
      ch = assert(conn:channel())
      assert(ch:confirm_select())
   end)
   teardown(function()
      conn:close()
      process.end_all()
      redis.clean()
      mr.log.configure "warn"
   end)

   it("runs a task that Lua has sent, with its retries and its ETA", function()
      delay(2, 3)
      eventually("the task", function() return results():find("5 0\n", 1, true) end, 120)
      delay(-1, 3)
      eventually("its retry", function() return results():find("2 1\n", 1, true) end, 120)
      delay(10, 3, os.date("!%Y-%m-%dT%H:%M:%S+00:00", os.time() + 1))
      eventually("the later one", function() return results():find("13 0\n", 1, true) end, 120)
      eventually("the acks", function() return redis.cli("HLEN", "unacked") == "0" end, 60)
   end)

   it("sends tasks that Lua runs", function()
      local got
      mr.consumer { connection = conn, queue = "lua", handler = function(msg)
         local args = msg:decode()[1]
         got = { msg.headers.task, args[1] + args[2], msg.correlation_id == msg.headers.id }
      end }
      redis.python(([[
import os, sys
os.environ['BROKER'] = sys.argv[1]
sys.path.insert(0, '%s')
import tasks
tasks.add.apply_async((4, 5), queue='lua')
]]):format(folder))
      eventually("the task", function() return got end)
      assert.same({ "tasks.add", 9, true }, got)
   end)

   it("has events, which a script hears by their keys", function()
      assert(ch:exchange_declare { exchange = "celeryev", type = "fanout", durable = true })
      local queue = assert(ch:queue_declare { exclusive = true }).queue
      assert(ch:queue_bind { queue = queue, exchange = "celeryev", routing_key = "worker.#" })
      local event
      assert(ch:consume(queue, function(msg)
         local seen = msg:decode()
         if msg.routing_key == "worker.heartbeat" then event = seen end
         assert(msg:ack())
      end))
      eventually("a heartbeat", function() return event end, 120)
      assert.equal("worker-heartbeat", event.type)
      assert.is_truthy(event.hostname:find("^celery@"))
   end)

   -- As `celery inspect ping`: a broadcast by a fanout exchange, an answer by a direct one.
   it("is controlled by broadcasts: a worker answers Lua, and Lua answers celery inspect", function()
      local answers, oid = {}, "0b9d4b4c-1c5f-4b8e-9d0f-6f1d8e1e2a10"
      assert(ch:exchange_declare { exchange = "celery.pidbox", type = "fanout" })
      assert(ch:exchange_declare { exchange = "reply.celery.pidbox", type = "direct" })
      local inbox = assert(ch:queue_declare { exclusive = true }).queue
      assert(ch:queue_bind { queue = inbox, exchange = "reply.celery.pidbox", routing_key = oid })
      assert(ch:consume(inbox, function(msg)
         for name, answer in pairs(msg:decode()) do answers[#answers + 1] = { name, answer.ok, msg.headers.ticket } end
         assert(msg:ack())
      end))
      local json = { content_type = "application/json", content_encoding = "utf-8" }
      local ping = '{"method": "ping", "arguments": {}, "ticket": "t1", "reply_to": {"exchange": "reply.celery.pidbox", "routing_key": "'
         .. oid .. '"}}'
      eventually("the worker's answer", function()
         assert(ch:publish("celery.pidbox", "", ping, json))
         return #answers > 0
      end, 120)
      assert.is_truthy(answers[1][1]:find("^celery@"))
      assert.equal("pong", answers[1][2])
      assert.equal("t1", answers[1][3])

      local box = assert(ch:queue_declare { queue = "lua@here.celery.pidbox", exclusive = true, auto_delete = true }).queue
      assert(ch:queue_bind { queue = box, exchange = "celery.pidbox" })
      assert(ch:consume(box, function(msg)
         local order = msg:decode()
         assert(msg:ack())
         if order.method ~= "ping" then return end
         assert(ch:publish(order.reply_to.exchange, order.reply_to.routing_key, '{"lua@here": {"ok": "pong"}}',
            { content_type = "application/json", content_encoding = "utf-8", headers = { ticket = order.ticket } }))
      end))
      local said = process.start(("env BROKER=%s OUT=/dev/null /usr/bin/python3 -m celery --workdir %s -A tasks inspect -t 20 ping")
         :format(redis.env.MR_REDIS_URL, folder))
      eventually("both answers", function()
         local text = said:output()
         return text:find("lua@here: OK", 1, true) and text:find("celery@%S+: OK") and text:find("pong", 1, true)
      end, 120)
   end)
end)
