# The fixtures are YAML, as kubectl writes them.
target_link_libraries(test_controllerring PRIVATE yaml-cpp)
