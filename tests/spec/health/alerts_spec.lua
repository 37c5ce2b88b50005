--- The alert rules and the dashboard of docs/: they name metrics that there are, and Prometheus takes them.
-- Feature: docs/prometheus and docs/grafana beside the catalogue of metrics
local cjson = require "cjson"
local files = require "files"

-- The names in docs/metrics.md.
local function catalogue()
   local list = {}
   for name in files.read "docs/metrics.md":gmatch "\n| `([%l_]+)` | %l+ |" do list[name] = true end
   return list
end

describe("the catalogue of metrics", function()
   -- The names of metrics in an expression of Prometheus.
   local function check_names(expression, where)
      local listed, any = catalogue(), false
      for name in expression:gmatch "%f[%w_]([%l][%l_]+)%f[^%w_]" do
         if name:find "^moonrabbit_" or name:find "^process_" then
            any = true
            local base = name:gsub("_bucket$", ""):gsub("_sum$", ""):gsub("_count$", "")
            assert.truthy(listed[name] or listed[base], where .. " names " .. name .. ", which there is not")
         end
      end
      return any
   end

   it("has each metric that an alert rule names", function()
      local n = 0
      for name, expression in files.read "docs/prometheus/moonrabbit.rules.yml":gmatch "%- alert: (%w+)\n%s+expr: (.-)\n%s+%l+:[^\n]*" do
         n = n + 1
         assert.truthy(check_names(expression, name) or name == "MoonrabbitDown", name .. " names none")
      end
      assert.is_true(n >= 20)
      check_names(files.read "docs/prometheus/moonrabbit.test.yml", "moonrabbit.test.yml")
   end)

   it("has each metric that the dashboard names; its panels have their places, and its variables are there", function()
      local board, n, taken, variables = cjson.decode(files.read "docs/grafana/moonrabbit.json"), 0, {}, { __rate_interval = true }
      for _, v in ipairs(board.templating.list) do
         variables[v.name] = true
         if v.definition then assert.is_true(check_names(v.definition, v.name)) end
      end
      for _, panel in ipairs(board.panels) do
         for _, target in ipairs(panel.targets or {}) do
            n = n + 1
            assert.is_true(check_names(target.expr, panel.title))
            for name in target.expr:gmatch "%$([%w_]+)" do assert.is_true(variables[name], target.expr) end
         end
         local at = panel.gridPos
         assert.is_true(at.x + at.w <= 24)
         for x = at.x, at.x + at.w - 1 do
            for y = at.y, at.y + at.h - 1 do
               assert.is_nil(taken[x .. "," .. y], panel.title)
               taken[x .. "," .. y] = true
            end
         end
      end
      assert.is_true(n > 30)
   end)

   it("has alert rules that Prometheus takes, and that fire when they should", function()
      local pipe = io.popen "command -v promtool"
      local tool = pipe:read "*l"
      pipe:close()
      if not tool then return pending "promtool is not installed" end
      pipe = io.popen("cd docs/prometheus && (promtool check rules moonrabbit.rules.yml && promtool test rules moonrabbit.test.yml) 2>&1 "
         .. "&& echo right")
      local out = pipe:read "*a"
      pipe:close()
      assert.truthy(out:find "right\n$", out)
   end)
end)
