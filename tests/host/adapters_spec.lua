--- The programs in C and C++ of docs/embedding.md, and those of examples/ by the commands in their heads.
-- SPDX-License-Identifier: MIT
local build = require "build"
local page = require "page"

local LIBRARY = os.getenv("MOONRABBIT_LIBRARY"):match "^(.*)/"
local plain = build.is_release and it or pending -- no instrumented library

-- What a shell command prints, with its exit code at the end.
local function output_of(command)
   local pipe = assert(io.popen("{ " .. command .. "; echo code $?; } 2>&1"))
   local text = pipe:read "*a"
   pipe:close()
   return text
end

local function read(path)
   local f = assert(io.open(path))
   local text = f:read "*a"
   f:close()
   return text
end

describe("in C and C++", function()
   local folder

   before_each(function() folder = output_of("mktemp -d"):match "^%S+" end)
   after_each(function() os.execute("rm -rf " .. folder) end)

   -- Runs a command as the page and the examples show it, with the headers and the library of this build.
   local function run(name, source, command)
      local f = assert(io.open(folder .. "/" .. name, "w"))
      f:write(source)
      f:close()
      local warnings = "-Wall -Wextra -Werror -I " .. os.getenv("PWD") .. "/runtime/include"
      command = command:gsub("^(%S+)", "%1 " .. warnings, 1)
         :gsub("%-lmoonrabbit", "-L " .. LIBRARY .. " -lmoonrabbit -Wl,-rpath," .. LIBRARY)
      return output_of(("cd %s && %s"):format(folder, command:gsub("&& ", "&& timeout 30 ")))
   end

   for _, name in ipairs { "loop.c", "hello.cpp" } do
      plain(name .. " of the page says what the page says", function()
         local command = read("docs/embedding.md"):match("\n%$ (c[^\n]* " .. name:gsub("%p", "%%%0") .. "[^\n]*)\n")
         assert.equal(page.output(command) .. "code 0\n", run(name, page.program(name), command))
      end)
   end

   local IDLE = [[
#include <stdio.h>
#include HEADER
static double busy = -1;
static void on_event(mr_runtime *rt, mr_event *ev, void *data)
{
	(void)rt, (void)data;
	if (ev->type == MR_EV_HEALTH) busy = ev->as.health.health->busy;
}
int main(void)
{
	mr_runtime *rt;
	if (mr_runtime_new(&rt)) return 1;
	mr_health_ask(rt, 7);
	LOOP
	for (double until = mr_now() + 0.3; mr_now() < until || busy < 0;) TURN
	busy = -1;
	for (double until = mr_now() + 1; mr_now() < until;) TURN
	mr_health_ask(rt, 8);
	while (busy < 0) TURN
	mr_runtime_free(rt, 1);
	return printf("busy %.1f\n", busy) < 0;
}
]]
   local loops = {
      ev = { "struct ev_loop *l = ev_loop_new(0); mr_ev a; mr_ev_attach(&a, l, rt, on_event, NULL);", "ev_run(l, EVRUN_NOWAIT);", "-lev" },
      uv = { "uv_loop_t *l = uv_default_loop(); mr_uv a; mr_uv_attach(&a, l, rt, on_event, NULL);", "uv_run(l, UV_RUN_NOWAIT);", "-luv" },
      glib = { "mr_glib_attach(NULL, rt, on_event, NULL);", "g_main_context_iteration(NULL, FALSE);",
         "$(pkg-config --cflags --libs glib-2.0)" },
   }
   for name, parts in pairs(loops) do
      plain("a host in a loop of " .. name .. " that sleeps after an event is not taken for busy", function()
         local source = IDLE:gsub("HEADER", '"moonrabbit_' .. name .. '.h"'):gsub("LOOP", parts[1]):gsub("TURN", parts[2])
         assert.equal("busy 0.0\ncode 0\n", run("idle.c", source, "cc idle.c -o idle -lmoonrabbit " .. parts[3] .. " && ./idle"))
      end)
   end

   for _, path in ipairs { "c/ev.c", "c/uv.c", "c/glib.c", "c/poll.c", "cpp/hello.cpp" } do
      plain("examples/" .. path .. " is built by the command in its head, and ends by itself", function()
         local source = read("examples/" .. path)
         local name = path:match "[^/]+$"
         local command = source:match("\n %*   (c[^\n]* " .. name:gsub("%p", "%%%0") .. "[^\n]*) %*/"):gsub(" %[URL%]", "")
         local said = run(name, source, command)
         assert.equal(name == "hello.cpp" and "Hello!\ncode 0\n" or "hello 10\ncode 0\n", said:match "[^\n]*\ncode %d+\n$")
         local lines = select(2, source:gsub("\n", ""))
         assert.is_true(lines < 80, lines .. " lines")
      end)
   end
end)
