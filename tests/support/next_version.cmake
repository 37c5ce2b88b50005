# next_version.cmake: makes what cpack has in place the files of CPACK_PACKAGE_VERSION, which is not that of the build: the library has
# another name, one Lua file is gone and another there, so that an upgrade has files to remove. debs.sh has cpack run it.
# SPDX-License-Identifier: MIT
set(root ${CPACK_TEMPORARY_INSTALL_DIRECTORY})
file(GLOB library ${root}/library/usr/lib/*/libmoonrabbit.so.*.*)
cmake_path(GET library PARENT_PATH folder)
file(RENAME ${library} ${folder}/libmoonrabbit.so.${CPACK_PACKAGE_VERSION})
file(GLOB link ${folder}/libmoonrabbit.so.?)
file(REMOVE ${link})
file(CREATE_LINK libmoonrabbit.so.${CPACK_PACKAGE_VERSION} ${link} SYMBOLIC)
file(RENAME ${root}/lua/usr/share/lua/5.1/moonrabbit/love.lua ${root}/lua/usr/share/lua/5.1/moonrabbit/in_love.lua)
