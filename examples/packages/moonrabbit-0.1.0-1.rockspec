-- moonrabbit-0.1.0-1: the rock, for LuaJIT: luarocks --lua-version 5.1 make examples/packages/moonrabbit-0.1.0-1.rockspec
-- SPDX-License-Identifier: MIT
-- In the repository's folder. It compiles the C library by CMake and puts it inside the tree, with the command; rabbitmq-c, libev,
-- OpenSSL, c-ares, libmicrohttpd, hiredis, jansson and LuaJIT are the system's, with their headers.
rockspec_format = "3.0"
package = "moonrabbit"
version = "0.1.0-1"
source = { url = "git+https://moonrabbit.invalid/moonrabbit.git", tag = "v0.1.0" }
description = {
   summary = "RabbitMQ consumers in Lua, with connections that recover by themselves",
   detailed = "A messaging runtime for RabbitMQ (AMQP 0-9-1): a C library, and a Lua library with retries, dead letters, publishers and "
      .. "remote calls, for LuaJIT.",
   license = "MIT",
}
supported_platforms = { "linux" }
dependencies = { "lua == 5.1", "lua-cjson", "argparse" }
external_dependencies = { EV = { header = "ev.h" }, RABBITMQ = { header = "amqp.h" } }
build = {
   type = "command",
   build_command = "cmake -S . -B .build/rock -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_LIBDIR=lib/lua/5.1 && "
      .. "cmake --build .build/rock --parallel $(nproc)",
   install_command = "mkdir -p $(LUADIR) $(LIBDIR) $(BINDIR) && "
      .. "cmake --install .build/rock --prefix .build/rock/installed && cp -r lua/moonrabbit $(LUADIR) && "
      .. "cp .build/rock/installed/lib/lua/5.1/libmoonrabbit.so.0 $(LIBDIR) && cp .build/rock/installed/bin/moonrabbit $(BINDIR)",
}
