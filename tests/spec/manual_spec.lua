--- manual: the man pages and the shell completions say what --help and moonrabbit.h say.
-- Feature: the pages that are made for man
-- SPDX-License-Identifier: MIT
local shell = require "shell"
local files = require "files"

local root = (debug.getinfo(1, "S").source:match "^@(.*/)" or "./") .. "../.."

describe("the manual", function()
   local out

   setup(function()
      out = os.tmpname()
      os.remove(out)
      local said, code = shell(("MOONRABBIT_LIBRARY=/nonexistent.so luajit %s/examples/packages/pages.lua %s %s"):format(root, root, out))
      assert.equal(0, code, said)
   end)
   teardown(function() shell("rm -rf " .. out) end)

   local function page(path) return (files.read(out .. "/" .. path):gsub("\\%-", "-")) end

   it("has a page for each command, with each of its options", function()
      local all = page "man1/moonrabbit.1"
      for _, command in ipairs(require("moonrabbit.cli").parser()._commands) do
         if command._name ~= "help" then
            local one = page(("man1/moonrabbit-%s.1"):format(command._name))
            assert.truthy(all:find(("moonrabbit-%s\\fR(1)"):format(command._name), 1, true), command._name)
            for _, option in ipairs(command._options) do
               for _, alias in ipairs(option._aliases) do
                  assert.truthy(one:find("\\fB" .. alias .. "\\fR", 1, true), command._name .. " " .. alias)
               end
               assert.truthy(one:find(option._description, 1, true), command._name .. ": " .. option._description)
            end
         end
      end
   end)

   it("shows each function of moonrabbit.h in moonrabbit(3), with a page of its name", function()
      local text, count = page "man3/moonrabbit.3", 0
      for name in files.read(root .. "/runtime/include/moonrabbit.h"):gmatch "\nMR_API [^;]-(mr_[%w_]+)%(" do
         count = count + 1
         assert.truthy(text:find(name .. "(", 1, true), name)
         assert.equal(".so man3/moonrabbit.3\n", page(("man3/%s.3"):format(name)))
      end
      assert.truthy(count > 100, count)
      assert.truthy(text:find("Returns 0 early if the host catches a signal.", 1, true))
      assert.falsy(text:find("MR_API", 1, true))
   end)

   it("has README.md's consumer and its pages in moonrabbit(7)", function()
      local text = page "man7/moonrabbit.7"
      assert.truthy(text:find('local paid = mr.publisher { routing_key = "paid"', 1, true))
      assert.truthy(text:find("@prefix@/share/doc/moonrabbit/docs/guide.md", 1, true))
   end)

   it("completes commands and options in bash", function()
      local said, code = shell(([[bash -c '. %s/completion/moonrabbit
         COMP_WORDS=(moonrabbit run --dr) COMP_CWORD=2 && _moonrabbit && echo "${COMPREPLY[@]}"
         COMP_WORDS=(moonrabbit bro) COMP_CWORD=1 && _moonrabbit && echo "${COMPREPLY[@]}"']]):format(out))
      assert.equal(0, code, said)
      assert.equal("--drain\nbroker", (said:gsub("%s+$", "")))
   end)
end)
