--- state_folder: where a program keeps what the next run needs.
local state_folder = require "moonrabbit.base.state_folder"

describe("the folder of state", function()
   it("is what the environment names first; empty names count as none", function()
      local function at(env) return state_folder(function(name) return env[name] end) end
      assert.equal("/a", at { MOONRABBIT_STATE = "/a", STATE_DIRECTORY = "/b", HOME = "/h" })
      assert.equal("/b", at { MOONRABBIT_STATE = "", STATE_DIRECTORY = "/b:/c", XDG_STATE_HOME = "/x", HOME = "/h" })
      assert.equal("/x/moonrabbit", at { XDG_STATE_HOME = "/x", HOME = "/h" })
      assert.equal("/h/.local/state/moonrabbit", at { HOME = "/h" })
      assert.is_nil(at { HOME = "" })
   end)
end)
