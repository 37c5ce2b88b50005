--- complete: how a line may go on.
local complete = require("moonrabbit.console.complete").line
local evaluate = require "moonrabbit.console.evaluate"
local loop = require "moonrabbit.loop.loop"
local mr = require "moonrabbit"

describe("a line", function()
   teardown(function() loop.close(1) end)

   local env
   before_each(function()
      env = setmetatable({ orders = { paid = 1, open = 2, ["not a name"] = 3, _hidden = 4 }, conn = mr.connect "memory://" },
         { __index = _G })
      evaluate.environment = function() return env end
   end)
   after_each(function() evaluate.environment = function() return _G end end)

   it("goes on with globals, of the script, of Lua and handed over", function()
      mr.inspect.order_book = {}
      assert.same({ "order_book", "orders" }, complete "print(ord")
      assert.same({ "tonumber", "tostring" }, complete "x = to")
      assert.same({ "while" }, complete "whi")
      mr.inspect.order_book = nil
   end)

   it("goes on with fields, and with methods after a colon", function()
      assert.same({ "orders.open", "orders.paid" }, complete "orders.")
      assert.same({ "orders.paid" }, complete "f(orders.p")
      assert.same({ "orders._hidden" }, complete "orders._")
      assert.same({ "conn:clone", "conn:close" }, complete "conn:cl")
      assert.same({ "mr.health.listen" }, complete "mr.health.li")
      assert.same({ "string.format" }, complete "string.fo")
      assert.same({}, complete "orders:")
      assert.same({}, complete "nothing.at.all")
   end)

   it("calls nothing of the script's", function()
      env.trap = setmetatable({}, { __index = function() error "called" end })
      assert.same({}, complete "trap.x.y")
      assert.is_table(complete "trap.")
   end)

   it("has a bounded number of ways", function()
      env.many = {}
      for i = 1, 1000 do env.many["k" .. i] = i end
      assert.equal(200, #complete "many.k")
   end)
end)
