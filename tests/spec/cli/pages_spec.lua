--- cli.pages: the pages of a supervisor.
local pages = require "moonrabbit.cli.pages"

describe("the metrics of several workers", function()
   it("stand together by family, each with its worker's number", function()
      local families, order = pages.merge {
         '# HELP a What.\n# TYPE a counter\na 1\n# HELP h Time.\n# TYPE h histogram\nh_bucket{le="+Inf",x="}"} 2\nh_sum 0.5\n',
         '# HELP a What.\n# TYPE a counter\na 3\n# HELP h Time.\n# TYPE h histogram\nh_bucket{le="+Inf",x="}"} 4\nh_sum 1\n',
      }
      assert.same({ "a", "h" }, order)
      assert.same({ heads = { HELP = "# HELP a What.", TYPE = "# TYPE a counter" },
         lines = { 'a{worker="1"} 1', 'a{worker="2"} 3' } }, families.a)
      assert.same({ 'h_bucket{worker="1",le="+Inf",x="}"} 2', 'h_sum{worker="1"} 0.5',
         'h_bucket{worker="2",le="+Inf",x="}"} 4', 'h_sum{worker="2"} 1' }, families.h.lines)
   end)
end)
