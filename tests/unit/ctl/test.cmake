target_link_libraries(test_ctl PRIVATE sharder_certs ZLIB::ZLIB)  # certificates to look at, archives to unpack
