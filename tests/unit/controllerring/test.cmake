target_link_libraries(test_controllerring PRIVATE prometheus-cpp::core)
