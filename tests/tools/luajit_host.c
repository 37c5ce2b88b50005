/* luajit_host: runs a Lua file, `test_luajit FILE [ARG...]`, as `luajit FILE` would.
 * Exists so that a sanitizer can be linked into the program that loads libmoonrabbit.
 * Does not read LUA_INIT, takes no options. */
// SPDX-License-Identifier: MIT
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

static int traceback(lua_State *L)
{
	/* busted ends a failed run by an error without a message: that one stays as it is */
	if (lua_isstring(L, 1)) luaL_traceback(L, L, lua_tostring(L, 1), 1);
	return 1;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "usage: %s FILE [ARG...]\n", argv[0]);
		return EXIT_FAILURE;
	}
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* a leak report at exit drops what is buffered */
	lua_State *L = luaL_newstate();
	if (!L) return EXIT_FAILURE;
	luaL_openlibs(L);
	lua_newtable(L);
	for (int i = 0; i < argc; i++) {
		lua_pushstring(L, argv[i]);
		lua_rawseti(L, -2, i - 1);
	}
	lua_setglobal(L, "arg");
	lua_pushcfunction(L, traceback);
	int failed = luaL_loadfile(L, argv[1]);
	if (!failed) {
		for (int i = 2; i < argc; i++) lua_pushstring(L, argv[i]);
		failed = lua_pcall(L, argc - 2, 0, 1);
	}
	if (failed && lua_isstring(L, -1)) fprintf(stderr, "%s\n", lua_tostring(L, -1));
	lua_close(L);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
