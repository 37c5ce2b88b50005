--- The headers of the C library: the program in moonrabbit.h's head does what it says; each header compiles by itself.
-- Covers: runtime/api/declarations.c by mr_declarations
local LIBRARY = os.getenv "MOONRABBIT_LIBRARY"
local INCLUDE = "runtime/include"

-- What a shell command prints, with its exit code at the end.
local build = require "build"
local files = require "files"
local function output_of(command)
   local pipe = assert(io.popen("{ " .. command .. "; echo code $?; } 2>&1"))
   local text = pipe:read "*a"
   pipe:close()
   return text
end

-- The lines of the first comment that are indented by a tab.
local function program()
   local lines = {}
   for line in files.read(INCLUDE .. "/moonrabbit.h"):match "^/%*.-%*/":gmatch "[^\n]+" do
      local code = line:match "^ %*\t(.*)$"
      if code then lines[#lines + 1] = code end
   end
   return table.concat(lines, "\n") .. "\n", #lines
end

describe("the headers", function()
   local folder

   before_each(function() folder = output_of("mktemp -d"):match "^%S+" end)
   after_each(function() os.execute("rm -rf " .. folder) end)

   local function compile(source, more)
      local warnings = "-std=c11 -Wall -Wextra -Wpedantic -Werror"
      files.write(folder .. "/a.c", source)
      assert.equal("code 0\n", output_of(("cc %s -I %s %s/a.c %s"):format(warnings, INCLUDE, folder, more)))
   end

   -- A plain C program cannot load a library that is instrumented.
   local plain = build.is_release and it or pending
   plain("begin with a whole program that publishes and consumes", function()
      local source, lines = program()
      local place = LIBRARY:match "^(.*)/"
      assert.is_true(lines >= 30 and lines <= 45, tostring(lines))
      compile(source, ("-o %s/a -L %s -lmoonrabbit -Wl,-rpath,%s"):format(folder, place, place))
      assert.equal("Hello!\ncode 0\n", output_of("timeout 30 " .. folder .. "/a"))
   end)

   it("compile by themselves, in any order, any number of times", function()
      local both = '#include "moonrabbit_testing.h"\n#include "moonrabbit.h"\n#include "moonrabbit_testing.h"\n'
      compile(both .. "mr_server *server;\nmr_event event;\n", "-c -o /dev/null")
      compile('#include "moonrabbit.h"\nmr_event event;\n', "-c -o /dev/null")
   end)

   it("are both declared to Lua, by the text in the library", function()
      local C = require("moonrabbit.base.ffi").C
      for _, name in ipairs { "mr_runtime_poll", "mr_declarations", "mr_server_fault", "mr_clock_advance" } do
         assert.truthy(C[name], name)
      end
   end)
end)
