# debs.cmake: `cpack -G DEB` makes the Debian packages of a build that was configured with -DCMAKE_INSTALL_PREFIX=/usr.
# SPDX-License-Identifier: MIT
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME moonrabbit)
set(CPACK_PACKAGE_CONTACT "Moonrabbit authors <authors@moonrabbit.invalid>")
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "")   # each has its own
set(CPACK_PACKAGING_INSTALL_PREFIX ${CMAKE_INSTALL_PREFIX})
set(CPACK_SET_DESTDIR ON)              # install scripts see the prefix, and not a place of cpack
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
   OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_COMPONENTS_ALL library dev lua command)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/debian_files.cmake)
set(CPACK_PROJECT_CONFIG_FILE ${CMAKE_CURRENT_LIST_DIR}/debian_versions.cmake)

# mr_deb(COMPONENT PACKAGE SECTION "summary" "description" "depends")
macro(mr_deb component package section summary description)
   string(TOUPPER ${component} upper)
   set(CPACK_DEBIAN_${upper}_PACKAGE_NAME ${package})
   set(CPACK_DEBIAN_${upper}_PACKAGE_SECTION ${section})
   set(CPACK_COMPONENT_${upper}_DESCRIPTION "${summary}\n${description}")
   set(CPACK_DEBIAN_${upper}_DESCRIPTION "${summary}\n${description}")
endmacro()

mr_deb(library libmoonrabbit${PROJECT_VERSION_MAJOR} libs "embedded messaging runtime for RabbitMQ"
   "The C library: connections that recover by themselves, confirms, consumers,
pools and health pages, driven by an I/O thread of its own.")
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY =)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_CONTROL_EXTRA ${CMAKE_CURRENT_LIST_DIR}/debian/triggers)
# Opened at run time, which dpkg-shlibdeps does not see: runtime/base/ev.c.
set(CPACK_DEBIAN_LIBRARY_PACKAGE_DEPENDS "libev4")

mr_deb(dev libmoonrabbit-dev libdevel "embedded messaging runtime for RabbitMQ (development files)"
   "Headers, a pkg-config file, a CMake package and moonrabbit(3).")
set(CPACK_DEBIAN_DEV_PACKAGE_SUGGESTS "libev-dev, libuv1-dev, libglib2.0-dev")

mr_deb(lua lua-moonrabbit interpreters "RabbitMQ consumers in Lua (modules for LuaJIT)"
   "The Lua library: consumers with retries and dead letters, publishers, remote
calls, topologies, for LuaJIT and programs that embed it.")
set(CPACK_DEBIAN_LUA_PACKAGE_ARCHITECTURE all)

mr_deb(command moonrabbit net "RabbitMQ consumers in Lua, the command"
   "Runs scripts that consume from and publish to RabbitMQ, as a worker with hot
reload, health pages and a systemd unit, or on a broker within the process.")
set(CPACK_DEBIAN_COMMAND_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_COMMAND_PACKAGE_RECOMMENDS "libsystemd0, lua-inspect, libedit2, libncursesw6")   # tables in the console; its prompt; top
set(CPACK_DEBIAN_COMMAND_PACKAGE_CONTROL_EXTRA
   "${CMAKE_CURRENT_LIST_DIR}/debian/postinst;${CMAKE_CURRENT_LIST_DIR}/debian/prerm;${CMAKE_CURRENT_LIST_DIR}/debian/postrm")
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${CMAKE_LIBRARY_OUTPUT_DIRECTORY})

set(MR_NGINX_SRC "" CACHE PATH "The folder of nginx's sources: also make nginx's module and its package")
if(MR_NGINX_SRC)
   include(${CMAKE_CURRENT_LIST_DIR}/nginx_module.cmake)
endif()

include(CPack)
