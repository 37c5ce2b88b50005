--- recordings: when files of the flight recorder are written, and how many are kept.
-- SPDX-License-Identifier: MIT
local loop = require "moonrabbit.loop.loop"
local mr = require "moonrabbit"
local recorder = require "moonrabbit.loop.recorder"
local recordings = require "moonrabbit.cli.recordings"
local shell = require "shell"
local eventually = require("waits").eventually

describe("files of the flight recorder", function()
   local folder

   local function count() return tonumber((shell(("ls %s | grep -c ^recorder-"):format(folder)))) end

   before_each(function()
      folder = os.tmpname()
      os.remove(folder)
      mr.log.configure "off"
   end)
   after_each(function()
      recorder.on_trouble(nil)
      loop.close(1)
      mr.log.configure "error"
      os.execute("rm -rf " .. folder)
   end)

   it("are written for trouble once in a while, whether or not somebody has asked for one just before", function()
      recordings.begin(folder)
      assert.is_string(recordings.write("SIGUSR1", true))
      recorder.trouble "a connection was given up"
      assert.equal(2, count())
      recorder.trouble "a connection was given up" -- one of a thousand
      assert.equal(2, count())
      assert.is_string(recordings.write("SIGUSR1", true))
   end)

   it("are tried again soon after one could not be written", function()
      local file = assert(io.open(folder, "w")) -- no folder can be there
      file:close()
      recordings.begin(folder)
      recorder.trouble "a connection was given up"
      os.remove(folder)
      os.execute("mkdir -m 700 " .. folder)
      eventually("a file", function()
         recorder.trouble "a connection was given up"
         return count() == 1
      end)
   end)

   it("are ten, or two for each worker", function()
      for _, case in ipairs { { 1, 10 }, { 8, 16 } } do
         os.execute("mkdir -p " .. folder)
         for i = 1, 20 do assert(io.open(("%s/recorder-20200101T0000%02dZ-1-0001.jsonl"):format(folder, i), "w")):close() end
         recordings.begin(folder, case[1])
         recordings.write("SIGUSR1", true)
         assert.equal(case[2], count())
         os.execute("rm -r " .. folder)
      end
   end)
end)
