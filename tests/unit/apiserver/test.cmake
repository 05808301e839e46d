# The server is tried through our own client.
target_link_libraries(test_apiserver PRIVATE sharder_kube)
