--- deploys: an editor that sees what a team deploys, and deploys itself: a plugin for Neovim.
-- SPDX-License-Identifier: MIT
--
--    AMQP_URL=amqp://localhost nvim -c "luafile deploys.lua"
--
-- Each event of the topic deploys.# becomes a line of the buffer [deploys]. `:Deploy SERVICE` asks the queue "deploy" and shows
-- the answer when it comes; you go on editing meanwhile.
-- luacheck: globals vim
local mr = require "moonrabbit"
require("moonrabbit.uv").start()

local conn = mr.connect()

local buffer = vim.api.nvim_create_buf(true, true)
vim.api.nvim_buf_set_name(buffer, "[deploys]")

mr.consumer {
   connection = conn,
   queue = { queue = "", exclusive = true },
   bindings = { { exchange = "amq.topic", routing_key = "deploys.#" } },
   handler = function(msg)
      vim.api.nvim_buf_set_lines(buffer, -1, -1, true, { msg.routing_key .. ": " .. msg.body })
   end,
}

-- A coroutine: its waits suspend it alone. In the command itself they would hold up the editor.
vim.api.nvim_create_user_command("Deploy", function(args)
   coroutine.wrap(function()
      local answer, err = mr.rpc.call("deploy", args.args, { connection = conn, timeout = 30 })
      if answer then vim.notify(answer) else vim.notify(tostring(err), vim.log.levels.ERROR) end
   end)()
end, { nargs = 1 })
