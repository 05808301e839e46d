# Certificates to look at, archives to unpack, and the embedded API server for whole commands.
target_link_libraries(test_ctl PRIVATE sharder_certs sharder_apiserver ZLIB::ZLIB)
