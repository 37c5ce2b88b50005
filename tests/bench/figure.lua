-- figure: draws the bench's tables of docs/performance.md as docs/benchmark.svg, for README.
-- SPDX-License-Identifier: MIT
--
--   luajit tests/bench/figure.lua [ROOT]            writes ROOT/docs/benchmark.svg
--   luajit tests/bench/figure.lua ROOT --check      fails when the picture is not what the page says
local root, checking = arg[1] or ".", arg[2] == "--check"
local PAGE, PICTURE = root .. "/docs/performance.md", root .. "/docs/benchmark.svg"
local BODY = "100"                 -- bytes: the size that has every client in every table
local GROUPS = {                   -- { the table's heading begins so, shown as }
   { "Consume, prefetch 1000", "consume, every message settled" },
   { "Publish without confirms", "publish" },
   { "Publish with confirms", "publish, 1000 confirms outstanding (pika: one at a time)" },
}
local LATER = true                 -- joined the bench later: not in tables of before
local CLIENTS = { { "**moonrabbit** (Lua)", "Moonrabbit (Lua)" }, { "rabbitmq-c (C)", "rabbitmq-c (C)" },
   { "amqp091-go (Go)", "amqp091-go (Go)" }, { "pika (Python)", "pika (Python)" },
   { "RabbitMQ's client (Java)", "RabbitMQ's (Java)", LATER }, { "amqplib (node)", "amqplib (node)", LATER } }
local WIDTH, LEFT, BAR, ROW, HEAD = 760, 150, 480, 22, 38

local function read(path)
   local file = assert(io.open(path))
   local text = file:read "*a"
   file:close()
   return text
end

-- "4.31 M" -> 4310000, "409 k" -> 409000
local function number_of(text)
   local digits, unit = text:match "^([%d.]+)%s*([kM]?)$"
   return tonumber(digits) * (unit == "M" and 1e6 or unit == "k" and 1e3 or 1)
end

-- The median as the page has it, of a client in the table under a heading.
local function median(page, heading, client)
   local from = assert(page:find("\n### " .. heading, 1, true), heading)
   local part = page:sub(from, (page:find("\n###? ", from + 5) or 0) - 1)
   for line in part:gmatch "[^\n]+" do
      local body, name, cell = line:match "^| ([^|]+) | ([^|]+) | ([^|]+) |"
      if body == BODY and name == client then return assert(cell:match "%*%*(.-)%*%*", line) end
   end
   error(("no row %s, %s under %s"):format(BODY, client, heading))
end

-- Without those that no table has; a client that some table has must be in each.
local function shown(page)
   local clients, tables = {}, assert(page:match "<!%-%- bench:begin %-%->(.-)<!%-%- bench:end %-%->")
   for _, client in ipairs(CLIENTS) do
      if not client[3] or tables:find("| " .. client[1] .. " |", 1, true) then clients[#clients + 1] = client end
   end
   return clients
end

-- Of what the tables are: "4ff11b9, 2026-11-21".
local function origin(page)
   local line = assert(page:match "\n<!%-%- bench:begin %-%->\n([^\n]+)", "no line under bench:begin")
   return assert(line:match "commit (%x+)", line) .. ", " .. assert(line:match "date ([%d-]+)", line)
end

local out = {}
local function add(format, ...) out[#out + 1] = format:format(...) end

local function draw_group(page, clients, group, y, most)
   add('<text x="16" y="%d" class="h">%s</text>', y, group[2])
   for i, client in ipairs(clients) do
      local text = median(page, group[1], client[1])
      local top = y + 10 + (i - 1) * ROW
      add('<text x="%d" y="%d" text-anchor="end">%s</text>', LEFT - 8, top + 13, client[2])
      add('<rect x="%d" y="%d" width="%.1f" height="16" rx="2" class="%s"/>', LEFT, top,
         math.max(1, number_of(text) / most * BAR), i == 1 and "ours" or "other")
      add('<text x="%.1f" y="%d">%s</text>', LEFT + math.max(1, number_of(text) / most * BAR) + 6, top + 13, text)
   end
end

local function draw(page)
   local clients, most = shown(page), 0
   for _, group in ipairs(GROUPS) do
      for _, client in ipairs(clients) do most = math.max(most, number_of(median(page, group[1], client[1]))) end
   end
   local height = 34 + #GROUPS * (HEAD + #clients * ROW)
   add('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">', WIDTH, height, WIDTH, height)
   add("<title>Messages of %s bytes a second, medians of docs/performance.md</title>", BODY)
   add [[<style>
 .ground{fill:#ffffff} .ours{fill:#b3541e} .other{fill:#8a97a8}
 text{font-family:DejaVu Sans,Verdana,Helvetica,Arial,sans-serif;font-size:12px;fill:#1c2430} .h{font-weight:bold;font-size:13px}
 @media (prefers-color-scheme: dark) { .ground{fill:#12171e} .ours{fill:#e8894a} .other{fill:#66748a} text{fill:#e6ebf2} }
</style>]]
   add('<rect class="ground" width="%d" height="%d"/>', WIDTH, height)
   add('<text x="16" y="22">messages of %s bytes a second, median of five runs (commit %s)</text>', BODY, origin(page))
   for i, group in ipairs(GROUPS) do draw_group(page, clients, group, 52 + (i - 1) * (HEAD + #clients * ROW), most) end
   add "</svg>"
   return table.concat(out, "\n") .. "\n"
end

local picture = draw(read(PAGE))
if not checking then
   local file = assert(io.open(PICTURE, "w"))
   file:write(picture)
   file:close()
elseif read(PICTURE) ~= picture then
   print "docs/benchmark.svg is not what docs/performance.md says: run luajit tests/bench/figure.lua ."
   os.exit(1)
end
