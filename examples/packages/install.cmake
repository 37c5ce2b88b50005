# install.cmake: what `cmake --install` puts where, in the places of GNUInstallDirs; CMakeLists.txt includes it.
# SPDX-License-Identifier: MIT
#
# The components are the Debian packages of debs.cmake: library, dev, lua, command.
include(CMakePackageConfigHelpers)

set(packages ${CMAKE_SOURCE_DIR}/examples/packages)
set(made ${CMAKE_BINARY_DIR}/packages)
set(lua_folder ${CMAKE_INSTALL_DATADIR}/lua/5.1)
set(doc_folder ${CMAKE_INSTALL_DATADIR}/doc/moonrabbit)
set(unit_folder lib/systemd/system)

# mr_install_text(COMPONENT DESTINATION FILE...): files in which @prefix@ becomes the prefix of `cmake --install`, which may be
# another one than at the build. An empty file list is none.
function(mr_install_text component destination)
   foreach(file ${ARGN})
      cmake_path(GET file FILENAME name)
      install(CODE "
         file(READ \"${file}\" text)
         string(REPLACE \"@prefix@\" \"\${CMAKE_INSTALL_PREFIX}\" text \"\${text}\")
         file(WRITE \"${made}/installed/${destination}/${name}\" \"\${text}\")
         file(INSTALL \"${made}/installed/${destination}/${name}\"
              DESTINATION \"\${CMAKE_INSTALL_PREFIX}/${destination}\")" COMPONENT ${component})
   endforeach()
endfunction()

# --- The library ------------------------------------------------------------------------------

install(TARGETS moonrabbit EXPORT moonrabbit
   LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library NAMELINK_COMPONENT dev)
install(DIRECTORY runtime/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT dev
   FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp")
set(config_folder ${CMAKE_INSTALL_LIBDIR}/cmake/moonrabbit)
install(EXPORT moonrabbit FILE moonrabbitTargets.cmake NAMESPACE moonrabbit::
   DESTINATION ${config_folder} COMPONENT dev)
configure_package_config_file(${packages}/moonrabbitConfig.cmake.in ${made}/moonrabbitConfig.cmake
   INSTALL_DESTINATION ${config_folder})
write_basic_package_version_file(${made}/moonrabbitConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${made}/moonrabbitConfig.cmake ${made}/moonrabbitConfigVersion.cmake
   DESTINATION ${config_folder} COMPONENT dev)
string(REGEX REPLACE "[^/]+" ".." up "${CMAKE_INSTALL_LIBDIR}/pkgconfig")   # from the file to the prefix
configure_file(${packages}/moonrabbit.pc.in ${made}/moonrabbit.pc @ONLY)
install(FILES ${made}/moonrabbit.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT dev)

# --- Lua, the command -------------------------------------------------------------------------

install(DIRECTORY lua/moonrabbit DESTINATION ${lua_folder} COMPONENT lua FILES_MATCHING PATTERN "*.lua")
install(TARGETS moonrabbit_command RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT command)
install(FILES README.md LICENSE DESTINATION ${doc_folder} COMPONENT command)
install(DIRECTORY docs examples DESTINATION ${doc_folder} COMPONENT command)
mr_install_text(command ${unit_folder} ${packages}/moonrabbit@.service)

# --- Man pages, completion: made from what the parser and the header say --------------------------

find_program(LUAJIT_PROGRAM luajit)
set(argparse 1)
if(LUAJIT_PROGRAM)
   execute_process(COMMAND ${LUAJIT_PROGRAM} -e "require 'argparse'" RESULT_VARIABLE argparse ERROR_QUIET)
endif()
if(NOT argparse EQUAL 0)
   message(STATUS "No luajit with argparse: no man pages, no completion")
   return()
endif()
file(GLOB_RECURSE sources CONFIGURE_DEPENDS lua/moonrabbit/cli/*.lua)
add_custom_command(OUTPUT ${made}/pages.made
   COMMAND ${LUAJIT_PROGRAM} ${packages}/pages.lua ${CMAKE_SOURCE_DIR} ${made}
   COMMAND ${CMAKE_COMMAND} -E touch ${made}/pages.made
   DEPENDS ${packages}/pages.lua ${sources} ${runtime}/include/moonrabbit.h ${CMAKE_SOURCE_DIR}/README.md
   VERBATIM)
add_custom_target(pages ALL DEPENDS ${made}/pages.made)
# One page a command, which only the parser knows: the names are looked up at the installation.
set(man1 ${CMAKE_INSTALL_MANDIR}/man1)
install(CODE "
   file(GLOB pages RELATIVE \"${made}/man1\" \"${made}/man1/*.1\")
   foreach(name IN LISTS pages)
      file(READ \"${made}/man1/\${name}\" text)
      string(REPLACE \"@prefix@\" \"\${CMAKE_INSTALL_PREFIX}\" text \"\${text}\")
      file(WRITE \"${made}/installed/${man1}/\${name}\" \"\${text}\")
      file(INSTALL \"${made}/installed/${man1}/\${name}\" DESTINATION \"\${CMAKE_INSTALL_PREFIX}/${man1}\")
   endforeach()" COMPONENT command)
mr_install_text(command ${CMAKE_INSTALL_MANDIR}/man7 ${made}/man7/moonrabbit.7)
install(DIRECTORY ${made}/man3/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man3 COMPONENT dev)
install(FILES ${made}/completion/moonrabbit COMPONENT command
   DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${made}/completion/_moonrabbit COMPONENT command
   DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
install(FILES ${made}/completion/moonrabbit.fish COMPONENT command
   DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
