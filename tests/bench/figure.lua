-- figure: draws the tables of docs/performance.md: throughput (README shows it), CPU, memory, and latencies where the page has them.
-- SPDX-License-Identifier: MIT
--
--   luajit tests/bench/figure.lua [ROOT]            writes ROOT/docs/benchmark.svg and ROOT/docs/pictures/*.svg
--   luajit tests/bench/figure.lua ROOT --check      fails when a picture is not what the page says
package.path = arg[0]:match "^(.-)[^/]*$" .. "?.lua;" .. package.path
local bars, curves, latency = require "figure_bars", require "figure_curves", require "latency"
local page, svg = require "figure_page", require "figure_svg"

local root, checking = arg[1] or ".", arg[2] == "--check"
local BODY = "100"                 -- bytes: the size that has every client in every table
local GROUPS = {                   -- { the table's heading begins so, shown as }
   { "### Consume, prefetch 1000", "consume, every message settled" },
   { "### Publish without confirms", "publish" },
   { "### Publish with confirms", "publish, 1000 confirms outstanding (pika: one at a time)" },
}
local LATER = true                 -- joined the bench later: not in tables of before
local CLIENTS = {                  -- { as in the tables, shown as, as in the curves, LATER? }
   { "**moonrabbit** (Lua)", "Moonrabbit (Lua)", "moonrabbit" }, { "rabbitmq-c (C)", "rabbitmq-c (C)", "rabbitmq-c" },
   { "amqp091-go (Go)", "amqp091-go (Go)", "amqp091-go" }, { "pika (Python)", "pika (Python)", "pika" },
   { "RabbitMQ's client (Java)", "RabbitMQ's (Java)", "rabbitmq-java", LATER }, { "amqplib (node)", "amqplib (node)", "amqplib", LATER } }
local TRIPS = {                    -- { mode of the bench, shown as }
   { "rtt", "round trip: publish, consume, reply, consume" },
   { "confirm-one", "one confirmed publish after another" },
}
local IDLE = {                     -- { the row begins so, shown as }
   { "plain, as", "plain" }, { "plain, with one channel", "plain, one channel" },
   { "TLS 1.3, no channel", "TLS 1.3" }, { "TLS 1.3, with one channel", "TLS 1.3, one channel" } }

local function read(path)
   local file = assert(io.open(path))
   local text = file:read "*a"
   file:close()
   return text
end

-- Bars -------------------------------------------------------------------------------------------

-- Without those that no table has; a client that some table has must be in each.
local function shown(tables)
   local clients = {}
   for _, client in ipairs(CLIENTS) do
      if not client[4] or tables:find("| " .. client[1] .. " |", 1, true) then clients[#clients + 1] = client end
   end
   return clients
end

-- The cell of a client, in the table under a heading.
local function cell(tables, heading, client, column)
   for _, row in ipairs(page.rows(page.section(tables, heading))) do
      if row[1] == BODY and row[2] == client then return row[column] end
   end
   error(("no row %s, %s under %s"):format(BODY, client, heading))
end

local function groups_of(tables, column, unit)
   local groups = {}
   for i, group in ipairs(GROUPS) do
      groups[i] = { title = group[2], unit = unit, bars = {} }
      for k, client in ipairs(shown(tables)) do
         groups[i].bars[k] = { label = client[2], text = page.median(cell(tables, group[1], client[1], column)), is_ours = k == 1 }
      end
   end
   return groups
end

local function draw_bars(text, column, unit, title, header)
   local tables = assert(page.block(text, "bench"), "no block bench")
   local groups, height = groups_of(tables, column, unit), 34
   for _, group in ipairs(groups) do height = height + bars.height(group) end
   local canvas, y, most = svg.new(bars.WIDTH, height, title), 52, bars.most(groups)
   canvas:text(16, 22, "", header, BODY, page.origin(tables))
   for _, group in ipairs(groups) do
      bars.draw(canvas, group, y, most)
      y = y + bars.height(group)
   end
   return canvas:finish()
end

local function throughput(text)
   return draw_bars(text, 3, nil, "Messages of " .. BODY .. " bytes a second, medians of docs/performance.md",
      "messages of %s bytes a second, median of five runs (commit %s)")
end

local function cpu(text)
   return draw_bars(text, 4, " us", "CPU time per message of " .. BODY .. " bytes, medians of docs/performance.md",
      "CPU time of the client per message of %s bytes, median of five runs; less is better (commit %s)")
end

-- Memory -----------------------------------------------------------------------------------------

-- KiB at each million of messages, as the line under the tables has it.
local function long_run(tables)
   local messages, list = tables:match "\nResident memory at each million of (%d+) messages, KiB: ([%d, ]+)%."
   assert(list, "no line of the resident memory at each million")
   local points = {}
   for kib in list:gmatch "%d+" do
      points[#points + 1] = #points / 2 + 1
      points[#points + 1] = tonumber(kib) / 1024
   end
   return points, tonumber(messages) / 1e6
end

local function idle_group(text)
   local section = page.section(text, "## Idle connections")
   local group = { title = ("an open connection that does nothing (%s)"):format(section:match "%d+ %u%l+ %d%d%d%d"), unit = " KiB",
      bars = {} }
   for i, wanted in ipairs(IDLE) do
      for _, row in ipairs(page.rows(section)) do
         if row[1]:sub(1, #wanted[1]) == wanted[1] then group.bars[i] = { label = wanted[2], text = row[3], is_ours = true } end
      end
      assert(group.bars[i], "no row " .. wanted[1])
   end
   return group
end

local function memory(text)
   local tables = assert(page.block(text, "bench"), "no block bench")
   local points, millions = long_run(tables)
   local most, highest = 4, 0
   for i = 2, #points, 2 do highest = math.max(highest, points[i]) end
   while most < highest * 1.1 do most = most + 4 end
   local x, y = { from = 0, to = millions, ticks = {}, name = "million messages" }, { from = 0, to = most, ticks = {} }
   for at = 0, millions, math.max(1, math.floor(millions / 4)) do x.ticks[#x.ticks + 1] = { at, tostring(at) } end
   for at = 0, most, math.max(4, most / 4) do y.ticks[#y.ticks + 1] = { at, at .. " MiB" } end

   local group = idle_group(text)
   local canvas = svg.new(bars.WIDTH, 34 + curves.HEIGHT + bars.height(group), "Resident memory, figures of docs/performance.md", 1)
   canvas:text(16, 22, "", "resident memory of Moonrabbit's process")
   local place = curves.frame(canvas, 52, { x = x, y = y,
      title = ("a consumer that settles %d million messages (commit %s)"):format(millions, page.origin(tables)) })
   curves.draw(canvas, { { name = ("%.1f MiB, %+.0f KiB"):format(points[#points], (points[#points] - points[2]) * 1024), colour = 1,
      points = points, is_ours = true } }, place, 52)
   bars.draw(canvas, group, 52 + curves.HEIGHT, bars.most { group })
   return canvas:finish()
end

-- Latency ----------------------------------------------------------------------------------------

local SHARES = { { 0, "0" }, { math.log10(2), "50 %" }, { 1, "90 %" }, { 2, "99 %" }, { 3, "99.9 %" }, { 4, "99.99 %" } }

local function time(us)
   return us < 1000 and ("%g us"):format(us) or us < 1e6 and ("%g ms"):format(us / 1e3) or ("%g s"):format(us / 1e6)
end

-- The curves of a mode, as the block has them in comments, on axes of logarithms.
local function curves_of(block, mode)
   local list, far, least, most = {}, 0, math.huge, 0
   for i, client in ipairs(CLIENTS) do
      for name, figures in block:gmatch("<!%-%- curve " .. mode:gsub("%-", "%%-") .. " (%S+): ([%d. ]+) %-%->") do
         local points = {}
         for us in name == client[3] and figures:gmatch "[%d.]+" or function() end do
            local value = tonumber(us)
            points[#points + 1] = latency.place(#points / 2 + 1)
            points[#points + 1] = math.log10(value)
            far, least, most = math.max(far, points[#points - 1]), math.min(least, value), math.max(most, value)
         end
         if #points > 2 then list[#list + 1] = { name = client[2], colour = i, points = points, is_ours = i == 1 } end
      end
   end
   return list, far, least, most
end

-- 1, 2, 5, 10... from the last that is not above the least to the first that is not below the most.
local function time_axis(least, most)
   local ticks = {}
   for exponent = 0, 8 do
      for _, digit in ipairs { 1, 2, 5 } do
         local us = digit * 10 ^ exponent
         if us <= least then ticks = {} end
         if #ticks == 0 or 10 ^ ticks[#ticks][1] < most * (1 - 1e-9) then ticks[#ticks + 1] = { math.log10(us), time(us) } end
      end
   end
   return { from = ticks[1][1], to = ticks[#ticks][1], ticks = ticks }
end

local function draw_latency(text)
   local block = page.block(text, "latency")
   local panels = {}
   for _, trip in ipairs(TRIPS) do
      local list, far, least, most = curves_of(block or "", trip[1])
      if #list > 0 then panels[#panels + 1] = { title = trip[2], list = list, far = far, least = least, most = most } end
   end
   if #panels == 0 then return nil end
   local canvas = svg.new(bars.WIDTH, 40 + #panels * curves.HEIGHT, "Latency by percentile, curves of docs/performance.md", #CLIENTS)
   canvas:text(16, 22, "", "time of each through RabbitMQ, bodies of %s bytes; lower is better (commit %s)", BODY, page.origin(block))
   for i, panel in ipairs(panels) do
      local y, ticks = 52 + (i - 1) * curves.HEIGHT, {}
      for _, share in ipairs(SHARES) do
         if share[1] <= panel.far + 1e-9 then ticks[#ticks + 1] = share end
      end
      panel.x = { from = 0, to = panel.far, ticks = ticks, name = "share of them that took no longer" }
      panel.y = time_axis(panel.least, panel.most)
      curves.draw(canvas, panel.list, curves.frame(canvas, y, panel), y)
   end
   return canvas:finish()
end

-- All --------------------------------------------------------------------------------------------

local PICTURES = { { "docs/benchmark.svg", throughput }, { "docs/pictures/cpu.svg", cpu }, { "docs/pictures/memory.svg", memory },
   { "docs/pictures/latency.svg", draw_latency } }

local text, is_wrong = read(root .. "/docs/performance.md"), false
for _, picture in ipairs(PICTURES) do
   local path, drawn = root .. "/" .. picture[1], picture[2](text)
   if checking then
      local file = io.open(path)
      local there = file and file:read "*a"
      if file then file:close() end
      if there ~= drawn then
         print(picture[1] .. " is not what docs/performance.md says: run luajit tests/bench/figure.lua .")
         is_wrong = true
      end
   elseif drawn then
      local file = assert(io.open(path, "w"))
      file:write(drawn)
      file:close()
   end
end
if is_wrong then os.exit(1) end
