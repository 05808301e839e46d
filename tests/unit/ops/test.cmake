# The metrics listener is tried with a certificate from files.
target_link_libraries(test_ops PRIVATE sharder_certs)
