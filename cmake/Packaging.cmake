# What `cmake --install` installs, and the packages that cpack makes of it (scripts/release.sh): a tarball and a .deb.
include(GNUInstallDirs)
install(TARGETS sharder RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
install(FILES README.md CHANGELOG.md docs/operations.md docs/protocol.md DESTINATION "${CMAKE_INSTALL_DOCDIR}")
install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DOCDIR}" RENAME copyright)
install(DIRECTORY manifests DESTINATION "${CMAKE_INSTALL_DATADIR}/sharder")

set(CPACK_GENERATOR TGZ DEB)
set(CPACK_PACKAGE_NAME sharder)
set(CPACK_PACKAGE_VENDOR "the authors of Sharder")
set(CPACK_PACKAGE_CONTACT "the authors of Sharder")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Horizontal scaling for Kubernetes controllers")
set(CPACK_PACKAGE_FILE_NAME "sharder-${PROJECT_VERSION}-linux-${CMAKE_SYSTEM_PROCESSOR}")
set(CPACK_RESOURCE_FILE_LICENSE "${CMAKE_SOURCE_DIR}/LICENSE")
set(CPACK_STRIP_FILES OFF)  # perf and stack traces name functions
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)  # the libraries' packages, in the versions that the program needs
set(CPACK_DEBIAN_PACKAGE_DEPENDS ca-certificates)
include(CPack)
