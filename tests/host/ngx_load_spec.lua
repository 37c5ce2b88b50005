-- Tests reloads of nginx under the load of wrk: no request fails, no worker dies, no message is lost.
-- SPDX-License-Identifier: MIT
--
-- 8 s and two reloads; MR_NGINX_SECONDS=60 is a minute and five.
-- Feature: a minute of wrk and five reloads
local broker = require "broker"
local mr = require "moonrabbit"
local nginx = require "nginx"
local shell = require "shell"
local site = require "ngx_site"
local waits = require "waits"

local SECONDS = tonumber(os.getenv "MR_NGINX_SECONDS" or 8)
local CLIENTS = 16

describe("nginx under load", function()
   after_each(function()
      nginx.end_all()
      broker.close_all()
   end)

   it("reloads again and again, and its ledger is right", function()
      local ch, q = broker.channel(), broker.name "queue"
      assert(ch:queue_declare { queue = q, durable = true })
      local n = site.start { queue = q, workers = 2 }
      local wrk = waits.background(shell, ("wrk -t1 -c%d -d%d --latency http://127.0.0.1:%d/publish?body=x"):format(CLIENTS, SECONDS,
         n.port), SECONDS + 30)
      local reloads = SECONDS >= 60 and 5 or 2
      for _ = 1, reloads do
         mr.sleep(SECONDS / (reloads + 1.5))
         n:reload()
      end
      broker.eventually("the end of wrk", function() return wrk.done end, SECONDS + 30)
      local out = wrk.result
      local answered = tonumber(out:match "(%d+) requests in")
      -- A connection that nginx closes when a worker leaves may have a request in it that was not read, or not answered.
      local cut = 0
      for number in (out:match "Socket errors: ([^\n]+)" or ""):gmatch "%d+" do cut = cut + tonumber(number) end
      local kept
      broker.eventually("the last publishes", function()
         kept = assert(ch:queue_declare { queue = q, passive = true }).message_count
         return kept >= answered
      end, 10)
      print(("note: nginx: %d requests answered, %d messages, %d connections cut by %d reloads, %s/s"):format(answered, kept, cut,
         reloads, out:match "Requests/sec:%s*(%S+)"))
      assert.is_nil(out:find "Non%-2xx", out)
      assert.is_true(kept >= answered and kept <= answered + CLIENTS + cut, ("%d answered, %d kept"):format(answered, kept))
      local code, log = n:stop()
      assert.equal(0, code)
      assert.is_nil(log:find("exited on signal", 1, true), log)
      assert.is_nil(log:find("[alert]", 1, true), log)
      ch:queue_delete { queue = q }
   end)
end)
