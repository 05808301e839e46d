# Webhook and rebalancer decide alike: the test asks both.
target_link_libraries(test_rebalancer PRIVATE sharder_webhook nlohmann_json::nlohmann_json prometheus-cpp::core protozero)
