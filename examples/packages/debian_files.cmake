# debian_files.cmake: what only Debian packages have: copyright, changelog, compressed man pages; /etc/moonrabbit. cpack runs it
# when everything is in its place.
# SPDX-License-Identifier: MIT
set(stamp "2026-11-29T00:00:00Z")
foreach(component ${CPACK_COMPONENTS_ALL})
   set(place ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/${component})
   string(TOUPPER ${component} upper)
   set(doc ${place}/usr/share/doc/${CPACK_DEBIAN_${upper}_PACKAGE_NAME})
   file(MAKE_DIRECTORY ${doc})
   file(COPY_FILE ${CMAKE_CURRENT_LIST_DIR}/debian/copyright ${doc}/copyright)
   file(READ ${CMAKE_CURRENT_LIST_DIR}/debian/changelog text)
   string(REPLACE "@version@" "${CPACK_PACKAGE_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE}" text "${text}")
   file(WRITE ${doc}/changelog.Debian "${text}")
   file(GLOB_RECURSE pages ${place}/usr/share/man/*)
   execute_process(COMMAND gzip -9nf ${doc}/changelog.Debian ${pages} COMMAND_ERROR_IS_FATAL ANY)
endforeach()
set(command ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/command)
file(REMOVE ${command}/usr/share/doc/moonrabbit/LICENSE)   # is copyright
file(MAKE_DIRECTORY ${command}/etc/moonrabbit)
