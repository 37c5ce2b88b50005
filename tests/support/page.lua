--- page: the programs of docs/embedding.md, for the tests that run them.
-- SPDX-License-Identifier: MIT
local page = {}

local function text()
   local f = assert(io.open "docs/embedding.md")
   local all = f:read "*a"
   f:close()
   return all
end

local function plain(name) return (name:gsub("%p", "%%%0")) end

--- The program that the page calls so: a block after `<!-- file: NAME -->`.
function page.program(name)
   return text():match("<!%-%- file: " .. plain(name) .. " %-%->\n```%l*\n(.-\n)```\n") or error("no such program", 2)
end

--- What the page shows as the output of a command: a block after `<!-- run -->`.
function page.output(command)
   return text():match("<!%-%- run %-%->\n```\n%$ " .. plain(command) .. "\n(.-\n)```\n") or error("no such output", 2)
end

return page
