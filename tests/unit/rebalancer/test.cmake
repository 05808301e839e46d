# Webhook and rebalancer decide alike: the test asks both.
# Its cluster is the embedded API server.
target_link_libraries(test_rebalancer PRIVATE sharder_webhook sharder_apiserver nlohmann_json::nlohmann_json prometheus-cpp::core protozero)
