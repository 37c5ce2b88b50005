--- docs/guide.md: its scripts, run in its order by its own commands, give what it shows.
-- Feature: the scripts and commands of docs/guide.md
-- A comment before a fence says what it is: file: NAME; run: a terminal's commands and their output, one after the other;
-- terminal: the same in a terminal of its own that stays. What is exported holds for what follows. Of a run may be said:
-- any order (of the lines), settled (begins when the terminals show what they should), fails, curl (needs it).
-- example: NAME is a part of examples/NAME.
local build = require "build"
local peer = require "peer"
local waits = require "waits"

local SECONDS = 30 -- for each block
local COMMAND, LIBRARY = os.getenv "MOONRABBIT_COMMAND", os.getenv "MOONRABBIT_LIBRARY"

local function read(path)
   local f = assert(io.open(path))
   local text = f:read "*a"
   f:close()
   return text
end

local function exists(path)
   local f = io.open(path)
   return f and f:close()
end

local function write(path, text)
   local f = assert(io.open(path, "w"))
   f:write(text)
   f:close()
end

local function output_of(command)
   local pipe = assert(io.popen(command))
   local text = pipe:read "*a"
   pipe:close()
   return text
end

-- The fences of a page: {language, directive (or nil), text, line}.
local function fences(page)
   local list, open, directive, n = {}, nil, nil, 0
   for line in (page .. "\n"):gmatch "(.-)\n" do
      n = n + 1
      if open and line == "```" then
         open.text = table.concat(open, "\n") .. "\n"
         list[#list + 1], open, directive = open, nil, nil
      elseif open then
         open[#open + 1] = line
      elseif line:find "^```" then
         open = { language = line:sub(4), directive = directive, line = n }
      elseif line:find "^<!%-%- " then
         directive = line:match "^<!%-%- (.-) %-%->$"
      end
   end
   assert(not open and not directive, "docs/guide.md ends within a fence, or a directive has none")
   return list
end

-- What differs from run to run, and from machine to machine.
local function mask(line)
   if line:find "^time=" then
      line = line:gsub('connection="[^"]*"', "connection=C"):gsub("connection=%S+", "connection=C"):gsub("tag=%S+@%S+", "tag=T")
         :gsub("time=%S+", "time=T"):gsub("0x%x+", "X"):gsub("%d[%d.]*", "N")
   end
   return (line:gsub(" %d+ ms$", " N ms"))
end

-- A block's commands and the output that it shows.
local function split(fence)
   local commands, shown = {}, {}
   for _, line in ipairs(fence) do
      local command = line:match "^%$ (.*)"
      table.insert(command and commands or shown, command or line)
   end
   return commands, shown
end

local function is_same(lines, wanted)
   for i, line in ipairs(wanted) do
      if line == "..." then return true end
      local beginning = line:match "^(time=.*)%.%.%.$"
      if (beginning and (lines[i] or ""):sub(1, #beginning) or lines[i]) ~= (beginning or line) then return false end
   end
   return #lines == #wanted
end

-- The lines of the log, and those of standard output: each comes in its order, but not the one beside the other, since
-- the log has a thread of its own.
local function streams(lines)
   local log, out = {}, {}
   for _, line in ipairs(lines) do table.insert(line:find "^time=" and log or out, mask(line)) end
   return log, out
end

-- Is this what the guide shows? "..." stands for the rest of its stream.
local function matches(text, shown, is_any_order)
   local lines = {}
   for line in text:gmatch "[^\n]+" do lines[#lines + 1] = line end
   local log, out = streams(lines)
   local wanted_log, wanted_out = streams(shown)
   for _, list in ipairs(is_any_order and { log, out, wanted_log, wanted_out } or {}) do table.sort(list) end
   return is_same(log, wanted_log) and is_same(out, wanted_out)
end

describe("docs/guide.md", function()
   local page = read "docs/guide.md"
   local folder, terminals, exports

   before_each(function()
      folder = output_of("mktemp -d"):match "%S+"
      terminals, exports = {}, {}
   end)
   after_each(function()
      for _, t in ipairs(terminals) do os.execute("kill -TERM " .. t.pid) end
      for _, t in ipairs(terminals) do
         waits.eventually("the end of " .. t.command, function() return exists(t.path .. ".end") end, SECONDS)
         os.execute(("rm -f %s %s.*"):format(t.path, t.path))
      end
      os.execute("rm -rf " .. folder)
   end)

   -- A shell script of some commands, in the folder and the environment of the guide's reader.
   local function script(commands)
      local tree, library = output_of("pwd"):match "%S+", LIBRARY:match "^(.*)/"
      local lines = { "cd " .. folder, "unset AMQP_URL", ("PATH='%s':$PATH"):format(COMMAND:match "^(.*)/"),
         ("export CPATH='%s/runtime/include' LIBRARY_PATH='%s' LD_LIBRARY_PATH='%s'"):format(tree, library, library) }
      for _, line in ipairs(exports) do lines[#lines + 1] = line end
      for _, line in ipairs(commands) do
         lines[#lines + 1] = line
         if line:find "^export " then exports[#exports + 1] = line end
      end
      local path = os.tmpname()
      write(path, table.concat(lines, "\n") .. "\n")
      return path
   end

   -- The last command is the one that stays.
   local function start(fence)
      local commands, shown = split(fence)
      local t = { shown = shown, line = fence.line, command = commands[#commands] }
      commands[#commands] = "exec " .. t.command
      t.path = script(commands)
      t.out = t.path .. ".out"
      os.execute(("{ sh -c 'echo $$ >%s.pid; . %s' >%s 2>&1 </dev/null; echo $? >%s.end; } &"):format(t.path, t.path, t.out,
         t.path))
      t.pid = waits.eventually("the terminal", function()
         return exists(t.path .. ".pid") and tonumber(read(t.path .. ".pid"):match "^(%d+)\n")
      end, SECONDS)
      terminals[#terminals + 1] = t
      waits.eventually(("line %d: the first line of %s"):format(t.line, t.command), function()
         return #shown == 0 or mask(read(t.out):match "^[^\n]*\n" or ""):sub(1, -2) == mask(shown[1])
      end, SECONDS)
   end

   local function settle()
      for _, t in ipairs(terminals) do
         local ok = pcall(waits.eventually, "", function() return matches(read(t.out), t.shown) end, SECONDS)
         assert(ok, ("line %d: %s says:\n%s"):format(t.line, t.command, read(t.out)))
      end
   end

   local function run(fence, how)
      if how:find "curl" and output_of("command -v curl") == "" then return end
      if how:find "settled" then settle() end
      local commands, shown = split(fence)
      local path = script(commands)
      local out = output_of(("timeout %d sh %s 2>&1 </dev/null; echo \"code $?\""):format(SECONDS, path))
      os.remove(path)
      local code
      out, code = out:match "^(.*)code (%d+)\n$"
      assert(matches(out, shown, how:find "any order"), ("line %d: %s says:\n%s"):format(fence.line, commands[#commands], out))
      assert.equal(how:find "fails" ~= nil, code ~= "0", commands[#commands])
   end

   -- Its own luajit and C program cannot load a library that is instrumented.
   local plain = build.is_release and it or pending
   plain("shows what its commands give", function()
      local text, count = page, 0
      for _, port in ipairs { "5673", "8080" } do text = text:gsub(port, tostring(peer.closed_port())) end
      for _, fence in ipairs(fences(text)) do
         local kind, rest = (fence.directive or ""):match "^(%w+):? ?(.*)$"
         if kind == "file" then
            write(folder .. "/" .. rest, fence.text)
         elseif kind == "terminal" then
            start(fence)
         elseif kind == "run" then
            count = count + 1
            run(fence, rest)
         end
      end
      settle()
      assert.is_true(count >= 10, tostring(count))
   end)

   it("shows parts of examples as they are", function()
      local count = 0
      for _, fence in ipairs(fences(page)) do
         local name = (fence.directive or ""):match "^example: (.*)$"
         if name then
            count = count + 1
            assert.truthy(read("examples/" .. name):find(fence.text, 1, true),
               ("line %d: not a part of examples/%s"):format(fence.line, name))
         end
      end
      assert.is_true(count > 0)
   end)

   it("has no Lua that does not parse", function()
      for _, fence in ipairs(fences(page)) do
         if fence.language == "lua" then assert(loadstring(fence.text, "@docs/guide.md:" .. fence.line)) end
      end
   end)

   it("is linked, and links nothing that is not there", function()
      assert.truthy(read("README.md"):find("(docs/guide.md)", 1, true))
      local anchors = {}
      for title in page:gmatch "\n## ([^\n]+)" do anchors[title:lower():gsub("[^%w%s_-]", ""):gsub("%s", "-")] = true end
      for target in page:gmatch "%]%(([^)]+)%)" do
         if target:sub(1, 1) == "#" then
            assert.is_true(anchors[target:sub(2)], target)
         else
            assert(io.open("docs/" .. target:gsub("#.*", "")), target):close()
         end
      end
   end)
end)
