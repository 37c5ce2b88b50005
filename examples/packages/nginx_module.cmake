# nginx_module.cmake: nginx's module, and its Debian package; debs.cmake includes it where -DMR_NGINX_SRC names nginx's sources.
# SPDX-License-Identifier: MIT
#
# The sources are those of nginx-dev: /usr/share/nginx/src, or where tests/support/nginx.sh unpacks them. They say which
# nginx the module fits: nginx-abi-VERSION, which Debian's nginx provides.
file(GLOB abi_file ${MR_NGINX_SRC}/debian/*.abisubstvars)
if(NOT abi_file)
   message(FATAL_ERROR "MR_NGINX_SRC=${MR_NGINX_SRC} has no debian/*.abisubstvars: install nginx-dev")
endif()
file(STRINGS ${abi_file} abi REGEX "^nginx:abi=")
string(REPLACE "nginx:abi=" "" abi "${abi}")

set(module ${CMAKE_BINARY_DIR}/nginx-module)
file(GLOB module_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/examples/hosts/nginx/*.[ch])
add_custom_command(OUTPUT ${module}/ngx_http_moonrabbit_module.so
   COMMAND ${CMAKE_COMMAND} -E env NGINX_SRC=${MR_NGINX_SRC} MOONRABBIT_LIB=${CMAKE_LIBRARY_OUTPUT_DIRECTORY}
      sh ${CMAKE_SOURCE_DIR}/examples/hosts/nginx/build.sh ${module}
   COMMAND ${CMAKE_STRIP} --strip-unneeded ${module}/ngx_http_moonrabbit_module.so   # cpack strips targets only
   DEPENDS moonrabbit ${module_sources} ${CMAKE_SOURCE_DIR}/examples/hosts/nginx/config VERBATIM)
add_custom_target(nginx_module ALL DEPENDS ${module}/ngx_http_moonrabbit_module.so)
install(PROGRAMS ${module}/ngx_http_moonrabbit_module.so DESTINATION lib/nginx/modules COMPONENT nginx)
file(WRITE ${made}/mod-http-moonrabbit.conf "load_module modules/ngx_http_moonrabbit_module.so;\n")
install(FILES ${made}/mod-http-moonrabbit.conf DESTINATION share/nginx/modules-available COMPONENT nginx)

list(APPEND CPACK_COMPONENTS_ALL nginx)
mr_deb(nginx libnginx-mod-http-moonrabbit httpd "RabbitMQ in nginx"
   "A module of nginx that publishes requests with confirms, hands the messages
of a queue to browsers as server-sent events, and shows its health.")
set(CPACK_DEBIAN_NGINX_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_NGINX_PACKAGE_RECOMMENDS "nginx")
set(CPACK_DEBIAN_NGINX_PACKAGE_CONTROL_EXTRA
   "${packages}/debian/nginx/postinst;${packages}/debian/nginx/prerm;${packages}/debian/nginx/postrm")
set(CPACK_MOONRABBIT_NGINX_ABI ${abi})   # for debian_versions.cmake
