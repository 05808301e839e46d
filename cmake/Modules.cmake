# sharder_module(NAME [DEPENDS...]): the library sharder_NAME from the sources in NAME and its folders. Libraries outside the project
# are linked where NAME/CMakeLists.txt says so.
function(sharder_module name)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/${name}/*.cc")
  add_library(sharder_${name} STATIC ${sources})
  target_include_directories(sharder_${name} PUBLIC "${CMAKE_SOURCE_DIR}")
  foreach(dependency ${ARGN})
    target_link_libraries(sharder_${name} PUBLIC sharder_${dependency})
  endforeach()
  add_subdirectory("${CMAKE_SOURCE_DIR}/${name}" "${CMAKE_BINARY_DIR}/${name}")
endfunction()

# sharder_unit_test(NAME): the test program test_NAME from the sources in tests/unit/NAME and its folders.
function(sharder_unit_test name)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tests/unit/${name}/*.cc")
  add_executable(test_${name} ${sources} "${CMAKE_SOURCE_DIR}/tests/unit/main.cc")
  target_link_libraries(test_${name} PRIVATE sharder_${name} sharder_test_support doctest::doctest)
  target_compile_definitions(test_${name} PRIVATE SHARDER_TESTDATA="${CMAKE_SOURCE_DIR}/tests/testdata")
  # What only this program needs, libraries above all, stands beside its sources.
  include("${CMAKE_SOURCE_DIR}/tests/unit/${name}/test.cmake" OPTIONAL)
  add_test(NAME ${name} COMMAND test_${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT 900)  # it hangs; the slowest takes some minutes where lines are counted
endfunction()

# sharder_fuzz_target(NAME MODULE...): the libFuzzer program fuzz_NAME from tests/fuzz/NAME.cc, part of the target
# `fuzzers`.
function(sharder_fuzz_target name)
  add_executable(fuzz_${name} "${CMAKE_SOURCE_DIR}/tests/fuzz/${name}.cc")
  foreach(module ${ARGN})
    target_link_libraries(fuzz_${name} PRIVATE sharder_${module})
  endforeach()
  target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  add_dependencies(fuzzers fuzz_${name})
endfunction()
