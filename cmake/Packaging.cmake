# What `cmake --install` installs, and the packages that cpack makes of it (scripts/release.sh). Three components:
# program, which alone is installed by default and is in the tarball; library and development, for those who write
# controllers (docs/controllers.md). There is a .deb of each.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(CMAKE_INSTALL_DEFAULT_COMPONENT_NAME program)
install(TARGETS sharder sharderctl RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
install(PROGRAMS ctl/kubectl_complete-sharder DESTINATION "${CMAKE_INSTALL_BINDIR}")
install(FILES "$<TARGET_FILE_DIR:sharderctl>/kubectl-sharder" DESTINATION "${CMAKE_INSTALL_BINDIR}")  # a link
install(FILES README.md CHANGELOG.md docs/operations.md docs/migrate.md docs/protocol.md docs/sharderctl.md
  DESTINATION "${CMAKE_INSTALL_DOCDIR}")
install(DIRECTORY docs/install docs/operate docs/reference docs/security DESTINATION "${CMAKE_INSTALL_DOCDIR}")
install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DOCDIR}" RENAME copyright)
install(DIRECTORY manifests DESTINATION "${CMAKE_INSTALL_DATADIR}/sharder")

set(library_package "libsharder-shard${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}")
set(development_package libsharder-dev)
if(TARGET sharder_library)
  set(cmake_folder "${CMAKE_INSTALL_LIBDIR}/cmake/sharder")
  file(RELATIVE_PATH prefix_from_pkgconfig "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
  string(REGEX REPLACE "/$" "" prefix_from_pkgconfig "${prefix_from_pkgconfig}")
  configure_file(cmake/sharder.pc.in sharder.pc @ONLY)
  configure_package_config_file(cmake/sharderConfig.cmake.in sharderConfig.cmake INSTALL_DESTINATION "${cmake_folder}")
  write_basic_package_version_file(sharderConfigVersion.cmake COMPATIBILITY SameMinorVersion)

  install(TARGETS sharder_library EXPORT sharderTargets
    LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT library NAMELINK_COMPONENT development EXCLUDE_FROM_ALL
    FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/sharder" COMPONENT development EXCLUDE_FROM_ALL)
  install(EXPORT sharderTargets NAMESPACE sharder::
    DESTINATION "${cmake_folder}" COMPONENT development EXCLUDE_FROM_ALL)
  install(FILES
    "${CMAKE_CURRENT_BINARY_DIR}/sharderConfig.cmake" "${CMAKE_CURRENT_BINARY_DIR}/sharderConfigVersion.cmake"
    DESTINATION "${cmake_folder}" COMPONENT development EXCLUDE_FROM_ALL)
  install(FILES "${CMAKE_CURRENT_BINARY_DIR}/sharder.pc"
    DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig" COMPONENT development EXCLUDE_FROM_ALL)
  install(FILES docs/controllers.md
    DESTINATION "${CMAKE_INSTALL_DATADIR}/doc/${development_package}" COMPONENT development EXCLUDE_FROM_ALL)
  install(DIRECTORY docs/examples
    DESTINATION "${CMAKE_INSTALL_DATADIR}/doc/${development_package}" COMPONENT development EXCLUDE_FROM_ALL)
  foreach(component library development)
    install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DATADIR}/doc/${${component}_package}" RENAME copyright
      COMPONENT ${component} EXCLUDE_FROM_ALL)
  endforeach()
endif()

set(CPACK_GENERATOR TGZ DEB)
set(CPACK_PACKAGE_NAME sharder)
set(CPACK_PACKAGE_VENDOR "the authors of Sharder")
set(CPACK_PACKAGE_CONTACT "the authors of Sharder")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Horizontal scaling for Kubernetes controllers")
set(CPACK_PACKAGE_FILE_NAME "sharder-${PROJECT_VERSION}-linux-${CMAKE_SYSTEM_PROCESSOR}")
set(CPACK_RESOURCE_FILE_LICENSE "${CMAKE_SOURCE_DIR}/LICENSE")
set(CPACK_STRIP_FILES OFF)  # perf and stack traces name functions
set(CPACK_COMPONENTS_ALL program library development)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)  # the libraries' packages, in the versions that program and library need
set(CPACK_DEBIAN_PROGRAM_PACKAGE_NAME sharder)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_DEPENDS ca-certificates)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_NAME "${library_package}")
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_DEPENDS ca-certificates)
set(CPACK_COMPONENT_LIBRARY_DESCRIPTION "Library for sharded Kubernetes controllers in C++")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME "${development_package}")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SHLIBDEPS OFF)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "${library_package} (= ${PROJECT_VERSION}), nlohmann-json3-dev (>= 3.11)")
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION "Headers for sharded Kubernetes controllers in C++")
include(CPack)
