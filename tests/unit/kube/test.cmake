# An HTTP/1.1 server that the tests play the API server with, TLS for their HTTP/2 one, and what writes protobuf.
pkg_check_modules(HTTPLIB REQUIRED IMPORTED_TARGET cpp-httplib)
target_link_libraries(test_kube PRIVATE PkgConfig::HTTPLIB OpenSSL::SSL protozero)
