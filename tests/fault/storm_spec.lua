--- A thousand connections of one program that are lost together: tests/fault/storm.lua, judged.
local broker = require "broker"

local COUNT = 1000

describe("a thousand connections that are lost together", function()
   local figures, lines, log = {}, {}, nil

   setup(function()
      log = os.tmpname()
      local out, code = broker.shell(("ulimit -n 8192; exec %s run --log-level warn tests/fault/storm.lua %d 2>%s"):format(
         broker.command, COUNT, log))
      assert(code == 0, "the storm ended with " .. tostring(code) .. ": " .. out)
      for what, value in out:gmatch "(%S+) (%S+)\n" do figures[what] = tonumber(value) end
      for line in io.lines(log) do
         local text = line:match 'msg="([^"]*)"' or line:match "msg=(%S+)"
         lines[text] = (lines[text] or 0) + 1
         lines.all = (lines.all or 0) + 1
      end
      print("note: storm: " .. out:gsub("\n", "  "))
   end)
   teardown(function() os.remove(log) end)

   -- What fell due on a machine that was busy with something else begins together when it has time again.
   local function is_no_crowd(storm)
      assert.is_true(figures[storm .. "_due_crowd"] <= 0.1, figures[storm .. "_due_crowd"])
      assert.is_true(figures[storm .. "_crowd"] <= 0.3, figures[storm .. "_crowd"])
   end

   it("are back when the broker was there all the time, and no tenth of them is to try within the same 100 ms", function()
      assert.is_true(figures.drop_seconds < 30, figures.drop_seconds)
      assert.equal(COUNT, figures.drop_tries) -- each with its first one
      is_no_crowd "drop"
   end)

   it("are back within 30 s when the broker is", function()
      assert.is_true(figures.outage_seconds < 30, figures.outage_seconds)
      assert.same({ 3 * COUNT, 3 * COUNT }, { figures.lost, figures.recovered })
   end)

   it("do not try together while it is away: no tenth of all tries is due within the same 100 ms (T26, L8)", function()
      assert.is_true(figures.outage_tries > 2 * COUNT, figures.outage_tries)
      is_no_crowd "outage"
   end)

   it("are tried again once for each that was lost or failed", function()
      assert.equal(figures.retrying, figures.connecting - COUNT) -- less the first connects
   end)

   it("write one line for each loss at the level of warnings, and no other (T26, FIELD-W32)", function()
      local dropped = figures.log_dropped -- where the machine had no time for the log's thread; it is told of
      local told, summaries = lines["log lines were dropped"] or 0, lines["still not connected"] or 0
      assert.same({ 3 * COUNT, lines.all }, { lines.lost + dropped, lines.lost + told + summaries })
      assert.is_nil(lines["connect failed"])
      assert.is_true(lines.lost <= 3 * COUNT and dropped < COUNT and (told > 0) == (dropped > 0), dropped)
   end)

   it("cost less than a tenth of a core while they wait, and little more while they try", function()
      assert.is_true(figures.refusal_load < 0.1, figures.refusal_load)
      assert.is_true(figures.outage_load < 0.5, figures.outage_load)
   end)
end)
