# Secrets and webhook configurations lie in the embedded API server.
target_link_libraries(test_certs PRIVATE sharder_apiserver protozero)
