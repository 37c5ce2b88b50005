--- bench: what becomes of the times that tests/bench/run.sh measures: percentiles, tables, pictures. The times here are made up.
-- Feature: the benchmark's report
local cjson = require "cjson"
local files = require "files"

local function latency()
   return dofile "tests/bench/latency.lua"
end

local function from_one_to(n)
   local times = {}
   for i = 1, n do times[i] = i end
   return times
end

describe("percentiles of the benchmark", function()
   it("are the time that a share did not exceed", function()
      local sorted = from_one_to(1000)
      assert.equal(500, latency().at(sorted, 0.5))
      assert.equal(990, latency().at(sorted, 0.99))
      assert.equal(995, latency().at(sorted, 0.995))
      assert.equal(1, latency().at(sorted, 0))
      assert.equal(1000, latency().at(sorted, 1))
   end)

   it("are not given where fewer than five times are longer", function()
      assert.is_nil(latency().at(from_one_to(1000), 0.996))
      assert.is_nil(latency().at(from_one_to(499), 0.99))
      assert.equal(495, latency().at(from_one_to(500), 0.99))
      assert.is_nil(latency().at({}, 0.5))
   end)

   it("are of the times of all runs together", function()
      assert.same({ 1, 2, 3, 4 }, latency().pool { { trips_us = { 2, 4 } }, { trips_us = { 1, 3 } } })
   end)

   it("make a curve of eight points a decade, as far as there are times", function()
      local curve = latency().curve(from_one_to(1000))
      assert.equal(1, curve[1])
      assert.equal(900, curve[9])
      assert.equal(990, curve[17])
      assert.equal(19, #curve)     -- of the next, at 99.56 %, four are longer
      assert.equal(2, latency().place(17))
   end)
end)

describe("the benchmark's report", function()
   local folder, page

   local function run(script, ...)
      return os.execute(("luajit tests/bench/%s %s >%s/said 2>&1"):format(script, table.concat({ ... }, " "), folder))
   end

   before_each(function()
      folder = io.popen("mktemp -d"):read "*l"
      page = folder .. "/docs/performance.md"
      os.execute("mkdir -p " .. folder .. "/docs/pictures")
      files.write(page, files.read "docs/performance.md")
      local lines = {}
      for factor, client in ipairs { "rabbitmq-c", "moonrabbit" } do
         local trips = {}
         for i = 1, 1000 do trips[i] = 100 * factor + i / 10 end
         for round = 1, 2 do
            for _, mode in ipairs { "rtt", "confirm-one" } do
               lines[#lines + 1] = ("%s\t%d\t%s\t{}"):format(client, round, cjson.encode { client = client, mode = mode, body = 100,
                  messages = 1000, rate = 5000, cpu_us_per_msg = 20, median_us = trips[501], p99_us = trips[991], trips_us = trips })
            end
         end
      end
      files.write(folder .. "/runs.tsv", table.concat(lines, "\n") .. "\n")
      files.write(folder .. "/facts.tsv", "date\t2026-01-02\ncommit\tabc1234\n")
      files.write(folder .. "/failures.tsv", "")
   end)

   after_each(function() os.execute("rm -r " .. folder) end)

   it("puts a run of latencies alone into their own block, and leaves the rest of the page", function()
      local before = files.read(page)
      assert.equal(0, run("report.lua", folder, page), files.read(folder .. "/said"))
      local after = files.read(page)
      local marks = "<!%-%- latency:begin %-%->\n(.-)<!%-%- latency:end %-%->"
      assert.equal((before:gsub(marks, "")), (after:gsub(marks, "")))
      local block = after:match(marks)
      assert.truthy(block:find("commit abc1234", 1, true))
      assert.truthy(block:find("| **moonrabbit** (Lua) | 250 | 299 | - | 300 |", 1, true), block) -- two runs: of 2000, two exceed p99.9
      assert.truthy(block:find("(pictures/latency.svg)", 1, true))
   end)

   it("keeps percentiles in results.json, not each trip", function()
      run("report.lua", folder)
      local results = cjson.decode(files.read(folder .. "/results.json"))
      assert.equal(2000, results.latency.rtt.moonrabbit.trips)
      assert.equal(299, results.latency["confirm-one"].moonrabbit.p99)
      assert.is_nil(results.runs[1].trips_us)
   end)

   it("draws the curves, and tells when the page says something else", function()
      run("report.lua", folder, page)
      assert.equal(0, run("figure.lua", folder), files.read(folder .. "/said"))
      local _, curves = files.read(folder .. "/docs/pictures/latency.svg"):gsub('<polyline class="l%d [lt][^ ]+" ', "")
      assert.equal(4 + 4, curves)  -- two clients in two modes, each with a line to its name
      assert.equal(0, run("figure.lua", folder, "--check"))
      files.write(page, (files.read(page):gsub("curve rtt moonrabbit: [%d.]+", "curve rtt moonrabbit: 150")))
      assert.are_not.equal(0, run("figure.lua", folder, "--check"))
      assert.truthy(files.read(folder .. "/said"):find("docs/pictures/latency.svg is not what", 1, true))
   end)
end)
