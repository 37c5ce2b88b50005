--- cli.ask: a worker's page, by its socket.
local ask = require "moonrabbit.cli.ask"
local host_pages = require "moonrabbit.health.host_pages"
local loop = require "moonrabbit.loop.loop"
local mr = require "moonrabbit"

describe("a page of a worker's", function()
   local folder

   setup(function()
      folder = os.tmpname()
      os.remove(folder)
      os.execute("mkdir -p " .. folder .. ("/long"):rep(40))
   end)
   teardown(function()
      loop.close(1)
      os.execute("rm -r " .. folder)
   end)
   after_each(function() assert(mr.health.close()) end)

   it("comes by a socket of any length", function()
      for _, path in ipairs { folder .. "/1", folder .. ("/long"):rep(40) .. "/1" } do
         assert(mr.health.listen(path))
         local code, body = ask.page(path, "/live", 5)
         assert.same({ 200, '{"status":"alive"}' }, { code, body })
         assert.equal(404, (ask.page(path, "/nowhere", 5)))
         assert(mr.health.close())
      end
   end)

   it("comes with what is wrong instead, when there is no socket, or no answer", function()
      local code, why = ask.page("/nowhere/at/all", "/live", 1)
      assert.is_nil(code)
      assert.truthy(why:find "No such file")
      assert.truthy(select(2, ask.page(("/x"):rep(60), "/live", 1)):find "No such file")
      local path = folder .. "/2"
      host_pages.serve("/slow", function() mr.sleep(1) return 200, "text/plain", "" end)
      assert(mr.health.listen(path))
      assert.same({ nil, "it did not answer in time" }, { ask.page(path, "/slow", 0.05) })
   end)
end)
