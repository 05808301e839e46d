# The engine's API server is the embedded one.
target_link_libraries(test_shard PRIVATE sharder_apiserver prometheus-cpp::core)
