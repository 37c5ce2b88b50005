# debian_versions.cmake: what packages depend on among each other, in this very version; cpack reads it when it runs, so
# `cpack -D CPACK_DEBIAN_PACKAGE_RELEASE=2` counts.
# SPDX-License-Identifier: MIT
set(same "= ${CPACK_PACKAGE_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE}")
string(REGEX REPLACE "\\..*" "" major "${CPACK_PACKAGE_VERSION}")
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS "libmoonrabbit${major} (${same})")
set(CPACK_DEBIAN_LUA_PACKAGE_DEPENDS "libmoonrabbit${major} (${same}), luajit | libluajit-5.1-2, lua-cjson")
set(CPACK_DEBIAN_NGINX_PACKAGE_DEPENDS "libmoonrabbit${major} (${same}), ${CPACK_MOONRABBIT_NGINX_ABI}")
set(CPACK_DEBIAN_COMMAND_PACKAGE_DEPENDS "libmoonrabbit${major} (${same}), lua-moonrabbit (${same}), lua-argparse, lua-cjson")
